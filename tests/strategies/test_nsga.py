"""NSGA-II and NSGA-III against pymoo, an independent implementation by the authors of NSGA-III, and the papers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from pymoo.algorithms.moo.nsga3 import HyperplaneNormalization, associate_to_niches, calc_niche_count
from pymoo.algorithms.moo.nsga3 import niching as pymoo_niching
from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting
from pymoo.util.ref_dirs import get_reference_directions

from nas import registry
from nas.cost import Constraint, pareto_rank
from nas.space import SearchSpace
from nas.strategies.niching import Normalisation, associate, das_dennis, reference_points, thin
from nas.strategies.nsga2 import crowding_distance
from nas.strategies.nsga3 import NSGA3
from nas.testing import MadeUpProblem

Array = npt.NDArray[np.float64]
SEEDS = range(12)


def random_points(seed: int, n: int = 60) -> Array:
    """Losses of 2 to 4 objectives in [0, 1]; every third set has few distinct values and repeated rows."""
    rng = np.random.default_rng(seed)
    points = rng.random((n, 2 + seed % 3))
    return np.round(points * 5) / 5 if seed % 3 == 0 else points


# --- NSGA-II ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_ranks_are_pymoos(seed: int) -> None:
    points = random_points(seed)
    _, ranks = NonDominatedSorting().do(points, return_rank=True)
    np.testing.assert_array_equal(pareto_rank(points), ranks)


@pytest.mark.parametrize("seed", SEEDS)
def test_crowding_is_pymoos(seed: int) -> None:
    points = np.random.default_rng(seed).random((60, 2 + seed % 3))
    front = points[pareto_rank(points) == 0]
    # pymoo takes the mean over the objectives, the paper the sum.
    found = crowding_distance(front, np.zeros(len(front), dtype=np.int64)) / front.shape[1]
    np.testing.assert_allclose(found, calc_crowding_distance(front))


# --- reference points -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_objectives", "p"), [(2, 1), (2, 99), (3, 12), (4, 5), (5, 6), (8, 3)])
def test_das_dennis_points_are_pymoos(n_objectives: int, p: int) -> None:
    found = das_dennis(n_objectives, p)
    wanted = get_reference_directions("das-dennis", n_objectives, n_partitions=p)
    np.testing.assert_allclose(found[np.lexsort(found.T)], wanted[np.lexsort(np.round(wanted, 9).T)], atol=1e-12)


@pytest.mark.parametrize(
    ("n_objectives", "published"), [(3, 91), (5, 210), (8, 156), (10, 275), (15, 135)]
)  # fmt: skip
def test_numbers_of_reference_points_are_those_of_the_paper(n_objectives: int, published: int) -> None:
    """Deb & Jain (2014), Table I."""
    points = reference_points(n_objectives, published)
    assert len(np.unique(np.round(points, 9), axis=0)) == len(points) == published
    assert len(reference_points(n_objectives, published - 1)) < published
    np.testing.assert_allclose(points.sum(axis=1), 1.0)
    # In many dimensions only a second layer has points inside.
    assert (points > 0).all(axis=1).any()


def test_reference_points_at_the_edges() -> None:
    np.testing.assert_array_equal(reference_points(1, 50), [[1.0]])
    np.testing.assert_array_equal(reference_points(30, 20), np.eye(30))
    assert len(reference_points(2, 20)) == 20


# --- survival of NSGA-III ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_normalisation_is_pymoos_over_generations(seed: int) -> None:
    rng, m = np.random.default_rng(seed), 2 + seed % 3
    ours, reference = Normalisation(m), HyperplaneNormalization(m)
    for shrink in (1.0, 0.6, 0.4):
        # Corners at 0 and 1 keep the range at 1, with which alone pymoo's tolerances make sense.
        points = np.concatenate([shrink * rng.random((30, m)) + 0.01 * rng.random(m), np.ones((1, m)), np.eye(m)])
        if seed % 4 == 3:
            points = points[:-m] - points[:-m].min(axis=0)  # without the corners: degenerate planes occur
        elif shrink < 0.5:
            points = points[: -m - 1] + 0.05  # nowhere as good, nor as bad, as what came before
        front = np.flatnonzero(pareto_rank(points) == 0)
        ours.update(points, pareto_rank(points) == 0)
        reference.update(points, nds=front)
        np.testing.assert_allclose(ours.ideal, reference.ideal_point)
        np.testing.assert_allclose(ours.nadir, reference.nadir_point)


def test_normalisation_does_not_depend_on_units() -> None:
    rng = np.random.default_rng(0)
    points = rng.random((40, 3))
    units, origins = np.array([1e8, 1.0, 1e-3]), np.array([1e9, -75.0, 0.0])
    front = pareto_rank(points) == 0
    plain, scaled = Normalisation(3), Normalisation(3)
    plain.update(points, front)
    scaled.update(points * units + origins, front)
    np.testing.assert_allclose(scaled(points * units + origins), plain(points), atol=1e-6)


def test_normalisation_by_hand() -> None:
    # The extremes (2, 0) and (0, 4) span the line x/2 + y/4 = 1; (1, 1) is ideal + (1, 1).
    points = np.array([[2.0, 0.0], [0.0, 4.0], [0.5, 1.0], [9.0, 9.0]]) + 10
    normalisation = Normalisation(2)
    normalisation.update(points, pareto_rank(points) == 0)
    np.testing.assert_allclose(normalisation(points), [[1, 0], [0, 1], [0.25, 0.25], [4.5, 2.25]])


@pytest.mark.parametrize("seed", SEEDS)
def test_association_is_pymoos(seed: int) -> None:
    points = random_points(seed)
    directions = das_dennis(points.shape[1], 6)
    m = points.shape[1]
    wanted, distance, every = associate_to_niches(points, directions, np.zeros(m), np.ones(m))
    found, away = associate(points, directions)
    np.testing.assert_allclose(away, distance, atol=1e-9)
    # Where two directions are equally near, either will do.
    np.testing.assert_allclose(every[np.arange(len(points)), found], every[np.arange(len(points)), wanted], atol=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("size", [5, 20, 41, 59])
def test_niching_fills_niches_as_pymoo_does(seed: int, size: int) -> None:
    points = random_points(seed)
    directions, rank = das_dennis(points.shape[1], 6), pareto_rank(points)
    niche, distance = associate(points, directions)
    chosen = thin(rank, niche, distance, len(directions), size, np.random.default_rng(seed))
    assert len(set(chosen.tolist())) == size
    last = np.flatnonzero(rank == np.sort(rank)[size - 1])
    before = np.flatnonzero(rank < rank[last[0]])
    assert set(before.tolist()) <= set(chosen.tolist())
    crowd = calc_niche_count(len(directions), niche[before])
    picked = last[
        pymoo_niching(
            last, size - len(before), crowd.copy(), niche[last], distance[last],
            random_state=np.random.default_rng(seed + 1),
        )
    ]  # fmt: skip
    # Which niche gets the next one is chance among the emptiest, how full they end is not.
    ours, theirs = (
        np.bincount(niche[np.union1d(before, kept)], minlength=len(directions)) for kept in (chosen, picked)
    )
    np.testing.assert_array_equal(np.sort(ours), np.sort(theirs))
    # Whoever came first into an empty niche is the nearest to its direction.
    for j in np.flatnonzero((crowd == 0) & (ours > 0)):
        candidates = last[niche[last] == j]
        assert distance[candidates].min() in distance[np.intersect1d(chosen, candidates)]


@pytest.mark.parametrize("niche", [[4, 0, 1, 2, 3], [0, 0, 0, 0, 0]], ids=["between niches", "within a niche"])
def test_ties_are_broken_at_random(niche: list[int]) -> None:
    rank, distance = np.array([0, 1, 1, 1, 1]), np.arange(5.0)
    chosen = [thin(rank, np.array(niche), distance, 5, 2, np.random.default_rng(seed))[1] for seed in range(400)]
    counts = np.bincount(chosen, minlength=5)
    assert counts[0] == 0
    assert counts[1:].min() > 60  # 100 expected, 4.6 standard deviations


def test_survivors_under_a_learned_bound_follow_debs_rule(nested_space: SearchSpace) -> None:
    """Jain & Deb (2014): feasible networks first, then those that violate the bound least."""
    problem = MadeUpProblem(nested_space, 3)
    codes = nested_space.all_codes()[:60]
    metrics = problem.evaluate(codes)
    bound = float(np.sort(metrics["cost"])[6])
    strategy = NSGA3(nested_space, problem.objectives, (Constraint("cost", bound),), seed=0)
    strategy.tell(codes, metrics)
    kept = {row.tobytes() for row in strategy._codes}
    nearest = np.argsort(metrics["cost"].to_numpy(), kind="stable")[: strategy.population_size]
    assert kept == {codes[i].tobytes() for i in nearest}


def test_nsga3_is_registered() -> None:
    assert registry.load("strategies", "nsga3") is NSGA3
