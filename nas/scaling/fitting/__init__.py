"""Coefficients of compound scaling from a family, from trained networks, or by a grid; and what to train for that."""
