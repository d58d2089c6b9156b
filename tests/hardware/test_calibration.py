"""Quantiles of held-out residuals, against the normal distribution and against brute force."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from nas.errors import NasError
from nas.hardware import Calibration
from nas.hardware.calibration import LEVELS


def test_a_normal_calibration_is_the_normal_distribution() -> None:
    calibration, normal = Calibration.normal(NormalDist().inv_cdf(0.95)), NormalDist()
    for level in (0.001, 0.05, 0.37, 0.5, 0.9, 0.999):
        assert calibration.quantile(level) == pytest.approx(normal.inv_cdf(level), abs=1e-9)
    z = np.linspace(-4, 4, 41)
    np.testing.assert_allclose(calibration.probability(z), [normal.cdf(value) for value in z], atol=1e-6)


def test_the_interval_is_as_wide_as_its_width_says() -> None:
    calibration = Calibration.normal(2.5)
    assert calibration.quantile(0.95) == pytest.approx(2.5)
    assert calibration.quantile(0.05) == pytest.approx(-2.5)


@pytest.mark.parametrize("shape", ["normal", "skewed", "heavy"])
@pytest.mark.parametrize("n", [20, 100, 1000])
def test_new_residuals_fall_in_the_interval_as_often_as_it_says(shape: str, n: int) -> None:
    rng = np.random.default_rng(0)
    draw = {
        "normal": rng.normal,
        "skewed": lambda size: rng.exponential(size=size) - 0.3,
        "heavy": lambda size: rng.standard_t(4, size=size),
    }[shape]
    inside = below = 0.0
    for _ in range(300):
        calibration, new = Calibration.of(draw(size=n)), draw(size=200)
        inside += np.mean((new >= calibration.quantile(0.05)) & (new <= calibration.quantile(0.95))) / 300
        below += np.mean(new <= calibration.quantile(0.9)) / 300
    # Conformal coverage holds on average over calibration sets; 300 · 200 draws have an error below 0.005.
    assert 0.89 <= inside <= 0.92
    assert 0.89 <= below <= 0.92


def test_quantile_and_probability_are_inverse() -> None:
    calibration = Calibration.of(np.random.default_rng(1).gumbel(size=500))
    for level in (0.003, *LEVELS, 0.997):
        assert calibration.probability(np.array([calibration.quantile(level)]))[0] == pytest.approx(level, abs=1e-6)


def test_equal_residuals_have_no_spread() -> None:
    calibration = Calibration.of(np.full(10, 0.7))
    assert calibration.quantile(0.05) == calibration.quantile(0.95) == pytest.approx(0.7)


@pytest.mark.parametrize("z", [[], [0.1], [0.1, float("nan")], [0.1, float("inf")]])
def test_too_few_or_broken_residuals_are_refused(z: list[float]) -> None:
    with pytest.raises(NasError, match="at least 2 finite residuals"):
        Calibration.of(z)


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1, 90])
def test_a_level_is_a_share(level: float) -> None:
    with pytest.raises(NasError, match="between 0 and 1"):
        Calibration.normal(2).quantile(level)


@pytest.mark.parametrize("quantiles", [(1.0,) * 3, (0.0,) * 14 + (float("nan"),), tuple(range(15, 0, -1))])
def test_broken_quantiles_are_refused(quantiles: tuple[float, ...]) -> None:
    with pytest.raises(NasError, match="in rising order"):
        Calibration(quantiles)
