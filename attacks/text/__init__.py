"""Sentences as records: token numbers, and what the network sees of them."""
