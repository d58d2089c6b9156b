"""What every scheduler keeps to, whatever strategy it asks."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest

from nas import registry
from nas.errors import NasError
from nas.schedulers.base import Scheduler
from nas.space import Codes, SearchSpace
from nas.strategies.base import Strategy
from nas.testing import Bound, MadeUpProblem

SCHEDULERS = ("asha", "asha:2", "hyperband", "hyperband:3", "none", "pareto-asha", "pareto-asha:3")
STRATEGIES = ("random", "evolution", "nsga2", "local", "grid")
FIDELITIES = (1, 3, 9)

Broken = Callable[[pd.DataFrame], pd.DataFrame]


class Trial:
    """A search on made-up metrics that get exact with more epochs; checks every proposal."""

    def __init__(
        self, scheduler: str, strategy: str, space: SearchSpace, *, bound: Bound = "none", seed: int = 0,
        fidelities: Sequence[int] = FIDELITIES, objectives: int | None = None, broken: Broken | None = None,
    ):  # fmt: skip
        count = objectives or (2 if scheduler.startswith(("pareto", "none")) else 1)
        self.problem = MadeUpProblem(space, count, bound)
        self.names = (scheduler, strategy, fidelities, seed)
        self.broken = broken
        self.scheduler = self.fresh()
        self.history: list[tuple[Codes, int | None, pd.DataFrame]] = []
        self.evaluated: set[tuple[bytes, int | None]] = set()

    def fresh(self) -> Scheduler:
        scheduler, strategy, fidelities, seed = self.names

        def proposing(seed: int) -> Strategy:
            return self.problem.start(registry.load("strategies", strategy), seed)

        found: Scheduler = registry.load("schedulers", scheduler)(proposing, fidelities, seed)
        return found

    def evaluate(self, codes: Codes, fidelity: int | None) -> pd.DataFrame:
        metrics = self.problem.evaluate(codes)
        noise = [np.random.default_rng([*code.tolist(), fidelity or 0]).normal() for code in codes]
        metrics["gain"] += 0.3 * np.array(noise) / (fidelity or max(FIDELITIES))
        return metrics if self.broken is None else self.broken(metrics)

    def step(self, n: int, evaluate: int | None = None) -> int:
        """Ask for `n`, evaluate them or the first of them, tell; returns how many there were."""
        codes, fidelity = self.scheduler.ask(n)
        again, same = self.scheduler.ask(n)
        np.testing.assert_array_equal(again, codes)
        assert same == fidelity
        assert len(codes) <= n
        assert fidelity in (*FIDELITIES[:-1], None)
        np.testing.assert_array_equal(self.problem.space.check(codes), codes)
        codes = codes[:evaluate]
        new = {(code.tobytes(), fidelity) for code in codes}
        assert len(new) == len(codes)
        assert self.evaluated.isdisjoint(new)
        self.evaluated |= new
        metrics = self.evaluate(codes, fidelity)
        self.scheduler.tell(codes.copy(), fidelity, metrics.copy())
        self.history.append((codes, fidelity, metrics))
        return len(codes)

    def at(self, fidelity: int | None) -> set[bytes]:
        return {code for code, epochs in self.evaluated if epochs == fidelity}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_proposals_are_new_valid_and_the_same_after_a_replay(
    scheduler: str, strategy: str, nested_space: SearchSpace
) -> None:
    trial = Trial(scheduler, strategy, nested_space)
    for n in (1, 4, 1, 7, 30, 2, 3, 1, 1, 8):
        trial.step(n, evaluate=max(1, n // 2))
    replayed = trial.fresh()
    for codes, fidelity, metrics in trial.history:
        record = json.loads(json.dumps([codes.tolist(), fidelity, metrics.to_dict("list")]))
        replayed.tell(np.array(record[0], dtype=np.int8).reshape(codes.shape), record[1], pd.DataFrame(record[2]))
    for n in (1, 6):
        (codes, fidelity), (expected, same) = replayed.ask(n), trial.scheduler.ask(n)
        np.testing.assert_array_equal(codes, expected)
        assert fidelity == same


@pytest.mark.parametrize(("n", "bound"), [(1, "none"), (64, "none"), (3, "tight"), (16, "infeasible")])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_it_ends_when_the_space_is_exhausted(scheduler: str, n: int, bound: Bound, nested_space: SearchSpace) -> None:
    trial = Trial(scheduler, "random", nested_space, bound=bound, objectives=1)
    while trial.step(n):
        assert len(trial.history) <= len(FIDELITIES) * nested_space.size
    trial.step(n)
    allowed = nested_space.all_codes()
    if bound == "tight":
        allowed = allowed[trial.problem.excess(allowed) == 0]
    everything = {code.tobytes() for code in allowed}
    started = {code for code, _ in trial.evaluated}
    assert started == everything
    if scheduler != "none" and not scheduler.startswith("hyperband"):
        assert trial.at(None) == everything, "with nothing left to start, those that wait are continued"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("scheduler", [name for name in SCHEDULERS if name != "none"])
def test_a_failed_evaluation_is_never_continued(scheduler: str, value: float, nested_space: SearchSpace) -> None:
    limit = Trial(scheduler, "random", nested_space).problem.evaluate(nested_space.all_codes())["cost"].median()
    trial = Trial(
        scheduler, "random", nested_space,
        broken=lambda metrics: metrics.assign(gain=metrics["gain"].where(metrics["cost"] > limit, value)),
    )  # fmt: skip
    codes = nested_space.all_codes()
    failed = {code.tobytes() for code in codes[trial.problem.evaluate(codes)["cost"] <= limit]}
    seen: set[bytes] = set()
    continued = 0
    while trial.step(3):
        codes, _, _ = trial.history[-1]
        again = [code.tobytes() for code in codes if code.tobytes() in seen]
        assert failed.isdisjoint(again)
        continued += len(again)
        seen |= {code.tobytes() for code in codes}
    assert continued > 5
    assert failed <= seen


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_all_evaluations_may_fail(scheduler: str, nested_space: SearchSpace) -> None:
    trial = Trial(scheduler, "evolution", nested_space, broken=lambda metrics: metrics * np.nan)
    while trial.step(5):
        assert len(trial.history) <= len(FIDELITIES) * nested_space.size
    assert {code for code, _ in trial.evaluated} == {code.tobytes() for code in nested_space.all_codes()}


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_another_seed_gives_another_search(scheduler: str, nested_space: SearchSpace) -> None:
    first, second = (Trial(scheduler, "random", nested_space, seed=seed) for seed in (4, 5))
    assert not np.array_equal(first.scheduler.ask(10)[0], second.scheduler.ask(10)[0])


@pytest.mark.parametrize("scheduler", [name for name in SCHEDULERS if name != "none"])
def test_the_announced_evaluations_give_the_first_fully_trained_network(scheduler: str, mbconv: SearchSpace) -> None:
    trial = Trial(scheduler, "random", mbconv)
    announced = trial.scheduler.first_result()
    while not trial.at(None):
        trial.step(1)
    epochs = trial.scheduler.fidelities
    assert tuple(len(trial.at(fidelity)) for fidelity in epochs) == announced


def test_more_objectives_than_it_can_judge_by_are_refused(nested_space: SearchSpace) -> None:
    for name in ("asha", "hyperband"):
        with pytest.raises(NasError, match="judges by one objective, and there are 2; take --scheduler pareto-asha"):
            Trial(name, "random", nested_space, objectives=2)
