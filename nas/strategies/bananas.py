"""BANANAS: Bayesian optimisation with an ensemble of neural predictors (White, Neiswanger & Savani, 2021)."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from nas.cost.objectives import losses
from nas.space import Codes
from nas.strategies.base import Strategy
from nas.strategies.ensemble import Ensemble
from nas.strategies.gp import best_and_spread
from nas.strategies.nsga2 import survival_order
from nas.strategies.outcome import Inputs, Warp, worst_for_failures

Array = npt.NDArray[np.float64]


class Bananas(Strategy):
    """BANANAS: Thompson sampling by an ensemble of predictors over mutants of the best (White et al., 2021).

    Of every candidate one value is drawn from the normal distribution that the ensemble gives it (the paper's ITS),
    and the best by these values are evaluated. Departures: candidates are described by decisions and costs instead of
    the paths of a cell, which not every space has; the five networks have one hidden layer instead of ten and are
    trained on squared errors of warped losses (`Warp`); 20 networks are drawn first, not 10. Written for one objective;
    with several, each that only an evaluation tells has its ensemble, the others are exact, and "best" is the order
    of NSGA-II (rank, then crowding). A constraint that only an evaluation tells counts in the choice of parents alone.
    """

    #: evaluations before the first ensemble, and between two
    initial = 20
    batch = 10
    #: networks that are mutated, mutants of them
    parents = 10
    candidates = 200
    #: evaluations that an ensemble is trained on at most (`best_and_spread`)
    memory = 1000

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._codes = self._none
        self._points, self._excess = np.zeros((0, len(self.objectives))), np.zeros(0)
        self._exact = np.array([objective.metric in self.free for objective in self.objectives])
        self._ensembles: dict[int, tuple[Warp, Ensemble]] = {}

    @property
    def batch_size(self) -> int:
        return self.batch

    @property
    def _trained_on(self) -> int:
        """Evaluations that the ensembles know: they are trained again after every `batch`."""
        return len(self._codes) - (len(self._codes) - self.initial) % self.batch

    def _learn(self, codes: Codes, metrics: pd.DataFrame) -> None:
        before = self._trained_on
        points, excess = self.judge(metrics)
        self._codes = np.concatenate([self._codes, codes])
        self._points = np.concatenate([self._points, points])
        self._excess = np.concatenate([self._excess, excess])
        if self._trained_on != before:
            self._ensembles = {}

    def _propose(self, n: int, rng: np.random.Generator) -> Codes:
        fine = np.isfinite(self._points).all(axis=1)
        if len(self._codes) < self.initial or fine.sum() < 3:
            return self.sample(n, rng)
        order = survival_order(self._points, self._excess)
        mutants = self._mutants(self._codes[order[: self.parents]], rng)
        candidates = self._new(self.repair(mutants, rng), self._none)
        if not len(candidates):
            return candidates
        points = self._believed(candidates, rng)
        fails = ~np.isfinite(points).all(axis=1)  # a free objective that is not finite
        best = survival_order(worst_for_failures(points), np.where(fails, np.inf, self.excess(candidates)))
        return candidates[best[:n]]

    def _mutants(self, parents: Codes, rng: np.random.Generator) -> Codes:
        return self.space.mutate(parents[rng.integers(len(parents), size=self.candidates)], rng)

    def _believed(self, codes: Codes, rng: np.random.Generator) -> Array:
        """Return float[n, M] losses of candidates: exact where free, else one draw from what the ensemble predicts."""
        points = np.zeros((len(codes), len(self.objectives)))
        if self.costs is not None and self._exact.any():
            known = [objective for objective in self.objectives if objective.metric in self.free]
            points[:, self._exact] = losses(self.costs(codes), known)
        if not self._ensembles:  # a function of the history alone
            self._ensembles = self._train()
        x = self._inputs.all(codes)
        for m, (warp, ensemble) in self._ensembles.items():
            points[:, m] = warp.inverse(self._draw(*ensemble.predict(x), rng))
        return points

    def _draw(self, mean: Array, std: Array, rng: np.random.Generator) -> Array:
        return rng.normal(mean, std)

    @cached_property
    def _inputs(self) -> Inputs:
        return Inputs(self.space, self.costs)

    def _train(self) -> dict[int, tuple[Warp, Ensemble]]:
        """Train an ensemble for every objective that is not free; failures count as the worst loss seen."""
        known = self._trained_on
        order = survival_order(self._points[:known], self._excess[:known])
        if len(order) > self.memory:
            order = best_and_spread(order, self.memory)
        rows = np.sort(order)
        x, points = self._inputs.all(self._codes[rows]), worst_for_failures(self._points[rows])
        ensembles = {}
        for m in np.flatnonzero(~self._exact):
            warp = Warp(points[:, m])
            weights = np.random.default_rng((self.seed, known, int(m)))
            ensembles[int(m)] = warp, Ensemble(x, warp(points[:, m]), weights)
        return ensembles
