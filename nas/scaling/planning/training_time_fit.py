"""Fit the two coefficients of `TrainingTime` to measured times, and see how far they are off for networks left out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nas.errors import NasError
from nas.hardware.calibration import Calibration

Array = npt.NDArray[np.float64]

#: activations a GPU writes in the time of one multiply-add lie between these, with room to spare
_RATIOS = (1e-2, 1e4)
_GRID = 400
#: times the grid is laid again around its best point, each time this much finer
_ROUNDS, _FINER = 3, 20
_FEWEST_NETWORKS, _FEWEST_FAMILIES = 10, 3


class Coefficients(NamedTuple):
    """Seconds of a multiply-add and of an activation."""

    per_mac: float
    per_activation: float


class LeftOut(NamedTuple):
    """Residuals log(measured / predicted), float[n], of networks each predicted from others."""

    network: Array
    family: Array


def fit_coefficients(macs: Array, activations: Array, seconds: Array) -> Coefficients:
    """Return the coefficients of least squared log(measured / predicted).

    For a fixed ratio of the two the scale is the mean residual (variable projection, Golub & Pereyra, 1973), so what
    is left is a search along one line, done on a grid that is laid again around its best point.

    Args:
        macs, activations, seconds: float[n], positive.
    """
    low, high = np.log(_RATIOS)
    for _ in range(_ROUNDS + 1):
        ratios = np.exp(np.linspace(low, high, _GRID))
        residuals = np.log(seconds) - np.log(macs + ratios[:, None] * activations)
        best = int(residuals.var(axis=1).argmin())
        middle, reach = np.log(ratios[best]), (high - low) / _FINER
        low, high = middle - reach, middle + reach
    scale = float(np.exp(residuals[best].mean()))
    return Coefficients(scale, scale * float(ratios[best]))


def left_out(macs: Array, activations: Array, seconds: Array, families: npt.NDArray[np.str_]) -> LeftOut:
    """Return the residuals of every network predicted from all others, and from those of other families.

    Raises:
        NasError: there are too few networks or families.
    """
    kinds = np.unique(families)
    if len(seconds) < _FEWEST_NETWORKS or len(kinds) < _FEWEST_FAMILIES:
        raise NasError(
            f"{len(seconds)} networks of {len(kinds)} families were measured, at least {_FEWEST_NETWORKS} of "
            f"{_FEWEST_FAMILIES} are needed to see how far predictions are off"
        )

    def residuals(held: npt.NDArray[np.bool_]) -> Array:
        fitted = fit_coefficients(macs[~held], activations[~held], seconds[~held])
        predicted = fitted.per_mac * macs[held] + fitted.per_activation * activations[held]
        return np.asarray(np.log(seconds[held] / predicted))

    network = np.concatenate([residuals(np.arange(len(seconds)) == i) for i in range(len(seconds))])
    family = np.empty(len(seconds))
    for kind in kinds:
        family[families == kind] = residuals(families == kind)
    return LeftOut(network, family)


def pair_residuals(residuals: Array) -> Array:
    """Return log(measured / predicted) of the ratio of the times of all ordered pairs of networks, float[n·(n-1)]."""
    differences = residuals[:, None] - residuals[None, :]
    return np.asarray(differences[~np.eye(len(residuals), dtype=bool)])


def symmetric_quantiles(residuals: Array) -> tuple[float, ...]:
    """Return the quantiles of `Calibration` where a new network is as likely above its prediction as below it."""
    return Calibration.of(np.concatenate([residuals, -residuals])).quantiles


def mean_error_percent(residuals: Array) -> float:
    """Return the mean of |predicted / measured - 1| in percent from log(measured / predicted)."""
    return float(100 * np.abs(np.exp(-residuals) - 1).mean())
