"""What counts as more than chance. No numerics here, so that a rule can name these numbers."""

LEVEL = 0.01
"""False discovery rate at which a record counts as recovered (Benjamini and Hochberg 1995), over all results."""

FEWEST = 100
"""Comparisons below which one per cent of them is not known."""
