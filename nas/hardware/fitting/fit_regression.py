"""Fitting a `RegressionPredictor` to measurements of whole networks, and its error on networks held out."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nas.errors import NasError
from nas.hardware.calibration import Calibration
from nas.hardware.fitting.regression_likelihood import Inputs, prior_parameters, tuned
from nas.hardware.fitting.scipy_extra import scipy_module
from nas.hardware.predictors.regression import (
    LOWEST,
    MAX_SPREAD,
    Parameters,
    Process,
    RegressionPredictor,
    baseline_of,
    block_covariance,
    block_shares,
    described,
    raw_numbers,
    scaled_work,
    squared_exponential,
)
from nas.hardware.predictors.regression_features import Array, NetworkFeatures, features_of
from nas.space import Codes, SearchSpace

#: measurements that fitting needs at least
MIN_NETWORKS = 10
#: networks that the hyper-parameters are tuned on at most, and that span what is not additive
MAX_TUNED, MAX_CENTRES = 500, 400
FOLDS = 5
#: calibration leaves out fold after fold until this many networks were held out
ENOUGH_HELD_OUT = 1000
#: fits, each of which doubts the measurements that surprised the one before, and the degrees of freedom of the doubt
ROUNDS, FREEDOM = 2, 4.0
#: first words of metrics that count events in a time: their reciprocals add up
RATES = ("throughput",)
#: ridge of the baseline, relative to the diagonal
_RIDGE = 4e-4
_JITTER = 1e-8
#: prior standard deviation of the exponent of errors
_EXPONENT_PRIOR = 0.5
UNCALIBRATED = Calibration.normal(1.645)


class HeldOutPredictions(NamedTuple):
    """Predictions of networks that were not fitted on: mean and std of the quantity, float[n] each."""

    mean: Array
    std: Array


def fit_regression(
    space: SearchSpace,
    codes: npt.ArrayLike,
    values: npt.ArrayLike,
    metric: str = "latency_ms",
    seed: int = 0,
    calibration: Calibration | None = None,
) -> RegressionPredictor:
    """Fit a predictor of what was measured of whole networks.

    Hyper-parameters maximise the marginal likelihood times log-normal priors. A second fit gives measurements that
    surprised the first more noise: one step of expectation maximisation for noise of a Student-t distribution (Lange et
    al., 1989). Intervals are calibrated by cross-validation of the whole fit.

    Args:
        codes: int[n, D], the networks, at least 10.
        values: float[n], what was measured, positive.
        metric: name of the quantity; of `throughput_*` the reciprocal is what adds up over the parts of a network.
        seed: chooses the networks that stand for all where there are many.
        calibration: where it is known, e.g. from `cross_validate`.

    Raises:
        NasError: there are too few networks, codes are not of the space, a value is no positive number, or SciPy is
            not installed.
    """
    codes, values = _checked(space, codes, values)
    parameters = _fit(space, codes, values, metric, seed)
    if calibration is None:
        mean, std = _held_out(space, codes, values, metric, FOLDS, seed, ENOUGH_HELD_OUT)
        out = std > 0
        calibration = Calibration.of((values - mean)[out] / std[out])
    return _predictor(space, metric, parameters, calibration)


def cross_validate(
    space: SearchSpace,
    codes: npt.ArrayLike,
    values: npt.ArrayLike,
    metric: str = "latency_ms",
    folds: int = FOLDS,
    seed: int = 0,
) -> HeldOutPredictions:
    """Return what a predictor fitted on the other folds says of each network; arguments as of `fit_regression`.

    Equal networks are in one fold.

    Raises:
        NasError: as `fit_regression`.
    """
    codes, values = _checked(space, codes, values)
    return HeldOutPredictions(*_held_out(space, codes, values, metric, folds, seed, len(codes)))


def _held_out(
    space: SearchSpace, codes: Codes, values: Array, metric: str, folds: int, seed: int, enough: int
) -> tuple[Array, Array]:
    """Return mean and std of the networks of fold after fold until there are enough, 0 of the others."""
    network = np.unique(codes, axis=0, return_inverse=True)[1].ravel()
    fold = np.random.default_rng(seed).permutation(network.max() + 1)[network] % folds
    mean, std = np.zeros((2, len(codes)))
    for out in (fold == number for number in np.unique(fold)):
        parameters = _fit(space, codes[~out], values[~out], metric, seed)
        mean[out], std[out] = _predictor(space, metric, parameters).predict(space, codes[out])
        if (std > 0).sum() >= enough:
            break
    return mean, std


def _checked(space: SearchSpace, codes: npt.ArrayLike, values: npt.ArrayLike) -> tuple[Codes, Array]:
    checked, numbers = space.check(codes), np.asarray(values, dtype=np.float64)
    if numbers.shape != (len(checked),):
        raise NasError(f"{len(checked)} networks need as many values, not {list(numbers.shape)}")
    wrong = np.flatnonzero(~(np.isfinite(numbers) & (numbers > 0)))
    if len(wrong):
        raise NasError(f"value {wrong[0]} is {numbers[wrong[0]]}, must be a positive number")
    if len(checked) < MIN_NETWORKS:
        raise NasError(f"a regression needs at least {MIN_NETWORKS} measured networks, not {len(checked)}")
    return checked, numbers


def _predictor(
    space: SearchSpace, metric: str, parameters: Parameters, calibration: Calibration = UNCALIBRATED
) -> RegressionPredictor:
    digest = features_of(space).digest
    return RegressionPredictor(space.name, described(space), digest, _is_rate(metric), parameters, calibration)


def _is_rate(metric: str) -> bool:
    return metric.split("_")[0] in RATES


def _fit(space: SearchSpace, codes: Codes, values: Array, metric: str, seed: int) -> Parameters:
    order = np.random.default_rng(seed).permutation(len(codes))
    codes, values = codes[order], values[order]
    times = 1 / values if _is_rate(metric) else values
    features = features_of(space)
    start, inputs = _prepared(features, codes, times)
    for _ in range(ROUNDS):
        parameters = tuned(features, start, inputs[:MAX_TUNED])
        parameters, residuals, surprise = _weighted(features, parameters, inputs)
        inputs = replace(inputs, doubt=(FREEDOM + surprise**2) / (FREEDOM + 1))
    baseline = times / (1 + inputs.deviation)
    std = _held_out_std(Process(features, parameters), codes)
    return replace(parameters, spread=_spread(baseline / parameters.unit, residuals * baseline / std))


def _prepared(features: NetworkFeatures, codes: Codes, times: Array) -> tuple[Parameters, Inputs]:
    """Return the baseline with hyper-parameters as a priori, and the inputs of the process."""
    counts = features.counts(codes)
    width = len(features.work)
    sums = np.concatenate(
        [counts[:, view * width : (view + 1) * width] @ features.work for view in range(features.views)], axis=1
    )
    scale = sums.mean(axis=0)
    work = scaled_work(sums, scale)
    rates, unit = _baseline(work, times)
    numbers = raw_numbers(features, work[:, 1:][:, scale > 0], codes)
    mean, std = numbers.mean(axis=0), numbers.std(axis=0)
    std[std < 1e-9] = 1.0
    none = np.zeros(0)
    parameters = Parameters(
        work_scale=scale, baseline=rates, unit=np.array([unit]), number_mean=mean, number_std=std,
        **prior_parameters(features, numbers.shape[1], work.shape[1]), spread=np.zeros(2),
        work_weight=none, number_weight=none, block_weight=none, centre_weight=none, centres=codes[:MAX_CENTRES],
        networks=np.array([len(codes)]), least=np.array([times.min() / 2]),
    )  # fmt: skip
    baseline = baseline_of(work, parameters)
    relative = (baseline / unit)[:, None]
    blocks = counts * block_shares(features, parameters).ravel() / relative
    deviation = times / baseline - 1
    certain = np.ones(len(codes))
    inputs = Inputs(work / relative, (numbers - mean) / std, blocks, features.one_hot(codes), deviation, certain)
    return parameters, inputs


def _baseline(work: Array, times: Array) -> tuple[Array, float]:
    """Return rates of scaled work and the median baseline: least squares of relative errors with no negative rate.

    Errors are relative to the prediction, not to what was measured: a network that took almost no time must not
    outweigh all others. A little ridge keeps rates apart that the data does not tell apart.
    """
    nnls = scipy_module("optimize").nnls
    middle = float(np.median(times))
    ridge = np.sqrt(len(times) * _RIDGE) / middle * np.eye(work.shape[1])
    targets = np.zeros(work.shape[1])
    relative = np.full(len(times), middle)
    for _ in range(10):
        rates, _ = nnls(np.concatenate([work / relative[:, None], ridge]), np.concatenate([times / relative, targets]))
        relative = np.maximum(work @ rates, LOWEST * middle)
    return rates, float(np.median(relative))


def _weighted(features: NetworkFeatures, p: Parameters, inputs: Inputs) -> tuple[Parameters, Array, Array]:
    """Return `p` with the posterior means of all weights; float[n] leave-one-out residuals, plain and standardised.

    Bayesian linear regression in the weight space of all terms; the residual of a network left out is e / (1 - h), with
    h its leverage.
    """
    width = len(features.work)
    scale = np.sqrt(np.concatenate([p.relevance[features.decision_of], p.number_relevance]))
    place = np.concatenate([inputs.one_hot, inputs.numbers], axis=1) * scale
    centres = place[: len(p.centres)]
    spanned = np.linalg.cholesky(squared_exponential(centres, centres) + _JITTER * np.eye(len(centres)))
    rest = np.linalg.solve(spanned, squared_exponential(centres, place)).T * np.sqrt(p.signal)
    factors = [
        np.linalg.cholesky(block_covariance(features, p, view) + _JITTER * np.eye(width))
        for view in range(features.views)
    ]
    blocks = [inputs.blocks[:, view * width : (view + 1) * width] @ factor for view, factor in enumerate(factors)]
    slopes = np.sqrt(np.concatenate([p.work_slope, p.number_slope]))
    linear = np.concatenate([inputs.work, inputs.numbers], axis=1) * slopes
    basis = np.concatenate([linear, *blocks, rest], axis=1)
    weights, residuals, surprise = _ridge(basis, inputs.deviation, p.noise * inputs.doubt + _JITTER)
    ends = np.cumsum([inputs.work.shape[1], inputs.numbers.shape[1], *[width] * features.views])
    on_work, on_numbers, *on_blocks, on_rest = np.split(weights, ends)
    parameters = replace(
        p,
        work_weight=on_work * np.sqrt(p.work_slope),
        number_weight=on_numbers * np.sqrt(p.number_slope),
        block_weight=np.concatenate([factor @ weight for factor, weight in zip(factors, on_blocks, strict=True)]),
        centre_weight=np.linalg.solve(spanned.T, on_rest) / np.sqrt(p.signal),
    )
    return parameters, residuals, surprise


def _ridge(basis: Array, targets: Array, noise: Array) -> tuple[Array, Array, Array]:
    """Return float[P] weights with a standard normal prior; float[n] leave-one-out residuals, plain and standardised.

    Rasmussen & Williams (2006), eq. 5.12, or the same in weight space: e / (1 - h) with leverages h.
    """
    rows, columns = basis.shape
    if rows <= columns:
        inverse = np.linalg.inv(basis @ basis.T + np.diag(noise))
        dual, precision = inverse @ targets, np.diag(inverse)
        return basis.T @ dual, dual / precision, dual / np.sqrt(precision)
    scaled = basis / noise[:, None]
    inverse = np.linalg.inv(basis.T @ scaled + np.eye(columns))
    weights = inverse @ (scaled.T @ targets)
    without = 1 - ((scaled @ inverse) * basis).sum(axis=1)
    errors = targets - basis @ weights
    return weights, errors / without, errors / np.sqrt(without * noise)


def _spread(baseline: Array, surprise: Array) -> Array:
    """Return float[2], how the size of standardised leave-one-out residuals depends on the baseline over its median.

    Ridge regression of the logarithms gives the exponent (that of the absolute value of a normal variable has variance
    π²/8), the 80 % quantile of what is left the scale: the std of two fits means the same, so that one can be
    calibrated by the other. Where a device has a second mode, of a tenth of the measurements, the 90 % quantile would
    be in one mode in one fit and in the other in the next.
    """
    centred = np.log(baseline) - np.log(baseline).mean()
    ridge = np.pi**2 / 8 / _EXPONENT_PRIOR**2
    exponent = centred @ np.log(np.abs(surprise) + 1e-6) / (centred @ centred + ridge)
    left = np.abs(surprise) / (baseline**exponent).clip(1 / MAX_SPREAD, MAX_SPREAD)
    return np.array([np.log(np.quantile(left, 0.8) / 1.282 + 1e-9), exponent])


def _held_out_std(process: Process, codes: Codes) -> Array:
    """Return float[n], the std of the time of each network as if it were not among those that uncertainty knows.

    Without `Parameters.spread`.
    """
    std = process.predict(codes)[1]
    covariance, p = process.subset_covariance, process.parameters
    own = 1 / np.diag(np.linalg.inv(covariance)) - process.shared_noise
    subset = len(own)
    baseline = process.see(codes[:subset]).baseline
    std[:subset] = baseline * np.sqrt(np.maximum(own, 0.0) + p.noise)
    return std
