"""Measuring on a machine: runtimes, the worker that times them, and the order of a session."""
