"""What CONTRIBUTING.md shows: one of each kind that isn't ours, as a contributor writes them."""
