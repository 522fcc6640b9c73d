"""A finished report becomes files, a format in each."""
