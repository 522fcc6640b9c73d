"""Two files become tensors; nothing in them runs."""
