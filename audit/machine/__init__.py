"""Where, and within which limits, work is done."""
