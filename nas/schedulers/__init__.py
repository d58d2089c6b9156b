"""Multi-fidelity schedulers: which network is trained for how many epochs."""
