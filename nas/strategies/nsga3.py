"""NSGA-III: survival by reference points spread over the front (Deb & Jain, 2014; with bounds: Jain & Deb, 2014)."""

from __future__ import annotations

from typing import Any

import numpy as np

from nas.cost import pareto_rank
from nas.strategies.niching import Array, Indices, Normalisation, associate, reference_points, thin
from nas.strategies.nsga2 import NSGA2


class NSGA3(NSGA2):
    """NSGA-II, but the last front is thinned by niches around reference directions; for three and more objectives.

    There are as many reference points as the population has room for. Parents are drawn without regard to rank, the
    less violating of two. Everything else is as in `NSGA2`, Deb's rule for bounds and few evaluations between two
    selections included.
    """

    crossover_share = 1.0

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._normalisation = Normalisation(len(self.objectives))

    def _tournament(self, shape: tuple[int, ...], rng: np.random.Generator) -> Indices:
        first, second = rng.integers(len(self._violation), size=(2, *shape))
        return np.asarray(np.where(self._violation[second] < self._violation[first], second, first))

    def _survivors(self, points: Array, excess: Array) -> Indices:
        feasible = np.flatnonzero(excess == 0)
        size = self.population_size
        if len(feasible):
            rank = pareto_rank(points[feasible])
            self._normalisation.update(points[feasible], rank == 0)
            if len(feasible) > size:
                rng = np.random.default_rng((self.seed, len(self._known)))
                directions = reference_points(points.shape[1], size)
                niche, distance = associate(self._normalisation(points[feasible]), directions)
                return feasible[thin(rank, niche, distance, len(directions), size, rng)]
        infeasible = np.flatnonzero(excess)
        least = infeasible[np.argsort(excess[infeasible], kind="stable")]
        return np.concatenate([feasible, least])[:size]
