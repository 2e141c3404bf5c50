"""The rows and their own rules, options, files in the storage."""
