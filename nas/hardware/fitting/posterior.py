"""What measurements say of coefficients that are not negative: draws from their posterior, many data sets at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

#: chains of the ensemble, and steps of each; the first third of the steps is thrown away
CHAINS, STEPS = 48, 1200


def draw_posterior(x: Array, y: Array, variance: Array, kept: Array, scales: Array, noise: float) -> Array:
    """Return draws float[B, D, F + 1] of coefficients and relative noise, for B choices of the measurements.

    Model: y ~ Normal(m, (s m)² + variance) with m = x · c. Priors: c_f half-normal with scale `scales`, s half-normal
    with scale `noise`. The draws are those of an affine-invariant ensemble of chains in the logarithms of c and s
    (Goodman & Weare, 2010, equation 7), the same for the same data.

    Args:
        x: float[n, F], not negative; y: float[n], positive.
        variance: float[n], of each measurement besides the relative noise: the square of its rounding.
        kept: float[B, n], 1 for the measurements that count, 0 for those left out.
        scales: float[B, F].
    """
    count = x.shape[1]
    scaled = x * scales[:, None, :]

    def log_density(theta: Array) -> Array:
        values = np.exp(theta)
        coefficients, spread = values[..., :count], values[..., count:]
        mean = coefficients @ scaled.transpose(0, 2, 1)
        total = (spread * mean) ** 2 + variance
        fit = -0.5 * ((y - mean) ** 2 / total + np.log(total))
        prior = -0.5 * ((coefficients**2).sum(-1) + (spread[..., 0] / noise) ** 2)
        jacobian = theta.sum(-1)
        return np.asarray((fit @ kept[..., None])[..., 0] + prior + jacobian)

    nearest = _least_squares(scaled * (kept / y)[..., None], kept)
    start = np.append(np.log(np.maximum(nearest, 0.02)), np.full((len(kept), 1), np.log(2 * noise)), axis=1)
    draws = np.exp(_ensemble(log_density, start))
    draws[..., :count] *= scales[:, None, :]
    return draws


def _least_squares(a: Array, b: Array) -> Array:
    """Return float[B, F], about the c >= 0 that minimises |a c - b|² + |c|² / 100: where the chains begin.

    Multiplicative updates (Lee & Seung, 2001, equation 4).
    """
    gram = a.transpose(0, 2, 1) @ a + 0.01 * np.eye(a.shape[2])
    target = np.einsum("bnf,bn->bf", a, b)
    found = np.ones_like(target)
    for _ in range(300):
        found *= target / (gram @ found[..., None])[..., 0]
    return np.asarray(found)


def _ensemble(log_density: Callable[[Array], Array], start: Array) -> Array:
    """Return float[B, D, P]: the walk of two halves of chains, each stretched along lines to chains of the other."""
    rng = np.random.default_rng(0)
    problems, count = start.shape
    half = CHAINS // 2
    halves = (slice(0, half), slice(half, CHAINS))
    position = start[:, None] + 0.1 * rng.normal(size=(problems, CHAINS, count))
    density = log_density(position)
    walked = []
    for step in range(STEPS):
        for moving, fixed in (halves, halves[::-1]):
            partners = rng.integers(half, size=(problems, half, 1))
            other = np.take_along_axis(position[:, fixed], partners, axis=1)
            # a stretch z between 1/2 and 2 with density proportional to 1 / √z
            stretch = (1 + rng.random((problems, half))) ** 2 / 2
            proposed = other + stretch[..., None] * (position[:, moving] - other)
            reached = log_density(proposed)
            odds = (count - 1) * np.log(stretch) + reached - density[:, moving]
            accepted = np.log(rng.random((problems, half))) < odds
            position[:, moving] = np.where(accepted[..., None], proposed, position[:, moving])
            density[:, moving] = np.where(accepted, reached, density[:, moving])
        if step >= STEPS // 3:
            walked.append(position.copy())
    return np.concatenate(walked, axis=1)
