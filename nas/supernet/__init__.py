"""Weight-sharing networks over a space: one set of weights serves every architecture."""
