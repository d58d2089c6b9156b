"""Fits the linear kernel model to a few whole networks measured on a device, of any space or of none."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.errors import NasError, UnknownNameError, suggestion
from nas.hardware.fitting.posterior import draw_posterior
from nas.hardware.fitting.scipy_extra import scipy_module
from nas.hardware.predictors.features import LAYER_FEATURES, kernel_features
from nas.hardware.predictors.linear import LinearParameters, LinearPredictor
from nas.space import NetworkSpec

Array = npt.NDArray[np.float64]

#: what a processor's cores take time for; on a graphics processor the start of each kernel ("kernels") matters more
#: than the outputs of depthwise convolutions
FEATURES = ("pointwise_macs", "depthwise_macs", "weights", "elementwise", "depthwise_outputs")
#: scale of the prior of the noise, relative to the value: what is left on phones is 5 to 10 %
NOISE = 0.1
#: With a source, the prior's mean is its coefficient (a half-normal with scale 1.25 has mean 1) and a tenth of what
#: the feature would have to cost to explain everything.
_FROM_SOURCE, _BESIDES_SOURCE = 1.25, 0.1
FEWEST = 4
#: From so many networks on, the width of intervals is that of held-out residuals.
CONFORMAL_FROM = 20
#: a Student's t of fewer degrees of freedom would say nothing
_FEWEST_FREEDOMS = 3
LEVEL = 0.9


@dataclass(frozen=True)
class HeldOutPredictions:
    """Predictions float[n] of every network from the others: mean, std, and the ends of 90 % intervals.

    `width` is half of each interval in standard deviations; the network itself had no part in it.
    """

    mean: Array
    std: Array
    width: Array

    @property
    def low(self) -> Array:
        return np.maximum(self.mean - self.width * self.std, 0.0)

    @property
    def high(self) -> Array:
        return self.mean + self.width * self.std


def fit_kernels(specs: Sequence[NetworkSpec], values: npt.ArrayLike, **options: Any) -> LinearPredictor:
    """Return the predictor fitted to `values` measured of networks; the options are those of `KernelFit`."""
    return KernelFit(specs, values, **options).predictor


class KernelFit:
    """Bayesian linear regression of a measured quantity on what the kernels of whole networks do.

    value = features · coefficients, with relative noise and the rounding of the measurements. Coefficients are not
    negative. Unless said otherwise their prior is half-normal with the scale at which a feature alone would explain
    the measurements, so that it is the same in every unit and on every device.

    Args:
        specs: the n networks, at least 4.
        values: float[n], positive: milliseconds, millijoules, anything that adds up over kernels.
        rounding: the step to which values are rounded, one or float[n]; 1 for whole milliseconds.
        features: names of `LAYER_FEATURES`.
        source: a predictor of a similar device, or of this one in another setting: the prior expects the same
            proportions between coefficients as there, at the speed of this one.
        scales: feature -> scale of its half-normal prior, in units of the value for one of the feature; what is known
            of a kernel before it is measured. Features not named keep the prior they have otherwise.
        noise: scale of the half-normal prior of the relative noise.
        groups: n labels; networks of the same label are held out together.

    Raises:
        NasError: too few networks, a value that is not positive, or a feature that no measured network has.
    """

    def __init__(
        self,
        specs: Sequence[NetworkSpec],
        values: npt.ArrayLike,
        *,
        rounding: npt.ArrayLike = 0.0,
        features: Sequence[str] = FEATURES,
        source: LinearPredictor | None = None,
        scales: Mapping[str, float] | None = None,
        noise: float = NOISE,
        groups: Sequence[Hashable] | None = None,
    ):
        self.features = tuple(features)
        for name in self.features:
            if name not in LAYER_FEATURES:
                raise UnknownNameError("feature", name, LAYER_FEATURES)
        self._y = np.asarray(values, dtype=np.float64)
        _check_values(specs, self._y)
        self._x = np.array([kernel_features(spec.layers(), self.features) for spec in specs])
        for name, total in zip(self.features, self._x.sum(axis=0), strict=True):
            if total == 0:
                raise NasError(f"none of the {len(specs)} networks measured has {name}; what it costs is not known")
        self._step = np.broadcast_to(np.asarray(rounding, dtype=np.float64), self._y.shape)
        if not (np.isfinite(self._step).all() and (self._step >= 0).all()):
            raise NasError(f"the rounding step must not be negative, but is {self._step.min():g}")
        self._source = source
        self._scales = _checked_scales(self.features, scales or {})
        self._noise = noise
        self._groups = list(range(len(self._y))) if groups is None else list(groups)
        if len(self._groups) != len(self._y):
            raise NasError(f"{len(self._groups)} group labels for {len(self._y)} networks; every network needs one")
        if len(set(self._groups)) < 2:
            raise NasError("all networks are in one group: none is left to predict them from")

    @cached_property
    def predictor(self) -> LinearPredictor:
        draws = self._draw(np.ones((1, len(self._y))))[0]
        mean, covariance, noise = _summary(draws)
        return LinearPredictor(
            LinearParameters(
                features=self.features,
                mean=tuple(mean.tolist()),
                covariance=tuple(tuple(row) for row in covariance.tolist()),
                relative_noise=noise,
                interval_width=self._width(self._residuals if self._is_conformal else None),
            )
        )

    @cached_property
    def held_out(self) -> HeldOutPredictions:
        """Every network (or group of them) predicted from the others."""
        mean, std = self._held_out_moments
        out = self._left_out
        if self._is_conformal:
            per_group = [self._width(self._residuals[~row]) for row in out]
            width = np.array(per_group)[out.argmax(axis=0)]
        else:
            width = np.full(len(mean), self._width(None))
        return HeldOutPredictions(mean, std, width)

    @property
    def _is_conformal(self) -> bool:
        return len(self._y) >= CONFORMAL_FROM

    @cached_property
    def _left_out(self) -> npt.NDArray[np.bool_]:
        """bool[B, n]: the members of each group."""
        return np.array([[label == each for each in self._groups] for label in dict.fromkeys(self._groups)])

    @cached_property
    def _held_out_moments(self) -> tuple[Array, Array]:
        out = self._left_out
        draws = self._draw((~out).astype(np.float64))
        mean, std = np.empty_like(self._y), np.empty_like(self._y)
        for group, drawn in zip(out, draws, strict=True):
            mean[group], std[group] = _predict(drawn, self._x[group])
        return mean, std

    @cached_property
    def _residuals(self) -> Array:
        """|measured - predicted| in standard deviations; a rounded value is as near as it may have been."""
        mean, std = self._held_out_moments
        return np.asarray(np.maximum(np.abs(self._y - mean) - self._step / 2, 0) / std)

    def _width(self, residuals: Array | None) -> float:
        """Half of a 90 % interval in standard deviations: conformal from residuals, else that of Student's t."""
        if residuals is not None:
            rank = int(np.ceil(LEVEL * (len(residuals) + 1)))
            return float(np.sort(residuals)[min(rank, len(residuals)) - 1])
        freedoms = max(len(self._y) - len(self.features), _FEWEST_FREEDOMS)
        return float(scipy_module("stats").t.ppf((1 + LEVEL) / 2, df=freedoms))

    def _draw(self, kept: Array) -> Array:
        scales = np.array([self._prior(row > 0) for row in kept])
        # a value rounded to steps of h is off by a uniform error of variance h² / 12
        return draw_posterior(self._x, self._y, self._step**2 / 12, kept, scales, self._noise)

    def _prior(self, kept: npt.NDArray[np.bool_]) -> Array:
        """Scales float[F] of the half-normal priors: those given, the others from the measurements kept."""
        return np.array(
            [self._scales.get(name, scale) for name, scale in zip(self.features, self._found_scales(kept), strict=True)]
        )

    def _found_scales(self, kept: npt.NDArray[np.bool_]) -> Array:
        alone = self._y[kept].mean() / self._x.mean(axis=0)
        if self._source is None:
            return np.asarray(alone)
        known = dict(zip(self._source.features, self._source.parameters.mean, strict=True))
        coefficients = np.array([known.get(name, 0.0) for name in self.features])
        ratio = np.median(self._y[kept] / (self._x[kept] @ coefficients))
        return np.asarray(_FROM_SOURCE * ratio * coefficients + _BESIDES_SOURCE * alone)


def _check_values(specs: Sequence[NetworkSpec], values: Array) -> None:
    if values.shape != (len(specs),):
        raise NasError(f"{len(specs)} networks need as many values, not an array of shape {values.shape}")
    if len(values) < FEWEST:
        raise NasError(f"{len(values)} measured networks are too few; at least {FEWEST} are needed")
    for i, (spec, value) in enumerate(zip(specs, values, strict=True)):
        if not (np.isfinite(value) and value > 0):
            name = spec.name or "no name"
            raise NasError(f"measurement {i + 1} ({name}) is {value:g}; a measured value is positive and finite")


def _checked_scales(features: Sequence[str], scales: Mapping[str, float]) -> dict[str, float]:
    for name, scale in scales.items():
        if name not in features:
            raise NasError(f"a scale is given for {name!r}, which is none of the features{suggestion(name, features)}")
        if not (np.isfinite(scale) and scale > 0):
            raise NasError(f"the scale of {name} is {scale:g}; a scale is positive and finite")
    return dict(scales)


def _summary(draws: Array) -> tuple[Array, Array, float]:
    """Return posterior mean float[F] and covariance float[F, F] of the coefficients, and the relative noise."""
    coefficients = draws[:, :-1]
    covariance = np.atleast_2d(np.cov(coefficients.T))
    return coefficients.mean(axis=0), covariance, float(np.sqrt((draws[:, -1] ** 2).mean()))


def _predict(draws: Array, x: Array) -> tuple[Array, Array]:
    """Return mean and standard deviation float[n] of new, unrounded measurements."""
    coefficients, covariance, noise = _summary(draws)
    mean = x @ coefficients
    return mean, np.sqrt(np.einsum("nf,fg,ng->n", x, covariance, x) + (noise * mean) ** 2)
