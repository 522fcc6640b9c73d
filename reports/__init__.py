"""A finished report becomes files, one format per file."""
