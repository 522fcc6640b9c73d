"""Images as optimisation variables, and priors for images."""
