"""Spaces whose networks repeat a cell, a small graph of operations."""
