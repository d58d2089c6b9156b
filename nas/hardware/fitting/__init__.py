"""Fitting predictors to measurements, and choosing among them."""
