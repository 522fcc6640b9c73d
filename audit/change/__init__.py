"""What the change of the parameters shows before anything is simulated."""
