"""Everything around the attacks: files, recognition, run, scoring, verdict and the command line."""
