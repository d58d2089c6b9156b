"""Torch building blocks shared by all spaces."""
