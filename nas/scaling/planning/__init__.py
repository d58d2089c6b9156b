"""How long members train, and which to train for a budget."""
