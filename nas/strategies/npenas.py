"""NPENAS: evolution whose offspring a neural predictor selects (Wei et al., 2022)."""

from __future__ import annotations

import numpy as np

from nas.space import Codes
from nas.strategies.bananas import Array, Bananas


class NPENAS(Bananas):
    """NPENAS: evolution with many children, of which the best by a predictor are evaluated (Wei et al., 2022).

    Parents win tournaments. Unlike in `bananas` no prediction is drawn: its mean selects. Departures from
    the paper: the predictor is the ensemble of `bananas` instead of a graph network, a tournament is held for every
    child, and half of the children are mutants of a crossing of two parents; the paper only mutates.
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
