"""Families of networks: which architecture do these tensors belong to, and how is it built again?"""
