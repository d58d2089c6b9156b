"""Each scheduler against its paper: who is continued, when, and what the strategy hears of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nas.cost import Constraint, Objective
from nas.errors import NasError
from nas.schedulers.asha import ASHA, ParetoASHA
from nas.schedulers.base import FullFidelity, Scheduler
from nas.schedulers.hyperband import Hyperband
from nas.space import Codes, SearchSpace
from nas.strategies.grid import GridSearch
from nas.strategies.random import RandomSearch

LOSS, COST = Objective("loss"), Objective("cost")


class Listening(RandomSearch):
    """Keeps what it is told."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.told: list[tuple[bytes, float]] = []

    def _learn(self, codes: Codes, metrics: pd.DataFrame) -> None:
        self.told += [(code.tobytes(), loss) for code, loss in zip(codes, metrics["loss"], strict=True)]


def made(
    kind: type[Scheduler], space: SearchSpace, fidelities: Sequence[int], strategy: Any = Listening,
    objectives: Sequence[Objective] = (LOSS,), constraints: Sequence[Constraint] = (), **options: Any,
) -> Any:  # fmt: skip
    return kind(lambda seed: strategy(space, objectives, constraints, seed), fidelities, 0, **options)


def metrics_of(codes: Codes, fidelity: int | None) -> pd.DataFrame:
    """Losses and costs without ties, other ones at each fidelity."""
    rngs = [np.random.default_rng([*code.tolist(), fidelity or 0]) for code in codes]
    return pd.DataFrame([rng.random(2) for rng in rngs], columns=["loss", "cost"])


def run(scheduler: Scheduler, steps: int, n: int = 1) -> list[tuple[bytes, int | None, float, float]]:
    """Ask and tell; returns network, fidelity, loss and cost of each evaluation."""
    record = []
    for _ in range(steps):
        codes, fidelity = scheduler.ask(n)
        if not len(codes):
            break
        metrics = metrics_of(codes, fidelity)
        scheduler.tell(codes, fidelity, metrics)
        record += [
            (code.tobytes(), fidelity, *row) for code, row in zip(codes, metrics.to_numpy().tolist(), strict=True)
        ]
    return record


def test_asha_continues_the_best_quarter_as_soon_as_it_may(mbconv: SearchSpace) -> None:
    scheduler = made(ASHA, mbconv, (1, 4, 16))
    record = run(scheduler, 300)
    rungs: tuple[int | None, ...] = (1, 4, None)
    losses: dict[int | None, dict[bytes, float]] = {fidelity: {} for fidelity in rungs}
    for code, fidelity, loss, _ in record:
        done = [losses[rung] for rung in rungs]
        # By the words of Algorithm 2, rungs from the top: is a network due, and which?
        due = None
        for k in (1, 0):
            waiting = sorted((value, key) for key, value in done[k].items() if key not in done[k + 1])
            if due is None and len(done[0]) >= 20 and len(done[k + 1]) < len(done[k]) // 4:
                due = waiting[0][1], rungs[k + 1]
        if due is None:
            assert fidelity == 1
            assert code not in losses[1]
        else:
            assert (code, fidelity) == due
        losses[fidelity][code] = loss
    counts = [len(losses[fidelity]) for fidelity in rungs]
    assert counts[1] == counts[0] // 4
    assert counts[2] == counts[1] // 4
    assert counts[2] >= 10


def test_successive_halving_of_sixteen(mbconv: SearchSpace) -> None:
    """16 networks at the lowest rung, then exactly the best 4 of them, then the best of those."""
    scheduler = made(ASHA, mbconv, (1, 4, 16))
    scheduler.warm_up = 16
    record = run(scheduler, 21)
    assert [fidelity for _, fidelity, *_ in record] == [1] * 16 + [4] * 4 + [None]
    best = sorted(record[:16], key=lambda trial: trial[2])[:4]
    assert [trial[0] for trial in record[16:20]] == [trial[0] for trial in best]
    assert record[20][0] == min(record[16:20], key=lambda trial: trial[2])[0]


def test_a_strategy_hears_of_each_network_once_after_the_fewest_epochs(mbconv: SearchSpace) -> None:
    scheduler = made(ASHA, mbconv, (1, 4, 16))
    record = run(scheduler, 100, n=3)
    lowest = [(code, loss) for code, fidelity, loss, _ in record if fidelity == 1]
    assert scheduler.strategy.told == lowest
    assert len(lowest) < len(record)


def test_full_training_passes_everything_on(mbconv: SearchSpace) -> None:
    scheduler = made(FullFidelity, mbconv, (1, 4, 16))
    plain = Listening(mbconv, (LOSS,), (), 0)
    for n in (5, 1, 8):
        codes, fidelity = scheduler.ask(n)
        assert fidelity is None
        np.testing.assert_array_equal(codes, plain.ask(n))
        scheduler.tell(codes, None, metrics_of(codes, None))
        plain.tell(codes, metrics_of(codes, None))
    assert scheduler.strategy.told == plain.told


def test_pareto_asha_continues_what_nothing_that_waits_dominates(mbconv: SearchSpace) -> None:
    scheduler = made(ParetoASHA, mbconv, (1, 9), objectives=(LOSS, COST))
    record = run(scheduler, 250)
    points: dict[bytes, tuple[float, float]] = {}
    continued: set[bytes] = set()
    for code, fidelity, *values in record:
        if fidelity == 1:
            points[code] = (values[0], values[1])
            continue
        waiting = [point for key, point in points.items() if key not in continued]
        assert not any(dominates(point, points[code]) for point in waiting)
        continued.add(code)
    assert len(continued) >= 40


def dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[0] and one[1] <= other[1] and one != other


def test_networks_within_the_bounds_are_continued_first(mbconv: SearchSpace) -> None:
    scheduler = made(ParetoASHA, mbconv, (1, 9), objectives=(LOSS,), constraints=(Constraint("cost", 0.5),))
    within: dict[bytes, bool] = {}
    continued: set[bytes] = set()
    for code, fidelity, _, cost in run(scheduler, 250):
        if fidelity == 1:
            within[code] = cost <= 0.5
        else:
            assert within[code] or not any(ok and key not in continued for key, ok in within.items())
            continued.add(code)
    assert len(continued) >= 40
    assert all(within[code] for code in continued)


@pytest.mark.parametrize(("rung", "size"), list(enumerate([81, 34, 15, 8, 5])))
def test_hyperband_starts_as_many_networks_as_in_the_paper(rung: int, size: int, mbconv: SearchSpace) -> None:
    """Li et al. (2018), R = 81 and eta = 3: brackets s = 4 to 0."""
    assert made(Hyperband, mbconv, (1, 3, 9, 27, 81), eta=3).size(rung) == size


def test_hyperband_does_one_bracket_after_the_other(mbconv: SearchSpace) -> None:
    scheduler = made(Hyperband, mbconv, (1, 3, 9), eta=3)
    record = run(scheduler, 60)
    sizes = [(1, 9), (3, 3), (None, 1), (3, 5), (None, 1), (None, 3)]
    expected = [fidelity for fidelity, count in sizes for _ in range(count)]
    assert [fidelity for _, fidelity, *_ in record[:44]] == (2 * expected)[:44]
    best = sorted(record[:9], key=lambda trial: trial[2])[:3]
    assert [trial[0] for trial in record[9:12]] == [trial[0] for trial in best]
    assert record[12][0] == min(record[9:12], key=lambda trial: trial[2])[0]
    assert record[18][0] == min(record[13:18], key=lambda trial: trial[2])[0]


def test_a_strategy_of_hyperband_hears_of_its_own_fidelity_alone(mbconv: SearchSpace) -> None:
    scheduler = made(Hyperband, mbconv, (1, 3, 9), eta=3)
    record = run(scheduler, 60, n=4)
    for strategy, fidelity in zip(scheduler.strategies, (1, 3, None), strict=True):
        assert strategy.told == [(code, loss) for code, epochs, loss, _ in record if epochs == fidelity]


def test_hyperband_goes_on_where_one_strategy_has_nothing_left(nested_space: SearchSpace) -> None:
    scheduler = made(Hyperband, nested_space, (1, 3), strategy=lambda *args: GridSearch(*args), eta=3)
    record = run(scheduler, 400, n=4)
    assert {code for code, *_ in record} == {code.tobytes() for code in nested_space.all_codes()}
    assert len({(code, fidelity) for code, fidelity, *_ in record}) == len(record)


@pytest.mark.parametrize("kind", [ASHA, ParetoASHA, Hyperband])
@pytest.mark.parametrize("fidelities", [(), (200,)])
def test_one_kind_of_evaluation_is_not_enough(
    kind: type[Scheduler], fidelities: tuple[int, ...], mbconv: SearchSpace
) -> None:
    with pytest.raises(NasError, match="at least 2 different numbers of epochs"):
        made(kind, mbconv, fidelities)


@pytest.mark.parametrize(("eta", "message"), [("1", "at least 2"), ("x", "whole number"), ("", "whole number")])
def test_a_wrong_reduction_factor_is_named(eta: str, message: str, mbconv: SearchSpace) -> None:
    with pytest.raises(NasError, match=message):
        ASHA.with_argument(eta)(lambda seed: Listening(mbconv, (LOSS,), (), seed), (1, 9), 0)
