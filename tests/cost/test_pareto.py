"""Fronts, ranks and hypervolume against definitions applied by brute force."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nas.cost import Box, Constraint, Objective, front, is_on_front, losses, pareto_rank, violation

Array = npt.NDArray[np.float64]

#: few distinct values, so that equal rows and ties in one objective are common
GRID = st.integers(0, 4).map(float)
POINTS = st.integers(1, 4).flatmap(
    lambda m: arrays(np.float64, st.tuples(st.integers(1, 14), st.just(m)), elements=GRID)
)


def dominates(a: Array, b: Array) -> bool:
    return bool((a <= b).all() and (a < b).any())


def brute_front(points: Array) -> list[bool]:
    """Not dominated, and no equal row comes earlier."""
    return [
        not any(dominates(other, point) for other in points)
        and not any((earlier == point).all() for earlier in points[:i])
        for i, point in enumerate(points)
    ]


@given(POINTS)
def test_the_front_is_what_nothing_dominates(points: Array) -> None:
    assert is_on_front(points).tolist() == brute_front(points)


@given(POINTS)
def test_ranks_peel_front_after_front(points: Array) -> None:
    rank, left, expected = 0, set(range(len(points))), {}
    while left:
        peeled = {i for i in left if not any(dominates(points[j], points[i]) for j in left)}
        expected |= dict.fromkeys(peeled, rank)
        left, rank = left - peeled, rank + 1
    assert pareto_rank(points).tolist() == [expected[i] for i in range(len(points))]


def test_single_points_and_none() -> None:
    assert is_on_front(np.zeros((0, 2))).tolist() == []
    assert is_on_front(np.array([[3.0, 4.0]])).tolist() == [True]
    assert is_on_front(np.array([[1.0, 2.0]] * 3)).tolist() == [True, False, False]


def brute_volume(points: Array, ideal: Array, reference: Array) -> float:
    """Share of the box below any point, cell by cell of the grid that all coordinates span."""
    inside = np.clip(points, ideal, reference)
    axes = [np.unique(np.append(inside[:, m], [ideal[m], reference[m]])) for m in range(points.shape[1])]
    volume = 0.0
    for cell in itertools.product(*[range(len(axis) - 1) for axis in axes]):
        corner = np.array([axis[i] for axis, i in zip(axes, cell, strict=True)])
        if (inside <= corner).all(axis=1).any():
            volume += float(np.prod([axis[i + 1] - axis[i] for axis, i in zip(axes, cell, strict=True)]))
    return volume / float(np.prod(reference - ideal))


@given(
    st.integers(1, 3).flatmap(
        lambda m: arrays(np.float64, st.tuples(st.integers(1, 7), st.just(m)), elements=st.floats(-2, 6, width=16))
    )
)
def test_hypervolume_is_the_measured_share_of_the_box(points: Array) -> None:
    # Coordinates from -2 to 6 around a box from 1 to 4: points outside it are common.
    ideal, reference = np.full(points.shape[1], 1.0), np.full(points.shape[1], 4.0)
    volume = Box(tuple(ideal), tuple(reference)).hypervolume(points)
    assert volume == pytest.approx(brute_volume(points, ideal, reference), abs=1e-12)
    assert 0 <= volume <= 1


def test_hypervolume_of_boxes_counted_by_hand() -> None:
    box = Box(ideal=(0.0, 100.0), reference=(10.0, 300.0))
    assert box.hypervolume(np.array([[0.0, 100.0]])) == 1
    assert box.hypervolume(np.array([[5.0, 200.0]])) == pytest.approx(0.25)
    assert box.hypervolume(np.array([[2.0, 250.0], [6.0, 150.0]])) == pytest.approx(
        0.8 * 0.25 + 0.4 * 0.75 - 0.4 * 0.25
    )
    assert box.hypervolume(np.array([[-5.0, 200.0]])) == pytest.approx(0.5)
    assert box.hypervolume(np.array([[10.0, 100.0], [0.0, 301.0]])) == 0
    assert box.hypervolume(np.zeros((0, 2))) == 0
    assert box.hypervolume(np.array([[np.nan, 100.0], [5.0, 200.0], [0.0, np.inf]])) == pytest.approx(0.25)


def test_front_keeps_allowed_rows_in_their_order() -> None:
    metrics = pd.DataFrame(
        {
            "top1": [70.0, 75.0, 80.0, 74.0, 75.0, np.nan, np.inf],
            "latency_ms": [5.0, 9.0, 21.0, 9.5, 9.0, 1.0, 2.0],
            "params": [1.0, 2.0, 3.0, 1.0, 9.0, 1.0, 1.0],
        },
        index=list("abcdefg"),
    )
    objectives = [Objective("top1", maximise=True), Objective("latency_ms")]
    assert list(front(metrics, objectives, []).index) == ["a", "b", "c"]
    assert list(front(metrics, objectives, [Constraint("latency_ms", 20)]).index) == ["a", "b"]
    assert list(front(metrics, objectives, [Constraint("params", 1.5)]).index) == ["a", "d"]
    assert list(front(metrics, objectives, [Constraint("params", 0.5)]).index) == []
    assert list(front(metrics, objectives[:1], []).index) == ["c"]


@given(POINTS, st.data())
def test_front_is_the_brute_front_of_the_feasible(points: Array, data: st.DataObject) -> None:
    names = [f"m{i}" for i in range(points.shape[1])]
    metrics = pd.DataFrame(points, columns=names)
    maximised = data.draw(st.lists(st.booleans(), min_size=len(names), max_size=len(names)))
    upper = data.draw(st.integers(1, 4))
    objectives = [Objective(name, maximise) for name, maximise in zip(names, maximised, strict=True)]
    feasible = points[points[:, 0] <= upper]
    expected = feasible[brute_front(feasible * np.where(maximised, -1, 1))] if len(feasible) else feasible
    found = front(metrics, objectives, [Constraint("m0", upper)])
    np.testing.assert_array_equal(found.to_numpy(), expected)


def test_losses_turn_round_what_is_maximised() -> None:
    metrics = pd.DataFrame({"top1": [70, 75], "macs": [10, 20]})
    found = losses(metrics, [Objective("macs"), Objective("top1", maximise=True)])
    np.testing.assert_array_equal(found, [[10, -70], [20, -75]])


def test_violation_adds_relative_excess() -> None:
    metrics = pd.DataFrame({"latency_ms": [20.0, 25.0, 10.0, np.nan, np.inf], "params": [4.0, 8.0, 1.0, 1.0, 1.0]})
    constraints = [Constraint("latency_ms", 20), Constraint("params", 4)]
    np.testing.assert_allclose(violation(metrics, constraints), [0, 0.25 + 1.0, 0, np.inf, np.inf])
    np.testing.assert_array_equal(violation(metrics, []), np.zeros(5))


def test_minus_infinity_does_not_meet_a_bound() -> None:
    assert violation(pd.DataFrame({"latency_ms": [-np.inf]}), [Constraint("latency_ms", 20)])[0] > 0
