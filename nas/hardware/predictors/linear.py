"""Latency as a linear function of what the kernels of a network ask of a processor."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, model_validator

from nas.hardware.calibration import Calibration
from nas.hardware.predictor import AdditivePredictor, Array, Finite, NotNegative
from nas.hardware.predictor_file import read_model, write_whole
from nas.hardware.predictors.features import LAYER_FEATURES, kernel_features
from nas.space import Block, BlockTable, NetworkSpec, SearchSpace


class LinearParameters(BaseModel):
    """Fitted coefficients of a `LinearPredictor`, as stored in its file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["linear-kernels"] = "linear-kernels"
    features: tuple[str, ...]
    #: milliseconds for one unit of each feature: posterior mean and covariance
    mean: tuple[NotNegative, ...]
    covariance: tuple[tuple[Finite, ...], ...]
    #: standard deviation of a measurement around the model, as a share of the latency
    relative_noise: NotNegative
    #: half of a 90 % interval in standard deviations
    interval_width: NotNegative

    @model_validator(mode="after")
    def _consistent(self) -> LinearParameters:
        unknown = [name for name in self.features if name not in LAYER_FEATURES]
        if unknown:
            raise ValueError(f"unknown feature {unknown[0]!r}; valid: {', '.join(LAYER_FEATURES)}")
        count = len(self.features)
        if len(self.mean) != count or len(self.covariance) != count or any(len(r) != count for r in self.covariance):
            raise ValueError(f"{count} features need {count} means and a {count}×{count} covariance")
        if len(set(self.features)) != count:
            raise ValueError("a feature is named twice")
        covariance = np.array(self.covariance)
        scale = np.abs(covariance).max()
        if not np.allclose(covariance, covariance.T, rtol=1e-9, atol=1e-12 * scale):
            raise ValueError("the covariance is not symmetric")
        if np.linalg.eigvalsh(covariance).min() < -1e-9 * scale:
            raise ValueError("the covariance has a negative variance")
        return self


class LinearPredictor(AdditivePredictor):
    """latency = features · coefficients, with the uncertainty of the coefficients and of a measurement.

    The features are additive over blocks, so a set of networks costs one gather a group of decisions:
    mean = x·m, variance = x'Cx + (relative_noise · mean)², for posterior mean m and covariance C of the coefficients.
    """

    kind = "linear-kernels"

    def __init__(self, parameters: LinearParameters):
        self.parameters = parameters
        self.features = parameters.features
        self.calibration = Calibration.normal(parameters.interval_width)
        self._mean = np.array(parameters.mean)
        self._covariance = np.array(parameters.covariance)
        self._noise = parameters.relative_noise

    @classmethod
    def read(cls, path: Path) -> Self:
        return cls(read_model(LinearParameters, path))

    def write(self, path: Path) -> None:
        write_whole(path, (self.parameters.model_dump_json(indent=1) + "\n").encode())

    def predict(self, space: SearchSpace, codes: npt.NDArray[np.integer]) -> tuple[Array, Array]:
        return self._from_features(_feature_table(space, self.features).sum(codes))

    def predict_spec(self, spec: NetworkSpec) -> tuple[float, float]:
        mean, std = self._from_features(kernel_features(spec.layers(), self.features)[None])
        return float(mean[0]), float(std[0])

    def block_ms(self, block: Block) -> float:
        return float(kernel_features(block.layers(), self.features) @ self._mean)

    def bounds(self, space: SearchSpace) -> tuple[float, float]:
        milliseconds = _block_features(space, self.features) @ self._mean
        low, high = space.bounds(BlockTable(space.vocabulary, milliseconds[:, None]))
        return round(float(low[0]), 9), round(float(high[0]), 9)

    def _from_features(self, features: Array) -> tuple[Array, Array]:
        mean = features @ self._mean
        variance = np.einsum("nf,nf->n", features @ self._covariance, features) + (self._noise * mean) ** 2
        # To the picosecond: the last digits of a matrix product differ with the processor and the number of rows.
        return np.round(mean, 9), np.round(np.sqrt(variance), 9)


@lru_cache(maxsize=8)
def _block_features(space: SearchSpace, names: tuple[str, ...]) -> Array:
    """Return float[V, F], the features of every block of the vocabulary."""
    return np.array([kernel_features(block.layers(), names) for block in space.vocabulary.blocks])


@lru_cache(maxsize=32)
def _feature_table(space: SearchSpace, names: tuple[str, ...]) -> BlockTable:
    return BlockTable(space.vocabulary, _block_features(space, names))
