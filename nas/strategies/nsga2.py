"""NSGA-II: a fast and elitist multi-objective genetic algorithm (Deb et al., 2002)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from nas.cost import pareto_rank
from nas.space import Codes
from nas.strategies.base import Strategy


class NSGA2(Strategy):
    """NSGA-II: tournament of two, uniform crossover, mutation; the best by rank and crowding survive.

    Feasible networks come before infeasible ones, and those by how little they violate (Deb's rule). Known networks
    are never proposed again, which the original allows and which costs it hypervolume. Survivors are chosen after
    every few evaluations, not after a whole generation: nearly steady state, which converges in fewer evaluations
    (Durillo et al., 2009). As known children are dropped, variation can be gentle: most of a child is its mother's,
    and most are not mutated.
    """

    #: smallest and largest population; in between it is a tenth of the evaluations, so that a small budget still has
    #: generations enough and a large one keeps a dense front
    population_sizes = (20, 200)
    #: share of the population that is evaluated between two selections of survivors
    generation_share = 0.2
    crossover_share = 0.9
    #: share of the decisions of a child that come from its mother, and of the children that are mutated
    mother_share = 0.9
    mutation_share = 0.4
    #: children drawn for each one asked for: some are known
    litter = 2

    _codes: Codes | None = None
    _losses: npt.NDArray[np.float64]
    _violation: npt.NDArray[np.float64]

    @property
    def population_size(self) -> int:
        return a_tenth(len(self._known), self.population_sizes)

    @property
    def batch_size(self) -> int:
        return max(1, int(self.generation_share * self.population_size))

    def _propose(self, n: int, rng: np.random.Generator) -> Codes:
        if self._codes is None or len(self._codes) < self.population_size // 2:
            return self.sample(n, rng)
        n *= self.litter
        mothers, fathers = self._tournament((2, n), rng)
        children = self.space.crossover(self._codes[mothers], self._codes[fathers], rng, self.mother_share)
        cloned = rng.random(n) >= self.crossover_share
        children[cloned] = self._codes[mothers[cloned]]
        mutated = rng.random(n) < self.mutation_share
        children[mutated] = self.space.mutate(children[mutated], rng)
        return children

    def _tournament(self, shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """The population is kept in order of fitness, so the winner is the one with the smaller index."""
        return np.asarray(rng.integers(len(self._violation), size=(*shape, 2)).min(axis=-1))

    def _learn(self, codes: Codes, metrics: pd.DataFrame) -> None:
        points, excess = self.judge(metrics)
        if self._codes is not None:
            codes = np.concatenate([self._codes, codes])
            points = np.concatenate([self._losses, points])
            excess = np.concatenate([self._violation, excess])
        best = self._survivors(points, excess)
        self._codes, self._losses, self._violation = codes[best], points[best], excess[best]

    def _survivors(self, points: npt.NDArray[np.float64], excess: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """The indices of the next population, the fittest first."""
        return survival_order(points, excess)[: self.population_size]


def a_tenth(evaluations: int, limits: tuple[int, int]) -> int:
    """Return a population size: a tenth of the evaluations so far, within the limits."""
    smallest, largest = limits
    return min(max(smallest, evaluations // 10), largest)


def survival_order(points: npt.NDArray[np.float64], excess: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return the indices of float[n, M] losses from fittest to least fit, given float[n] constraint violations."""
    rank = np.zeros(len(points), dtype=np.int64)
    crowding = np.zeros(len(points))
    feasible = excess == 0
    if feasible.any():
        rank[feasible] = pareto_rank(points[feasible])
        crowding[feasible] = crowding_distance(points[feasible], rank[feasible])
    return np.lexsort((-crowding, rank, excess))


def crowding_distance(points: npt.NDArray[np.float64], rank: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return float[n], crowding distance of each point within its front; infinite at the ends (Deb et al., III-B)."""
    distance = np.zeros(len(points))
    span = np.ptp(points, axis=0)
    for m in range(points.shape[1]):
        order = np.lexsort((points[:, m], rank))
        values, fronts = points[order, m], rank[order]
        gap = np.full(len(points), np.inf)
        # Ordered by front, a point is inside its own where those before and after it are of the same one.
        inside = fronts[2:] == fronts[:-2]
        gap[1:-1][inside] = (values[2:] - values[:-2])[inside] / (span[m] or 1.0)
        distance[order] += gap
    return distance
