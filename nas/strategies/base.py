"""The contract of black-box search strategies."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from nas.cost.objectives import Constraint, Objective, losses, violation
from nas.errors import NasError
from nas.space import Codes, SearchSpace

#: what is known of networks before an evaluation, one row a code: `Problem.costs`
Costs = Callable[[Codes], pd.DataFrame]

#: rounds of proposals that are all known before a strategy lists what is left of a small space
PATIENCE = 8
#: spaces up to this size are listed rather than sampled once new networks become rare
LISTABLE = 1_000_000
#: spaces up to this size are listed in an instant
SMALL = 20_000
#: networks drawn to find those that meet the free constraints, before any is repaired
DRAWN = 1000
#: neighbours drawn at each step of a repair
NEAR = 16
#: random networks repaired to find out whether any meets the free constraints
STARTS = 4


class Strategy(ABC):
    """Proposes architectures; a deterministic function of the seed and of what it was told.

    `ask` changes nothing, so a search is resumed by telling a new strategy the recorded history, batch by batch.
    No architecture is proposed twice; when the space is exhausted, `ask` returns fewer than asked for, at last none.

    A metric that `costs` returns is free. Constraints on free metrics are checked before an evaluation is spent:
    networks that violate them are proposed only as long as none is found that meets them, the nearest first.

    Args:
        space: where to search.
        objectives: what to optimise, the most important first.
        constraints: upper bounds.
        seed: of all random choices.
        costs: what is known of networks without evaluating them; None: nothing.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Objective],
        constraints: Sequence[Constraint],
        seed: int,
        costs: Costs | None = None,
    ):
        self.space = space
        self.objectives = tuple(objectives)
        self.constraints = tuple(constraints)
        self.seed = seed
        self.costs = costs
        #: metrics that cost no evaluation
        self.free: frozenset[str] = (
            frozenset(costs(space.sample(1, np.random.default_rng(0))).columns) if costs else frozenset()
        )
        #: why this strategy was chosen, where it was not the user who chose it
        self.reason = ""
        self.free_constraints = tuple(c for c in self.constraints if c.metric in self.free)
        self._known: set[bytes] = set()
        #: whether a network told meets the free constraints
        self._attained = not self.free_constraints

    @property
    def batch_size(self) -> int:
        """Architectures a search asks for at a time."""
        return 100

    # --- the contract ---------------------------------------------------------------------------------------------

    def ask(self, n: int) -> Codes:
        """Return up to `n` architectures that were never told, canonical and distinct."""
        rng = np.random.default_rng((self.seed, len(self._known)))
        if not (self._attained or self._attainable):
            return self._nearest(n)
        chosen = self._none
        idle = 0
        # The few networks that meet a bound in a small space are soon all known, and repairs would only repeat them.
        patience = 2 if self.free_constraints and self.space.size <= SMALL else PATIENCE
        while len(chosen) < n and idle < patience:
            proposals = self._propose(n, rng) if idle < patience // 2 else self.sample(n, rng)
            repaired, excess = self._repaired(proposals, rng)
            fresh = self._new(repaired[excess == 0], chosen)[: n - len(chosen)]
            idle = 0 if len(fresh) else idle + 1
            chosen = np.concatenate([chosen, fresh])
        if len(chosen) < n and self.space.size <= LISTABLE:
            rest = self._new(self.space.all_codes(), chosen)
            rest = rng.permutation(rest[self.excess(rest) == 0])
            chosen = np.concatenate([chosen, rest[: n - len(chosen)]])
        return chosen

    def tell(self, codes: Codes, metrics: pd.DataFrame) -> None:
        """Learn the metrics of evaluated architectures, one row each in order; a failed evaluation is not finite."""
        if not len(codes):
            return
        self._known.update(row.tobytes() for row in codes)
        self._attained = self._attained or not self.excess(codes).all()
        if not metrics.index.equals(pd.RangeIndex(len(codes))):
            metrics = metrics.reset_index(drop=True)
        self._learn(codes, metrics)

    @abstractmethod
    def _propose(self, n: int, rng: np.random.Generator) -> Codes:
        """Return about `n` proposals; known ones and repetitions are dropped by the caller, violations repaired."""

    def _learn(self, codes: Codes, metrics: pd.DataFrame) -> None:  # noqa: B027 - random search learns nothing
        """Update what proposals depend on."""

    # --- for strategies -------------------------------------------------------------------------------------------

    def sample(self, n: int, rng: np.random.Generator) -> Codes:
        """Return int8[n, D], uniform over the networks that meet the free constraints.

        Where those are too rare to be found by drawing, the least violating of the drawn ones are repaired.
        """
        if not self.free_constraints:
            return self.space.sample(n, rng)
        drawn = self.space.sample(max(DRAWN, 4 * n), rng)
        return self.repair(drawn[np.argsort(self.excess(drawn), kind="stable")[:n]], rng)

    def excess(self, codes: Codes) -> npt.NDArray[np.float64]:
        """Return float[n], by how much the free constraints are violated: 0 where they are met."""
        if self.costs is None or not self.free_constraints or not len(codes):
            return np.zeros(len(codes))
        return violation(self.costs(codes), self.free_constraints)

    def repair(self, codes: Codes, rng: np.random.Generator) -> Codes:
        """Lead every code that violates a free constraint to one that meets them, by steps to a neighbour.

        Each step goes to the least violating of some neighbours drawn at random or, where none of those is better, of
        all neighbours. A code stays violating only where that descent ends in a local minimum.
        """
        return self._repaired(codes, rng)[0]

    def _repaired(self, codes: Codes, rng: np.random.Generator) -> tuple[Codes, npt.NDArray[np.float64]]:
        """Return what `repair` does, and float[n], by how much it still violates the free constraints."""
        excess = self.excess(codes)
        moving = np.flatnonzero(excess)
        repaired = codes.copy()
        while len(moving):
            near = self.space.mutate(np.repeat(repaired[moving], NEAR, axis=0), rng, rate=0.0)
            over = self.excess(near).reshape(len(moving), NEAR)
            least = over.argmin(axis=1)
            over, near = over.min(axis=1), near.reshape(len(moving), NEAR, -1)[np.arange(len(moving)), least]
            stuck = np.flatnonzero(over >= excess[moving])
            near[stuck], over[stuck] = self._best_neighbours(repaired[moving[stuck]])
            better = over < excess[moving]
            moving = moving[better]
            repaired[moving], excess[moving] = near[better], over[better]
            moving = moving[excess[moving] > 0]
        return repaired, excess

    def _best_neighbours(self, codes: Codes) -> tuple[Codes, npt.NDArray[np.float64]]:
        """The least violating neighbour of each code, itself where it has none, and by how much that violates."""
        near = [self.space.neighbours(code) for code in codes]
        ends = np.cumsum([0, *map(len, near)])
        over = self.excess(np.concatenate([self._none, *near]))
        best, least = codes.copy(), np.full(len(codes), np.inf)
        for i, (start, end) in enumerate(itertools.pairwise(ends)):
            if end > start:
                best[i], least[i] = near[i][over[start:end].argmin()], over[start:end].min()
        return best, least

    def judge(
        self, metrics: pd.DataFrame, objectives: Sequence[Objective] | None = None
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return float[n, M], losses, and float[n], violations of all constraints; of a failed evaluation all inf.

        An evaluation failed when an objective is not finite, minus infinity included: that is no good network.
        """
        points = losses(metrics, self.objectives if objectives is None else objectives)
        excess = violation(metrics, self.constraints)
        failed = ~np.isfinite(points).all(axis=1)
        points[failed], excess[failed] = np.inf, np.inf
        return points, excess

    def members(self, codes: Codes) -> Codes:
        """Return the canonical form of freely combined choices, without those that are no network of the space."""
        try:
            return self.space.check(codes)
        except NasError:
            if len(codes) <= 1:
                return codes[:0]
            half = len(codes) // 2
            return np.concatenate([self.members(codes[:half]), self.members(codes[half:])])

    # --- inside ---------------------------------------------------------------------------------------------------

    @property
    def _none(self) -> Codes:
        return np.zeros((0, len(self.space.decisions)), dtype=np.int8)

    def _new(self, proposals: Codes, chosen: Codes) -> Codes:
        """The proposals that are neither known nor among `chosen`, each once, in order."""
        taken = {row.tobytes() for row in chosen}
        fresh = []
        for row in proposals:
            key = row.tobytes()
            if key not in taken and key not in self._known:
                taken.add(key)
                fresh.append(row)
        return np.array(fresh, dtype=np.int8).reshape(len(fresh), proposals.shape[1])

    # --- where no network meets the free constraints --------------------------------------------------------------

    @property
    def _attainable(self) -> bool:
        """Whether some network is found that meets the free constraints."""
        return not self.excess(self._least_violating[:1]).any()

    @cached_property
    def _least_violating(self) -> Codes:
        """What repairs of networks drawn at random end at, or all of a small space; the least violating first."""
        rng = np.random.default_rng(self.seed)
        codes = np.unique(self.repair(self.space.sample(STARTS, rng), rng), axis=0)
        if self.excess(codes).all() and self.space.size <= LISTABLE:
            codes = rng.permutation(self.space.all_codes())
        return codes[np.argsort(self.excess(codes), kind="stable")]

    def _nearest(self, n: int) -> Codes:
        """Up to `n` unknown networks that violate the free constraints little: those above, and around them."""
        if len(self._least_violating) == self.space.size:
            return self._new(self._least_violating[: len(self._known) + n], self._none)[:n]
        pool = [row.tobytes() for row in self._least_violating]
        seen, unknown = set(pool), sum(key not in self._known for key in pool)
        for key in pool:  # which grows
            if unknown >= n:
                break
            for row in self.space.neighbours(np.frombuffer(key, dtype=np.int8)):
                near = row.tobytes()
                if near not in seen:
                    seen.add(near)
                    pool.append(near)
                    unknown += near not in self._known
        fresh = self._new(np.array([np.frombuffer(key, dtype=np.int8) for key in pool]), self._none)
        return fresh[np.argsort(self.excess(fresh), kind="stable")[:n]]
