"""The table of docs/performance.md: what the server takes for its work, measured from outside."""
