"""Error of a predictor on measurements it was not fitted on, as profiles state it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nas.errors import NasError
from nas.hardware.calibration import Calibration
from nas.hardware.predictor import Array
from nas.hardware.predictor_file import write_whole
from nas.hardware.profile import HeldOut

#: columns of the CSV file of pairs beside a profile
PAIRS = ("measured", "predicted", "low", "high")


@dataclass(frozen=True)
class HeldOutValues:
    """Measured values float[n], what was predicted of them without their help, and the ends of 90 % intervals."""

    measured: Array
    predicted: Array
    low: Array
    high: Array

    def error(self, protocol: str, noise: str, pairs: str | None = None) -> HeldOut:
        """Return the figures of a profile."""
        off = np.abs(self.predicted - self.measured) / self.measured
        return HeldOut(
            protocol=protocol,
            networks=len(self.measured),
            mean_absolute_percentage_error=round(100 * float(off.mean()), 2),
            within_5_percent=round(float((off <= 0.05).mean()), 3),
            within_10_percent=round(float((off <= 0.1).mean()), 3),
            spearman=round(spearman(self.measured, self.predicted), 4),
            interval_90_coverage=round(float(self.covered.mean()), 3),
            noise=noise,
            pairs=pairs,
        )

    @property
    def covered(self) -> npt.NDArray[np.bool_]:
        """bool[n], whether a measured value is in its interval."""
        return (self.low <= self.measured) & (self.measured <= self.high)

    @property
    def median_error(self) -> float:
        """Median of the absolute errors, in percent of the measured value."""
        return float(100 * np.median(np.abs(self.predicted - self.measured) / self.measured))

    def write(self, path: Path) -> None:
        """Raises NasError: the folder cannot be written."""
        rows = np.stack([self.measured, self.predicted, self.low, self.high], axis=1)
        lines = [",".join(PAIRS), *(",".join(f"{value:.6g}" for value in row) for row in rows)]
        write_whole(path, ("\n".join(lines) + "\n").encode())


def cross_conformal(
    measured: Array, mean: Array, std: Array, fold: npt.NDArray[np.integer], level: float = 0.9
) -> HeldOutValues:
    """Return cross-validated predictions with intervals; those of a fold are calibrated on the other folds.

    So what is said of the coverage holds for networks that neither the predictor nor its calibration has seen (Vovk,
    2015, cross-conformal prediction).

    Args:
        measured, mean, std: float[n]; std is positive.
        fold: int[n], which networks were held out together.

    Raises:
        NasError: there are fewer than two folds, or the other folds have fewer than two networks.
    """
    z = (measured - mean) / std
    low, high = np.empty_like(mean), np.empty_like(mean)
    for held_out in np.unique(fold):
        rows = fold == held_out
        if (~rows).sum() < 2:
            raise NasError(f"{len(measured)} measurements are too few to calibrate intervals on")
        calibration = Calibration.of(z[~rows])
        low[rows] = mean[rows] + calibration.quantile((1 - level) / 2) * std[rows]
        high[rows] = mean[rows] + calibration.quantile((1 + level) / 2) * std[rows]
    return HeldOutValues(measured, mean, np.maximum(low, 0.0), high)


def spearman(a: Array, b: Array) -> float:
    """Return Spearman's rank correlation; 0 where one of them is constant."""
    ranks = [_ranks(values) - (len(values) + 1) / 2 for values in (a, b)]
    norm = np.sqrt((ranks[0] @ ranks[0]) * (ranks[1] @ ranks[1]))
    return float(ranks[0] @ ranks[1] / norm) if norm > 0 else 0.0


def _ranks(values: Array) -> Array:
    """float[n], ranks from 1 on; equal values share their mean rank."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[which])
