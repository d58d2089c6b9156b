"""Fits the roofline model to measured blocks, whole networks, or both."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nas.errors import NasError
from nas.hardware.calibration import Calibration
from nas.hardware.fitting.kernel_samples import Samples
from nas.hardware.fitting.scipy_extra import scipy_module
from nas.hardware.predictor import Array
from nas.hardware.predictors.fused_kernels import CLASSES
from nas.hardware.predictors.roofline import Correction, RooflinePredictor, covariance, kernel_sums, terms

#: networks, or blocks, that fitting needs at least
MIN_NETWORKS, MIN_BLOCKS = 10, 10
#: kernels that corrections are centred at, at most
MAX_CENTRES = 64
#: length scales tried, in steps of a factor 2
LENGTHS = (1.0, 2.0, 4.0)
#: Scales of half-normal priors, relative to the roofline: corrections by shape and by class, how much a class differs
#: between blocks measured alone and networks, noise of networks and of blocks.
PRIORS = np.array([0.3, 0.3, 0.15, 0.1, 0.1])
#: between which scales may be; without a least noise, a device without any could not be fitted
SCALES = (5e-4, 5.0)
#: without whole networks it is not known how a class of kernels differs in them; assumed is
CONTEXT = 0.1
_RIDGE = 1e-3


def fit_roofline(samples: Samples, calibration: Calibration | None = None) -> RooflinePredictor:
    """Fit rooflines by non-negative least squares of relative errors, then their corrections by Bayesian regression.

    The scales of corrections and noise, and the length scale, maximise the marginal likelihood times half-normal
    priors.

    Args:
        calibration: of the intervals; default: that of a normal distribution.

    Raises:
        NasError: too few samples, or SciPy is not installed.
    """
    return _fit(samples).predictor(calibration or Calibration.normal(1.645))


def cross_validate_roofline(samples: Samples, fold: npt.NDArray[np.integer]) -> tuple[Array, Array]:
    """Return mean and std float[n] of every sample with a fold, predicted from all that are not in its fold.

    Args:
        fold: int[n]; samples of fold -1 are never held out, and come out as NaN.
    """
    mean, std = np.full(len(fold), np.nan), np.full(len(fold), np.nan)
    for held_out in range(int(fold.max()) + 1):
        rows = fold == held_out
        mean[rows], std[rows] = _fit(samples.subset(~rows)).predict(samples.subset(rows))
    return mean, std


def _fit(samples: Samples) -> _Corrected:
    networks, blocks = int((~samples.is_block).sum()), int(samples.is_block.sum())
    if networks < MIN_NETWORKS and blocks < MIN_BLOCKS:
        raise NasError(
            f"a roofline model needs at least {MIN_NETWORKS} networks or {MIN_BLOCKS} blocks; "
            f"there are {networks} and {blocks}"
        )
    start, rooflines = _rooflines(samples)
    fits = [_Corrected(samples, start, rooflines, length) for length in LENGTHS]
    return max(fits, key=lambda fit: fit.evidence)


def _rooflines(samples: Samples) -> tuple[Array, Array]:
    """Return what starting a network and a block takes, float[2], and the coefficients of the rooflines."""
    nnls = scipy_module("optimize").nnls
    starts = np.stack([~samples.is_block, samples.is_block], axis=1)
    x = np.concatenate([starts, samples.counts @ terms(samples.kernels)], axis=1)
    scale = np.maximum(x.mean(axis=0), 1e-30)
    weights = 1 / _tolerance(samples.values, samples.is_block, samples.floor)
    rows = x / scale * weights[:, None]
    # Equal coefficients where terms cannot be told apart, and none where a term does not occur.
    ridge = _RIDGE * np.sqrt(len(x)) * np.eye(len(scale))
    found, _ = nnls(np.concatenate([rows, ridge]), np.append(samples.values * weights, np.zeros(len(scale))))
    found = np.where(x.any(axis=0), found / scale, 0.0)
    return found[:2], found[2:]


class _Corrected:
    """Rooflines with the posterior of their correction, for one length scale.

    Weights are those of M functions of the shape, of C classes, and of C classes again that only networks have.
    """

    def __init__(self, samples: Samples, start: Array, rooflines: Array, length: float):
        self.start, self.rooflines, self._floor = start, rooflines, samples.floor
        self.correction = _centred(samples, rooflines, length)
        base, x, _ = self._sums(samples)
        tolerance = _tolerance(samples.values, samples.is_block, self._floor)
        self._x, self._y = x / tolerance[:, None], (samples.values - base) / tolerance
        self._is_block = samples.is_block
        self._group = np.repeat([0, 1, 2], [len(self.correction.kinds), len(CLASSES), len(CLASSES)])
        self._tune()

    def predict(self, samples: Samples) -> tuple[Array, Array]:
        """Return mean and std float[n]; what was measured of the samples has no part in it."""
        base, x, unknown = self._sums(samples)
        mean = base + x @ self._mean
        noise = self._noise(samples.is_block) * _tolerance(mean, samples.is_block, self._floor)
        variance = np.einsum("nf,fg,ng->n", x, self._covariance, x) + (self._scales[0] * unknown) ** 2
        return mean, np.sqrt(variance + noise**2)

    def predictor(self, calibration: Calibration) -> RooflinePredictor:
        """Return the predictor of networks: the two weights of each class are one there."""
        kept = len(self._mean) - len(CLASSES)
        joined = np.eye(kept, len(self._mean))
        joined[-len(CLASSES) :, kept:] = np.eye(len(CLASSES))
        spread = joined @ self._covariance @ joined.T
        # Networks come first; where there are none, theirs is the noise of blocks.
        noise = self._noise(self._is_block[:1])
        return RooflinePredictor(
            float(self.start[0]), self.rooflines, self.correction, joined @ self._mean, (spread + spread.T) / 2,
            float(self._scales[0]), float(noise[0]), calibration,
        )  # fmt: skip

    def _sums(self, samples: Samples) -> tuple[Array, Array, Array]:
        """Return the base float[n] of each sample, what its correction is linear in, float[n, M + 2C], and unknowns."""
        sums = samples.counts @ kernel_sums(samples.kernels, self.rooflines, self.correction)
        base, unknown, x = sums[:, 0], sums[:, 1], sums[:, 2:]
        context = np.where(samples.is_block[:, None], 0.0, x[:, -len(CLASSES) :])
        return base + self.start[samples.is_block.astype(int)], np.concatenate([x, context], axis=1), unknown

    def _tune(self) -> None:
        """Find the scales, and with them the evidence and the posterior."""
        minimize = scipy_module("optimize").minimize
        bounds = [np.log(SCALES)] * len(PRIORS)
        found = minimize(self._loss, np.log(PRIORS) - 1.0, jac=True, method="L-BFGS-B", bounds=bounds)
        self.evidence, self._scales = -float(found.fun), np.exp(found.x)
        root, scaled, y = self._standardised(self._scales)
        inverse = np.linalg.inv(scaled.T @ scaled + np.eye(len(root)))
        self._covariance = root[:, None] * inverse * root
        self._mean = root * (inverse @ (scaled.T @ y))

    def _loss(self, logarithms: Array) -> tuple[float, Array]:
        """Return minus the log of marginal likelihood times priors of the logarithms of the scales, and its gradient.

        The gradient of a marginal likelihood is the posterior mean of that of the likelihood (Fisher's identity).
        """
        scales = np.exp(logarithms)
        root, scaled, y = self._standardised(scales)
        factor = np.linalg.cholesky(scaled.T @ scaled + np.eye(len(root)))
        inverse = np.linalg.inv(factor)
        inverse = inverse.T @ inverse
        weights = inverse @ (scaled.T @ y)
        left = y - scaled @ weights
        noise = self._noise(self._is_block, scales)
        fit = -0.5 * (left @ left + weights @ weights) - np.log(np.diag(factor)).sum() - np.log(noise).sum()
        squares = (scales / PRIORS) ** 2
        gradient = 1 - squares
        np.add.at(gradient, self._group, weights**2 + np.diag(inverse) - 1)
        errors = left**2 + np.einsum("nf,fg,ng->n", scaled, inverse, scaled)
        np.add.at(gradient, 3 + self._is_block, errors - 1)
        return -float(fit - 0.5 * squares.sum() + logarithms.sum()), -gradient

    def _standardised(self, scales: Array) -> tuple[Array, Array, Array]:
        """Return the prior scale of each weight, and design and values in units of prior scales and of the noise."""
        context = scales[2]
        if self._is_block.all():
            context = CONTEXT
        elif not self._is_block.any():
            context = 0.0
        root = np.array([scales[0], scales[1], context])[self._group]
        noise = self._noise(self._is_block, scales)
        return root, self._x * root / noise[:, None], self._y / noise

    def _noise(self, is_block: npt.NDArray[np.bool_], scales: Array | None = None) -> Array:
        return np.asarray((self._scales if scales is None else scales)[3 + is_block])


def _tolerance(values: Array, is_block: npt.NDArray[np.bool_], floor: float) -> Array:
    """Return float[n], what errors are measured in."""
    return np.asarray(np.abs(values) + floor * is_block)


def _centred(samples: Samples, rooflines: Array, length: float) -> Correction:
    """Choose centres among the kernels measured, each the least known of those that take time: pivoted Cholesky."""
    kernels = samples.kernels
    shapes = np.array([kernel.shape for kernel in kernels])
    kinds = np.array([kernel.kind for kernel in kernels], dtype=np.int64)
    importance = np.sqrt(terms(kernels) @ rooflines + 1e-12)
    left, factor = np.ones(len(kernels)), np.zeros((len(kernels), 0))
    chosen: list[int] = []
    while len(chosen) < MAX_CENTRES:
        pivot = int(np.argmax(np.where(left > 1e-4, left * importance, 0.0)))
        if left[pivot] <= 1e-4:
            break
        column = covariance(kernels, kinds[[pivot]], shapes[[pivot]], length)[:, 0] - factor @ factor[pivot]
        factor = np.column_stack([factor, column / np.sqrt(left[pivot])])
        left = np.maximum(left - factor[:, -1] ** 2, 0.0)
        chosen.append(pivot)
    centres = [kernels[i] for i in chosen]
    among = covariance(centres, kinds[chosen], shapes[chosen], length) + 1e-8 * np.eye(len(chosen))
    whiten = np.linalg.inv(np.linalg.cholesky(among)).T
    return Correction(kinds[chosen], shapes[chosen], whiten, length)
