"""What every registered strategy keeps to, on every kind of space, number of objectives and constraint."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from nas import registry
from nas.cost import Constraint, Objective
from nas.space import Codes, SearchSpace
from nas.strategies.base import Strategy

SPACES = ("tiny_space", "nested_space", "mbconv")
SMALL_SPACES = SPACES[:2]
OBJECTIVES = (Objective("gain", maximise=True), Objective("cost"), Objective("memory"))
#: share of a space that meets the constraint; no constraint at all for None
FEASIBLE = {"free": None, "tight": 0.05, "infeasible": 0.0}


@dataclass(frozen=True)
class Scenario:
    """A strategy at work on made-up metrics: additive over the decisions, different for each objective."""

    name: str
    space: SearchSpace
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...]

    def start(self, seed: int = 0) -> Strategy:
        strategy: Strategy = registry.load("strategies", self.name)(self.space, self.objectives, self.constraints, seed)
        return strategy

    def run(self, strategy: Strategy, batches: int, n: int = 40) -> list[tuple[Codes, pd.DataFrame]]:
        history = []
        for _ in range(batches):
            codes = strategy.ask(n)
            history.append((codes, made_up_metrics(self.space, codes)))
            strategy.tell(*history[-1])
        return history


def made_up_metrics(space: SearchSpace, codes: Codes) -> pd.DataFrame:
    features = space.features(codes)
    weights = np.random.default_rng(99).uniform(0.1, 1, size=(features.shape[1], len(OBJECTIVES)))
    return pd.DataFrame(features @ weights, columns=[objective.metric for objective in OBJECTIVES])


def bound(space: SearchSpace, share: float | None) -> tuple[Constraint, ...]:
    if share is None:
        return ()
    cost = made_up_metrics(space, space.sample(2000, np.random.default_rng(3))).cost
    return (Constraint("cost", float(cost.quantile(share)) if share else float(cost.min()) / 10),)


@pytest.fixture(params=registry.names("strategies"))
def strategy_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(
    params=[
        pytest.param(setting, id="-".join(map(str, setting)))
        for setting in itertools.product(SPACES, range(1, 4), FEASIBLE)
    ]
)
def scenario(request: pytest.FixtureRequest, strategy_name: str) -> Scenario:
    space_name, count, feasible = request.param
    space: SearchSpace = request.getfixturevalue(space_name)
    return Scenario(strategy_name, space, OBJECTIVES[:count], bound(space, FEASIBLE[feasible]))


@pytest.fixture(params=SPACES)
def plain(request: pytest.FixtureRequest, strategy_name: str) -> Scenario:
    """Two objectives and no constraint, for what does not depend on them."""
    return Scenario(strategy_name, request.getfixturevalue(request.param), OBJECTIVES[:2], ())


@pytest.fixture(params=SMALL_SPACES)
def small(request: pytest.FixtureRequest, strategy_name: str) -> Scenario:
    return Scenario(strategy_name, request.getfixturevalue(request.param), OBJECTIVES[:2], ())


def keys(codes: Codes) -> list[bytes]:
    return [row.tobytes() for row in codes]


def assert_proposals(space: SearchSpace, codes: Codes, known: set[bytes]) -> None:
    """Codes of the space in their one form, none of them twice or known; added to `known`."""
    assert codes.dtype == np.int8
    np.testing.assert_array_equal(space.check(codes), codes)
    new = keys(codes)
    assert len(set(new)) == len(new)
    assert known.isdisjoint(new)
    known.update(new)


def test_the_shipped_strategies_are_registered() -> None:
    assert {"random", "nsga2"} <= set(registry.names("strategies"))


def test_proposals_are_networks_that_were_never_proposed(scenario: Scenario) -> None:
    known: set[bytes] = set()
    for codes, _ in scenario.run(scenario.start(), batches=6):
        assert_proposals(scenario.space, codes, known)
    assert len(known) == min(240, scenario.space.size)


def test_the_same_seed_and_history_give_the_same_proposals(scenario: Scenario) -> None:
    first = scenario.run(scenario.start(seed=4), batches=4)
    second = scenario.run(scenario.start(seed=4), batches=4)
    for (codes, _), (again, _) in zip(first, second, strict=True):
        np.testing.assert_array_equal(codes, again)


def test_another_seed_gives_other_proposals(plain: Scenario) -> None:
    first, second = plain.start(seed=4).ask(40), plain.start(seed=5).ask(40)
    assert not np.array_equal(first, second)


def test_asking_changes_nothing(scenario: Scenario) -> None:
    asked, silent = scenario.start(), scenario.start()
    for _ in range(3):
        codes = asked.ask(30)
        for n in (1, 64):
            asked.ask(n)
        np.testing.assert_array_equal(asked.ask(30), codes)
        for strategy in (asked, silent):
            strategy.tell(codes, made_up_metrics(scenario.space, codes))
    np.testing.assert_array_equal(asked.ask(30), silent.ask(30))


def test_a_replayed_history_gives_the_same_future(scenario: Scenario) -> None:
    original = scenario.start(seed=8)
    history = scenario.run(original, batches=5, n=16)
    resumed = scenario.start(seed=8)
    for codes, metrics in history:
        resumed.tell(codes, metrics)
    for (codes, _), (again, _) in zip(scenario.run(original, 3), scenario.run(resumed, 3), strict=True):
        np.testing.assert_array_equal(codes, again)


@pytest.mark.parametrize("n", [0, 1, 64])
def test_as_many_as_asked_for(plain: Scenario, n: int) -> None:
    strategy = plain.start()
    assert strategy.ask(n).shape == (min(n, plain.space.size), len(plain.space.decisions))
    plain.run(strategy, batches=3, n=16)
    assert len(strategy.ask(n)) == min(n, plain.space.size - 48)


@pytest.mark.parametrize("n", [1, 7, 64, 1000])
def test_a_small_space_is_proposed_whole_and_then_nothing(small: Scenario, n: int) -> None:
    strategy, known = small.start(), set[bytes]()
    while len(codes := strategy.ask(n)):
        assert_proposals(small.space, codes, known)
        strategy.tell(codes, made_up_metrics(small.space, codes))
    assert known == set(keys(small.space.all_codes()))
    assert strategy.ask(1).shape == (0, len(small.space.decisions))


def break_metrics(metrics: pd.DataFrame, failure: str, everywhere: bool) -> pd.DataFrame:
    broken = metrics.copy()
    values = [float(failure)] if failure != "mixed" else [np.nan, np.inf, -np.inf]
    for i in range(0, len(broken), 1 if everywhere else 3):
        columns = slice(None) if everywhere else [i % broken.shape[1]]
        broken.iloc[i, columns] = values[i % len(values)]
    return broken


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("failure", "everywhere"), [("mixed", False), ("mixed", True), ("-inf", True)])
def test_failed_evaluations_are_survived(scenario: Scenario, failure: str, everywhere: bool) -> None:
    strategy, known = scenario.start(), set[bytes]()
    for batch in range(5):
        codes = strategy.ask(30)
        assert_proposals(scenario.space, codes, known)
        # A batch in which everything succeeds comes in between.
        broken = break_metrics(made_up_metrics(scenario.space, codes), failure, everywhere and batch != 3)
        strategy.tell(codes, broken)
    assert len(known) == min(150, scenario.space.size)
    np.testing.assert_array_equal(strategy.ask(10), strategy.ask(10))


def test_what_is_told_is_left_as_it_is(plain: Scenario) -> None:
    strategy = plain.start()
    for codes, metrics in plain.run(strategy, batches=3):
        kept_codes, kept_metrics = codes.copy(), metrics.copy()
        strategy.tell(codes, metrics)
        strategy.ask(20)
        np.testing.assert_array_equal(codes, kept_codes)
        pd.testing.assert_frame_equal(metrics, kept_metrics)


def test_the_index_and_other_columns_of_metrics_do_not_matter(plain: Scenario) -> None:
    bare, dressed = plain.start(), plain.start()
    for codes, metrics in plain.run(plain.start(), batches=4):
        bare.tell(codes, metrics)
        renamed = metrics.set_index(pd.Index(range(1000, 1000 + len(metrics)))).assign(extra="text")
        dressed.tell(codes, renamed[renamed.columns[::-1]])
    np.testing.assert_array_equal(bare.ask(40), dressed.ask(40))


def test_nothing_told_is_no_news(plain: Scenario) -> None:
    strategy, silent = plain.start(), plain.start()
    plain.run(strategy, batches=2)
    plain.run(silent, batches=2)
    none = plain.space.sample(0, np.random.default_rng(0))
    strategy.tell(none, made_up_metrics(plain.space, none))
    np.testing.assert_array_equal(strategy.ask(20), silent.ask(20))
