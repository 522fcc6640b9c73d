"""The path of one scan."""
