"""Hyper-parameters of a `RegressionPredictor` by marginal likelihood (Rasmussen & Williams, 2006, section 5.4)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nas.hardware.fitting.scipy_extra import scipy_module
from nas.hardware.predictors.regression import Parameters, squared_exponential
from nas.hardware.predictors.regression_features import Array, NetworkFeatures

#: hyper-parameter -> mean and standard deviation of the normal prior of its logarithm; `relevance` is divided among
#: the decisions
PRIORS = {
    "work_slope": (0.03, 1.5),
    "number_slope": (0.003, 1.5),
    "lengths": (0.3, 1.0),
    "smooth": (0.1, 2.0),
    "own": (0.02, 2.0),
    "relevance": (1.0, 1.0),
    "number_relevance": (0.1, 1.0),
    "signal": (0.01, 2.0),
    "noise": (0.0004, 2.0),
}
ITERATIONS = 80
_JITTER = 1e-8


@dataclass(frozen=True)
class Inputs:
    """What the covariance of n networks is made of.

    Args:
        work: float[n, 1 + W], scaled work relative to the baseline.
        numbers: float[n, N], standardised.
        blocks: float[n, v · V], share of each block in the baseline.
        one_hot: float[n, H].
        deviation: float[n], t / baseline - 1: what the process explains.
        doubt: float[n], variance of the noise of each measurement in units of the common one.
    """

    work: Array
    numbers: Array
    blocks: Array
    one_hot: Array
    deviation: Array
    doubt: Array

    def __getitem__(self, rows: slice) -> Inputs:
        return Inputs(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def prior_parameters(features: NetworkFeatures, numbers: int, work: int) -> dict[str, Array]:
    """Return every hyper-parameter at the centre of its prior."""
    relevances = features.views * len(features.space.decisions)
    sizes = {
        "work_slope": work, "number_slope": numbers, "lengths": features.shapes.shape[1], "smooth": features.views,
        "own": 1, "relevance": relevances, "number_relevance": numbers, "signal": 1, "noise": 1,
    }  # fmt: skip
    values = {name: np.full(size, PRIORS[name][0]) for name, size in sizes.items()}
    values["relevance"] /= relevances
    return values


def tuned(features: NetworkFeatures, parameters: Parameters, inputs: Inputs) -> Parameters:
    """Return `parameters` with the hyper-parameters of the largest posterior density, started from those they have.

    Raises:
        NasError: SciPy is not installed.
    """
    minimize = scipy_module("optimize").minimize
    values = {name: getattr(parameters, name) for name in PRIORS}
    ends = np.cumsum([len(value) for value in values.values()])[:-1]
    centre = np.log(np.concatenate(list(values.values())))
    spread = np.concatenate([np.full(len(value), PRIORS[name][1]) for name, value in values.items()])

    def at(theta: Array) -> Parameters:
        return replace(parameters, **dict(zip(values, np.split(np.exp(theta), ends), strict=True)))

    def loss(theta: Array) -> tuple[float, Array]:
        value, gradient = _negative_log_likelihood(features, at(theta), inputs)
        pull = (theta - centre) / spread
        return value + 0.5 * float(pull @ pull), gradient + pull / spread

    bounds = list(zip(centre - 4 * spread, centre + 4 * spread, strict=True))
    found = minimize(loss, centre, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": ITERATIONS})
    return at(found.x)


def _negative_log_likelihood(features: NetworkFeatures, p: Parameters, inputs: Inputs) -> tuple[float, Array]:
    """Return eq. 5.8 without its constant, and the negative of eq. 5.9 in the logarithms, in the order of PRIORS."""
    width = len(features.work)
    shapes = features.shapes * np.sqrt(p.lengths)
    alike = squared_exponential(shapes, shapes)
    blocks = [inputs.blocks[:, view * width : (view + 1) * width] for view in range(features.views)]
    relevance = p.relevance[features.decision_of]
    place = np.concatenate([inputs.one_hot, inputs.numbers], axis=1)
    place = place * np.sqrt(np.concatenate([relevance, p.number_relevance]))
    rest = p.signal * squared_exponential(place, place)
    smooth = [p.smooth[view] * (share @ alike @ share.T) for view, share in enumerate(blocks)]
    own = p.own * (inputs.blocks @ inputs.blocks.T)
    linear = (inputs.work * p.work_slope) @ inputs.work.T + (inputs.numbers * p.number_slope) @ inputs.numbers.T
    covariance = linear + own + rest + np.diag(p.noise * inputs.doubt + _JITTER)
    for term in smooth:
        covariance += term
    cholesky = np.linalg.cholesky(covariance)
    inverse = np.linalg.inv(cholesky)
    inverse = inverse.T @ inverse
    alpha = inverse @ inputs.deviation
    value = 0.5 * float(inputs.deviation @ alpha) + float(np.log(np.diag(cholesky)).sum())

    outer = 0.5 * (inverse - np.outer(alpha, alpha))  # derivative by the covariance
    by_rest = outer * rest
    by_alike = np.zeros_like(alike)
    for share, variance in zip(blocks, p.smooth, strict=True):
        by_alike += variance * (share.T @ outer @ share)
    by_alike *= alike
    gradient = {
        "work_slope": p.work_slope * _quadratic(outer, inputs.work),
        "number_slope": p.number_slope * _quadratic(outer, inputs.numbers),
        "lengths": p.lengths * _by_squared_distance(by_alike, features.shapes),
        "smooth": np.array([(outer * term).sum() for term in smooth]),
        "own": np.array([(outer * own).sum()]),
        "relevance": p.relevance * np.bincount(features.decision_of, _by_squared_distance(by_rest, inputs.one_hot)),
        "number_relevance": p.number_relevance * _by_squared_distance(by_rest, inputs.numbers),
        "signal": np.array([by_rest.sum()]),
        "noise": p.noise * (np.diag(outer) @ inputs.doubt),
    }
    return value, np.concatenate([gradient[name] for name in PRIORS])


def _quadratic(matrix: Array, columns: Array) -> Array:
    """Return float[F], x' matrix x of every column."""
    return np.asarray(((matrix @ columns) * columns).sum(axis=0))


def _by_squared_distance(weights: Array, columns: Array) -> Array:
    """Return float[F], the sum over all pairs of -weight · (x_i - x_j)² / 2 in every column; weights symmetric."""
    return np.asarray(_quadratic(weights, columns) - weights.sum(axis=1) @ columns**2)
