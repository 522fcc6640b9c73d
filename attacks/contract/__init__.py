"""What an attack is, what it attacks, and what it claims."""
