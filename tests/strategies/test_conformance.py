"""The public conformance suite over every registered strategy, two samplers of Optuna and a plugin."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

from nas import registry
from nas.errors import NasError
from nas.space import Codes, SearchSpace
from nas.strategies.base import Strategy
from nas.strategies.random import RandomSearch
from nas.testing import (
    BOUNDS,
    Bound,
    Factory,
    MadeUpProblem,
    check_bound,
    check_exhaustion,
    check_failures,
    check_search,
    check_strategy,
)

STRATEGIES = (*registry.names("strategies"), "optuna:NSGAIISampler", "plugin")
#: strategies with a model or a study behind them take milliseconds a network, so they are told fewer
LEARNING = {"reinforce", "ppo", "bananas", "npenas", "predictor", "predictor-pareto", "auto"}
REGISTERED = ("mbconv", "nasbench201", "nasbench101")


class HillClimber(Strategy):
    """A plugin as its author would write it: mutants of the best network told."""

    _best: tuple[float, Codes] | None = None

    def _propose(self, n: int, rng: np.random.Generator) -> Codes:
        if self._best is None:
            return self.sample(n, rng)
        return self.space.mutate(np.repeat(self._best[1][None], n, axis=0), rng)

    def _learn(self, codes: Codes, metrics: pd.DataFrame) -> None:
        points, excess = self.judge(metrics)
        order = np.lexsort((points[:, 0], excess))
        loss = float(points[order[0], 0])
        if self._best is None or loss < self._best[0]:
            self._best = loss, codes[order[0]]


def factory_of(name: str) -> Factory:
    if name.startswith("optuna"):
        pytest.importorskip("optuna")
    return HillClimber if name == "plugin" else registry.load("strategies", name)


def is_slow(name: str) -> bool:
    return name in LEARNING or name.startswith("optuna")


@pytest.fixture(params=STRATEGIES)
def strategy(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
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
    factory, batches = factory_of(strategy), (6, 1, 2) if is_slow(strategy) else (12, 1, 16)
    free = (count + BOUNDS.index(bound)) % 2 == 0 or is_slow(strategy)
    problem = MadeUpProblem(nested_space, count, bound, free)
    check_search(factory, problem, batches)
    check_failures(factory, problem, batches)
    if free:
        check_bound(factory, problem, n=12)


@pytest.mark.parametrize("name", REGISTERED)
def test_registered_spaces(strategy: str, name: str) -> None:
    space: SearchSpace = registry.load("spaces", name)
    if strategy == "grid" and name == "mbconv":
        with pytest.raises(NasError, match="too many to list"):
            MadeUpProblem(space).start(factory_of(strategy))
        return
    problem = MadeUpProblem(space, 2, "tight" if name == "mbconv" else "none")
    check_search(factory_of(strategy), problem, (6, 1) if is_slow(strategy) else (12, 1, 64))
    if name == "mbconv":
        check_bound(factory_of(strategy), problem, n=12)


@pytest.mark.parametrize(("n", "bound"), [(1, "tight"), (64, "none"), (64, "infeasible")])
def test_a_small_space_is_proposed_whole_and_then_nothing(
    strategy: str, n: int, bound: Bound, nested_space: SearchSpace, tiny_space: SearchSpace
) -> None:
    space = nested_space if is_slow(strategy) else tiny_space
    check_exhaustion(factory_of(strategy), MadeUpProblem(space, 2, bound), n)


def test_another_seed_gives_other_proposals(strategy: str, mbconv: SearchSpace) -> None:
    if strategy == "grid":
        pytest.skip("grid search has nothing random")
    problem, factory = MadeUpProblem(mbconv), factory_of(strategy)
    assert not np.array_equal(problem.start(factory, 4).ask(8), problem.start(factory, 5).ask(8))


# --- the suite finds what is broken -----------------------------------------------------------------------------------


class Repeats(RandomSearch):
    def _new(self, proposals: Codes, chosen: Codes) -> Codes:
        return proposals


class Remembers(RandomSearch):
    """Asking changes what comes next."""

    asked = 0

    def _propose(self, n: int, rng: np.random.Generator) -> Codes:
        self.asked += 1
        return self.space.sample(n, np.random.default_rng(self.asked))


class NotCanonical(RandomSearch):
    def ask(self, n: int) -> Codes:
        return np.maximum(super().ask(n), np.int8(1))


class IgnoresBounds(RandomSearch):
    def excess(self, codes: Codes) -> np.ndarray:
        return np.zeros(len(codes))


class Crashes(RandomSearch):
    def _learn(self, codes: Codes, metrics: pd.DataFrame) -> None:
        if not np.isfinite(metrics.to_numpy()).all():
            raise AssertionError("crashed on a failed evaluation")


class StopsEarly(RandomSearch):
    def ask(self, n: int) -> Codes:
        return super().ask(n)[:20]


class ChangesWhatItIsTold(RandomSearch):
    def _learn(self, codes: Codes, metrics: pd.DataFrame) -> None:
        codes[:] = 0


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (Repeats, "twice in a batch|told is proposed again"),
        (Remembers, "asked again"),
        (NotCanonical, "not canonical"),
        (IgnoresBounds, "break a known bound"),
        (Crashes, "crashed"),
        (StopsEarly, "proposals instead of"),
        (ChangesWhatItIsTold, "codes told are changed"),
    ],
)
def test_the_suite_refuses_broken_strategies(broken: type[Strategy], message: str, nested_space: SearchSpace) -> None:
    with pytest.raises(AssertionError, match=message):
        check_strategy(broken, nested_space, objectives=(2,), batches=(30, 8))


def test_the_suite_accepts_a_sound_strategy(nested_space: SearchSpace) -> None:
    check_strategy(RandomSearch, nested_space, objectives=(2,), batches=(16, 1, 8))
