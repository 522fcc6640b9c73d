"""The attacks, one per file, and the numerics they share: tensors in, tensors out; no file, no clock, no screen."""
