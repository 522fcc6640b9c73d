"""Optimisers, distances, and one update of what is optimised."""
