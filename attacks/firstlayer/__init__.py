"""What the change of a first linear layer tells of its inputs."""
