"""What a search optimises and must respect, as arrays."""

from __future__ import annotations

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
    """An upper bound on a metric, in the metric's own unit."""

    metric: str
    upper: float


def losses(metrics: pd.DataFrame, objectives: Sequence[Objective]) -> npt.NDArray[np.float64]:
    """Return float[n, M], every objective as a value to minimise."""
    signs = [-1.0 if objective.maximise else 1.0 for objective in objectives]
    columns = [objective.metric for objective in objectives]
    values: npt.NDArray[np.float64] = metrics[columns].to_numpy(dtype=np.float64)
    return np.multiply(values, signs, dtype=np.float64)


def violation(metrics: pd.DataFrame, constraints: Sequence[Constraint]) -> npt.NDArray[np.float64]:
    """Return float[n], the sum of relative excesses over the bounds: 0 where all are met, inf where unknown."""
    excess = np.zeros(len(metrics))
    for constraint in constraints:
        value = metrics[constraint.metric].to_numpy(dtype=np.float64)
        over = np.maximum(value / constraint.upper - 1.0, 0.0)
        # A latency of minus infinity is a failed evaluation, not a fast network.
        excess += np.where(np.isnan(value) | np.isneginf(value), np.inf, over)
    return excess
