"""Reconstructions against truth, and against chance."""
