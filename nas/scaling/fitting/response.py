"""Second-order response surfaces of accuracy (Box & Wilson, 1951), and where they are highest at a given cost."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from nas.errors import NasError
from nas.scaling.coefficients import DIMENSIONS

Array = npt.NDArray[np.float64]

#: interactions are fitted where at least so many distinct networks and so many observations are there
INTERACTION_NETWORKS = 12
INTERACTION_ROWS = 14


@dataclass(frozen=True)
class ResponseSurface:
    """accuracy = constant + linear · z + squares (+ products of different z) + noise, with z = log(multipliers) · axes.

    Under a flat prior on the parameters and on log noise, their posterior is a multivariate t distribution around the
    least-squares estimate (Gelman et al., Bayesian Data Analysis, 3rd ed., section 14.2).

    Args:
        axes: float[3, k], directions of log multipliers that it varies in; depth, width, resolution by default.
        curved: how many of them, from the first on, have squares and products; the others are linear.
        interactions: whether products of different z are among the terms.
        estimate: float[p], least-squares parameters in the order of `terms`.
        root: float[p, p], lower root of the covariance of the estimate.
        freedom: observations minus parameters.
        noise: standard deviation of an observation around the surface, in points.
        residuals: float[n], observed minus fitted.
        left_out: float[n], observed minus what is fitted without the network, all its trainings; NaN where the others
            do not determine the surface.
    """

    axes: Array
    curved: int
    interactions: bool
    estimate: Array
    root: Array
    freedom: int
    noise: float
    residuals: Array
    left_out: Array

    def terms(self, logs: Array) -> Array:
        """Return float[..., p], the terms of the surface at log multipliers float[..., 3]."""
        return _terms(logs @ self.axes, self.curved, self.interactions)

    def value(self, logs: Array, parameters: Array | None = None) -> Array:
        """Return accuracy float[..., m] at log multipliers float[m, 3], of parameters float[..., p] or the estimate."""
        values: Array = (self.estimate if parameters is None else parameters) @ self.terms(logs).T
        return values

    def draws(self, n: int, rng: np.random.Generator) -> Array:
        """Return float[n, p], draws from the posterior of the parameters."""
        normal = rng.standard_normal((n, len(self.estimate))) @ self.root.T
        chi = np.sqrt(rng.chisquare(self.freedom, (n, 1)) / self.freedom)
        return np.asarray(self.estimate + normal / chi)

    def quadratics(self, parameters: Array) -> tuple[Array, Array]:
        """Return slope float[..., 3] and curvature float[..., 3, 3] in log multipliers l: ... + slope · l + l C l."""
        k, curved = self.axes.shape[1], range(self.curved)
        linear, squares, products = np.split(parameters, [1 + k, 1 + k + self.curved], axis=-1)
        curvature = np.zeros((*parameters.shape[:-1], k, k))
        curvature[..., curved, curved] = squares
        for position, (i, j) in enumerate(combinations(curved, 2) if self.interactions else ()):
            curvature[..., i, j] = curvature[..., j, i] = products[..., position] / 2
        return linear[..., 1:] @ self.axes.T, self.axes @ curvature @ self.axes.T


def fit_surface(logs: Array, accuracy: Array, axes: Array | None = None, curved: int = 3) -> ResponseSurface:
    """Fit a surface to accuracies float[n] in percent of networks at log multipliers float[n, 3].

    By default it is curved in depth, width and resolution; see `ResponseSurface` for other `axes`.

    Products of different dimensions are terms where INTERACTION_NETWORKS and INTERACTION_ROWS are reached and the
    networks can tell them apart; what the accuracies are plays no part in this choice.

    Raises:
        NasError: fewer observations than parameters and one, or networks that do not vary enough; says in what.
    """
    axes = np.eye(3) if axes is None else axes
    z = logs @ axes
    network = np.unique(np.round(z, 9), axis=0, return_inverse=True)[1].reshape(-1)
    distinct = int(network.max()) + 1
    many = distinct >= INTERACTION_NETWORKS and len(z) >= INTERACTION_ROWS
    interactions = (many or curved < 3) and _full_rank(_terms(z, curved, True))
    design = _terms(z, curved, interactions)
    n, p = design.shape
    if distinct < p or n <= p:
        raise NasError(
            f"{n} observations of {distinct} networks are too few for a response surface with {p} parameters: at least "
            f"{p} networks and {p + 1} observations are needed, better {INTERACTION_ROWS} or more: nas scale design"
        )
    if not _full_rank(design):
        raise NasError(_what_does_not_vary(logs))
    q, r = np.linalg.qr(design)
    estimate = np.linalg.solve(r, q.T @ accuracy)
    residuals = accuracy - design @ estimate
    noise = float(np.sqrt(residuals @ residuals / (n - p)))
    root = noise * np.linalg.inv(r)
    left_out = _left_out(residuals, (q**2).sum(axis=1), network)
    return ResponseSurface(axes, curved, interactions, estimate, root, n - p, noise, residuals, left_out)


def best_shares(slope: Array, curvature: Array) -> Array:
    """Return float[n, d], the points of the simplex (w >= 0, sum 1) where slope · w + w C w is highest.

    Slope float[n, d] and curvature float[n, d, d] with d = 3. The highest point of a compact set is a stationary point
    within one of its faces: the corners, the three edges and the inside are tried in turn, all n at once, which finds
    the highest point whether the surface is concave or not.
    """
    corners = np.eye(slope.shape[1])
    candidates = [np.broadcast_to(corner, slope.shape) for corner in corners]
    candidates += [_on_edge(slope, curvature, *pair) for pair in combinations(corners, 2)]
    candidates.append(_inside(slope, curvature, corners))
    points = np.stack(candidates)
    values = np.einsum("knd,nd->kn", points, slope) + np.einsum("knd,nde,kne->kn", points, curvature, points)
    best = np.argmax(np.where(np.isnan(values), -np.inf, values), axis=0)
    return np.asarray(points[best, np.arange(len(slope))])


def _on_edge(slope: Array, curvature: Array, start: Array, end: Array) -> Array:
    """The stationary point strictly between two corners, float[n, 3]; NaN where there is none."""
    along = end - start
    rise = slope @ along + 2 * (curvature @ start) @ along
    bend = (curvature @ along) @ along
    with np.errstate(divide="ignore", invalid="ignore"):
        way = -rise / (2 * bend)
    way = np.where((way > 0) & (way < 1), way, np.nan)
    return np.asarray(start + way[:, None] * along)


def _inside(slope: Array, curvature: Array, corners: Array) -> Array:
    """The stationary point strictly inside the triangle, float[n, 3]; NaN where there is none."""
    along = np.array([corners[1] - corners[0], corners[2] - corners[0]])
    rise = (slope + 2 * curvature @ corners[0]) @ along.T
    bend = 2 * along @ curvature @ along.T
    determinant = bend[:, 0, 0] * bend[:, 1, 1] - bend[:, 0, 1] ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        first = (bend[:, 0, 1] * rise[:, 1] - bend[:, 1, 1] * rise[:, 0]) / determinant
        second = (bend[:, 0, 1] * rise[:, 0] - bend[:, 0, 0] * rise[:, 1]) / determinant
    shares = np.column_stack([1 - first - second, first, second])
    return np.where((shares > 0).all(axis=1, keepdims=True), shares, np.nan)


def _left_out(residuals: Array, leverage: Array, network: npt.NDArray[np.int64]) -> Array:
    """Residuals float[n] when all rows of the same network are left out, from leverages float[n] (equal in those)."""
    remaining = 1 - np.bincount(network)[network] * leverage
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = leverage * np.bincount(network, residuals)[network] / remaining
    return np.where(remaining > 1e-9, residuals + shift, np.nan)


def _terms(z: Array, curved: int, interactions: bool) -> Array:
    """Constant, z, squares, and products of different z where asked for: float[..., p]."""
    columns = [np.ones(z.shape[:-1])]
    columns += [z[..., i] for i in range(z.shape[-1])]
    columns += [z[..., i] ** 2 for i in range(curved)]
    if interactions:
        columns += [z[..., i] * z[..., j] for i, j in combinations(range(curved), 2)]
    return np.stack(columns, axis=-1)


def _full_rank(design: Array) -> bool:
    """Whether the columns are linearly independent beyond rounding, each taken at its own scale."""
    norms = np.linalg.norm(design, axis=0)
    return bool(norms.min() > 0 and np.linalg.matrix_rank(design / norms, tol=1e-6) == design.shape[1])


def _what_does_not_vary(logs: Array) -> str:
    """Say why a surface cannot be fitted to networks at log multipliers float[n, 3]."""
    for name, column in zip(DIMENSIONS, logs.T, strict=True):
        levels = np.unique(np.round(column, 9))
        if len(levels) < 3:
            shown = " and ".join(f"{value:.4g}" for value in np.exp(levels))
            return (
                f"all observations have {name} {shown} (as multipliers of the base): a surface with squares needs at "
                f"least 3 values of {name}; nas scale design proposes networks"
            )
    return (
        "depth, width and resolution vary together in the observations, so their effects cannot be told apart; "
        "add networks that are scaled in one of them alone: nas scale design proposes some"
    )
