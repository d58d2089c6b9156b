"""What evaluations of candidates would bring: exact where that is known beforehand, learned where it is not."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from nas.cost.objectives import Constraint, Objective, losses
from nas.space import Codes, SearchSpace
from nas.strategies.acquisition import log_distribution
from nas.strategies.base import Costs
from nas.strategies.gp import GaussianProcess, OneHot

Array = npt.NDArray[np.float64]

#: networks drawn, always with the same seed, to know the usual range of the numeric inputs
_TYPICAL = 1000
#: endings of columns that describe the uncertainty of another column
_UNCERTAINTY = ("_std", "_low", "_high")


class Inputs:
    """What a model sees of a network: its decisions, the logarithms of its free costs, features of its space."""

    def __init__(self, space: SearchSpace, costs: Costs | None):
        self._space, self._costs = space, costs
        self.onehot = OneHot(space)
        self._centre, self._spread = np.zeros(1), np.ones(1)
        raw = self.numbers(space.sample(_TYPICAL, np.random.default_rng(0)))
        self._centre, self._spread = raw.mean(axis=0), raw.std(axis=0)
        self._spread[self._spread < 1e-9] = 1.0

    def numbers(self, codes: Codes) -> Array:
        """Return float[n, F], standardised over the space."""
        columns = [self._space.predictor_features(codes)]
        if self._costs is not None:
            frame = self._costs(codes)
            frame = frame[[name for name in frame if not str(name).endswith(_UNCERTAINTY)]]
            known = np.nan_to_num(frame.to_numpy(dtype=np.float64), posinf=0.0, neginf=0.0)
            columns.append(np.log1p(np.maximum(known, 0.0)))
        return (np.concatenate(columns, axis=1) - self._centre) / self._spread

    def all(self, codes: Codes) -> Array:
        """Return float[n, C + F], decisions and numbers side by side."""
        return np.concatenate([self.onehot(codes), self.numbers(codes)], axis=1)


@dataclass
class Outcomes:
    """Beliefs about n candidates, independent normal distributions.

    Args:
        mean, std: float[n, M] of the losses; std is 0 where a loss is known.
        log_feasible: float[n], logarithm of the probability that the learned constraints are met; -inf where a known
            loss is not finite, which is a failed evaluation.
        joint, noise: for every learned loss float[n, n], its posterior covariance, and float[n], variance of its
            noise; empty unless asked for.
    """

    mean: Array
    std: Array
    log_feasible: Array
    joint: dict[int, Array]
    noise: dict[int, Array]

    def believe(self, chosen: npt.NDArray[np.int64]) -> None:
        """Take the chosen candidates as evaluated, each come out as expected (Ginsbourger et al., 2010)."""
        for m, covariance in self.joint.items():
            for i in chosen:
                column = covariance[:, i] / np.sqrt(max(covariance[i, i], 1e-12) + self.noise[m][i])
                covariance -= np.outer(column, column)
            self.std[:, m] = np.sqrt(np.maximum(np.diag(covariance), 1e-12))


class OutcomeModel:
    """A Gaussian process for every objective and constraint that only an evaluation tells.

    Losses are warped (`Warp`) before they are learned. With several objectives beliefs are carried back to the loss
    itself to first order (the delta method); with one they stay warped, see `scale`. A failed evaluation is learned
    as the worst loss seen.

    Args:
        told: int8[n, D] codes and what was told of them, one row each; at least one loss of every objective finite.
    """

    def __init__(
        self,
        inputs: Inputs,
        objectives: Sequence[Objective],
        constraints: Sequence[Constraint],
        costs: Costs | None,
        free: Collection[str],
        told: tuple[Codes, pd.DataFrame],
    ):
        self._inputs, self._objectives, self._costs = inputs, objectives, costs
        self._known = np.array([objective.metric in free for objective in objectives])
        codes, metrics = told
        points = worst_for_failures(losses(metrics, objectives))
        x, z = inputs.onehot(codes), inputs.numbers(codes)
        groups = inputs.onehot.groups
        self._learned: dict[int, tuple[Warp, GaussianProcess]] = {}
        for m in np.flatnonzero(~self._known):
            warp = Warp(points[:, m])
            self._learned[int(m)] = warp, GaussianProcess(x, groups, z, warp(points[:, m]))
        self._limits: list[tuple[float, GaussianProcess]] = []
        for constraint in constraints:
            if constraint.metric not in free:
                # A lower bound is an upper one on the negated metric.
                values = constraint.sign * metrics[[constraint.metric]].to_numpy(dtype=np.float64)
                process = GaussianProcess(x, groups, z, worst_for_failures(values)[:, 0])
                self._limits.append((constraint.sign * constraint.bound, process))

    def scale(self, points: Array) -> Array:
        """Return losses on the scale of `Outcomes`: with a single learned objective that is the warped one."""
        return self._learned[0][0](points) if self._single else points

    @property
    def _single(self) -> bool:
        return len(self._objectives) == 1 and not self._known[0]

    def predict(self, codes: Codes, joint: bool = False) -> Outcomes:
        """Return what is believed of `codes`; with `joint` also how their outcomes go together."""
        mean, std = np.zeros((2, len(codes), len(self._objectives)))
        known = [objective for objective, free in zip(self._objectives, self._known, strict=True) if free]
        x, z = self._inputs.onehot(codes), self._inputs.numbers(codes)
        log_feasible = self._log_feasible(x, z)
        if known and self._costs is not None:
            exact = losses(self._costs(codes), known)
            mean[:, self._known] = worst_for_failures(exact)
            log_feasible[~np.isfinite(exact).all(axis=1)] = -np.inf
        covariances, noises = {}, {}
        for m, (warp, process) in self._learned.items():
            mean[:, m], std[:, m] = process.predict(x, z)
            slope = np.ones(len(codes))
            if not self._single:
                slope = warp.slope(mean[:, m])
                mean[:, m], std[:, m] = warp.inverse(mean[:, m]), std[:, m] * slope
            if joint:
                unit = process.scale * slope
                covariances[m] = process.covariance(x, z) * np.outer(unit, unit)
                noises[m] = process.noise * unit**2
        return Outcomes(mean, std, log_feasible, covariances, noises)

    def _log_feasible(self, x: Array, z: Array) -> Array:
        total = np.zeros(len(x))
        for upper, process in self._limits:
            mean, std = process.predict(x, z)
            total += log_distribution((upper - mean) / std)
        return total


class Warp:
    """log(1 + distance from the best), in units of the distance from best to median: bad networks move together."""

    def __init__(self, values: Array):
        self._best = float(values.min())
        unit = float(np.median(values)) - self._best
        self._unit = unit if unit > 0 else max(float(np.ptp(values)), 1e-9)

    def __call__(self, values: Array) -> Array:
        return np.asarray(np.log1p(np.maximum((values - self._best) / self._unit, -0.9)))

    def inverse(self, warped: Array) -> Array:
        return np.asarray(self._best + self._unit * np.expm1(np.minimum(warped, 50.0)))

    def slope(self, warped: Array) -> Array:
        """Return the derivative of `inverse`."""
        return np.asarray(self._unit * np.exp(np.minimum(warped, 50.0)))


def worst_for_failures(values: Array) -> Array:
    """Return float[n, M] with what is not finite replaced by the largest finite value of its column (0 if none)."""
    finite = np.isfinite(values)
    worst = np.where(finite, values, -np.inf).max(axis=0, initial=-np.inf)
    return np.where(finite, values, np.where(np.isfinite(worst), worst, 0.0))
