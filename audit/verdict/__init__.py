"""What the evidence comes to."""
