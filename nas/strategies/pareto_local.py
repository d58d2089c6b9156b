"""Pareto local search (Paquete et al., 2004), in its anytime form (Dubois-Lacoste et al., 2015)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from nas.cost import is_on_front
from nas.space import Codes
from nas.strategies.base import Strategy
from nas.strategies.local import Neighbourhoods, codes_of


class ParetoLocalSearch(Strategy):
    """Pareto local search: random unknown neighbours of the front, each member in turn (Paquete et al., 2004).

    The front is of the least violating networks, so bounds are met first. When all neighbours of the front are known
    it is locally optimal, and the search goes on from random networks. Starts with `initial` of them.
    """

    initial = 10

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._codes = self._none
        self._losses = np.zeros((0, len(self.objectives)))
        self._violation = np.zeros(0)
        self._near = Neighbourhoods(self)

    @property
    def batch_size(self) -> int:
        """A few at a time; a hundredth of the evaluations once there are many."""
        return min(max(4, len(self._known) // 100), 20)

    def _propose(self, n: int, rng: np.random.Generator) -> Codes:
        if len(self._known) < self.initial:
            return self.sample(n, rng)
        shuffled: list[Codes] = []
        for row in rng.permutation(self._codes):
            near = self._near.unknown(row.tobytes(), self._known)
            if near:
                shuffled.append(rng.permutation(codes_of(near)))
            if len(shuffled) == n:
                break
        if not shuffled:
            return self.sample(n, rng)
        turns = range(max(map(len, shuffled)))
        return np.array([near[turn] for turn in turns for near in shuffled if turn < len(near)])

    def _learn(self, codes: Codes, metrics: pd.DataFrame) -> None:
        points, excess = self.judge(metrics)
        everybody = np.concatenate([self._codes, codes])
        points = np.concatenate([self._losses, points])
        excess = np.concatenate([self._violation, excess])
        least = np.flatnonzero(excess == excess.min())
        best = least[is_on_front(points[least])]
        self._codes, self._losses, self._violation = everybody[best], points[best], excess[best]
