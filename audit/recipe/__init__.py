"""How the model was trained, each value with its source."""
