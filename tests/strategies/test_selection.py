"""Who survives in NSGA-II: crowding distance and the order of selection, against the paper."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nas.cost import pareto_rank
from nas.strategies.nsga2 import crowding_distance, survival_order

Array = npt.NDArray[np.float64]

#: few distinct values, so that equal rows and ties in one objective are common
POINTS = st.integers(1, 4).flatmap(
    lambda m: arrays(np.float64, st.tuples(st.integers(1, 14), st.just(m)), elements=st.integers(0, 4).map(float))
)


def paper_crowding(points: Array, span: Array) -> list[float]:
    """crowding-distance-assignment(I) of Deb et al. (2002), III-B, line by line, for one front."""
    distance = [0.0] * len(points)
    for m in range(points.shape[1]):
        order = sorted(range(len(points)), key=lambda i: points[i, m])
        distance[order[0]] = distance[order[-1]] = float("inf")
        for i in range(1, len(points) - 1):
            distance[order[i]] += (points[order[i + 1], m] - points[order[i - 1], m]) / (span[m] or 1.0)
    return distance


@given(POINTS)
def test_crowding_distance_is_the_papers_loop(points: Array) -> None:
    rank = pareto_rank(points)
    found = crowding_distance(points, rank)
    # The paper normalises by the extremes of the population; within a single front the two are the same.
    span = points.max(axis=0) - points.min(axis=0)
    for level in set(rank.tolist()):
        members = rank == level
        np.testing.assert_allclose(found[members], paper_crowding(points[members], span))


def test_crowding_by_hand() -> None:
    points = np.array([[0.0, 10.0], [1.0, 6.0], [2.0, 5.0], [10.0, 0.0]])
    distance = crowding_distance(points, np.zeros(4, dtype=np.int64))
    np.testing.assert_allclose(distance, [np.inf, 0.2 + 0.5, 0.9 + 0.6, np.inf])


@given(POINTS, st.data())
def test_survival_prefers_feasible_then_front_then_space_around(points: Array, data: st.DataObject) -> None:
    levels = st.sampled_from([0.0, 0.0, 0.0, 0.5, 2.0, np.inf])
    excess = np.array(data.draw(st.lists(levels, min_size=len(points), max_size=len(points))))
    order = survival_order(points, excess)
    assert sorted(order.tolist()) == list(range(len(points)))
    feasible = excess == 0
    rank = np.zeros(len(points))
    crowding = np.zeros(len(points))
    if feasible.any():
        ranks = pareto_rank(points[feasible])
        rank[feasible], crowding[feasible] = ranks, crowding_distance(points[feasible], ranks)
    keys = [(excess[i], rank[i], -crowding[i]) for i in order]
    assert keys == sorted(keys)
    # An infeasible network never outranks another by its objectives, only by how little it violates.
    assert not any(feasible[i] for i in order[int(feasible.sum()) :])
