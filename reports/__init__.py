"""Top floor: an audit report becomes files."""
