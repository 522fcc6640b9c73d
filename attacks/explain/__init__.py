"""A change explained without simulating it: labels, one gradient, multipliers."""
