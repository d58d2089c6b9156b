"""What an evaluation is expected to bring: expected improvement, of one value or of a hypervolume, in closed form."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

#: cuts of an axis into cells where there are three or more objectives; with two every point of the front is a cut
MOST_CUTS = 24
#: cells in all, a limit on time and memory with five or more objectives
MOST_CELLS = (MOST_CUTS + 1) ** 3
#: standard deviation below which a value counts as known
_KNOWN = 1e-9
#: where the tail of the normal distribution begins, and terms of its continued fraction: an error below 1e-6
_TAIL, _TERMS = 2.0, 40


def density(u: Array) -> Array:
    """Return the density of the standard normal distribution."""
    return np.asarray(np.exp(-0.5 * u**2) / np.sqrt(2 * np.pi))


def distribution(u: Array) -> Array:
    """Return the standard normal distribution function (Abramowitz & Stegun 26.2.17, absolute error below 1e-7)."""
    t = 1.0 / (1.0 + 0.2316419 * np.abs(u))
    series = t * (0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
    tail = density(u) * series
    return np.where(u > 0, 1.0 - tail, tail)


def log_distribution(u: Array) -> Array:
    """Return the logarithm of the standard normal distribution function, finite where that underflows."""
    x = np.maximum(-u, _TAIL)
    near = np.log(distribution(np.maximum(u, -_TAIL)))
    return np.asarray(np.where(u > -_TAIL, near, _log_density(x) - np.log(x + 1.0 / _fraction(x))))


def expected_shortfall(level: Array, mean: Array, std: Array) -> Array:
    """Return E[max(level - Y, 0)] of normal Y, which is expected improvement on `level` (Jones et al., 1998)."""
    gap = level - mean
    u = np.clip(gap / np.maximum(std, _KNOWN), -38.0, 38.0)
    expected = gap * distribution(u) + std * density(u)
    far = u <= -_TAIL  # where the two terms cancel
    expected[far] = np.broadcast_to(std, far.shape)[far] * np.exp(_log_tail(-u[far]))
    return np.where(std > _KNOWN, expected, np.maximum(gap, 0.0))


def log_expected_improvement(best: float, mean: Array, std: Array) -> Array:
    """Return float[n], the logarithm of expected improvement on `best`, finite where that underflows (Ament et al.,
    2023)."""
    std = np.maximum(std, _KNOWN)
    u = (best - mean) / std
    near = np.log(np.maximum(u * distribution(u) + density(u), 1e-300))
    return np.asarray(np.log(std) + np.where(u > -_TAIL, near, _log_tail(np.maximum(-u, _TAIL))))


def _log_tail(x: Array) -> Array:
    """Return log E[max(Z - x, 0)] of standard normal Z, for x >= 2: density(x) / (1 + x (x + 2 / (x + 3 / ...)))."""
    return np.asarray(_log_density(x) - np.log1p(x * _fraction(x)))


def _log_density(u: Array) -> Array:
    return np.asarray(-0.5 * u**2 - 0.5 * np.log(2 * np.pi))


def _fraction(x: Array) -> Array:
    """Return x + 2 / (x + 3 / (x + ...)), from Laplace's continued fraction of the normal tail (A&S 26.2.14)."""
    fraction = x
    for k in range(_TERMS, 1, -1):
        fraction = x + k / fraction
    return fraction


def expected_hypervolume_improvement(front: Array, mean: Array, std: Array) -> Array:
    """Return float[n], the expected growth of the hypervolume that `front` dominates below the reference (1, ..., 1).

    The objectives of a candidate are independent and normal; those with standard deviation 0 are known. All but the
    first are cut into cells at the points of the front. Above the corner c of a cell the front attains level f(c) in
    the first objective, so a candidate fills the cell by E[(f(c) - Y_1)+] times, for every other objective, E[length
    of the cell's side above Y_m] = E[(upper - Y_m)+] - E[(lower - Y_m)+]: a sum of products of one-dimensional
    integrals (Emmerich et al., 2011; Yang et al., 2019). Exact up to `MOST_CUTS` points, fewer with five or more
    objectives; beyond, a part of what the front dominates counts as growth. O(n * cells), of memory as well.

    Args:
        front: float[k, M], losses scaled so that the reference is 1.
        mean, std: float[n, M], of the candidates, in the same scale.
    """
    others = range(1, front.shape[1])
    cuts = [_cuts(front[:, m], len(others)) for m in others]
    volume = np.ones((len(mean), 1))
    for m, cut in zip(others, cuts, strict=True):
        reached = expected_shortfall(np.append(cut, 1.0), mean[:, [m]], std[:, [m]])
        side = np.diff(reached, axis=1, prepend=0.0)
        volume = (volume[:, :, None] * side[:, None, :]).reshape(len(mean), -1)
    level = _levels(front, cuts)
    # Many cells have the same level, and the integral of the first objective is that of the level.
    levels, where = np.unique(level, return_inverse=True)
    order = np.argsort(where, kind="stable")
    starts = np.searchsorted(where[order], np.arange(len(levels)))
    by_level = np.add.reduceat(volume[:, order], starts, axis=1)
    return np.asarray((by_level * expected_shortfall(levels, mean[:, [0]], std[:, [0]])).sum(axis=1))


def _cuts(values: Array, axes: int) -> Array:
    cuts = np.unique(np.minimum(values, 1.0))
    if axes == 1:
        return cuts
    most = max(1, min(MOST_CUTS, round(MOST_CELLS ** (1 / axes)) - 1))
    return cuts[np.linspace(0, len(cuts) - 1, most).astype(int)] if len(cuts) > most else cuts


def _levels(front: Array, cuts: list[Array]) -> Array:
    """Return float[cells], the best first objective among the points of the front at or below each cell's corner."""
    level = np.minimum(front[:, 0], 1.0)
    corners = np.meshgrid(*[np.append(-np.inf, cut) for cut in cuts], indexing="ij")
    shape = (-1,) + (1,) * len(cuts)
    below = np.ones((len(front), *(len(cut) + 1 for cut in cuts)), dtype=bool)
    for m, corner in enumerate(corners, start=1):
        below &= front[:, m].reshape(shape) <= corner + 1e-12
    return np.asarray(np.where(below, level.reshape(shape), 1.0).min(axis=0, initial=1.0)).ravel()
