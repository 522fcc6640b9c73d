"""The data-protection document."""
