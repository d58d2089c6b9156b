"""A quantity of whole networks from their codes: a Gaussian process whose prior is that time adds up over blocks."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from nas import registry
from nas.errors import NasError
from nas.hardware.calibration import Calibration
from nas.hardware.predictor import LatencyPredictor
from nas.hardware.predictor_file import read_arrays, write_whole
from nas.hardware.predictors.regression_features import WORK, Array, NetworkFeatures, features_of
from nas.space import BlockTable, Codes, NetworkSpec, SearchSpace

#: networks predicted at a time, which bounds the memory it takes
CHUNK = 1024
#: added to work before its logarithm, as a share of that of an average network
_LITTLE = 1e-3
#: a network's baseline is at least this share of the median
LOWEST = 0.01
#: relative errors are at most this many times as large or small as those of a median network
MAX_SPREAD = 10.0
#: smooth functions of blocks that the uncertainty knows of
_RANK = 64


@dataclass(frozen=True, eq=False)
class Parameters:
    """Everything that fitting finds. With F = len(WORK), V blocks, v views, D decisions and W = F · v:

    Attributes:
        work_scale: float[W], work of an average network; 0 where there is none.
        baseline: float[1 + W], what one average network's worth of each kind of work takes; the first is constant.
        unit: float[1], the median of the baseline over the networks fitted to.
        number_mean, number_std: float[N], for standardising: log work, then the features of the space.
        work_slope: float[1 + W], number_slope: float[N], prior variances of the linear terms.
        lengths: float[B], inverse squared length scales of `NetworkFeatures.shapes`.
        smooth, own: float[v] and float[1], prior variances of the time of a block: as far as like blocks share it, and
            as far as it is the block's own; relative to its baseline.
        relevance: float[v · D], number_relevance: float[N], signal: float[1], of what is not additive.
        noise: float[1], variance of a measurement relative to the squared baseline.
        spread: float[2], logarithm of how much larger errors are than the process says, at the median baseline, and the
            exponent of the baseline in that: below 0 where jitter does not grow with the time.
        work_weight, number_weight, block_weight, centre_weight: posterior means, float[1 + W], [N], [v · V], [M].
        centres: int8[M, D], networks that the non-additive part is spanned by.
        networks: int[1], how many it was fitted to.
        least: float[1], no prediction is below.
    """

    work_scale: Array
    baseline: Array
    unit: Array
    number_mean: Array
    number_std: Array
    work_slope: Array
    number_slope: Array
    lengths: Array
    smooth: Array
    own: Array
    relevance: Array
    number_relevance: Array
    signal: Array
    noise: Array
    spread: Array
    work_weight: Array
    number_weight: Array
    block_weight: Array
    centre_weight: Array
    centres: Codes
    networks: npt.NDArray[np.int64]
    least: Array

    def check(self, features: NetworkFeatures) -> None:
        """Raise ValueError where an array does not fit the features of the space."""
        work, (blocks, shapes) = len(WORK) * features.views, features.shapes.shape
        decisions, numbers = len(features.space.decisions), len(self.number_mean)
        sizes = {
            "work_scale": work, "baseline": 1 + work, "number_mean": numbers, "number_std": numbers,
            "work_slope": 1 + work, "number_slope": numbers, "lengths": shapes, "smooth": features.views,
            "relevance": features.views * decisions, "number_relevance": numbers, "work_weight": 1 + work,
            "spread": 2, "number_weight": numbers,
            "block_weight": features.views * blocks, "centre_weight": len(self.centres),
        }  # fmt: skip
        for field in fields(self):
            array = getattr(self, field.name)
            shape = (len(array), decisions) if field.name == "centres" else (sizes.get(field.name, 1),)
            if array.shape != shape or array.dtype.kind not in "if" or not np.isfinite(array).all():
                raise ValueError(f"{field.name} must be finite numbers of shape {shape}, not {array.shape}")
        signed = ("number_mean", "spread", "work_weight", "number_weight", "block_weight", "centre_weight")
        for field in fields(self):
            if field.name not in signed and (getattr(self, field.name) < 0).any():
                raise ValueError(f"{field.name} must not be negative")
        if min(self.unit[0], self.noise[0], self.number_std.min(), self.networks[0], len(self.centres)) <= 0:
            raise ValueError("unit, noise, number_std and networks must be positive, and there must be a centre")


class Seen(NamedTuple):
    """What the process sees of n networks: baseline[n], its additive part in weight space, its place for the rest."""

    baseline: Array
    mean: Array
    linear: Array
    place: Array


class RegressionPredictor(LatencyPredictor):
    """t(x) = t0(x) (1 + g(x)), with t0 the baseline of the work in a network x, and g a Gaussian process.

    t is the quantity itself or, of a rate such as images/s, its reciprocal, because it is times that add up. The
    covariance of g is a sum (Rasmussen & Williams, 2006, sections 2.7 and 4.2.4), with s_b(x) the share of block b in
    t0(x):

        Σ_b,c s_b(x) s_c(x') k(b, c): every block deviates from the baseline, alike blocks alike (squared exponential in
            the logarithms of work, channels and sizes) and each by itself: an additive model over all blocks
        a linear kernel on work / t0 and on numbers that the space gives
        a squared exponential of the decisions that differ and of log work: what does not add up
        white noise

    The mean is that of all measurements; what does not add up is spanned by at most 400 networks (the
    subset-of-regressors predictor, Quiñonero-Candela & Rasmussen, JMLR 2005, eq. 16b). The variance is that of the
    process given a subset of them, whose noise stands for all, times a power of the baseline: relative errors of
    networks that take little time are often larger.
    """

    kind = "regression"

    def __init__(self, space: str, decisions: str, digest: str, reciprocal: bool, parameters: Parameters,
                 calibration: Calibration):  # fmt: skip
        self.space, self.decisions, self.digest = space, decisions, digest
        self.reciprocal, self.parameters, self.calibration = reciprocal, parameters, calibration
        self._process: Process | None = None

    def predict(self, space: SearchSpace, codes: npt.NDArray[np.integer]) -> tuple[Array, Array]:
        process, networks = self._process_of(space), np.asarray(codes, dtype=np.int8)
        parts = [process.predict(networks[start : start + CHUNK]) for start in range(0, len(networks), CHUNK)]
        mean, std = (np.concatenate(columns) for columns in zip(*parts, strict=True)) if parts else np.zeros((2, 0))
        if self.reciprocal:
            mean, std = 1 / mean, std / mean**2
        # The last digits of a matrix product differ with the processor and the number of rows.
        return np.round(mean, 9), np.round(std, 9)

    def predict_spec(self, spec: NetworkSpec) -> tuple[float, float]:
        space: SearchSpace = registry.load("spaces", self.space)
        mean, std = self.predict(space, space.encode(spec)[None])
        return float(mean[0]), float(std[0])

    def _process_of(self, space: SearchSpace) -> Process:
        if space.name != self.space:
            raise NasError(f"this predictor was fitted on the space {self.space}; it says nothing of {space.name}")
        features = features_of(space)
        if self._process is None or self._process.features is not features:
            if described(space) != self.decisions or features.digest != self.digest:
                raise NasError(f"this predictor was fitted on another {self.space}: its decisions or blocks differ")
            try:
                self.parameters.check(features)
            except ValueError as error:
                raise NasError(f"this predictor of {self.space} is damaged: {error}") from None
            self._process = Process(features, self.parameters)
        return self._process

    def write(self, path: Path) -> None:
        buffer = BytesIO()
        arrays = {field.name: getattr(self.parameters, field.name) for field in fields(Parameters)}
        words: dict[str, Any] = {name: np.array(getattr(self, name)) for name in _WORDS}
        quantiles = np.array(self.calibration.quantiles)
        np.savez_compressed(buffer, kind=np.array(self.kind), quantiles=quantiles, **words, **arrays)
        write_whole(path, buffer.getvalue())

    @classmethod
    def read(cls, path: Path) -> Self:
        arrays = read_arrays(path)
        try:
            # Files of the first version have no spread.
            arrays.setdefault("spread", np.zeros(2))
            parameters = Parameters(**{field.name: arrays[field.name] for field in fields(Parameters)})
            space, decisions, digest = (str(arrays[name]) for name in _WORDS[:3])
            calibration = Calibration(tuple(arrays["quantiles"].tolist()))
            predictor = cls(space, decisions, digest, bool(arrays["reciprocal"]), parameters, calibration)
            if space in registry.names("spaces"):
                parameters.check(features_of(registry.load("spaces", space)))
        except KeyError as error:
            raise NasError(f"{path}: no array {error}") from None
        except (ValueError, TypeError, IndexError, NasError) as error:
            raise NasError(f"{path}: {error}") from None
        return predictor


_WORDS = ("space", "decisions", "digest", "reciprocal")


def described(space: SearchSpace) -> str:
    """Return the decisions of a space as text."""
    return json.dumps([[decision.name, list(decision.choices)] for decision in space.decisions])


class Process:
    """The process of a `RegressionPredictor` on the features of its space."""

    #: networks that the variance is conditioned on
    SUBSET = 128

    def __init__(self, features: NetworkFeatures, parameters: Parameters):
        self.features, self.parameters = features, parameters
        p = parameters
        self._used = np.flatnonzero(p.work_scale > 0)
        self._scale = np.sqrt(np.concatenate([p.relevance[features.decision_of], p.number_relevance]))
        shares = block_shares(features, p)
        rank = min(_RANK, len(features.work))
        self._tables = []
        for view, share in enumerate(shares):
            values, vectors = np.linalg.eigh(block_covariance(features, p, view))
            smooth = vectors[:, -rank:] * np.sqrt(np.maximum(values[-rank:], 0.0))
            weight = np.split(p.block_weight, features.views)[view]
            columns = [features.work, (share * weight)[:, None], share[:, None] * smooth]
            self._tables.append(BlockTable(features.space.vocabulary, np.concatenate(columns, axis=1)))

    def see(self, codes: Codes) -> Seen:
        """Return what the process sees of int8[n, D] codes."""
        p, width = self.parameters, len(WORK)
        sums = self.features.sums(self._tables, codes)
        work = self.work(np.concatenate([view[:, :width] for view in sums], axis=1))
        baseline = baseline_of(work, p)
        relative = (baseline / p.unit)[:, None]
        numbers = (self.raw_numbers(work, codes) - p.number_mean) / p.number_std
        additive = np.concatenate([work, *(view[:, width + 1 :] for view in sums)], axis=1) / relative
        additive[:, : work.shape[1]] *= np.sqrt(p.work_slope)
        linear = np.concatenate([additive, numbers * np.sqrt(p.number_slope)], axis=1)
        blocks = np.sum([view[:, width] for view in sums], axis=0)
        mean = (work @ p.work_weight + blocks) / relative[:, 0] + numbers @ p.number_weight
        place = np.concatenate([self.features.one_hot(codes), numbers], axis=1) * self._scale
        return Seen(baseline, mean, linear, place)

    def work(self, sums: Array) -> Array:
        """Return float[n, 1 + W], summed work in units of an average network, 1 before it."""
        return scaled_work(sums, self.parameters.work_scale)

    def raw_numbers(self, work: Array, codes: Codes) -> Array:
        """Return float[n, N], log work and the features of the space."""
        return raw_numbers(self.features, work[:, 1 + self._used], codes)

    def predict(self, codes: Codes) -> tuple[Array, Array]:
        """Return mean and standard deviation of t."""
        p, seen = self.parameters, self.see(codes)
        kernel = squared_exponential(seen.place, self._centres.place)
        mean = seen.baseline * (1 + seen.mean + p.signal * (kernel @ p.centre_weight))
        subset = len(self._whiten)
        cross = seen.linear @ self._centres.linear[:subset].T + p.signal * kernel[:, :subset]
        prior = (seen.linear**2).sum(axis=1) + p.signal
        variance = np.maximum(prior - ((cross @ self._whiten.T) ** 2).sum(axis=1), 0.0)
        std = seen.baseline * np.sqrt(variance + p.noise) * spread_of(seen.baseline, p)
        return np.maximum(mean, p.least), std

    @cached_property
    def _centres(self) -> Seen:
        return self.see(self.parameters.centres)

    @cached_property
    def subset_covariance(self) -> Array:
        """float[S, S], with noise: of the first centres, each standing for its share of all networks fitted to."""
        p, seen = self.parameters, self._centres
        linear, place = seen.linear[: self.SUBSET], seen.place[: self.SUBSET]
        covariance = linear @ linear.T + p.signal * squared_exponential(place, place)
        return np.asarray(covariance + self.shared_noise * np.eye(len(linear)))

    @property
    def shared_noise(self) -> float:
        """The noise of a network of the subset, which stands for its share of all networks."""
        p = self.parameters
        return float(p.noise[0] * min(self.SUBSET, len(p.centres)) / p.networks[0] + 1e-9)

    @cached_property
    def _whiten(self) -> Array:
        return np.linalg.inv(np.linalg.cholesky(self.subset_covariance))


def scaled_work(sums: Array, scale: Array) -> Array:
    """Return float[n, 1 + W], summed work in units of an average network, 1 before it."""
    scaled = np.divide(sums, scale, out=np.zeros_like(sums), where=scale > 0)
    return np.concatenate([np.ones((len(sums), 1)), scaled], axis=1)


def raw_numbers(features: NetworkFeatures, work: Array, codes: Codes) -> Array:
    """Return float[n, N], the logarithms of scaled work, and the features of the space."""
    return np.concatenate([np.log(work + _LITTLE), features.space.predictor_features(codes)], axis=1)


def baseline_of(work: Array, p: Parameters) -> Array:
    """Return float[n], the baseline of scaled work."""
    return np.maximum(work @ p.baseline, LOWEST * p.unit)


def spread_of(baseline: Array, p: Parameters) -> Array:
    """Return float[n], how many times as large errors are as the process says."""
    scale, exponent = p.spread
    power = ((baseline / p.unit) ** exponent).clip(1 / MAX_SPREAD, MAX_SPREAD)
    return np.asarray(np.exp(scale) * power)


def block_shares(features: NetworkFeatures, p: Parameters) -> Array:
    """Return float[v, V], what the baseline charges each block, a fifth of it charged for all kinds of work alike."""
    used = p.work_scale > 0
    rates = p.baseline[1:] / max(p.baseline[1:].sum(), 1e-300)
    rates = 0.8 * rates + 0.2 * used / used.sum()
    rates = np.divide(rates, p.work_scale, out=np.zeros_like(rates), where=used)
    return np.asarray(rates.reshape(features.views, -1) @ features.work.T)


def block_covariance(features: NetworkFeatures, p: Parameters, view: int) -> Array:
    """Return float[V, V], the prior covariance of the relative deviation of blocks."""
    shapes = features.shapes * np.sqrt(p.lengths)
    return np.asarray(p.smooth[view] * squared_exponential(shapes, shapes) + p.own * np.eye(len(shapes)))


def squared_exponential(a: Array, b: Array) -> Array:
    """Return float[n, m], exp(-|a - b|² / 2)."""
    exponent: Array = a @ b.T
    exponent -= 0.5 * (a**2).sum(axis=1)[:, None]
    exponent -= 0.5 * (b**2).sum(axis=1)
    np.minimum(exponent, 0.0, out=exponent)
    np.exp(exponent, out=exponent)
    return exponent
