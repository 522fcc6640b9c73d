"""What the change of a first linear layer shows about its inputs."""
