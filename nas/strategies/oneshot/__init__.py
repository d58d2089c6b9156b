"""Strategies that train a supernet: one set of weights for all architectures."""
