"""The report: its model, its file and its pictures."""
