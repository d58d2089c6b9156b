"""What every predictor of latency, energy or another quantity measured on a device can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field

from nas import registry
from nas.errors import NasError, UnknownNameError
from nas.hardware.calibration import Calibration
from nas.hardware.predictor_file import kind_of
from nas.space import Block, NetworkSpec, SearchSpace

Array = npt.NDArray[np.float64]
Finite = Annotated[float, Field(allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class LatencyPredictor(ABC):
    """Architecture in, latency in ms (or energy in mJ, images/s, ...) with uncertainty out.

    `mean` and `std` are those of a new measurement; `calibration` says how measurements spread around them.
    """

    #: what it is registered as in the group `nas.predictors`; its file says so
    kind: ClassVar[str]
    calibration: Calibration

    @abstractmethod
    def predict(self, space: SearchSpace, codes: npt.NDArray[np.integer]) -> tuple[Array, Array]:
        """Return mean and standard deviation, float[n] each, of the networks of a space.

        Raises:
            NasError: it says nothing of this space, or of one of these networks.
        """

    @abstractmethod
    def predict_spec(self, spec: NetworkSpec) -> tuple[float, float]:
        """Return mean and standard deviation of one network.

        Raises:
            NasError: it says nothing of this network.
        """

    @abstractmethod
    def write(self, path: Path) -> None:
        """Write what `read` reads."""

    @classmethod
    @abstractmethod
    def read(cls, path: Path) -> Self:
        """Read a file that `write` has written; nothing in it is ever executed.

        Raises:
            NasError: it cannot be read or is malformed; names the file and the place.
        """

    def bounds(self, space: SearchSpace) -> tuple[float, float] | None:
        """Return the smallest and largest mean in a space, None where they are not known without trying all."""
        return None

    def interval(self, mean: Array, std: Array, level: float = 0.9) -> tuple[Array, Array]:
        """Return the ends of the interval that holds a share `level` of measurements; never below 0."""
        return self.quantile(mean, std, (1 - level) / 2), self.quantile(mean, std, (1 + level) / 2)

    def quantile(self, mean: Array, std: Array, level: float) -> Array:
        """Return float[n], what a share `level` of measurements stays below; never below 0."""
        return np.maximum(np.round(mean + self.calibration.quantile(level) * std, 9), 0.0)

    def probability_below(self, mean: Array, std: Array, bound: float) -> Array:
        """Return float[n], the probability that a measurement is at most `bound`."""
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.where(std > 0, (bound - mean) / std, np.where(mean <= bound, 1e9, -1e9))
        return np.round(self.calibration.probability(z), 6)


class AdditivePredictor(LatencyPredictor):
    """A predictor that charges every block its share, whatever stands beside it."""

    @abstractmethod
    def block_ms(self, block: Block) -> float:
        """Return the share of one block.

        Raises:
            NasError: it says nothing of this block.
        """


def read_predictor(path: Path) -> LatencyPredictor:
    """Read a predictor's file, of whatever registered kind.

    Raises:
        NasError: it cannot be read, is malformed, or of an unknown kind.
    """
    kind = kind_of(path)
    if kind not in registry.names("predictors"):
        raise NasError(f"{path}: kind: {UnknownNameError('predictor', kind, registry.names('predictors'))}")
    predictor: LatencyPredictor = registry.load("predictors", kind).read(path)
    return predictor
