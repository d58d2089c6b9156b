"""What every search strategy has to keep to, as functions that a plugin's own tests can call.

    from nas.testing import check_strategy
    check_strategy(MyStrategy, nas.space("mbconv"))

A factory is a strategy class or anything called alike: `factory(space, objectives, constraints, seed, costs)`. The
metrics are made up, sums over the decisions, so a check takes milliseconds and needs neither models nor data. A broken
rule raises AssertionError, which says what was asked and what came.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from nas.cost import Constraint, Objective, violation
from nas.space import Codes, SearchSpace
from nas.strategies.base import Strategy

Factory = Callable[..., Strategy]
Bound = Literal["none", "tight", "infeasible"]

OBJECTIVES = (Objective("gain", maximise=True), Objective("cost"), Objective("memory"))
BOUNDS: tuple[Bound, ...] = ("none", "tight", "infeasible")
#: share of the networks that meets a tight bound
TIGHT = 0.01
#: networks told to a strategy, batch by batch
BATCHES = (16, 1, 1, 64)
#: spaces up to this size are searched until nothing is left
EXHAUSTED = 2000


@dataclass(frozen=True)
class MadeUpProblem:
    """A space with metrics that are sums over its decisions, different ones for each objective.

    Args:
        space: where to search.
        n_objectives: 1 to 3: gain (to maximise), cost, memory.
        bound: on cost: none, one that 1 % of the networks meet, or one that none meets.
        free: whether cost and memory are known without an evaluation.
    """

    space: SearchSpace
    n_objectives: int = 2
    bound: Bound = "none"
    free: bool = True

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return OBJECTIVES[: self.n_objectives]

    @cached_property
    def constraints(self) -> tuple[Constraint, ...]:
        if self.bound == "none":
            return ()
        cost = self.evaluate(self.space.sample(5000, np.random.default_rng(3)))["cost"]
        return (Constraint("cost", float(cost.quantile(TIGHT) if self.bound == "tight" else cost.min() / 10)),)

    def evaluate(self, codes: Codes) -> pd.DataFrame:
        """Return one row a code: gain, cost, memory."""
        return pd.DataFrame(
            self.space.features(codes) @ self._weights, columns=[objective.metric for objective in OBJECTIVES]
        )

    @cached_property
    def _weights(self) -> npt.NDArray[np.float64]:
        width = self.space.features(self.space.sample(1, np.random.default_rng(0))).shape[1]
        return np.random.default_rng(99).uniform(0.1, 1.0, size=(width, len(OBJECTIVES)))

    def costs(self, codes: Codes) -> pd.DataFrame:
        """Return what is known without an evaluation."""
        return self.evaluate(codes)[["cost", "memory"]]

    def start(self, factory: Factory, seed: int = 0) -> Strategy:
        """Return a fresh strategy for this problem."""
        costs = self.costs if self.free else None
        return factory(self.space, self.objectives, self.constraints, seed, costs)

    def excess(self, codes: Codes) -> npt.NDArray[np.float64]:
        """Return float[n], by how much each network violates the bound."""
        return violation(self.evaluate(codes), self.constraints)


def check_strategy(
    factory: Factory,
    space: SearchSpace,
    *,
    objectives: Iterable[int] = (1, 2, 3),
    bounds: Iterable[Bound] = BOUNDS,
    batches: Sequence[int] = BATCHES,
    seed: int = 0,
) -> None:
    """Run every check on a space, for each number of objectives and each bound, known beforehand or learned.

    Raises:
        AssertionError: a rule is broken; says which, and on what problem.
    """
    for count, bound in itertools.product(objectives, bounds):
        for free in (True, False):
            problem = MadeUpProblem(space, count, bound, free)
            check_search(factory, problem, batches, seed)
            check_failures(factory, problem, batches, seed)
            if free or bound == "none":
                check_bound(factory, problem, seed)
            if space.size <= EXHAUSTED:
                check_exhaustion(factory, problem, 64, seed)


def check_search(factory: Factory, problem: MadeUpProblem, batches: Sequence[int] = BATCHES, seed: int = 0) -> None:
    """Valid and new proposals, as many as asked for; the same for the same seed and history, asked once or twice.

    The history goes through JSON before it is told to a second strategy, as after a kill.
    """
    _search(factory, problem, batches, seed, lambda metrics, _: metrics)


def check_failures(factory: Factory, problem: MadeUpProblem, batches: Sequence[int] = BATCHES, seed: int = 0) -> None:
    """Everything in `check_search`, with evaluations that fail: NaN, inf and -inf in some metrics, or in all."""
    values = (np.nan, np.inf, -np.inf)

    def somewhere(metrics: pd.DataFrame, batch: int) -> pd.DataFrame:
        broken = metrics.copy()
        for i in range(0, len(broken), 3):
            broken.iloc[i, (i + batch) % broken.shape[1]] = values[(i // 3 + batch) % 3]
        return broken

    def everywhere(metrics: pd.DataFrame, batch: int) -> pd.DataFrame:
        # A batch in which all is well comes in between.
        return metrics if batch == 1 else metrics * 0 + values[batch % 3]

    for breaks in (somewhere, everywhere):
        _search(factory, problem, batches, seed, breaks)


def check_bound(factory: Factory, problem: MadeUpProblem, seed: int = 0, n: int = 24) -> None:
    """A bound on what is known beforehand: all proposals meet it, or if no network does, they are near ones."""
    if not problem.constraints:
        return
    strategy = problem.start(factory, seed)
    told = []
    for batch in (n // 2, 1, n // 2):
        told.append(strategy.ask(batch))
        strategy.tell(told[-1], problem.evaluate(told[-1]))
    over = problem.excess(np.concatenate(told))
    drawn = problem.excess(problem.space.sample(1000, np.random.default_rng(seed)))
    _require(len(over) > 0, "nothing was proposed under a bound", problem)
    if problem.bound == "tight":
        _require(not over.any(), f"{int((over > 0).sum())} of {len(over)} proposals break a known bound", problem)
    else:
        usual = float(np.quantile(drawn, 0.25))
        _require(
            float(np.median(over)) <= usual,
            f"no network meets the bound, and proposals violate it by {np.median(over):.3g}, chance by {usual:.3g}",
            problem,
        )


def check_exhaustion(factory: Factory, problem: MadeUpProblem, n: int = 64, seed: int = 0) -> None:
    """Of a small space every network is proposed once (if some meet a known bound: each of those), then none."""
    space, strategy, known = problem.space, problem.start(factory, seed), set[bytes]()
    everything = space.all_codes()
    if problem.free and problem.bound == "tight":
        everything = everything[problem.excess(everything) == 0]
    for _ in range(len(everything) + 1):
        codes = strategy.ask(n)
        if not len(codes):
            break
        _check_proposals(codes, n, known, problem)
        strategy.tell(codes, problem.evaluate(codes))
    _require(
        known == {row.tobytes() for row in everything}, f"{len(known)} of {len(everything)} networks proposed", problem
    )
    for again in (1, n):
        _require(len(strategy.ask(again)) == 0, "networks are proposed though none is left", problem)


# --- how --------------------------------------------------------------------------------------------------------------


def _search(
    factory: Factory,
    problem: MadeUpProblem,
    batches: Sequence[int],
    seed: int,
    breaks: Callable[[pd.DataFrame, int], pd.DataFrame],
) -> None:
    first, known, history = problem.start(factory, seed), set[bytes](), []
    _require(first.batch_size >= 1, f"batch_size is {first.batch_size}", problem)
    for batch, n in enumerate(batches):
        codes = first.ask(n)
        _check_proposals(codes, n, known, problem)
        _require_equal(first.ask(n), codes, "asked again, it proposes something else", problem)
        metrics = breaks(problem.evaluate(codes), batch)
        told_codes, told_metrics = codes.copy(), metrics.copy()
        first.tell(told_codes, told_metrics)
        _require_equal(told_codes, codes, "the codes told are changed", problem)
        _require(told_metrics.equals(metrics), "the metrics told are changed", problem)
        history.append(json.dumps([n, codes.tolist(), metrics.to_dict("list")]))
    second = problem.start(factory, seed)
    for batch, record in enumerate(map(json.loads, history)):
        n, codes, metrics = record[0], np.array(record[1], dtype=np.int8), pd.DataFrame(record[2])
        codes = codes.reshape(-1, len(problem.space.decisions))
        if batch % 2 == 0:  # never asked in between, it has to come to the same
            _require_equal(second.ask(n), codes, "the same seed and history give other proposals", problem)
        second.tell(codes, metrics)
    _require_equal(second.ask(8), first.ask(8), "after a replayed history proposals differ", problem)


def _check_proposals(codes: Codes, n: int, known: set[bytes], problem: MadeUpProblem) -> None:
    """Codes of the space in their one form, at most `n`, none of them twice or known; added to `known`."""
    space = problem.space
    _require(codes.dtype == np.int8 and codes.ndim == 2, f"codes are {codes.dtype} {list(codes.shape)}", problem)
    _require(len(codes) <= n, f"{len(codes)} proposals instead of {n}", problem)
    left = space.size - len(known)
    if problem.bound != "tight" or not problem.free:
        _require(len(codes) == min(n, left), f"{len(codes)} proposals instead of {min(n, left)}", problem)
    _require_equal(space.check(codes), codes, "proposals are not canonical", problem)
    new = {row.tobytes() for row in codes}
    _require(len(new) == len(codes), "a network is proposed twice in a batch", problem)
    _require(known.isdisjoint(new), "a network that was told is proposed again", problem)
    known.update(new)


def _require(condition: bool, message: str, problem: MadeUpProblem) -> None:
    if not condition:
        raise AssertionError(f"{message} (space {problem.space.name}, {_in_words(problem)})")


def _require_equal(found: Codes, wanted: Codes, message: str, problem: MadeUpProblem) -> None:
    _require(found.shape == wanted.shape and bool((found == wanted).all()), message, problem)


def _in_words(problem: MadeUpProblem) -> str:
    known = "costs known" if problem.free else "costs learned"
    return f"{problem.n_objectives} objectives, bound {problem.bound}, {known}"
