"""Every table and figure of the SimuDy paper beside our own numbers: ``python -m benchmarks.side_by_side``."""
