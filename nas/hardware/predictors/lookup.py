"""Latency from a look-up table: the measured times of the blocks of a network, added up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from nas.errors import NasError
from nas.hardware.calibration import Calibration
from nas.hardware.predictor import AdditivePredictor, Array, NotNegative
from nas.hardware.predictor_file import read_model, write_whole
from nas.hardware.predictors.features import FUSED_ACTIVATIONS
from nas.space import ABSENT, Block, BlockTable, NetworkSpec, SearchSpace
from nas.space.layer import Layer

#: predictions are rounded to this many decimals of a millisecond: the order of a sum does not show
DECIMALS = 9


def kernels(block: Block) -> str:
    """Return the kernels an inference runtime runs for a block, as text: equal for blocks that take the same time.

    Batch normalisation and ReLU-like activations are part of the convolution before them, and leave no trace. One
    kernel is written `op k s channels>channels @size`, with `/g` for g groups; `add` closes a residual block.
    """
    return ", ".join(_kernel(layer) for layer in block.layers() if not _is_fused(layer))


def _is_fused(layer: Layer) -> bool:
    return layer.op == "batch_norm" or (layer.op == "act" and layer.function in FUSED_ACTIVATIONS)


def _kernel(layer: Layer) -> str:
    words: list[str] = [layer.op]
    if layer.op in ("conv", "max_pool", "avg_pool"):
        kernel = f"{layer.kernel}×{layer.kernel_width}" if layer.kernel_width else f"{layer.kernel}"
        words += [f"k{kernel}", f"s{layer.stride}"]
    words.append(f"{layer.in_channels}>{layer.out_channels}" + (f"/{layer.groups}" if layer.groups > 1 else ""))
    words.append(f"@{layer.in_size}" + (f"×{layer.in_width}" if layer.in_width else ""))
    return " ".join([*words, layer.function] if layer.function else words)


class MeasuredBlock(BaseModel):
    """One row of the table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: as `kernels` writes them
    kernels: str
    #: milliseconds: mean, and standard deviation of one measurement
    mean: NotNegative
    std: NotNegative
    #: how many measurements
    count: Annotated[int, Field(gt=0)]


class LookupParameters(BaseModel):
    """The table of a `LookupPredictor`, as stored in its file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["lookup"] = "lookup"
    #: which blocks were measured, in words
    covers: str
    #: half of a 90 % interval in standard deviations
    interval_width: NotNegative
    blocks: tuple[MeasuredBlock, ...]

    @model_validator(mode="after")
    def _consistent(self) -> LookupParameters:
        if not self.blocks:
            raise ValueError("the table has no blocks")
        name, count = Counter(block.kernels for block in self.blocks).most_common(1)[0]
        if count > 1:
            raise ValueError(f"{name!r} is in the table twice")
        return self


class LookupPredictor(AdditivePredictor):
    """latency = sum of the measured times of the blocks; what was not measured is refused, never guessed.

    A table says nothing of how the errors of blocks go together. The standard deviation of a sum is at most the sum of
    the standard deviations, reached when all errors rise and fall together; that bound is what is predicted.
    """

    kind = "lookup"

    def __init__(self, parameters: LookupParameters):
        self.parameters = parameters
        self.calibration = Calibration.normal(parameters.interval_width)
        self.covers = parameters.covers
        self._measured = {block.kernels: (block.mean, block.std) for block in parameters.blocks}

    @classmethod
    def read(cls, path: Path) -> Self:
        return cls(read_model(LookupParameters, path))

    def write(self, path: Path) -> None:
        write_whole(path, (self.parameters.model_dump_json(indent=1) + "\n").encode())

    def predict(self, space: SearchSpace, codes: npt.NDArray[np.integer]) -> tuple[Array, Array]:
        """Return mean and standard deviation, float[n] each, of the networks of a space.

        Raises:
            NasError: a block of one of these networks was not measured; others of the space need not have been.
        """
        mean, std = np.round(_table(self, space).sum(codes), DECIMALS).T
        unknown = np.flatnonzero(np.isnan(mean))
        if len(unknown):
            # To name the block: one of the first such network is not in the table.
            ids = space.vocabulary.ids(codes[unknown[:1]])[0]
            self.predict_blocks(space.vocabulary.blocks[i] for i in ids if i != ABSENT)
        return mean, std

    def predict_spec(self, spec: NetworkSpec) -> tuple[float, float]:
        """Raises NasError: a block of the network was not measured."""
        return self.predict_blocks(spec.blocks)

    def predict_blocks(self, blocks: Iterable[Block]) -> tuple[float, float]:
        """Return mean and standard deviation of the sum over some blocks.

        Raises:
            NasError: one of them was not measured.
        """
        mean, std = np.sum([self._required(block) for block in blocks], axis=0)
        return round(float(mean), DECIMALS), round(float(std), DECIMALS)

    def block_ms(self, block: Block) -> float:
        """Raises NasError: the block was not measured."""
        return self._required(block)[0]

    def bounds(self, space: SearchSpace) -> tuple[float, float]:
        """Return the smallest and largest mean latency of the networks whose blocks were all measured.

        Raises:
            NasError: there is no such network.
        """
        blocks = space.vocabulary.blocks
        means = np.array([[self._measured.get(kernels(block), (np.nan, np.nan))[0]] for block in blocks])
        # A block that was not measured puts its networks beyond every bound.
        low, _ = space.bounds(BlockTable(space.vocabulary, np.nan_to_num(means, nan=np.inf)))
        _, high = space.bounds(BlockTable(space.vocabulary, np.nan_to_num(means, nan=-np.inf)))
        if np.isinf(low[0]):
            self.predict_blocks(blocks)
        return round(float(low[0]), DECIMALS), round(float(high[0]), DECIMALS)

    def table(self, space: SearchSpace) -> BlockTable:
        """Return mean and standard deviation of every block of a space, NaN where not measured, ready to be summed."""
        rows = [self._measured.get(kernels(block), (np.nan, np.nan)) for block in space.vocabulary.blocks]
        return BlockTable(space.vocabulary, np.array(rows))

    def _required(self, block: Block) -> tuple[float, float]:
        try:
            return self._measured[kernels(block)]
        except KeyError:
            raise NasError(
                f"the block {block.describe()} on {block.shape[0]} was not measured on this target, and a look-up "
                f"table does not guess; it holds {len(self._measured)} blocks: {self.covers}"
            ) from None


@lru_cache(maxsize=32)
def _table(predictor: LookupPredictor, space: SearchSpace) -> BlockTable:
    return predictor.table(space)
