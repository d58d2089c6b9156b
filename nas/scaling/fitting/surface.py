"""Coefficients from trained networks: the highest point of a response surface at a given cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nas.errors import NasError
from nas.scaling.coefficients import DIMENSIONS, Coefficients
from nas.scaling.fitting.advantage import Advantage, advantage
from nas.scaling.fitting.cost_growth import CostGrowth
from nas.scaling.fitting.response import ResponseSurface, best_shares, fit_surface
from nas.scaling.fitting.result import FittedCoefficients, Interval
from nas.scaling.fitting.table import Observations

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]

#: draws from the posterior of a surface
DRAWS = 4000
#: two factors are compared where the costliest observation comes so near to them, in log cost
FAR = 1.1
#: a network missed by so many times the noise, when it is left out, shows that the surface hangs on it
HANGING = 6.0
#: a share of the posterior at a bound that is worth a word
NOTICED = 0.025


@dataclass(frozen=True)
class UnderCost:
    """Coefficients for one kind of cost, and how far compound is ahead at one and, where observed, two factors."""

    growth: CostGrowth
    fitted: FittedCoefficients
    advantages: tuple[Advantage, ...]


@dataclass(frozen=True)
class SurfaceFit:
    """A response surface, and the coefficients that it recommends under one or several kinds of cost.

    Args:
        factor: how many times as costly each member is as the one before.
        draws: float[n, p] of the surface's parameters.
        by_cost: coefficients for each cost.
    """

    observations: Observations
    surface: ResponseSurface
    factor: float
    draws: Array
    by_cost: tuple[UnderCost, ...]

    @property
    def left_out_error(self) -> float:
        """Root mean square error on a network that the surface was not fitted to, in points."""
        return float(np.sqrt(np.nanmean(self.surface.left_out**2)))

    @property
    def by_network(self) -> pd.DataFrame:
        """One row a network, means over its trainings: `residual_table` with `runs`, how many there are."""
        rows = residual_table(self.observations, self.surface).assign(network=self.observations.networks)
        means = rows.groupby("network", sort=False).agg(dict.fromkeys(rows.columns[1:-1], "mean"))
        names = rows.groupby("network", sort=False)["name"]
        return means.assign(name=names.first(), runs=names.size()).reset_index(drop=True)

    @property
    def seed_noise(self) -> float | None:
        """Standard deviation between trainings of one network, in points; None where none was trained twice."""
        repeats = _repeats(self.observations)
        return None if repeats is None else float(np.sqrt(repeats[0] / repeats[1]))

    def as_json(self) -> dict[str, Any]:
        """Return everything but draws as plain values."""
        return {
            "method": "observations",
            "factor": self.factor,
            "accuracy": self.observations.metric,
            "observations": len(self.observations.accuracy),
            "networks": int(self.observations.networks.max()) + 1,
            "interactions": self.surface.interactions,
            "noise_points": self.surface.noise,
            "degrees_of_freedom": self.surface.freedom,
            "leave_one_network_out_points": self.left_out_error,
            "noise_between_seeds_points": self.seed_noise,
            "fits": [
                {"cost": each.growth.as_json()}
                | each.fitted.as_json()
                | {"advantage": [ahead.as_json() for ahead in each.advantages]}
                for each in self.by_cost
            ],
        }


def fit_observations(
    observations: Observations, growths: Sequence[CostGrowth], factor: float = 2.0, seed: int = 0
) -> SurfaceFit:
    """Fit a response surface and find the coefficients of the highest accuracy at `factor` times the base's cost.

    Maximises the surface over alpha, beta, gamma >= 1 with alpha^p beta^q gamma^s = factor for each cost of `growths`,
    at the estimate and for DRAWS draws from its posterior, whose quantiles are the intervals.

    Raises:
        NasError: too few observations, or networks that do not vary enough.
    """
    check_factor(factor)
    surface = fit_surface(observations.logs, observations.accuracy)
    draws = surface.draws(DRAWS, np.random.default_rng(seed))
    by_cost = tuple(_under(growth, observations, surface, draws, factor) for growth in growths)
    return SurfaceFit(observations, surface, factor, draws, by_cost)


def best_coefficients(
    surface: ResponseSurface, parameters: Array, growth: CostGrowth, factor: float, at: float | None = None
) -> Array:
    """Return float[n, 3], alpha, beta, gamma of the highest accuracy for each of parameters float[n, p].

    Args:
        factor: what they multiply cost by.
        at: cost in multiples of the base's where accuracy is to be highest, by default `factor`.
    """
    slope, curvature = surface.quadratics(parameters)
    reach = np.log(factor if at is None else at) / growth.exponents
    return growth.spent(best_shares(slope * reach, curvature * np.outer(reach, reach)), factor)


def check_factor(factor: float) -> None:
    """Raise NasError where members would not grow."""
    if not 1 < factor < np.inf:
        raise NasError(f"factor is {factor:g}, must be above 1: each member costs so many times as much as the last")


def residual_table(observations: Observations, surface: ResponseSurface) -> pd.DataFrame:
    """Return one row an observation: multipliers, accuracy given and fitted, residual, and that when left out."""
    import pandas as pd

    multipliers = dict(zip(DIMENSIONS, observations.multipliers.T, strict=True))
    judged = {
        "accuracy": observations.accuracy, "fitted": observations.accuracy - surface.residuals,
        "residual": surface.residuals, "left_out": surface.left_out,
    }  # fmt: skip
    return pd.DataFrame({"name": observations.names} | multipliers | judged)


def bounds_in_words(surface: ResponseSurface, growth: CostGrowth, best: Array, found: Array) -> list[str]:
    """Say whether an optimum float[3] is at a bound, and how many of the draws float[n, 3] are."""
    idle = [name for name, value in zip(DIMENSIONS, best, strict=True) if value < 1 + 1e-9]
    used = " and ".join(name for name in DIMENSIONS if name not in idle)
    notes = []
    if not _concave(surface, growth):
        notes.append(
            f"the surface is not concave along networks of equal cost: its highest point is at a bound, {used} growing "
            "alone; the observations show no inner optimum"
            if idle else "the surface is not concave along networks of equal cost: its optimum is badly determined"
        )  # fmt: skip
    elif idle:
        notes.append(f"the optimum is at a bound: only {used} should grow")
    share = float((found < 1 + 1e-9).any(axis=1).mean())
    if share > NOTICED:
        notes.append(f"{100 * share:.0f} % of the posterior has its optimum at a bound, a dimension that does not grow")
    return notes


def _under(
    growth: CostGrowth, observations: Observations, surface: ResponseSurface, draws: Array, factor: float
) -> UnderCost:
    best = best_coefficients(surface, surface.estimate[None], growth, factor)[0]
    found = best_coefficients(surface, draws, growth, factor)
    depth, width, resolution = (Interval.of_draws(best[i], found[:, i]) for i in range(3))
    fitted = FittedCoefficients(
        coefficients=Coefficients(*best.tolist()),
        intervals=(depth, width, resolution),
        draws=found,
        method=f"highest point of a second-order surface at {factor:g} times the {growth.label} of the base",
        growth={growth.label: Interval(factor, factor, factor)},
        residuals=residual_table(observations, surface),
        notes=(*growth.notes, *bounds_in_words(surface, growth, best, found), *_doubts(observations, surface)),
    )
    reached = (observations.logs @ growth.exponents).max()
    largest = observations.logs.max(axis=0)
    powers = (1, 2) if 2 * np.log(factor) <= FAR * reached else (1,)
    ahead = tuple(advantage(surface, draws, growth, fitted.coefficients, factor**n, largest) for n in powers)
    return UnderCost(growth, fitted, ahead)


def _doubts(observations: Observations, surface: ResponseSurface) -> list[str]:
    """Say where the surface itself is in doubt."""
    notes = []
    if observations.built:
        notes.append(
            "depth is counted as built; members emitted by phi round repeats up once more and cost more than the law "
            "says: nas scale emit --budgets makes them of exact cost"
        )
    else:
        notes.append("depth is taken as asked for; name the base by --base to count layers as rounding up leaves them")
    if not surface.interactions:
        notes.append("too few networks for interactions of depth, width and resolution: squares only")
    missed = np.abs(surface.left_out).max(initial=0.0, where=~np.isnan(surface.left_out))
    if missed > HANGING * surface.noise:
        notes.append(
            f"left out, a network is missed by {missed:.1f} points: the surface hangs on single networks, and says "
            "little beyond those that were trained"
        )
    odds = lack_of_fit(observations, surface)
    if odds is not None and odds < 0.05:
        notes.append(
            f"networks lie further from the surface than trainings of one network from each other (p = {odds:.2g}): a "
            "second-order surface does not describe them all, and the intervals are too narrow"
        )
    return notes


def lack_of_fit(observations: Observations, surface: ResponseSurface, seed: int = 0) -> float | None:
    """Return the p value of the F test of lack of fit against the noise between trainings of the same network.

    None where no network was trained twice, or there are no more networks than parameters.
    """
    repeats = _repeats(observations)
    if repeats is None:
        return None
    within, freedom = repeats
    between = float(surface.residuals @ surface.residuals) - within
    remaining = surface.freedom - freedom
    if remaining < 1 or within <= 0:
        return None
    ratio = between / remaining / (within / freedom)
    rng = np.random.default_rng(seed)
    draws = rng.chisquare(remaining, 100_000) / remaining / (rng.chisquare(freedom, 100_000) / freedom)
    return float((draws > ratio).mean())


def _repeats(observations: Observations) -> tuple[float, int] | None:
    """Sum of squares around the means of networks, and its degrees of freedom; None where nothing was repeated."""
    groups, accuracy = observations.networks, observations.accuracy
    counts = np.bincount(groups)
    if len(groups) == len(counts):
        return None
    means = np.bincount(groups, accuracy) / counts
    return float(((accuracy - means[groups]) ** 2).sum()), len(groups) - len(counts)


def _concave(surface: ResponseSurface, growth: CostGrowth) -> bool:
    """Whether accuracy is concave along all changes that leave the cost as it is."""
    _, curvature = surface.quadratics(surface.estimate)
    along = np.linalg.svd(growth.exponents[None])[2][1:]
    return bool(np.linalg.eigvalsh(along @ curvature @ along.T).max() < 0)
