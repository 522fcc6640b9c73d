"""What the change of the parameters tells before anything is simulated."""
