"""What every search strategy has to keep to, as functions that a plugin's own tests can call.

    from nas.testing import check_strategy
    check_strategy(MyStrategy, nas.space("mbconv"))

A factory is a strategy class or anything called alike: `factory(space, objectives, constraints, seed, costs)`. The
metrics are made up, sums over the decisions, and need neither models nor data. A broken rule raises AssertionError,
which says what was asked, what came, and on which problem.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import multiprocessing
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal
from unittest import mock

import numpy as np
import numpy.typing as npt
import pandas as pd

from nas.cost import Constraint, Objective, violation
from nas.space import Codes, SearchSpace
from nas.strategies.base import Strategy

Factory = Callable[..., Strategy]
Bound = Literal["none", "tight", "infeasible"]

OBJECTIVES = (Objective("gain", maximise=True), Objective("cost"), Objective("memory"))
_METRICS = tuple(objective.metric for objective in OBJECTIVES)
BOUNDS: tuple[Bound, ...] = ("none", "tight", "infeasible")
#: metrics that may be known without an evaluation: all of them, one, none
KNOWN: tuple[tuple[str, ...], ...] = (("cost", "memory"), ("cost",), ())
#: share of the networks that meets a tight bound
TIGHT = 0.01
#: networks asked for, batch by batch: many, one, and a long search of single networks
BATCHES = (16, 1, 1, 64)
LONG = (16, *(1,) * 60)
#: spaces up to this size are searched until nothing is left
EXHAUSTED = 2000
#: spaces up to this size are listed to know what a strategy should have found
LISTED = 20_000
#: how long one ask or tell may take; far more than any needs, so that a slow machine fails no sound strategy
SECONDS = 60.0


@dataclass(frozen=True)
class MadeUpProblem:
    """A space with metrics that are sums over its decisions, different ones for each objective.

    Args:
        space: where to search.
        n_objectives: 1 to 3: gain (to maximise), cost, memory.
        bound: none; on cost and memory, such that 1 % of the networks meet both; or, on cost, one that none meets.
        known: which of cost and memory are known without an evaluation.
    """

    space: SearchSpace
    n_objectives: int = 2
    bound: Bound = "none"
    known: tuple[str, ...] = KNOWN[0]

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return OBJECTIVES[: self.n_objectives]

    @cached_property
    def constraints(self) -> tuple[Constraint, ...]:
        if self.bound == "none":
            return ()
        metrics = self.evaluate(self.space.sample(5000, np.random.default_rng(3)))[["cost", "memory"]]
        level = metrics.rank(pct=True).max(axis=1)
        upper = metrics[level <= level.quantile(TIGHT)].max()
        if self.bound == "infeasible":
            upper["cost"] = self._weights.min() / 2
        return tuple(Constraint(str(metric), float(value)) for metric, value in upper.items())

    @property
    def known_constraints(self) -> tuple[Constraint, ...]:
        return tuple(constraint for constraint in self.constraints if constraint.metric in self.known)

    def evaluate(self, codes: Codes) -> pd.DataFrame:
        """Return one row a code: gain, cost, memory."""
        return self._table(codes, _METRICS)

    def costs(self, codes: Codes) -> pd.DataFrame:
        """Return what is known without an evaluation."""
        return self._table(codes, self.known)

    def _table(self, codes: Codes, metrics: Sequence[str]) -> pd.DataFrame:
        values = self.space.features(codes) @ self._weights
        return pd.DataFrame({name: values[:, column] for column, name in enumerate(_METRICS) if name in metrics})

    @cached_property
    def _weights(self) -> npt.NDArray[np.float64]:
        """Of every choice, in steps of 1/1024: sums are exact, however many networks are evaluated together."""
        width = self.space.features(self.space.sample(1, np.random.default_rng(0))).shape[1]
        return np.random.default_rng(99).integers(100, 1024, size=(width, len(OBJECTIVES))) / 1024

    def start(self, factory: Factory, seed: int = 0) -> Strategy:
        """Return a fresh strategy for this problem."""
        costs = self.costs if self.known else None
        return factory(self.space, self.objectives, self.constraints, seed, costs)

    def excess(self, codes: Codes) -> npt.NDArray[np.float64]:
        """Return float[n], by how much each network violates the bounds known beforehand."""
        return violation(self.evaluate(codes), self.known_constraints)

    @cached_property
    def proposable(self) -> Codes | None:
        """What may be proposed: all networks or, where some meet the known bounds, those; None for a large space."""
        if self.space.size > LISTED:
            return None
        everything = self.space.all_codes()
        excess = self.excess(everything)
        return everything if excess.all() else everything[excess == 0]

    @property
    def n_proposable(self) -> int:
        """How many networks may be proposed; of a large space at least so many."""
        if self.proposable is not None:
            return len(self.proposable)
        return int(self.space.size * (TIGHT if self.bound == "tight" else 1.0))

    def __str__(self) -> str:
        known = f"{' and '.join(self.known) or 'nothing'} known beforehand"
        return f"space {self.space.name}, {self.n_objectives} objectives, bound {self.bound}, {known}"


def check_strategy(
    factory: Factory,
    space: SearchSpace,
    *,
    objectives: Iterable[int] = (1, 2, 3),
    bounds: Iterable[Bound] = BOUNDS,
    batches: Sequence[int] = BATCHES,
    seed: int = 0,
) -> None:
    """Run every check on a space that any strategy has to pass, in this process.

    For each number of objectives and each bound; bounds and further objectives known beforehand, or in part, or
    learned. `check_processes` and, for a strategy that learns, `check_learned_bound` are to be called besides.

    Raises:
        AssertionError: a rule is broken.
    """
    problems = [MadeUpProblem(space, *setting) for setting in itertools.product(objectives, bounds, KNOWN)]
    for problem in problems:
        check_search(factory, problem, batches, seed)
        check_failures(factory, problem, batches, seed)
        check_bound(factory, problem, seed)
        if space.size <= EXHAUSTED:
            check_exhaustion(factory, problem, 64, seed)
    check_search(factory, problems[0], LONG, seed)


def check_search(factory: Factory, problem: MadeUpProblem, batches: Sequence[int] = BATCHES, seed: int = 0) -> None:
    """Valid and new proposals, as many as asked for; the same for the same seed and history, asked often or seldom.

    The history goes through JSON before it is told to a second strategy, as after a kill.
    """
    _search(factory, problem, batches, seed, lambda metrics, _: metrics)


def check_failures(factory: Factory, problem: MadeUpProblem, batches: Sequence[int] = BATCHES, seed: int = 0) -> None:
    """Everything in `check_search`, with evaluations that fail: NaN, inf and -inf in some metrics, or in all."""
    values = (np.nan, np.inf, -np.inf)

    def somewhere(metrics: pd.DataFrame, batch: int) -> pd.DataFrame:
        """Every third network fails; nine of them have every value in every metric."""
        broken = metrics.copy()
        for k, row in enumerate(range(0, len(broken), 3), start=batch):
            broken.iloc[row, (k + k // 3) % broken.shape[1]] = values[k % 3]
        return broken

    def everywhere(metrics: pd.DataFrame, batch: int) -> pd.DataFrame:
        """All fail in the same way, but for one batch in between."""
        return metrics if batch == 1 else metrics * 0 + values[batch % 3]

    for breaks in (somewhere, everywhere):
        _search(factory, problem, batches, seed, breaks)


def check_bound(factory: Factory, problem: MadeUpProblem, seed: int = 0, n: int = 24) -> None:
    """Bounds on what is known beforehand: all proposals meet them; if no network does, the nearest are proposed.

    Of a space that can be listed these are exactly the least violating; of a larger one the best proposal is better
    than a thousand random networks, and most are better than 19 of 20.
    """
    if not problem.known_constraints:
        return
    search = _Search(factory, problem, seed)
    for batch in (n // 2, 1, n // 2):
        codes = search.ask(batch)
        search.tell(codes, problem.evaluate(codes))
    over = np.sort(problem.excess(search.told))
    if problem.bound == "tight":
        search.require(not over.any(), f"{int((over > 0).sum())} of {len(over)} proposals break a known bound")
    elif problem.proposable is not None:
        least = np.sort(problem.excess(problem.proposable))[: len(over)]
        search.require(np.array_equal(over, least), "no network meets the bound, but not the nearest are proposed")
    else:
        chance = np.quantile(problem.excess(problem.space.sample(1000, np.random.default_rng(seed))), (0.0, 0.05))
        found = over[0], np.median(over)
        search.require(
            bool((found <= chance).all()),
            f"no network meets the bound, and proposals violate it by {found[0]:.3g} at best and {found[1]:.3g} in the "
            f"middle, random networks by {chance[0]:.3g} at best and {chance[1]:.3g} in the best twentieth",
        )


def check_exhaustion(factory: Factory, problem: MadeUpProblem, n: int = 64, seed: int = 0) -> None:
    """Of a small space every network is proposed once (if some meet a known bound: each of those), then none."""
    assert problem.proposable is not None, f"{problem.space.name} is too large to be exhausted"
    search = _Search(factory, problem, seed)
    while len(codes := search.ask(n)):
        search.tell(codes, problem.evaluate(codes))
    wanted = {row.tobytes() for row in problem.proposable}
    search.require(search.known == wanted, f"{len(search.known)} of {len(wanted)} networks proposed")
    for again in (1, n):
        search.require(len(search.ask(again)) == 0, "networks are proposed though none is left")


def check_learned_bound(
    factory: Factory, space: SearchSpace, n: int = 150, batch: int | None = None, seeds: Iterable[int] = range(3)
) -> None:
    """For strategies that learn: a bound that 1 % of networks meet, and that only evaluations tell, is found.

    All searches together find so many networks that meet it as random search would in less than 1 of 1000 cases.

    Args:
        n: evaluations of each search.
        batch: networks asked for at a time; None: as many as the strategy likes.
    """
    problem = MadeUpProblem(space, 2, "tight", known=())
    feasible = evaluations = 0
    for seed in seeds:
        search = _Search(factory, problem, seed)
        while (left := n - len(search.known)) > 0:
            codes = search.ask(min(batch or search.strategy.batch_size, left))
            search.tell(codes, problem.evaluate(codes))
        feasible += int((violation(problem.evaluate(search.told), problem.constraints) == 0).sum())
        evaluations += n
    chance = _poisson_tail(feasible, TIGHT * evaluations)
    message = f"{feasible} of {evaluations} networks meet a learned bound: by chance with probability {chance:.2g}"
    search.require(chance < 0.001, message)


def check_processes(
    factories: Sequence[Factory], problem: MadeUpProblem, batches: Sequence[int] = BATCHES, seed: int = 0
) -> None:
    """Another process, at another time and with another seed of Python's hashes, proposes the same.

    Args:
        factories: classes or functions that the other process can import: on the top level of a module.
    """
    hash_seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
    with mock.patch.dict(os.environ, PYTHONHASHSEED=hash_seed), pool as elsewhere:
        there = [elsewhere.submit(fingerprint, factory, problem, batches, seed) for factory in factories]
        for factory, other in zip(factories, there, strict=True):
            same = fingerprint(factory, problem, batches, seed) == other.result()
            _require(same, f"{factory!r} proposes something else in another process", problem)


def fingerprint(factory: Factory, problem: MadeUpProblem, batches: Sequence[int] = BATCHES, seed: int = 0) -> str:
    """Return a digest of all proposals of a search: equal digests, equal searches."""
    search = _Search(factory, problem, seed)
    for n in batches:
        codes = search.ask(n)
        search.tell(codes, problem.evaluate(codes))
    return hashlib.sha256(search.told.tobytes()).hexdigest()


class _Search:
    """A strategy under watch: what holds for every single ask and tell is checked here."""

    def __init__(self, factory: Factory, problem: MadeUpProblem, seed: int):
        self.problem = problem
        with self._watched("starting"):
            self.strategy = problem.start(factory, seed)
        #: networks told, in order, and as a set
        self.told: Codes = np.zeros((0, len(problem.space.decisions)), dtype=np.int8)
        self.known: set[bytes] = set()

    def ask(self, n: int) -> Codes:
        """Codes of the space in their one form, none of them twice or known, `n` or all that are left."""
        with self._watched(f"asking for {n}"):
            codes = self.strategy.ask(n)
        space = self.problem.space
        self.require(codes.dtype == np.int8 and codes.ndim == 2, f"codes are {codes.dtype} {list(codes.shape)}")
        self.require_equal(space.check(codes), codes, "proposals are not canonical")
        new = {row.tobytes() for row in codes}
        self.require(len(new) == len(codes), "a network is proposed twice in a batch")
        self.require(self.known.isdisjoint(new), "a network that was told is proposed again")
        expected = min(n, self.problem.n_proposable - len(self.known))
        self.require(len(codes) == expected, f"{len(codes)} proposals instead of {expected}")
        return codes

    def tell(self, codes: Codes, metrics: pd.DataFrame) -> None:
        """Tell, and see that what is told stays as it is."""
        given, values = codes.copy(), metrics.copy()
        with self._watched(f"telling {len(codes)}"):
            self.strategy.tell(given, values)
        self.require_equal(given, codes, "the codes told are changed")
        self.require(values.equals(metrics), "the metrics told are changed")
        self.told = np.concatenate([self.told, codes])
        self.known.update(row.tobytes() for row in codes)

    def require(self, condition: bool, message: str) -> None:
        _require(condition, message, self.problem)

    def require_equal(self, found: Codes, wanted: Codes, message: str) -> None:
        self.require(found.shape == wanted.shape and bool((found == wanted).all()), message)

    @contextmanager
    def _watched(self, doing: str) -> Iterator[None]:
        before = _global_random_state()
        with _time_limit(f"{doing} takes more than {SECONDS:g} s ({self.problem})"):
            yield
        self.require(_global_random_state() == before, f"{doing} draws from, or seeds, global random numbers")


def _search(
    factory: Factory,
    problem: MadeUpProblem,
    batches: Sequence[int],
    seed: int,
    breaks: Callable[[pd.DataFrame, int], pd.DataFrame],
) -> None:
    first, history = _Search(factory, problem, seed), []
    first.require(first.strategy.batch_size >= 1, f"batch_size is {first.strategy.batch_size}")
    for batch, n in enumerate(batches):
        codes = first.ask(n)
        first.require_equal(first.ask(n), codes, "asked again, it proposes something else")
        metrics = breaks(problem.evaluate(codes), batch)
        first.tell(codes, metrics.set_axis(range(len(codes))[::-1]))  # rows are in order, whatever their labels
        history.append(json.dumps([n, codes.tolist(), metrics.to_dict("list")]))
    # What is resumed is told before it is asked for the first time, and asked when and as often as it happens.
    second = _Search(factory, problem, seed)
    for batch, record in enumerate(map(json.loads, history)):
        n, codes, metrics = record[0], np.array(record[1], dtype=np.int8), pd.DataFrame(record[2])
        codes = codes.reshape(-1, len(problem.space.decisions))
        if batch % 2 == 1:
            second.require_equal(second.ask(n), codes, "the same seed and history give other proposals")
        second.tell(codes, metrics)
    second.require_equal(second.ask(8), first.ask(8), "after a replayed history proposals differ")


def _poisson_tail(count: int, mean: float) -> float:
    """Return the probability of at least `count` rare events where `mean` are expected."""
    terms = itertools.accumulate(range(1, count), lambda term, k: term * mean / k, initial=math.exp(-mean))
    return max(1.0 - sum(terms), 0.0) if count else 1.0


def _require(condition: bool, message: str, problem: MadeUpProblem) -> None:
    if not condition:
        raise AssertionError(f"{message} ({problem})")


def _global_random_state() -> tuple[Any, ...]:
    """What Python, NumPy and, where it is loaded, torch draw from unless they are given a generator."""
    torch = sys.modules.get("torch")
    torch_state = None if torch is None else torch.random.get_rng_state().numpy().tobytes()
    numpy_state: Any = np.random.get_state()
    return random.getstate(), numpy_state[1].tobytes(), numpy_state[2], torch_state


@contextmanager
def _time_limit(message: str) -> Iterator[None]:
    """Interrupt what takes longer than `SECONDS`; only the main thread of a POSIX system can be interrupted."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise AssertionError(message)

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
