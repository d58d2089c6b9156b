"""Least squares of a power law with an offset, y = scale·x^-exponent + offset, for thousands of samples at once.

Variable projection (Golub and Pereyra, 1973): for a given exponent the law is linear in scale and offset, so that only
the exponent is searched for: on a grid over its whole range, then finer and finer around the best. None of the three
is negative.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

#: exponents that are looked at; beyond, a law is flat but for its first point, or as good as logarithmic
EXPONENTS = (0.01, 10.0)
_GRID = np.geomspace(*EXPONENTS, 64)
_STEP = float(np.log(_GRID[1] / _GRID[0]))
#: a pass looks at these parts of a step around the best exponent, and leaves a quarter of the step
_AROUND = np.linspace(-1.0, 1.0, 9)
#: passes that leave less than 1e-8 of an exponent
PASSES = 12
#: numbers that are worked on at once, 8 MB
_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class PowerLaws:
    """Laws y = scale·x^-exponent + offset, each parameter float[N]."""

    scale: Array
    exponent: Array
    offset: Array

    def at(self, x: npt.ArrayLike) -> Array:
        """Return float[N, n], the values at x, float[n]."""
        points = np.asarray(x, dtype=np.float64)
        return self.scale[:, None] * points ** -self.exponent[:, None] + self.offset[:, None]


def fit_power_laws(x: npt.ArrayLike, y: npt.ArrayLike, passes: int = PASSES) -> PowerLaws:
    """Return the law of least squares for each of N samples taken at the same points.

    Args:
        x: float[n], positive, of at least three different values.
        y: float[N, n], positive on the whole.
        passes: how often the search for the exponent is refined; one leaves 1e-3 of it, each more a tenth of that.
    """
    points, samples = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    # Relative to their smallest, points raised to any power lie between 0 and 1.
    unit = points.min()
    logs = np.log(points / unit)
    parts = np.array_split(samples, -(-samples.size * len(_AROUND) // _AT_ONCE))
    exponent = np.concatenate([_best_exponents(logs, part, passes) for part in parts])
    scale, offset, _ = _linear(np.exp(-exponent[:, None] * logs), samples)
    return PowerLaws(scale * unit**exponent, exponent, offset)


def _best_exponents(logs: Array, y: Array, passes: int) -> Array:
    """Return float[N], the exponent of least squares for each of the samples y, float[N, n], at exp(logs)."""
    log_exponent = np.log(_GRID)[_residuals_on_grid(np.exp(-_GRID[:, None] * logs), y).argmin(axis=1)]
    step, row = _STEP, np.arange(len(y))
    for _ in range(passes):
        around = np.clip(log_exponent[:, None] + step * _AROUND, *np.log(EXPONENTS))
        _, _, residuals = _linear(np.exp(-np.exp(around)[..., None] * logs), y[:, None, :])
        best = residuals.argmin(axis=1)
        step /= 4
        log_exponent = around[row, best] + step * _vertex(residuals, best)
    exponents: Array = np.exp(np.clip(log_exponent, *np.log(EXPONENTS)))
    return exponents


def _residuals_on_grid(z: Array, y: Array) -> Array:
    """Return float[N, G], the sums of squares that _linear leaves of each y, float[N, n], on each z, float[G, n]."""
    about_z, about_y = z - z.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    slope = about_y @ about_z.T / (about_z**2).sum(axis=1)
    flat = (about_y**2).sum(axis=1, keepdims=True)
    both = flat - slope**2 * (about_z**2).sum(axis=1)
    through_zero = (y**2).sum(axis=1, keepdims=True) - (y @ z.T) ** 2 / (z**2).sum(axis=1)
    offset = y.mean(axis=1, keepdims=True) - slope * z.mean(axis=1)
    best: Array = np.where(slope < 0, flat, np.where(offset < 0, through_zero, both))
    return best


def _vertex(values: Array, best: npt.NDArray[np.intp]) -> Array:
    """Return how far beside `best` the parabola through it and its neighbours is lowest, in steps of -1/2 to 1/2.

    Args:
        values: float[N, m], equally spaced.
        best: int[N], the position of the least; 0 is returned where it has but one neighbour.
    """
    row, middle = np.arange(len(values)), np.clip(best, 1, values.shape[1] - 2)
    left, here, right = (values[row, middle + offset] for offset in (-1, 0, 1))
    bend = left - 2 * here + right
    inside = (middle == best) & (bend > 0)
    vertex: Array = np.where(inside, (left - right) / np.where(inside, 2 * bend, 1.0), 0.0)
    return vertex


def _linear(z: Array, y: Array) -> tuple[Array, Array, Array]:
    """Return scale, offset >= 0 and the sum of squares of least squares y ≈ scale·z + offset, along the last axis."""
    mean_z, mean_y = z.mean(axis=-1), y.mean(axis=-1)
    about_z = z - mean_z[..., None]
    scale = ((y - mean_y[..., None]) * about_z).sum(axis=-1) / (about_z**2).sum(axis=-1)
    offset = mean_y - scale * mean_z
    scale = np.where(offset < 0, (y * z).sum(axis=-1) / (z**2).sum(axis=-1), np.maximum(scale, 0.0))
    offset = np.where(offset < 0, 0.0, np.where(scale > 0, offset, mean_y))
    return scale, offset, ((y - scale[..., None] * z - offset[..., None]) ** 2).sum(axis=-1)
