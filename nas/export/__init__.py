"""Networks in the formats other tools read, each checked numerically against the torch module."""
