"""The public conformance suite over every registered strategy, two samplers of Optuna and a plugin.

Every strategy meets every registered space and every bound; `benchmarks/conformance.py` runs the full product.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from functools import cache

import numpy as np
import pandas as pd
import pytest

import nas.testing
from nas import registry
from nas.errors import NasError
from nas.space import Codes, ListedSpace, SearchSpace
from nas.space.space import MAX_LISTED
from nas.strategies.base import LISTABLE, Strategy
from nas.strategies.random import RandomSearch
from nas.testing import (
    BOUNDS,
    KNOWN,
    LONG,
    Bound,
    Factory,
    MadeUpProblem,
    check_bound,
    check_exhaustion,
    check_failures,
    check_learned_bound,
    check_processes,
    check_search,
    check_strategy,
)


class HillClimber(Strategy):
    """A plugin as its author would write it: mutants of the best network told."""

    _best: tuple[float, float, Codes] | None = None

    def _propose(self, n: int, rng: np.random.Generator) -> Codes:
        if self._best is None:
            return self.sample(n, rng)
        return self.space.mutate(np.repeat(self._best[2][None], n, axis=0), rng)

    def _learn(self, codes: Codes, metrics: pd.DataFrame) -> None:
        points, excess = self.judge(metrics)
        first = np.lexsort((points[:, 0], excess))[0]
        found = float(excess[first]), float(points[first, 0])
        if self._best is None or found < self._best[:2]:
            self._best = *found, codes[first].copy()


def nsga2_of_optuna(*args: object) -> Strategy:
    strategy: Strategy = registry.load("strategies", "optuna:NSGAIISampler")(*args)
    return strategy


def factory_of(name: str) -> Factory:
    if name.startswith("optuna"):
        pytest.importorskip("optuna")
    if name == "optuna:NSGAIISampler":
        return nsga2_of_optuna
    return HillClimber if name == "plugin" else registry.load("strategies", name)


def distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names of different strategies: one may have two."""
    return tuple({registry.load("strategies", name): name for name in reversed(names)}.values())[::-1]


#: "optunahub" is nothing without the name of a package
STRATEGIES = (
    *distinct(tuple(name for name in registry.names("strategies") if name != "optunahub")),
    "optuna:NSGAIISampler",
    "plugin",
)
SPACES = registry.names("spaces")
#: strategies with a model or a study behind them take milliseconds a network, so they are told fewer
LEARNING = {"reinforce", "ppo", "bananas", "npenas", "predictor", "auto"}
#: networks that the strategies that learn from a bound on what is learned are told to find some that meet it
SEEKERS = {
    "evolution": 150, "nsga2": 150, "nsga3": 150, "local": 150, "local-best": 150, "pareto-local": 150, "plugin": 150,
    "predictor": 60, "bananas": 80, "npenas": 80,
}  # fmt: skip


def is_slow(name: str) -> bool:
    return name in LEARNING or name.startswith("optuna")


@pytest.fixture(params=STRATEGIES)
def strategy(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("count", "bound"), list(itertools.product((1, 2, 3), BOUNDS)))
def test_every_number_of_objectives_and_every_bound(
    strategy: str, count: int, bound: Bound, nested_space: SearchSpace
) -> None:
    if is_slow(strategy) and (count, bound) not in ((1, "none"), (2, "tight"), (3, "infeasible")):
        pytest.skip("three settings cover all for strategies that take long")
    factory, batches = factory_of(strategy), (6, 1, 2) if is_slow(strategy) else (10, 1, 4)
    problem = MadeUpProblem(nested_space, count, bound, KNOWN[(count + 2 * BOUNDS.index(bound)) % 3])
    check_search(factory, problem, batches)
    check_failures(factory, problem, batches)
    check_bound(factory, problem, n=12)


@cache
def problem_on(name: str, count: int, bound: Bound, known: tuple[str, ...]) -> MadeUpProblem:
    return MadeUpProblem(registry.load("spaces", name), count, bound, known)


@pytest.mark.parametrize("name", SPACES)
def test_registered_spaces(strategy: str, name: str) -> None:
    """Each pair of a strategy and a space; bounds, objectives and what is known take turns."""
    if strategy == "auto":
        pytest.skip("one of the others")
    turn = STRATEGIES.index(strategy) + SPACES.index(name)
    bound: Bound = {0: "tight", 4: "infeasible"}.get(turn % 8, "none")
    # Where no network meets a known bound, a space of this size is listed whole, which takes seconds.
    known = () if name == "nasbench101" and bound == "infeasible" else KNOWN[turn // 8 % 2]
    problem = problem_on(name, 1 + turn % 3, bound, known)
    factory = factory_of(strategy)
    if strategy == "grid" and problem.space.size > MAX_LISTED:
        with pytest.raises(NasError, match="too many to list"):
            problem.start(factory)
    elif strategy == "grid" and problem.space.size > LISTABLE:
        pytest.skip("to list it again and again takes a minute")
    else:
        check_search(factory, problem, (5, 1) if is_slow(strategy) or bound != "none" else (12, 1, 64))
        check_bound(factory, problem, n=8)


@pytest.mark.parametrize(("n", "bound"), [(1, "tight"), (1, "none"), (64, "none"), (64, "infeasible")])
def test_a_small_space_is_proposed_whole_and_then_nothing(
    strategy: str, n: int, bound: Bound, nested_space: SearchSpace, tiny_space: SearchSpace
) -> None:
    if is_slow(strategy) and (n, bound) not in ((1, "tight"), (64, "none")):
        pytest.skip("two settings for strategies that take long")
    space = nested_space if is_slow(strategy) else tiny_space
    check_exhaustion(factory_of(strategy), MadeUpProblem(space, 2, bound), n)


def test_a_list_of_networks_is_proposed_whole_and_then_nothing(strategy: str) -> None:
    # Of a sparse list hardly any two networks are one decision apart.
    whole: SearchSpace = registry.load("spaces", "nasbench201")
    listed = ListedSpace(whole, whole.sample(40, np.random.default_rng(0)))
    check_exhaustion(factory_of(strategy), MadeUpProblem(listed), 8)


def test_another_seed_gives_other_proposals(strategy: str, mbconv: SearchSpace) -> None:
    if strategy == "grid":
        pytest.skip("grid search has nothing random")
    problem, factory = MadeUpProblem(mbconv), factory_of(strategy)
    assert not np.array_equal(problem.start(factory, 4).ask(8), problem.start(factory, 5).ask(8))


def test_another_process_proposes_the_same(nested_space: SearchSpace) -> None:
    check_processes([factory_of(name) for name in STRATEGIES], MadeUpProblem(nested_space, 2), (16, 1, 8))


@pytest.mark.parametrize("name", SEEKERS)
def test_a_bound_that_only_evaluations_tell_is_learned(name: str) -> None:
    # 1 % of the 6,561 networks meet the bounds on both metrics.
    space: SearchSpace = registry.load("spaces", "nasbench-macro")
    check_learned_bound(factory_of(name), space, SEEKERS[name], seeds=range(2))


# --- the suite finds what is broken -----------------------------------------------------------------------------------


class Repeats(RandomSearch):
    """After 50 networks the least of them again."""

    def ask(self, n: int) -> Codes:
        codes = super().ask(n)
        if len(self._known) > 50 and len(codes):
            codes[0] = np.frombuffer(min(self._known), dtype=np.int8)
        return codes


class DependsOnAsks(RandomSearch):
    """Asking changes what comes next."""

    asked = 0

    def _propose(self, n: int, rng: np.random.Generator) -> Codes:
        self.asked += 1
        return self.space.sample(n, np.random.default_rng(self.asked))


class KeepsWhatItPlanned(RandomSearch):
    """A plan is made when it is asked for and kept for three tells: who asks later plans on more."""

    _plan: Codes | None = None
    _planned_at = 0

    def _propose(self, n: int, rng: np.random.Generator) -> Codes:
        if self._plan is None or len(self._known) > self._planned_at + 8:
            self._planned_at, self._plan = len(self._known), self.sample(200, rng)
        return self._plan


class NeedsToBeAskedFirst(RandomSearch):
    _pool: Codes

    def _propose(self, n: int, rng: np.random.Generator) -> Codes:
        self._pool = self.sample(n, rng)
        return self._pool

    def _learn(self, codes: Codes, metrics: pd.DataFrame) -> None:
        try:
            self._pool = self._pool[1:]
        except AttributeError:
            raise AssertionError("told before it was asked") from None


class DrawsGlobally(RandomSearch):
    def _learn(self, codes: Codes, metrics: pd.DataFrame) -> None:
        np.random.seed(self.seed)


class GoesByTheClock(RandomSearch):
    """The hour it is started in."""

    def __init__(self, *args: object, **kwargs: object):
        super().__init__(*args, **kwargs)
        self.seed = int(time.time())


class GoesByHashes(RandomSearch):
    """The order of a set of words is another one in every process."""

    def _propose(self, n: int, rng: np.random.Generator) -> Codes:
        words = {self.space.format(row[None])[0]: row for row in self.sample(4 * n, rng)}
        return np.array([words[text] for text in set(words)])


class NotCanonicalInside(RandomSearch):
    """A decision that hangs on one that hangs on another is not put back to 0."""

    def ask(self, n: int) -> Codes:
        codes = super().ask(n)
        codes[~self.space.active(codes)[:, -1], -1] = 1
        return codes


class IgnoresBounds(RandomSearch):
    def excess(self, codes: Codes) -> np.ndarray:
        return np.zeros(len(codes))


class IgnoresTheSecondBound(RandomSearch):
    def __init__(self, *args: object, **kwargs: object):
        super().__init__(*args, **kwargs)
        self.free_constraints = self.free_constraints[:1]


class GivesUpOnTheInfeasible(RandomSearch):
    """If no network meets the bounds, any network will do."""

    def _nearest(self, n: int) -> Codes:
        return self._new(self.space.sample(8 * n, np.random.default_rng(0)), self._none)[:n]


class CrashesAtMinusInfinity(RandomSearch):
    def _learn(self, codes: Codes, metrics: pd.DataFrame) -> None:
        if np.isneginf(metrics["memory"]).any():
            raise AssertionError("crashed on a memory of minus infinity")


class GivesTooMany(RandomSearch):
    def ask(self, n: int) -> Codes:
        return super().ask(n + 1)


class StopsEarly(RandomSearch):
    def ask(self, n: int) -> Codes:
        return super().ask(n)[: 40 - len(self._known)]


class NeverStops(RandomSearch):
    """Rejection for ever: while too few are new, draw again."""

    def ask(self, n: int) -> Codes:
        found = self._none
        while len(found) < n:
            found = np.concatenate([found, self._new(self.space.sample(n, np.random.default_rng()), found)])
        return found


class SpeaksOfOneThatIsLeft(RandomSearch):
    """Forgets the last network of a space."""

    def ask(self, n: int) -> Codes:
        return super().ask(n)[: self.space.size - 1 - len(self._known)]


class ChangesTheCodesItIsTold(RandomSearch):
    def _learn(self, codes: Codes, metrics: pd.DataFrame) -> None:
        codes[:] = 0


class ChangesTheMetricsItIsTold(RandomSearch):
    def tell(self, codes: Codes, metrics: pd.DataFrame) -> None:
        metrics["cost"] = metrics["cost"].fillna(1.0) + 1
        super().tell(codes, metrics)


class GoesByLabels(RandomSearch):
    """Rows of metrics by their labels, which a history that was read has others of."""

    def tell(self, codes: Codes, metrics: pd.DataFrame) -> None:
        super().tell(codes, metrics)
        self.seed = int(1000 * np.nan_to_num(metrics["gain"].loc[0], posinf=1, neginf=2))


BROKEN = [
    (Repeats, "told is proposed again"),
    (DependsOnAsks, "asked again"),
    (KeepsWhatItPlanned, "the same seed and history give other proposals|replayed history"),
    (NeedsToBeAskedFirst, "told before it was asked"),
    (DrawsGlobally, "seeds, global random numbers"),
    (NotCanonicalInside, "not canonical"),
    (IgnoresBounds, "break a known bound|instead of"),
    (GivesUpOnTheInfeasible, "not the nearest are proposed|instead of"),
    (CrashesAtMinusInfinity, "crashed"),
    (GivesTooMany, "proposals instead of"),
    (StopsEarly, "proposals instead of"),
    (SpeaksOfOneThatIsLeft, "proposals instead of"),
    (ChangesTheCodesItIsTold, "codes told are changed"),
    (ChangesTheMetricsItIsTold, "metrics told are changed"),
    (GoesByLabels, "replayed history proposals differ|same seed and history"),
]


@pytest.mark.parametrize(("broken", "message"), BROKEN)
def test_the_suite_refuses_broken_strategies(broken: type[Strategy], message: str, nested_space: SearchSpace) -> None:
    with pytest.raises(AssertionError, match=message):
        check_strategy(broken, nested_space, objectives=(2,))


def test_the_suite_refuses_what_ignores_a_second_bound() -> None:
    problem = MadeUpProblem(registry.load("spaces", "nasbench201"), 1, "tight")
    with pytest.raises(AssertionError, match="break a known bound"):
        check_bound(IgnoresTheSecondBound, problem)


@pytest.mark.parametrize("broken", [GoesByTheClock, GoesByHashes])
def test_the_suite_refuses_what_depends_on_the_process(broken: type[Strategy], mbconv: SearchSpace) -> None:
    problem = MadeUpProblem(mbconv)
    check_search(broken, problem, (8, 1))  # in one process nothing is to be seen
    with pytest.raises(AssertionError, match="something else in another process"):
        check_processes([broken], problem, (8, 1))


def test_the_suite_does_not_wait_for_ever(nested_space: SearchSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nas.testing, "SECONDS", 0.3)
    with pytest.raises(AssertionError, match="takes more than"):
        check_exhaustion(NeverStops, MadeUpProblem(nested_space), 64)


def test_the_suite_tells_learning_from_chance() -> None:
    with pytest.raises(AssertionError, match="networks meet a learned bound"):
        check_learned_bound(RandomSearch, registry.load("spaces", "nasbench-macro"), 150)


def test_the_suite_accepts_a_sound_strategy(nested_space: SearchSpace) -> None:
    check_strategy(RandomSearch, nested_space, objectives=(1,), batches=(16, 1, 8))


def test_the_suite_searches_long_enough_to_see_late_repetitions() -> None:
    problem = MadeUpProblem(registry.load("spaces", "nasbench201"))
    with pytest.raises(AssertionError, match="told is proposed again"):
        check_search(Repeats, problem, LONG)
