"""Training simulated and differentiated, within the available memory."""
