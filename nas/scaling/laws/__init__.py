"""Scaling laws: error of a family as a function of cost."""
