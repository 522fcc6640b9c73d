"""Where comparison records come from."""
