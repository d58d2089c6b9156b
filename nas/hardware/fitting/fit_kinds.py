"""The kinds of predictor that can be fitted to measurements of blocks and networks, behind one face."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from nas.hardware.calibration import Calibration
from nas.hardware.fitting.fit_lookup import NORMAL_90, BlockSums
from nas.hardware.predictor import Array, LatencyPredictor
from nas.hardware.predictors.lookup import kernels
from nas.hardware.tables.measurements import Measurements
from nas.hardware.tables.units import quantity_of
from nas.space import NetworkSpec, SearchSpace
from nas.space.layer import Layer

if TYPE_CHECKING:
    from nas.hardware.fitting.fit_kernels import KernelFit
    from nas.hardware.fitting.kernel_samples import Samples

Folds = npt.NDArray[np.int64]
#: networks that an error can be stated on
MIN_HELD_OUT = 5


@dataclass(frozen=True, eq=False)
class MeasuredData:
    """All that was measured of one quantity: whole networks, blocks, or both.

    Args:
        space: None: published networks.
    """

    metric: str
    space: SearchSpace | None
    networks: Measurements | None
    blocks: Measurements | None

    @property
    def count(self) -> int:
        return len(self.networks) if self.networks is not None else 0

    @property
    def values(self) -> Array:
        """float[n] of the networks."""
        return self.networks.values[self.metric] if self.networks is not None else np.zeros(0)

    @property
    def adds_up(self) -> bool:
        """Whether the quantity of a network is the sum over what it consists of."""
        return quantity_of(self.metric).name in ("latency", "energy")

    @cached_property
    def specs(self) -> Sequence[NetworkSpec]:
        return [] if self.networks is None else [self.networks.network(row) for row in range(self.count)]

    @cached_property
    def block_layers(self) -> Sequence[Sequence[Layer]]:
        """The layers of every block measured."""
        if self.blocks is None or self.space is None:
            return []
        known = {kernels(block): block.layers() for block in self.space.vocabulary.blocks}
        return [known[item] for item in self.blocks.items]


class Kind(ABC):
    """How predictors of one kind are fitted to measured data, and cross-validated.

    Args:
        data: what was measured.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    #: of the predictor's file
    suffix: ClassVar[str] = ".npz"

    def __init__(self, data: MeasuredData):
        self.data = data

    @abstractmethod
    def lacks(self) -> str:
        """Return what the data lack for this kind, in words; "" where it can be fitted."""

    @abstractmethod
    def cross_validate(self, fold: Folds) -> tuple[Array, Array]:
        """Return mean and std float[n] of the networks, each predicted from those of other folds; fold: int[n]."""

    @abstractmethod
    def fit(self, fold: Folds, calibration: Calibration) -> LatencyPredictor:
        """Return the predictor fitted to all data.

        Args:
            fold: int[n], for kinds that calibrate themselves by cross-validation.
            calibration: what cross-validation has shown, for the others.
        """

    def _needs(self, networks: int, adds_up: bool = False) -> str:
        if adds_up and not self.data.adds_up:
            return f"{self.data.metric} does not add up over the parts of a network"
        missing = networks - self.data.count
        return f"{networks} networks are needed, {self.data.count} were measured" if missing > 0 else ""


class Lookup(Kind):
    """Block times added up, times a factor and with a shift a block that networks tell."""

    name, title, suffix = "lookup", "look-up table of blocks", ".json"

    def lacks(self) -> str:
        if self.data.blocks is None:
            return "no blocks were measured"
        if not self.data.adds_up:
            return f"{self.data.metric} does not add up over the parts of a network"
        return "" if self._sums.is_complete else "some blocks of the space were not measured"

    def cross_validate(self, fold: Folds) -> tuple[Array, Array]:
        mean, std = np.empty(len(fold)), np.empty(len(fold))
        for held_out in np.unique(fold):
            rows = fold == held_out
            predicted = self._sums.predict(self._sums.correction(~rows))
            mean[rows], std[rows] = (column[rows] for column in predicted)
        return mean, std

    def fit(self, fold: Folds, calibration: Calibration) -> LatencyPredictor:
        correction = self._sums.correction(np.ones(self.data.count, dtype=bool))
        if self.data.count < MIN_HELD_OUT:
            return self._sums.predictor(correction, NORMAL_90)
        return self._sums.predictor(correction, max(-calibration.quantile(0.05), calibration.quantile(0.95), 0.0))

    @cached_property
    def _sums(self) -> BlockSums:
        assert self.data.space is not None
        assert self.data.blocks is not None
        return BlockSums(self.data.space, self.data.blocks, self.data.networks, self.data.metric)


class Roofline(Kind):
    """Fused kernels, each a roofline with a correction; blocks and networks together."""

    name, title = "roofline", "roofline of fused kernels"

    def lacks(self) -> str:
        from nas.hardware.fitting.fit_roofline import MIN_BLOCKS, MIN_NETWORKS

        lacking = self._needs(MIN_NETWORKS + (self.data.count > 0), adds_up=True)
        blocks = len(self.data.block_layers)
        if not lacking or (self.data.adds_up and blocks >= MIN_BLOCKS):
            return ""
        return lacking if not self.data.adds_up else f"{lacking}, or {MIN_BLOCKS} blocks"

    def cross_validate(self, fold: Folds) -> tuple[Array, Array]:
        from nas.hardware.fitting.fit_roofline import cross_validate_roofline

        blocks = len(self.data.block_layers)
        mean, std = cross_validate_roofline(self._samples, np.append(fold, np.full(blocks, -1)))
        return mean[: len(fold)], std[: len(fold)]

    def cross_validate_blocks(self, fold: Folds) -> tuple[Array, Array]:
        """Return mean and std float[b] of the blocks, each measured alone; fold: int[b]."""
        from nas.hardware.fitting.fit_roofline import cross_validate_roofline

        mean, std = cross_validate_roofline(self._samples, np.append(np.full(self.data.count, -1), fold))
        return mean[self.data.count :], std[self.data.count :]

    def fit(self, fold: Folds, calibration: Calibration) -> LatencyPredictor:
        from nas.hardware.fitting.fit_roofline import fit_roofline

        return fit_roofline(self._samples, calibration)

    @cached_property
    def _samples(self) -> Samples:
        from nas.hardware.fitting.kernel_samples import samples_of

        data = self.data
        values = data.blocks.values[data.metric] if data.blocks is not None else ()
        return samples_of([spec.layers() for spec in data.specs], data.values, data.block_layers, values)


class Regression(Kind):
    """A Gaussian process on whole networks of a space."""

    name, title = "regression", "regression on whole networks"

    def lacks(self) -> str:
        from nas.hardware.fitting.fit_regression import MIN_NETWORKS

        if self.data.space is None:
            return "the networks are not of a space"
        # Each fold is predicted from the others.
        return self._needs(MIN_NETWORKS * 5 // 4 + 1)

    def cross_validate(self, fold: Folds) -> tuple[Array, Array]:
        from nas.hardware.fitting.fit_regression import cross_validate

        assert self.data.space is not None
        assert self.data.networks is not None
        folds = len(np.unique(fold))
        held_out = cross_validate(
            self.data.space, self.data.networks.codes, self.data.values, self.data.metric, folds=folds
        )
        return held_out.mean, held_out.std

    def fit(self, fold: Folds, calibration: Calibration) -> LatencyPredictor:
        from nas.hardware.fitting.fit_regression import fit_regression

        assert self.data.space is not None
        assert self.data.networks is not None
        codes, values = self.data.networks.codes, self.data.values
        return fit_regression(self.data.space, codes, values, self.data.metric, calibration=calibration)


class LinearKernels(Kind):
    """A linear function of what kernels ask of a processor: five numbers, for a few networks of any kind."""

    name, title, suffix = "linear-kernels", "linear kernel model", ".json"

    def lacks(self) -> str:
        from nas.hardware.fitting.fit_kernels import FEWEST

        return self._needs(max(FEWEST + 1, MIN_HELD_OUT), adds_up=True)

    def cross_validate(self, fold: Folds) -> tuple[Array, Array]:
        held_out = self._fit(fold).held_out
        return held_out.mean, held_out.std

    def fit(self, fold: Folds, calibration: Calibration) -> LatencyPredictor:
        return self._fit(fold).predictor

    def _fit(self, fold: Folds) -> KernelFit:
        from nas.hardware.fitting.fit_kernels import FEATURES, KernelFit
        from nas.hardware.predictors.features import kernel_features

        sums = sum(kernel_features(spec.layers(), FEATURES) for spec in self.data.specs)
        occurring = [name for name, total in zip(FEATURES, np.atleast_1d(sums), strict=True) if total > 0]
        return KernelFit(self.data.specs, self.data.values, features=occurring, groups=fold.tolist())


#: in the order in which they are tried and shown
KINDS: tuple[type[Kind], ...] = (Lookup, Roofline, Regression, LinearKernels)
