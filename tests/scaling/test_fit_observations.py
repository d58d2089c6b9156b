"""Coefficients from trained networks: intervals that hold a known truth, corners, comparisons, tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import nas
from nas.errors import NasError
from nas.scaling.coefficients import Coefficients
from nas.scaling.fitting.advantage import advantage
from nas.scaling.fitting.cost_growth import PAPER, CostGrowth
from nas.scaling.fitting.response import fit_surface
from nas.scaling.fitting.surface import SurfaceFit, best_coefficients, fit_observations, lack_of_fit
from nas.scaling.fitting.table import Observations, growths_under, read_observations

#: the truth: where accuracy is highest at 2 times the cost, in shares of log cost of depth, width, resolution
SHARES = np.array([0.28, 0.29, 0.43])
EXPONENTS = PAPER.exponents
STEP = np.log(2)
TRUTH = np.exp(SHARES * STEP / EXPONENTS)
#: per share of log cost: a dimension alone gains 1.5 to 1.7 points at 2 times the cost, an even mix 2.0
CURVATURE = -1.392 * np.diag(EXPONENTS**2)
SLOPE = 2.58 * EXPONENTS - 2 * CURVATURE @ np.log(TRUTH)


def accuracy(logs: np.ndarray) -> np.ndarray:
    return 77 + logs @ SLOPE + np.einsum("nd,de,ne->n", logs, CURVATURE, logs)


def centroid_design() -> np.ndarray:
    """Log multipliers of 15 networks: the base, and seven mixes at 2 and 4 times the cost."""
    mixes = np.vstack([np.eye(3), np.full((1, 3), 1 / 3), (1 - np.eye(3)) / 2])
    return np.vstack([np.zeros((1, 3)), STEP * mixes, 2 * STEP * mixes]) / EXPONENTS


def observed(logs: np.ndarray, values: np.ndarray, **costs: np.ndarray) -> Observations:
    return Observations(np.exp(logs), values, costs, tuple(map(str, range(len(logs)))))


def fit(logs: np.ndarray, values: np.ndarray, growth: CostGrowth = PAPER) -> SurfaceFit:
    return fit_observations(observed(logs, values), [growth])


def test_intervals_hold_the_truth(rng: np.random.Generator) -> None:
    logs, repetitions, n = centroid_design(), 1000, 300
    noisy = accuracy(logs) + 0.3 * rng.standard_normal((repetitions, len(logs)))
    surfaces = [fit_surface(logs, values) for values in noisy]
    draws = np.concatenate([surface.draws(n, rng) for surface in surfaces])
    found = best_coefficients(surfaces[0], draws, PAPER, 2.0).reshape(repetitions, n, 3)
    low, high = np.quantile(found, [0.025, 0.975], axis=1)
    covered = ((low <= TRUTH) & (high >= TRUTH)).mean(axis=0)
    assert covered.min() >= 0.93
    assert covered.max() <= 0.97


def test_intervals_of_an_advantage_are_those_of_a_contrast(rng: np.random.Generator) -> None:
    logs = centroid_design()
    surface = fit_surface(logs, accuracy(logs) + 0.3 * rng.standard_normal(len(logs)))
    found = advantage(
        surface, surface.draws(100_000, rng), PAPER, Coefficients(*TRUTH.tolist()), 2.0, logs.max(axis=0)
    )  # fmt: skip
    design = surface.terms(logs)
    contrasts = surface.terms(np.log(TRUTH)) - surface.terms(np.diag(STEP / EXPONENTS))
    spread = surface.noise * np.sqrt(np.einsum("ip,pq,iq->i", contrasts, np.linalg.inv(design.T @ design), contrasts))
    reach = stats.t.ppf(0.975, 5) * spread
    expected = (contrasts @ surface.estimate)[:, None] + np.outer(reach, [0, -1, 1])
    np.testing.assert_allclose(found.over, expected, atol=0.02)


def test_many_precise_observations_give_the_truth(rng: np.random.Generator) -> None:
    logs = rng.uniform(0, 1, (200, 3))
    under = fit(logs, accuracy(logs) + 0.002 * rng.standard_normal(200)).by_cost[0]
    np.testing.assert_allclose([each.value for each in under.fitted.intervals], TRUTH, atol=2e-3)
    assert max(each.high - each.low for each in under.fitted.intervals) < 0.02
    assert under.fitted.coefficients.growth == pytest.approx(2)


def test_the_best_coefficients_are_those_of_brute_force(rng: np.random.Generator) -> None:
    logs = centroid_design()
    surface = fit_surface(logs, accuracy(logs) + 0.3 * rng.standard_normal(15))
    growth = CostGrowth("x", "x", 1.1, 1.7, 1.9)
    steps = np.linspace(0, 1, 401)
    first, second = (each.ravel() for each in np.meshgrid(steps, steps))
    shares = np.column_stack([first, second, 1 - first - second])[first + second <= 1 + 1e-12]
    grid = growth.spent(shares, 3.0)
    best = best_coefficients(surface, surface.estimate[None], growth, 3.0)
    np.testing.assert_allclose(best[0], grid[np.argmax(surface.value(np.log(grid)))], atol=0.01)
    assert (best**growth.exponents).prod() == pytest.approx(3.0)


def test_no_inner_optimum_is_said_plainly(rng: np.random.Generator) -> None:
    logs = centroid_design()
    convex = 77 + logs @ [1.0, 3.0, 2.0] + 0.5 * (logs**2).sum(axis=1) + 0.01 * rng.standard_normal(15)
    under = fit(logs, convex).by_cost[0]
    assert (under.fitted.coefficients.depth, under.fitted.coefficients.resolution) == (1, 1)
    assert "not concave" in " ".join(under.fitted.notes)
    assert "width growing alone" in " ".join(under.fitted.notes)
    assert under.advantages[0].over_best == (0, 0, 0)
    assert under.advantages[0].probability == 0
    assert under.advantages[0].verdict == "no compound is ahead: the surface is highest where width grows alone"


def test_a_dimension_that_does_not_help_does_not_grow(rng: np.random.Generator) -> None:
    logs = centroid_design()
    concave = 77 + logs @ [0.1, 3.0, 3.0] - logs**2 @ [0.5, 2.0, 2.0] + 0.01 * rng.standard_normal(15)
    under = fit(logs, concave).by_cost[0]
    assert under.fitted.coefficients.depth == 1
    assert "at a bound: only width and resolution should grow" in " ".join(under.fitted.notes)
    assert under.advantages[1].verdict == "width with resolution is ahead of every single dimension"


def test_advantages_are_differences_of_the_true_surface(rng: np.random.Generator) -> None:
    logs = centroid_design()
    under = fit(logs, accuracy(logs) + 1e-4 * rng.standard_normal(15)).by_cost[0]
    assert [each.factor for each in under.advantages] == [2, 4]
    for each in under.advantages:
        mixed = accuracy(np.log(TRUTH)[None] * np.log(each.factor) / STEP)
        alone = accuracy(np.diag(np.log(each.factor) / EXPONENTS))
        np.testing.assert_allclose([over.value for over in each.over], mixed - alone, atol=2e-3)
        assert each.best_single == ("depth", "width", "resolution")[int(np.argmax(alone))]
        assert each.verdict == "compound is ahead of every single dimension"
        assert each.probability == 1
        assert each.extrapolated == ()


def test_noise_hides_the_advantage(rng: np.random.Generator) -> None:
    logs = centroid_design()
    under = fit(logs, accuracy(logs) + 0.5 * rng.standard_normal(15)).by_cost[0]
    assert under.advantages[0].verdict.startswith("the observations do not tell")


def test_dimensions_beyond_all_observations_are_named() -> None:
    logs = centroid_design()
    logs = logs[logs[:, 0] < np.log(3)]
    logs = np.vstack([logs, [[0.5, 0.1, 0.2], [0.3, 0.3, 0.1], [0.8, 0.2, 0.1]]])
    under = fit(logs, accuracy(logs) + np.sin(np.arange(len(logs))) / 10).by_cost[0]
    assert under.advantages[1].extrapolated == ("depth",)


def test_seeds_tell_noise_from_lack_of_fit(rng: np.random.Generator) -> None:
    logs = np.repeat(centroid_design(), 3, axis=0)
    noise = 0.2 * rng.standard_normal(len(logs))
    good = fit(logs, accuracy(logs) + noise)
    assert good.seed_noise == pytest.approx(0.2, rel=0.3)
    # The F test of the textbook.
    values = accuracy(logs) + noise
    means = values.reshape(15, 3).mean(axis=1).repeat(3)
    within = ((values - means) ** 2).sum()
    between = (good.surface.residuals**2).sum() - within
    expected = stats.f.sf(between / 5 / (within / 30), 5, 30)
    assert lack_of_fit(good.observations, good.surface) == pytest.approx(expected, abs=0.01)
    cubic = fit(logs, accuracy(logs) + 3 * np.sin(9 * logs.sum(axis=1)) + noise)
    assert "intervals are too narrow" in " ".join(cubic.by_cost[0].fitted.notes)
    assert fit(logs[::3], values[::3]).seed_noise is None
    assert good.by_network["runs"].tolist() == [3] * 15
    np.testing.assert_allclose(good.by_network["accuracy"], means[::3])


def test_a_surface_that_hangs_on_one_network_says_so(rng: np.random.Generator) -> None:
    """Squares of depth rest on the one deep network: without it they could be anything."""
    near = 0.2 * rng.standard_normal((20, 3)) / EXPONENTS
    logs = np.vstack([near, np.array([[2.0, 0, 0]])])
    values = accuracy(logs) + 0.2 * rng.standard_normal(len(logs))
    assert "hangs on single networks" in " ".join(fit(logs, values).by_cost[0].fitted.notes)
    even = np.repeat(centroid_design(), 2, axis=0)
    told = fit(even, accuracy(even) + 0.2 * rng.standard_normal(len(even))).by_cost[0].fitted.notes
    assert "hangs" not in " ".join(told)


@pytest.mark.parametrize("factor", [1.0, 0.5, float("nan"), float("inf")])
def test_members_must_grow(factor: float) -> None:
    logs = centroid_design()
    with pytest.raises(NasError, match="factor"):
        fit_observations(observed(logs, accuracy(logs)), [PAPER], factor)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "observations.csv"
    path.write_text(text)
    return path


def test_a_table_is_read_in_pixels_and_in_multiples(tmp_path: Path) -> None:
    pixels = read_observations(written(tmp_path, "depth,width,resolution,top1\n1,1,160,70\n2,1.5,240,75\n"))
    np.testing.assert_allclose(pixels.multipliers, [[1, 1, 1], [2, 1.5, 1.5]])
    text = "depth,width,resolution,resolution_multiplier,error,val_top1\n1,1,16,1,30,71\n2,1.5,24,1.5,25,76\n"
    both = read_observations(written(tmp_path, text))
    np.testing.assert_allclose(both.multipliers, pixels.multipliers)
    np.testing.assert_allclose(both.accuracy, [70, 75])
    named = read_observations(written(tmp_path, text), accuracy="val_top1")
    np.testing.assert_allclose(named.accuracy, [71, 76])
    assert (named.metric, named.built, named.names) == ("val_top1", False, ("line 2", "line 3"))


def test_depth_is_counted_as_built_where_the_base_is_known(tmp_path: Path) -> None:
    path = written(tmp_path, "depth,width,resolution,accuracy\n1,1,224,77\n1.1,1,240,79\n")
    table = read_observations(path, nas.network("efficientnet_b0"))
    np.testing.assert_allclose(table.multipliers, [[1, 1, 1], [23 / 16, 1, 240 / 224]])
    assert table.built


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("depth,width,resolution,accuracy\n1,1,1,0.77\n", "line 2: .*fraction"),
        ("depth,width,resolution,accuracy\n1,1,1,nan\n", "line 2: accuracy is 'nan'"),
        ("depth,width,resolution,accuracy\n1,1,1,\n", "line 2: accuracy is empty: fill it in"),
        ("depth,width,resolution,accuracy\n1,1,1,77\n-1,1,1,77\n", "line 3: depth is -1"),
        ("depth,width,resolution,accuracy\n1,1,1,77\n16,1,1,77\n", "line 3: depth is 16.*not a count"),
        ("depth,width,resolution,accuracy\n1,1,1,77\n1,1,300,77\n", "write all in the same way"),
        ("depth,width,resolution,accuracy\n1.2,1,300,77\n", "give --base"),
        ("depth,width,accuracy\n1,1,77\n", "no column 'resolution'"),
        ("depth,width,resolution,acuracy\n1,1,1,77\n", "did you mean 'acuracy'|acuracy"),
        ("depth,width,resolution,test_top1\n1,1,1,77\n", "none of the columns"),
        ("depth,width,resolution,accuracy,latency_ms\n1,1,1,77,0\n", "line 2: latency_ms is 0"),
    ],
)
def test_what_is_no_observation_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(NasError, match=message):
        read_observations(written(tmp_path, text))


def test_costs_of_the_table_and_of_the_base() -> None:
    logs = centroid_design()
    costs = {"latency_ms": 20 * np.exp(logs @ [0.8, 1.5, 1.8]), "macs": 4e8 * np.exp(logs @ EXPONENTS)}
    table = observed(logs, accuracy(logs), **costs)
    np.testing.assert_allclose(growths_under(table, None, "latency_ms")[0].exponents, [0.8, 1.5, 1.8])
    assert growths_under(table, None)[0].origin == "given"
    assert growths_under(observed(logs, accuracy(logs)), None) == [PAPER]
    base, target = nas.network("efficientnet_b0"), nas.target("pixel4")
    first, second = growths_under(table, base, "paper", target)
    assert (first, second.metric) == (PAPER, "latency_ms")
    with pytest.raises(NasError, match="--base"):
        growths_under(table, None, target=target)
    with pytest.raises(NasError, match="did you mean 'latency_ms'"):
        growths_under(table, None, "latency")
    without_base = Observations(table.multipliers[1:], table.accuracy[1:], {"macs": costs["macs"][1:]}, ())
    with pytest.raises(NasError, match="base's row"):
        growths_under(without_base, None)


def test_latency_moves_coefficients_to_what_is_cheap() -> None:
    """Where width costs less than by the rule of the paper, more of it is worth its price."""
    logs = centroid_design()
    table = observed(logs, accuracy(logs) + np.sin(np.arange(15.0)) / 100)
    cheap = CostGrowth("latency_ms", "latency", 1.0, 1.2, 2.0)
    by_macs, by_latency = (each.fitted.coefficients for each in fit_observations(table, [PAPER, cheap]).by_cost)
    assert by_latency.width > by_macs.width
    assert by_latency.depth < by_macs.depth
