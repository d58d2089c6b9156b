"""Model-guided search: a Gaussian process for what costs an evaluation, exact values for what does not."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from nas.cost import is_on_front
from nas.cost.objectives import losses
from nas.space import Codes
from nas.strategies.acquisition import expected_hypervolume_improvement, log_expected_improvement
from nas.strategies.base import Strategy
from nas.strategies.gp import best_and_spread
from nas.strategies.nsga2 import survival_order
from nas.strategies.outcome import Inputs, OutcomeModel, Outcomes

Array = npt.NDArray[np.float64]


class Predictor(Strategy):
    """Gaussian processes: evaluates where hypervolume, or the one objective, is expected to improve most.

    Bayesian optimisation. Objectives that `costs` gives are exact; each of the others has one Gaussian process (`gp`),
    not an ensemble. What counts is expected improvement (Jones et al., 1998) or expected hypervolume improvement
    (Emmerich et al., 2011). Candidates are mutants and crossings of the best networks, then of the best candidates: a
    local search on the acquisition function. A batch is chosen step by step, each choice believed to come out as
    predicted (kriging believer, Ginsbourger et al., 2010). Constraints that only an evaluation tells weigh in by the
    probability that they are met (Gardner et al., 2014).
    The search begins with the cheapest network of every free objective: the ends of the front cost no model.
    """

    #: evaluations before the first model
    initial = 16
    batch = 4
    #: with one objective, networks whose offspring are candidates; with several, those on the front
    elites = 10
    #: offspring of each of three kinds, candidates kept after a round, rounds
    offspring = 150
    kept = 40
    rounds = 2
    #: candidates that a batch is chosen from, steps it is chosen in
    finalists = 150
    steps = 8
    #: evaluations that a model is fitted to at most (`best_and_spread`); O(memory^3)
    memory = 500

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._codes = self._none
        self._metrics = pd.DataFrame()
        self._points, self._excess = np.zeros((0, len(self.objectives))), np.zeros(0)
        self._exact = np.array([objective.metric in self.free for objective in self.objectives])
        self._model: OutcomeModel | None = None

    @property
    def batch_size(self) -> int:
        return self.batch

    def _learn(self, codes: Codes, metrics: pd.DataFrame) -> None:
        names = [objective.metric for objective in self.objectives] + [c.metric for c in self.constraints]
        self._codes = np.concatenate([self._codes, codes])
        self._metrics = pd.concat([self._metrics, metrics[list(dict.fromkeys(names))]], ignore_index=True)
        self._points, self._excess = self.judge(self._metrics)
        self._model = None

    def _propose(self, n: int, rng: np.random.Generator) -> Codes:
        ends = self._new(self._ends, self._none)
        fine = np.isfinite(self._points).all(axis=1)
        few = len(self._codes) < self.initial or fine.sum() < 3
        return np.concatenate([ends, self.sample(n, rng) if few else self._guided(n, rng)])

    def _guided(self, n: int, rng: np.random.Generator) -> Codes:
        """Return `n` networks by local search on the acquisition function."""
        if self._model is None:  # a function of the history alone, kept until that grows
            self._model = self._fit()
        allowed = self._points[self._excess == 0]
        front = self._model.scale(allowed[is_on_front(allowed)])
        pool = self._offspring(self._elite(), rng)
        for _ in range(self.rounds):
            if not len(pool):
                return self._none
            score = self._improvement(self._model.predict(pool), front)
            best = pool[np.argsort(-score, kind="stable")[: self.kept]]
            pool = np.concatenate([best, self._offspring(best, rng, best)])
        return self._choose(self._model, pool, front, n)

    # --- candidates -----------------------------------------------------------------------------------------------

    @cached_property
    def _ends(self) -> Codes:
        """The cheapest network of every free objective."""
        return cheapest_networks(self, np.random.default_rng(self.seed))

    def _elite(self) -> Codes:
        """The networks whose offspring are candidates."""
        feasible = self._excess == 0
        if self._points.shape[1] > 1 and feasible.any():
            order = np.flatnonzero(feasible)[is_on_front(self._points[feasible])]
        else:
            order = survival_order(self._points, self._excess)[: self.elites]
        elite: Codes = self._codes[order]
        return elite

    def _offspring(self, parents: Codes, rng: np.random.Generator, known: Codes | None = None) -> Codes:
        """New networks that meet the free constraints: mutants, mutants of crossings, and drawn ones."""
        a, b = parents[rng.integers(len(parents), size=(2, self.offspring))]
        crossed = self.space.crossover(a, b, rng)
        drawn = self.sample(self.offspring, rng)
        young = np.concatenate([self.space.mutate(a, rng), self.space.mutate(crossed, rng), drawn])
        new = self._new(young, self._none if known is None else known)
        allowed: Codes = new[self.excess(new) == 0]
        return allowed

    # --- the model and what it is used for ------------------------------------------------------------------------

    @cached_property
    def _inputs(self) -> Inputs:
        return Inputs(self.space, self.costs)

    def _fit(self) -> OutcomeModel:
        kept = np.arange(len(self._codes))
        if len(kept) > self.memory:
            kept = np.sort(best_and_spread(survival_order(self._points, self._excess), self.memory))
        told = self._codes[kept], self._metrics.iloc[kept]
        return OutcomeModel(self._inputs, self.objectives, self.constraints, self.costs, self.free, told)

    def _improvement(self, outcomes: Outcomes, front: Array) -> Array:
        """Return float[n], log of the expected improvement on the front; on an empty one, that of being feasible."""
        if not len(front):
            return outcomes.log_feasible
        if front.shape[1] == 1:
            best = float(front.min())
            return log_expected_improvement(best, outcomes.mean[:, 0], outcomes.std[:, 0]) + outcomes.log_feasible
        low, worst = front.min(axis=0), self._points[np.isfinite(self._points).all(axis=1)].max(axis=0)
        # The reference is the worst seen; what is known beforehand may be worse in a candidate than ever seen.
        worst = np.where(self._exact, np.maximum(worst, outcomes.mean.max(axis=0)), worst)
        span = np.maximum(worst - low, 1e-12)
        growth = expected_hypervolume_improvement(
            (front - low) / span, (outcomes.mean - low) / span, outcomes.std / span
        )
        return np.log(np.maximum(growth, 1e-300)) + outcomes.log_feasible

    def _choose(self, model: OutcomeModel, pool: Codes, front: Array, n: int) -> Codes:
        """Return `n` candidates, those of each step believed to come out as predicted before the next."""
        score = self._improvement(model.predict(pool), front)
        finalists = pool[np.argsort(-score, kind="stable")[: max(self.finalists, 2 * n)]]
        outcomes = model.predict(finalists, joint=True)
        picked = np.zeros(0, dtype=np.int64)
        n = min(n, len(finalists))
        while len(picked) < n:
            score = self._improvement(outcomes, front)
            score[picked] = -np.inf
            chosen = np.argsort(-score, kind="stable")[: min(n - len(picked), -(-n // self.steps))]
            picked = np.concatenate([picked, chosen])
            outcomes.believe(chosen)
            front = np.concatenate([front, outcomes.mean[chosen]])
            front = front[is_on_front(front)]
        return finalists[picked]


def cheapest_networks(strategy: Strategy, rng: np.random.Generator) -> Codes:
    """Return for every free objective of a strategy a network with the least of it, found at no evaluation.

    Descent over neighbours from the best of a sample, among networks that meet the free constraints.
    """
    ends = [np.zeros((0, len(strategy.space.decisions)), dtype=np.int8)]
    for objective in strategy.objectives:
        if strategy.costs is None or objective.metric not in strategy.free:
            continue
        near, least = strategy.sample(1000, rng), np.inf
        while len(near):
            loss = losses(strategy.costs(near), [objective])[:, 0]
            loss[(strategy.excess(near) > 0) | ~np.isfinite(loss)] = np.inf
            if loss.min() >= least:
                break
            best, least = near[[loss.argmin()]], loss.min()
            near = strategy.space.neighbours(best[0])
        if least < np.inf:
            ends.append(best)
    return np.concatenate(ends)
