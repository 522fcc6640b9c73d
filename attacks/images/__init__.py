"""Images as optimisation variables, and what is known of images beforehand."""
