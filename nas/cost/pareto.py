"""Pareto fronts and hypervolume. The algorithms are moocore's; here are only our conventions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import moocore
import numpy as np
import numpy.typing as npt
import pandas as pd

from nas.cost.objectives import Constraint, Objective, losses, violation

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Box:
    """The range of each objective over a space, as losses: hypervolume is measured in it.

    Args:
        ideal: float[M], the best value of each loss.
        reference: float[M], the worst; the corner hypervolume is measured from.
    """

    ideal: tuple[float, ...]
    reference: tuple[float, ...]

    def hypervolume(self, points: Array) -> float:
        """Return the share of the box that `points` (float[n, M] losses) dominate."""
        ideal, reference = np.array(self.ideal), np.array(self.reference)
        scaled = (points - ideal) / (reference - ideal)
        inside = scaled[(scaled < 1.0).all(axis=1)]
        if not len(inside):
            return 0.0
        return float(moocore.hypervolume(np.clip(inside, 0.0, 1.0), ref=np.ones(len(ideal))))


def pareto_rank(points: Array) -> npt.NDArray[np.int64]:
    """Return int[n], the non-domination rank of each row of float[n, M] losses, 0 for the front."""
    return np.asarray(moocore.pareto_rank(points), dtype=np.int64)


def is_on_front(points: Array) -> npt.NDArray[np.bool_]:
    """Return bool[n], which rows no other row dominates; of equal rows the first is kept."""
    if not len(points):
        return np.zeros(0, dtype=bool)
    return np.asarray(moocore.is_nondominated(points, keep_weakly=False), dtype=bool)


def front(metrics: pd.DataFrame, objectives: Sequence[Objective], constraints: Sequence[Constraint]) -> pd.DataFrame:
    """Return the rows that meet the constraints and that no other such row dominates."""
    points = losses(metrics, objectives)
    allowed = (violation(metrics, constraints) == 0) & np.isfinite(points).all(axis=1)
    chosen = np.flatnonzero(allowed)[is_on_front(points[allowed])]
    return metrics.iloc[chosen]
