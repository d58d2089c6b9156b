"""The small grid of the paper: what it evaluates, what it chooses, and estimators that know few networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import nas
from nas.errors import NasError
from nas.estimators.base import About, Estimator, HasSpace
from nas.report.scaling_fit import write_grid_fit
from nas.scaling.fitting.built import as_built
from nas.scaling.fitting.cost_growth import PAPER, cost_named, exact_macs
from nas.scaling.fitting.estimator import EstimatedAccuracy, fit_by_estimator
from nas.scaling.fitting.grid import GridPoint, fit_grid, grid, spread
from nas.space import Codes, NetworkSpec, SearchSpace, StagedNetwork, StagedSpace

SHARES = np.array([0.28, 0.29, 0.43])
TRUTH = np.exp(SHARES * np.log(2) / PAPER.exponents)


@pytest.fixture(scope="module")
def base() -> StagedNetwork:
    """Four stages of five blocks at 128 × 128."""
    stages = [f"ir_r5_k3_s2_e4_c{channels}" for channels in (32, 64, 96, 160)]
    return StagedNetwork.from_strings(
        "cn_k3_s2_c32", stages, ("cn_c640", "pool", "fc"), resolution=128, name="twenty"
    )  # fmt: skip


def multipliers(base: StagedNetwork, network: NetworkSpec) -> np.ndarray:
    """Depth counted in blocks, width from the head's channels, resolution."""
    assert isinstance(network, StagedNetwork)
    depth = sum(map(len, network.stages)) / sum(map(len, base.stages))
    return np.array([depth, network.head[0].channels / 640, network.resolution / 128])


def accuracy(logs: np.ndarray) -> float:
    """A surface that is highest at TRUTH among networks of twice the cost by the rule of the paper."""
    curvature = -1.4 * np.diag(PAPER.exponents**2)
    slope = 2.6 * PAPER.exponents - 2 * curvature @ np.log(TRUTH)
    return float(77 + logs @ slope + logs @ curvature @ logs)


def test_the_grid_finds_the_truth(base: StagedNetwork) -> None:
    asked = []

    def evaluate(network: NetworkSpec) -> float:
        asked.append(network)
        return accuracy(np.log(multipliers(base, network)))

    found = fit_grid(base, evaluate, PAPER, points=21)
    assert len(asked) == len(set(asked)) == len(found.points) <= 21
    assert found.fitted is not None
    np.testing.assert_allclose([each.value for each in found.fitted.intervals], TRUTH, atol=0.03)
    for interval, true in zip(found.fitted.intervals, TRUTH, strict=True):
        assert interval.low - 0.02 <= true <= interval.high + 0.02
    assert found.table["accuracy"].is_monotonic_decreasing
    assert accuracy(np.log(multipliers(base, found.best.network))) == found.accuracy.max()


@pytest.fixture(scope="module")
def points(base: StagedNetwork) -> tuple[GridPoint, ...]:
    return grid(base, *cost_named(base, "macs"), 2.0)


def test_networks_of_the_grid_cost_what_was_asked(base: StagedNetwork, points: tuple[GridPoint, ...]) -> None:
    assert len(points) > 20
    for point in points:
        assert exact_macs(point.network) / exact_macs(base) == pytest.approx(point.cost)
        assert point.cost == pytest.approx(2, rel=0.05)
        np.testing.assert_allclose(np.exp(point.logs)[::2], multipliers(base, point.network)[::2])


def test_points_are_spread_over_all_dimensions(points: tuple[GridPoint, ...]) -> None:
    logs = np.array([point.logs for point in spread(points, 9)])
    everything = np.array([point.logs for point in points])
    np.testing.assert_allclose(np.ptp(logs, axis=0), np.ptp(everything, axis=0), rtol=0.15)


def test_the_page_of_a_grid(base: StagedNetwork, tmp_path: Path) -> None:
    found = fit_grid(base, lambda network: accuracy(np.log(multipliers(base, network))), PAPER, points=12)
    page = write_grid_fit(found, "a grid", tmp_path / "grid.html").read_text()
    assert f"Best network of the grid: {found.best.coefficients}" in page
    assert "95 % intervals" in page


def test_few_networks_give_the_best_of_them_and_no_surface(base: StagedNetwork) -> None:
    found = fit_grid(base, lambda network: 70 + network.resolution / 100, PAPER, points=5)
    assert found.fitted is None
    assert found.best.network.resolution == max(point.network.resolution for point in found.points)


def test_one_dimension_alone_is_no_grid(base: StagedNetwork) -> None:
    def knows(network: NetworkSpec) -> bool:
        return multipliers(base, network)[:2].tolist() == [1, 1]

    with pytest.raises(NasError, match="grow in resolution alone, so there is nothing to compare"):
        fit_grid(base, lambda _: 70.0, PAPER, tolerance=0.15, knows=knows)


@pytest.mark.parametrize("accuracy", [0.77, 120.0, float("nan"), -1.0])
def test_accuracies_that_are_no_percentages_are_refused(base: StagedNetwork, accuracy: float) -> None:
    with pytest.raises(NasError, match="percent"):
        fit_grid(base, lambda _: accuracy, PAPER, points=3)


class ByResolution(Estimator):
    """Knows one space, where accuracy is the resolution's alone."""

    origin = "measured"
    cost_hint = "s"

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("top1",)

    def evaluate(self, problem: HasSpace, codes: Codes, fidelity: int | None = None) -> pd.DataFrame:
        return pd.DataFrame({"top1": [60 + problem.space.spec(code).resolution / 10 for code in codes]})

    def about(self, problem: HasSpace) -> About:
        if problem.space.name != "deep-and-fine":
            raise NasError("unknown")
        return About("", "", "")


@pytest.fixture(scope="module")
def deep_and_fine(base: StagedNetwork) -> SearchSpace:
    """Networks that differ from the base in depth and resolution, never in width."""
    stages = [f"ir_r{{5-12}}_k3_s2_e4_c{channels}" for channels in (32, 64, 96, 160)]
    return StagedSpace("deep-and-fine", base, stages, resolutions=tuple(range(128, 200, 4)))


def test_an_estimator_evaluates_the_networks_it_knows(
    base: StagedNetwork, deep_and_fine: SearchSpace, mbconv: SearchSpace
) -> None:
    judge = EstimatedAccuracy.of(ByResolution(), [mbconv, deep_and_fine])
    assert judge.spaces == (deep_and_fine,)
    growth, cost = cost_named(base, "macs")
    found = fit_by_estimator(base, judge, growth, cost)
    assert len(found.points) >= 3
    for point, value in zip(found.points, found.accuracy, strict=True):
        assert multipliers(base, point.network)[1] == 1
        assert value == pytest.approx(60 + point.network.resolution / 10)


def test_networks_outside_are_refused_with_a_way_out(base: StagedNetwork, deep_and_fine: SearchSpace) -> None:
    judge = EstimatedAccuracy.of(ByResolution(), [deep_and_fine])
    with pytest.raises(NasError, match=r"deep-and-fine.*nas scale design.*--observations"):
        judge(base.scale(width=1.5))
    with pytest.raises(NasError, match="efficientnet_b0 is outside of what the estimator knows"):
        fit_by_estimator(nas.network("efficientnet_b0"), judge, PAPER, None)
    surrogate = EstimatedAccuracy.of(nas.estimator("surrogate"), [nas.space("mbconv")])
    with pytest.raises(NasError, match=r"cannot be evaluated; at least 3 are needed.*mbconv"):
        fit_by_estimator(nas.network("efficientnet_b0"), surrogate, PAPER, None)


def test_an_estimator_without_spaces_is_refused(mbconv: SearchSpace) -> None:
    with pytest.raises(NasError, match="says nothing"):
        EstimatedAccuracy.of(ByResolution(), [mbconv])


def test_as_built_agrees_with_counting(base: StagedNetwork) -> None:
    asked = np.array([[1.05, 1.0, 1.0], [1.3, 1.0, 1.1], [2.0, 1.0, 1.5], [0.4, 1.0, 0.5]])
    for row, built in zip(asked.tolist(), as_built(base, asked), strict=True):
        network = base.scale(row[0], 1.0, round(row[2] * 32) * 4)
        np.testing.assert_allclose(built, multipliers(base, network))
