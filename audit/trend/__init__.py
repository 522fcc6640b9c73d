"""What got better or worse between two reports, and whether that can be told."""
