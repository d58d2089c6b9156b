"""What a search optimises and must respect, as arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd


@dataclass(frozen=True)
class Objective:
    """A metric to make as large (`maximise`) or as small as possible."""

    metric: str
    maximise: bool = False


@dataclass(frozen=True)
class Constraint:
    """A bound on a metric, in the metric's own unit: `upper`, or `lower` where more of the metric is better."""

    metric: str
    upper: float = math.inf
    lower: float = -math.inf

    @property
    def sign(self) -> float:
        """1 for an upper bound, -1 for a lower one: what the metric is multiplied by to be bounded from above."""
        return 1.0 if math.isinf(self.lower) else -1.0

    @property
    def bound(self) -> float:
        """The one of `upper` and `lower` that is given."""
        return self.upper if self.sign > 0 else self.lower

    def excess(self, metrics: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Return float[n], by what share of the bound it is missed: 0 where it is met, inf where that is unknown."""
        value = metrics[self.metric].to_numpy(dtype=np.float64)
        # An infinite value is a failed evaluation, not a fast network.
        value = np.where(np.isfinite(value), value, np.nan)
        over = np.maximum(self.sign * (value / self.bound - 1.0), 0.0)
        return np.where(np.isnan(over), np.inf, over)


def losses(metrics: pd.DataFrame, objectives: Sequence[Objective]) -> npt.NDArray[np.float64]:
    """Return float[n, M], every objective as a value to minimise."""
    signs = [-1.0 if objective.maximise else 1.0 for objective in objectives]
    # Columns by position, as strategies do this for every batch and names take pandas several times as long.
    names = metrics.columns.tolist()
    columns = [names.index(objective.metric) for objective in objectives]
    points: npt.NDArray[np.float64] = metrics.to_numpy()[:, columns].astype(np.float64) * signs
    return points


def violation(metrics: pd.DataFrame, constraints: Sequence[Constraint]) -> npt.NDArray[np.float64]:
    """Return float[n], the sum of relative excesses over the bounds: 0 where all are met, inf where unknown."""
    excess = np.zeros(len(metrics))
    for constraint in constraints:
        excess += constraint.excess(metrics)
    return excess
