"""Where training and control sets come from: one file per kind of source."""
