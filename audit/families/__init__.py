"""Which network are these tensors?"""
