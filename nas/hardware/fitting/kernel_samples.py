"""Measured networks and blocks as sums over kernels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nas.errors import NasError
from nas.hardware.predictor import Array
from nas.hardware.predictors.fused_kernels import Kernel, fused_kernels
from nas.space.layer import Layer

#: Blocks faster than the median count less: for each of them this share of the median is noise.
_FLOOR = 0.1


@dataclass(frozen=True)
class Samples:
    """Measured sums of kernels: what each is made of, and what it took.

    Args:
        groups: the kernels of each of n networks or blocks.
        values: float[n], positive.
        is_block: bool[n], measured alone rather than in a network.
    """

    groups: Sequence[Sequence[Kernel]]
    values: Array
    is_block: npt.NDArray[np.bool_]

    def subset(self, rows: npt.NDArray[np.bool_]) -> Samples:
        """Return those of bool[n]."""
        groups = [group for group, kept in zip(self.groups, rows, strict=True) if kept]
        return Samples(groups, self.values[rows], self.is_block[rows])

    @cached_property
    def kernels(self) -> list[Kernel]:
        """The kernels that occur, each once."""
        return list(dict.fromkeys(kernel for group in self.groups for kernel in group))

    @cached_property
    def counts(self) -> Array:
        """float[n, U], how often each kernel occurs."""
        place = {kernel: i for i, kernel in enumerate(self.kernels)}
        counts = np.zeros((len(self.groups), len(place)))
        for row, group in enumerate(self.groups):
            for kernel, count in Counter(group).items():
                counts[row, place[kernel]] = count
        return counts

    @cached_property
    def floor(self) -> float:
        """What is added to the value of a block when its errors are seen relative to it."""
        return _FLOOR * float(np.median(self.values[self.is_block])) if self.is_block.any() else 0.0


def samples_of(
    networks: Sequence[Iterable[Layer]],
    network_values: npt.ArrayLike,
    blocks: Sequence[Iterable[Layer]] = (),
    block_values: npt.ArrayLike = (),
) -> Samples:
    """Return measured networks and blocks, each given by its layers, as samples: networks first.

    Raises:
        NasError: there are more or fewer values, or one is not positive and finite.
    """
    values = np.concatenate([np.asarray(network_values, float).ravel(), np.asarray(block_values, float).ravel()])
    groups = [fused_kernels(layers) for layers in (*networks, *blocks)]
    if len(values) != len(groups):
        raise NasError(f"{len(groups)} networks and blocks need as many values, not {len(values)}")
    if not (np.isfinite(values) & (values > 0)).all():
        raise NasError("a measured value is positive and finite")
    return Samples(groups, values, np.arange(len(groups)) >= len(networks))
