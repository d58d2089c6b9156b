"""Estimators: architectures in, accuracy with uncertainty out."""
