"""How far measurements lie from predictions, in standard deviations of the prediction: what turns a std into odds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from nas.errors import NasError

Array = npt.NDArray[np.float64]

#: levels at which quantiles are kept
LEVELS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975, 0.99)
_NORMAL = NormalDist()
#: the same levels as standard normal deviates: between them quantiles are close to linear, as beyond them
_SCORES = np.array([_NORMAL.inv_cdf(level) for level in LEVELS])


@dataclass(frozen=True)
class Calibration:
    """Quantiles of z = (measured - mean) / std, in the order of LEVELS.

    Taken from measurements that the predictor was not fitted on, they make intervals conformal (Vovk et al., 2005;
    normalised by std as in Papadopoulos et al., 2011): a 90 % interval holds 90 % of new measurements whatever the
    distribution, as far as new networks are like those.
    """

    quantiles: tuple[float, ...]

    def __post_init__(self) -> None:
        values = np.array(self.quantiles)
        if values.shape != (len(LEVELS),) or not np.isfinite(values).all() or (np.diff(values) < 0).any():
            raise NasError(f"a calibration is {len(LEVELS)} finite numbers in rising order, not {self.quantiles!r}")

    @classmethod
    def of(cls, z: npt.ArrayLike) -> Calibration:
        """Return the calibration that held-out standardised residuals float[n] show.

        A new residual is below the k-th smallest of n with probability k / (n + 1), which is the level it stands for.

        Raises:
            NasError: fewer than two residuals, or one that is not finite.
        """
        residuals = np.sort(np.asarray(z, dtype=np.float64))
        if len(residuals) < 2 or not np.isfinite(residuals).all():
            raise NasError(f"a calibration needs at least 2 finite residuals, not {len(residuals)}")
        ranks = np.arange(1, len(residuals) + 1) / (len(residuals) + 1)
        scores = np.array([_NORMAL.inv_cdf(rank) for rank in ranks])
        return cls(tuple(np.round(_linear(_SCORES, scores, residuals), 6).tolist()))

    @classmethod
    def normal(cls, width: float) -> Calibration:
        """Return that of a normal distribution whose 90 % interval is ± `width` standard deviations."""
        return cls(tuple((width / _NORMAL.inv_cdf(0.95) * _SCORES).tolist()))

    def quantile(self, level: float) -> float:
        """Return the z that a share `level` of measurements stays below.

        Raises:
            NasError: the level is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise NasError(f"a level is between 0 and 1, not {level!r}")
        return float(_linear(np.array([_NORMAL.inv_cdf(level)]), _SCORES, self._values)[0])

    def probability(self, z: npt.ArrayLike) -> Array:
        """Return float[n], the share of measurements that stays below each z."""
        scores = _linear(np.asarray(z, dtype=np.float64), self._rising, _SCORES)
        return np.array([0.5 * math.erfc(-score / math.sqrt(2)) for score in scores.ravel()]).reshape(scores.shape)

    @cached_property
    def _values(self) -> Array:
        return np.array(self.quantiles)

    @cached_property
    def _rising(self) -> Array:
        """The quantiles, strictly rising so that they can be looked up."""
        return self._values + np.arange(len(LEVELS)) * 1e-9


def _linear(x: Array, xs: Array, ys: Array) -> Array:
    """Return y at x on the line through (xs, ys), gone on beyond its ends as its last pieces go."""
    right = np.clip(np.searchsorted(xs, x), 1, len(xs) - 1)
    left = right - 1
    return np.asarray(ys[left] + (x - xs[left]) * (ys[right] - ys[left]) / (xs[right] - xs[left]))
