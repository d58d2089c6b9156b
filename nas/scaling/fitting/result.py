"""What every way of fitting coefficients returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nas.scaling.coefficients import DIMENSIONS, Coefficients

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]

#: share of repetitions in which an interval is to hold the truth
LEVEL = 0.95


class Interval(NamedTuple):
    """An estimate and the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of_draws(cls, value: float, draws: Array) -> Interval:
        """Return an estimate with the quantiles of draws float[n] of it."""
        low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return cls(float(value), float(low), float(high))

    def text(self, digits: int = 3) -> str:
        """Return e.g. "1.210 (1.196 to 1.224)"."""
        return f"{self.value:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


@dataclass(frozen=True)
class FittedCoefficients:
    """alpha, beta, gamma of compound scaling as data show them.

    Args:
        coefficients: the estimate.
        intervals: of each dimension, in the order of DIMENSIONS, at 95 %.
        draws: float[n, 3], joint draws from the distribution that the intervals are of.
        method: what was done, in a few words.
        growth: of quantities that grow with phi, by name, how many times per step of phi, e.g. "alpha·beta²·gamma²".
        residuals: one row an observation: what was given, fitted, and the difference.
        notes: what has to be known to trust them.
    """

    coefficients: Coefficients
    intervals: tuple[Interval, Interval, Interval]
    draws: Array
    method: str
    growth: dict[str, Interval]
    residuals: pd.DataFrame
    notes: tuple[str, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """Return all but the draws as plain values."""
        return {
            "method": self.method,
            "level": LEVEL,
            "coefficients": {
                name: each._asdict() for name, each in zip(DIMENSIONS, self.intervals, strict=True)
            },
            "growth": {name: each._asdict() for name, each in self.growth.items()},
            "notes": list(self.notes),
            "residuals": self.residuals.to_dict(orient="records"),
        }  # fmt: skip


@cache
def student_quantile(level: float, freedom: int) -> float:
    """Return the quantile of Student's t distribution at `level` > 1/2.

    With t = sqrt(freedom) tan(angle) the density is that of cos(angle)^(freedom - 1) on a finite range.
    """
    angle = np.linspace(0.0, np.pi / 2, 200_001)
    density = np.cos(angle) ** (freedom - 1)
    cumulated = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    reached = np.interp(2 * level - 1, cumulated / cumulated[-1], angle)
    return float(np.sqrt(freedom) * np.tan(reached))


def student_draws(centre: Array, covariance: Array, freedom: int, n: int, rng: np.random.Generator) -> Array:
    """Return float[n, d], draws from a multivariate t distribution of the given centre and scale."""
    values, vectors = np.linalg.eigh(covariance)
    normal = rng.standard_normal((n, len(centre))) * np.sqrt(np.maximum(values, 0.0))
    drawn: Array = centre + normal @ vectors.T / np.sqrt(rng.chisquare(freedom, (n, 1)) / freedom)
    return drawn
