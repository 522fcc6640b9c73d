"""First floor: the shell around the attacks: files, search, run loop, matching, verdict, command line."""
