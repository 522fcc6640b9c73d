"""Everything else that a user can ask for."""
