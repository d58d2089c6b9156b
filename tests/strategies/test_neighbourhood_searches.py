"""Evolution, local searches, grid and random search against what enumeration and brute force say."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from nas.cost import Objective
from nas.estimators.tabular import load_benchmark
from nas.space import Codes, Decision, SearchSpace
from nas.strategies.base import Strategy
from nas.strategies.evolution import RegularizedEvolution
from nas.strategies.grid import GridSearch
from nas.strategies.local import BestImprovement, LocalSearch
from nas.strategies.pareto_local import ParetoLocalSearch
from nas.strategies.random import RandomSearch

LOSS = Objective("loss")
OBJECTIVES = (LOSS, Objective("cost"))


def distance(a: Codes, b: Codes) -> npt.NDArray[np.int64]:
    """int[n, m], decisions in which networks differ."""
    return np.asarray((a[:, None] != b[None]).sum(axis=2))


# --- regularized evolution --------------------------------------------------------------------------------------------


@pytest.fixture
def wide_space(make_space: Callable[[Sequence[Decision]], SearchSpace]) -> SearchSpace:
    """5^30 networks: drawn ones are far apart, so a child tells who its parent is."""
    return make_space([Decision(f"d{i}", (0, 1, 2, 3, 4)) for i in range(30)])


def parents_of(children: Codes, population: Codes) -> npt.NDArray[np.int64]:
    """int[n], the member that each child is one decision away from, -1 for none."""
    apart = distance(children, population)
    return np.where((apart == 1).any(axis=1), (apart == 1).argmax(axis=1), -1)


def test_a_tournament_is_won_as_often_as_enumeration_says(wide_space: SearchSpace) -> None:
    # Of k drawn with replacement from N, the best has a rank of at least r with probability ((N - r) / N)^k.
    strategy = RegularizedEvolution(wide_space, [LOSS], [], 0)
    size, k = strategy.population_sizes[0], strategy.tournament_size
    population, rng = wide_space.sample(size, np.random.default_rng(1)), np.random.default_rng(2)
    loss = rng.permutation(size)
    strategy.tell(population, pd.DataFrame({"loss": loss}))
    n = 20_000
    parents = parents_of(strategy._propose(n, rng), population)
    assert (parents >= 0).all()
    count = np.bincount(loss[parents], minlength=size)
    at_least = ((size - np.arange(size + 1)) / size) ** k
    expected = n * (at_least[:-1] - at_least[1:])
    assert (np.abs(count - expected) < 4.5 * np.sqrt(expected) + 1).all()


def test_the_oldest_dies_however_good_it_is(wide_space: SearchSpace) -> None:
    strategy = RegularizedEvolution(wide_space, [LOSS], [], 0)
    size = strategy.population_sizes[0]
    told = wide_space.sample(size + 1, np.random.default_rng(1))
    loss = [0.0, *range(1, size + 1)]  # the first is the best
    for i in range(size):
        strategy.tell(told[[i]], pd.DataFrame({"loss": [loss[i]]}))
    assert 0 in parents_of(strategy.ask(16), told[:size])
    strategy.tell(told[[size]], pd.DataFrame({"loss": [loss[size]]}))
    parents = np.concatenate([parents_of(strategy._propose(2000, np.random.default_rng(s)), told) for s in range(5)])
    assert set(parents) <= set(range(1, size + 1))
    assert np.bincount(parents).argmax() == 1


# --- local searches on NAS-Bench-201 ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Landscape:
    """All 15,625 cells of NAS-Bench-201: six edges with one of five operations each."""

    space: SearchSpace
    codes: Codes
    loss: npt.NDArray[np.float64]
    cost: npt.NDArray[np.float64]

    def rows(self, codes: Codes) -> npt.NDArray[np.int64]:
        place = {row.tobytes(): i for i, row in enumerate(self.codes)}
        return np.array([place[row.tobytes()] for row in codes])

    def neighbours(self, row: int) -> set[int]:
        """The cells that differ in one edge, found by looking at all."""
        return set(np.flatnonzero((self.codes != self.codes[row]).sum(axis=1) == 1).tolist())

    def search(self, strategy: Strategy, budget: int) -> Iterator[tuple[list[int], list[int]]]:
        """Yield the cells known before a batch, and the batch."""
        known: list[int] = []
        while len(known) < budget:
            codes = strategy.ask(strategy.batch_size)
            rows = self.rows(codes)
            yield list(known), rows.tolist()
            strategy.tell(codes, pd.DataFrame({"loss": self.loss[rows], "cost": self.cost[rows]}))
            known += rows.tolist()


@pytest.fixture(scope="module")
def landscape(data_dir: Path) -> Landscape:
    table = load_benchmark("nasbench201-cifar10").table(data_dir)
    assert len(table.codes) == 5**6
    # How many edges do something, as a second objective: in conflict with accuracy, and with many ties.
    cost = np.asarray(table.codes.astype(np.float64) @ np.arange(1.0, 7.0))
    return Landscape(table.space, table.codes, -np.asarray(table.metrics()["top1"], dtype=np.float64), cost)


def test_first_improvement_tries_a_neighbour_of_the_best_that_has_one(landscape: Landscape) -> None:
    optima, improved = set(), 0
    for seed in range(3):
        for known, batch in landscape.search(LocalSearch(landscape.space, [LOSS], [], seed), 150):
            if len(known) < LocalSearch.initial:
                continue
            best_first = sorted(known, key=lambda row: landscape.loss[row])
            best_open = next(row for row in best_first if landscape.neighbours(row) - set(known))
            assert len(batch) == 1
            assert set(batch) <= landscape.neighbours(best_open) - set(known)
            improved += landscape.loss[batch[0]] < landscape.loss[best_open]
            if best_open != best_first[0]:
                optima.add(best_first[0])
    # It leaves a network only where none of all its neighbours in the table is better.
    assert optima
    for row in optima:
        assert landscape.loss[row] <= min(landscape.loss[near] for near in landscape.neighbours(row))
    assert improved > 10


def test_best_improvement_evaluates_a_whole_neighbourhood_before_it_moves(landscape: Landscape) -> None:
    moves = 0
    for seed in range(3):
        centre: int | None = None
        for known, batch in landscape.search(BestImprovement(landscape.space, [LOSS], [], seed), 200):
            if len(known) < BestImprovement.initial:
                continue
            if centre is None or not landscape.neighbours(centre) - set(known):
                open_ones = [row for row in known if landscape.neighbours(row) - set(known)]
                centre = min(open_ones, key=lambda row: landscape.loss[row])
                moves += 1
            assert set(batch) <= landscape.neighbours(centre)
    assert moves >= 15


def test_pareto_local_search_tries_neighbours_of_the_front(landscape: Landscape) -> None:
    members = 0
    for known, batch in landscape.search(ParetoLocalSearch(landscape.space, OBJECTIVES, [], 0), 200):
        if len(known) < ParetoLocalSearch.initial:
            continue
        points = np.column_stack([landscape.loss[known], landscape.cost[known]])
        no_worse = (points[None] <= points[:, None]).all(axis=2)
        better = (points[None] < points[:, None]).any(axis=2)
        front = [row for row, dominated in zip(known, (no_worse & better).any(axis=1), strict=True) if not dominated]
        near = {row: landscape.neighbours(row) - set(known) for row in front}
        assert set(batch) <= set.union(*near.values())
        # Each member in turn: none has a second neighbour in a batch before every other one has a first.
        turns = min(len(batch), sum(map(bool, near.values())))
        assert sum(bool(near[row] & set(batch)) for row in front) >= turns
        members = max(members, len(front))
    assert members > 5


# --- grid and random --------------------------------------------------------------------------------------------------


def test_grid_search_goes_through_all_networks_in_order(
    make_space: Callable[[Sequence[Decision]], SearchSpace],
) -> None:
    space = make_space([Decision("a", (0, 1)), Decision("b", (0, 1, 2)), Decision("c", (0, 1, 2, 3))])
    strategy, seen = GridSearch(space, [LOSS], [], 0), []
    while len(codes := strategy.ask(5)):
        strategy.tell(codes, pd.DataFrame({"loss": np.zeros(len(codes))}))
        seen += codes.tolist()
    assert [tuple(code) for code in seen] == list(itertools.product(range(2), range(3), range(4)))


def test_random_search_draws_every_network_equally_often(nested_space: SearchSpace) -> None:
    # 54 networks of which decisions chosen one by one would prefer some by a factor of 14.
    n, everything = 5400, nested_space.all_codes()
    drawn = np.concatenate([RandomSearch(nested_space, [LOSS], [], seed).ask(1) for seed in range(n)])
    count = (drawn[:, None] == everything[None]).all(axis=2).sum(axis=0)
    assert count.sum() == n
    assert (np.abs(count - n / 54) < 4.5 * np.sqrt(n / 54)).all()
