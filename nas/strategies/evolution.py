"""Regularized evolution (Real et al., 2019): a tournament, its winner with one decision changed, the oldest dies."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from nas.space import Codes
from nas.strategies.base import Strategy
from nas.strategies.nsga2 import a_tenth, survival_order


class RegularizedEvolution(Strategy):
    """Regularized evolution: tournaments among the latest networks, the winner mutates (Real et al., 2019).

    The population is the last networks told, so every network dies of age, however good. Unlike the original no
    network is evaluated twice: a child that is known gives way to another. With several objectives a tournament is
    decided as in NSGA-II: by feasibility, then non-domination rank, then crowding.
    """

    #: smallest and largest population; in between it is a tenth of the evaluations
    population_sizes = (20, 100)
    #: competitors in a tournament, drawn with replacement
    tournament_size = 20
    #: children drawn for each one asked for: most children of a good parent are known in the end
    litter = 16

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._codes = self._none
        self._losses = np.zeros((0, len(self.objectives)))
        self._violation = np.zeros(0)
        #: rank of each member of the population, 0 for the fittest
        self._rank: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    @property
    def population_size(self) -> int:
        return a_tenth(len(self._known), self.population_sizes)

    @property
    def batch_size(self) -> int:
        """One at a time, as in the paper; a hundredth of the evaluations once there are many."""
        return min(max(1, len(self._known) // 100), self.population_sizes[0])

    def _propose(self, n: int, rng: np.random.Generator) -> Codes:
        if len(self._codes) < self.population_sizes[0]:
            return self.sample(n, rng)
        competitors = rng.integers(len(self._codes), size=(max(n, self.litter), self.tournament_size))
        winners = self._rank[competitors].argmin(axis=1)
        parents = self._codes[competitors[np.arange(len(competitors)), winners]]
        return self.space.mutate(parents, rng, rate=0.0)

    def _learn(self, codes: Codes, metrics: pd.DataFrame) -> None:
        points, excess = self.judge(metrics)
        youngest = slice(-self.population_size, None)
        self._codes = np.concatenate([self._codes, codes])[youngest]
        self._losses = np.concatenate([self._losses, points])[youngest]
        self._violation = np.concatenate([self._violation, excess])[youngest]
        self._rank = np.empty(len(self._codes), dtype=np.int64)
        self._rank[survival_order(self._losses, self._violation)] = np.arange(len(self._codes))
