"""Compound scaling: fit the coefficients, emit a family, scaling laws."""
