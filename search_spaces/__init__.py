"""The search spaces that ship with `nas`, and the published networks as points of them."""
