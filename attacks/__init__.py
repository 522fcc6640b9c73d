"""The attacks, one a file, and the numerics that they share: tensors in, tensors out; no file, no clock, no screen."""
