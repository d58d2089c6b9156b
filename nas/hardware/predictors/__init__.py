"""Predictors of what is measured on a device, one kind a file, and the features they share."""
