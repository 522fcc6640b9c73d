"""The report: a model and its file."""
