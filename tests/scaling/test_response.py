"""Response surfaces: least squares, posterior, and the highest point at a given cost by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nas.errors import NasError
from nas.scaling.fitting.response import best_shares, fit_surface
from nas.scaling.fitting.result import student_draws, student_quantile

SLOPE = np.array([2.0, 4.0, 3.0])
CURVATURE = np.array([[-1.0, 0.3, 0.0], [0.3, -2.0, 0.5], [0.0, 0.5, -1.5]])


def quadratic(logs: np.ndarray) -> np.ndarray:
    return 70 + logs @ SLOPE + np.einsum("nd,de,ne->n", logs, CURVATURE, logs)


@pytest.fixture
def logs(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0, 1.2, (20, 3))


def test_a_quadratic_is_recovered_exactly(logs: np.ndarray) -> None:
    surface = fit_surface(logs, quadratic(logs))
    slope, curvature = surface.quadratics(surface.estimate)
    np.testing.assert_allclose(slope, SLOPE, atol=1e-9)
    np.testing.assert_allclose(curvature, CURVATURE, atol=1e-9)
    elsewhere = np.array([[0.0, 0.0, 0.0], [2.0, 1.0, 0.5]])
    np.testing.assert_allclose(surface.value(elsewhere), quadratic(elsewhere))
    assert surface.noise < 1e-9


def test_left_out_residuals_are_those_of_fits_without_the_observation(
    logs: np.ndarray, rng: np.random.Generator
) -> None:
    accuracy = quadratic(logs) + rng.normal(size=len(logs))
    surface = fit_surface(logs, accuracy)
    for i in (0, 7, 19):
        others = np.delete(np.arange(len(logs)), i)
        without = fit_surface(logs[others], accuracy[others])
        assert surface.left_out[i] == pytest.approx(accuracy[i] - without.value(logs[[i]])[0])


def test_all_trainings_of_a_network_are_left_out_together(logs: np.ndarray, rng: np.random.Generator) -> None:
    logs = np.repeat(logs, 2, axis=0)
    accuracy = quadratic(logs) + rng.normal(size=len(logs))
    surface = fit_surface(logs, accuracy)
    without = fit_surface(logs[2:], accuracy[2:])
    np.testing.assert_allclose(surface.left_out[:2], accuracy[:2] - without.value(logs[:2]))


def test_draws_have_the_covariance_of_least_squares(logs: np.ndarray, rng: np.random.Generator) -> None:
    accuracy = quadratic(logs) + 0.5 * rng.normal(size=len(logs))
    surface = fit_surface(logs, accuracy)
    design = surface.terms(logs)
    expected = surface.noise**2 * np.linalg.inv(design.T @ design) * surface.freedom / (surface.freedom - 2)
    draws = surface.draws(200_000, rng)
    np.testing.assert_allclose(draws.mean(axis=0), surface.estimate, atol=4 * np.sqrt(expected.max() / 200_000))
    np.testing.assert_allclose(np.cov(draws.T), expected, atol=0.03 * expected.max())


def test_the_highest_point_is_that_of_brute_force(rng: np.random.Generator) -> None:
    n = 300
    slope, curvature = rng.normal(size=(n, 3)), rng.normal(size=(n, 3, 3))
    curvature += curvature.transpose(0, 2, 1)
    steps = np.linspace(0, 1, 201)
    first, second = (each.ravel() for each in np.meshgrid(steps, steps))
    grid = np.column_stack([first, second, 1 - first - second])[first + second <= 1 + 1e-9]
    brute = grid @ slope.T + np.einsum("md,nde,me->mn", grid, curvature, grid)
    found = best_shares(slope, curvature)
    value = (found * slope).sum(axis=1) + np.einsum("nd,nde,ne->n", found, curvature, found)
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (value >= brute.max(axis=0) - 1e-12).all()
    np.testing.assert_allclose(value, brute.max(axis=0), atol=1e-3)
    inside = (found > 0).sum(axis=1)
    assert {1, 2, 3} == set(inside.tolist())  # corners, edges and the inside all occur


def test_a_flat_surface_has_a_highest_point() -> None:
    found = best_shares(np.array([[1.0, 3.0, 2.0]]), np.zeros((1, 3, 3)))
    np.testing.assert_array_equal(found, [[0, 1, 0]])


def test_interactions_depend_on_the_number_of_networks_alone(rng: np.random.Generator) -> None:
    few, many = rng.uniform(0, 1, (11, 3)), rng.uniform(0, 1, (14, 3))
    assert not fit_surface(few, quadratic(few)).interactions
    assert fit_surface(many, quadratic(many)).interactions
    # Repeats of few networks are many observations, but tell no more of interactions.
    assert not fit_surface(np.repeat(few, 3, axis=0), rng.normal(size=33)).interactions


def test_a_surface_may_be_linear_along_an_axis(rng: np.random.Generator) -> None:
    normal, *along = np.linalg.svd(np.array([[1.0, 2.0, 2.0]]))[2]
    axes = np.column_stack([*along, normal])
    logs = rng.uniform(0, 1, (9, 3))
    z = logs @ axes
    accuracy = 70 + z @ [1.0, -2.0, 4.0] - (z[:, :2] ** 2).sum(axis=1) + z[:, 0] * z[:, 1]
    surface = fit_surface(logs, accuracy, axes, curved=2)
    np.testing.assert_allclose(surface.estimate, [70, 1, -2, 4, -1, -1, 1])
    np.testing.assert_allclose(surface.value(logs + 3 * normal), accuracy + 12)
    slope, curvature = surface.quadratics(surface.estimate)
    assert normal @ slope == pytest.approx(4)
    np.testing.assert_allclose(curvature @ normal, 0, atol=1e-9)


def test_too_few_observations_say_how_many_are_needed(rng: np.random.Generator) -> None:
    with pytest.raises(NasError, match=r"6 observations of 6 networks .* 7 parameters: at least 7 networks and 8 obs"):
        fit_surface(rng.uniform(0, 1, (6, 3)), np.arange(6.0))
    with pytest.raises(NasError, match="18 observations of 6 networks"):
        fit_surface(np.repeat(rng.uniform(0, 1, (6, 3)), 3, axis=0), np.arange(18.0))


def test_what_does_not_vary_is_named(rng: np.random.Generator) -> None:
    logs = rng.uniform(0, 1, (16, 3))
    logs[:, 0] = 0
    with pytest.raises(NasError, match="all observations have depth 1 "):
        fit_surface(logs, np.arange(16.0))
    logs[:8, 0] = np.log(2)
    with pytest.raises(NasError, match=r"depth 1 and 2 .* at least 3 values of depth"):
        fit_surface(logs, np.arange(16.0))
    only_compound = np.outer(np.linspace(0, 2, 16), [1, 0.5, 0.7])
    with pytest.raises(NasError, match="vary together"):
        fit_surface(only_compound, np.arange(16.0))


@pytest.mark.parametrize("freedom", [1, 2, 5, 30, 400])
@pytest.mark.parametrize("level", [0.9, 0.975, 0.995])
def test_quantiles_of_student(level: float, freedom: int) -> None:
    assert student_quantile(level, freedom) == pytest.approx(stats.t.ppf(level, freedom), rel=1e-6)


def test_draws_of_student(rng: np.random.Generator) -> None:
    covariance = np.array([[1.0, 0.6], [0.6, 2.0]])
    draws = student_draws(np.array([3.0, -1.0]), covariance, 6, 200_000, rng)
    combined = (draws - [3.0, -1.0]) @ [1.0, -2.0] / np.sqrt([1.0, -2.0] @ covariance @ [1.0, -2.0])
    assert np.quantile(combined, 0.975) == pytest.approx(stats.t.ppf(0.975, 6), rel=0.03)
