"""Problem, search loop, run store: the engine room."""
