"""Training simulated and differentiated, within the memory that there is."""
