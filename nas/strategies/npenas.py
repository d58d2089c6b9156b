"""NPENAS: evolution whose offspring a neural predictor selects (Wei et al., 2022)."""

from __future__ import annotations

import numpy as np

from nas.space import Codes
from nas.strategies.bananas import Array, Bananas


class NPENAS(Bananas):
    """Parents win tournaments, have many children each, and those with the best predicted mean are evaluated.

    Unlike `bananas` nothing is drawn: the prediction alone selects, and chance is left to evolution. Children are
    mutants of every parent in equal number, half of them of its crossing with another parent.
    """

    parents = 20
    tournament = 4

    def _mutants(self, parents: Codes, rng: np.random.Generator) -> Codes:
        drawn = rng.integers(len(parents), size=(2, self.candidates, self.tournament))
        a, b = parents[drawn.min(axis=2)]  # parents come best first
        half = self.candidates // 2
        a[:half] = self.space.crossover(a[:half], b[:half], rng)
        return self.space.mutate(a, rng)

    def _draw(self, mean: Array, std: Array, rng: np.random.Generator) -> Array:
        return mean
