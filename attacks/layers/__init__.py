"""What the change of a layer's weight shows about the layer's inputs, and how much of it given inputs cover."""
