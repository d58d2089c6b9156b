"""Exact costs of whole sets of networks, by gathering from the block vocabulary."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from nas.errors import NasError
from nas.space import BlockTable, SearchSpace

#: cost metrics that every space has; counted, not estimated
COST_METRICS = ("params", "macs", "peak_activation_bytes")

#: whole numbers below are exact in float64
EXACT = 2**53


class CostModel:
    """Parameters, multiply-adds and peak activation memory of any number of networks of one space.

    Raises:
        NasError: networks may have so many that float64 does not add them exactly.
    """

    def __init__(self, space: SearchSpace):
        blocks = space.vocabulary.blocks
        additive = np.array([[block.params, block.macs] for block in blocks], dtype=np.float64)
        most = additive.max() * sum(group.table.shape[1] for group in space.vocabulary.groups)
        if most >= EXACT:
            raise NasError(f"{space.name}: its networks may have {most:.2g} multiply-adds, too many to count exactly")
        self._additive = BlockTable(space.vocabulary, additive)
        self._space = space

    def params_and_macs(self, codes: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
        """Return int[n, 2]: trainable parameters; multiply-adds of convolution and linear layers, one image."""
        return self._additive.sum(codes).astype(np.int64)

    def __call__(self, codes: npt.NDArray[np.integer]) -> pd.DataFrame:
        """Return one row a network with the columns of COST_METRICS (activations: float32, batch 1)."""
        return pd.DataFrame(self.columns(codes))

    def columns(self, codes: npt.NDArray[np.integer]) -> dict[str, npt.NDArray[np.int64]]:
        """Return the same as an array int[n] a metric."""
        counts = self.params_and_macs(codes)
        return {
            "params": counts[:, 0],
            "macs": counts[:, 1],
            "peak_activation_bytes": self._space.peak_activation_bytes(codes),
        }

    def bounds(self) -> dict[str, tuple[int, int]]:
        """Return the smallest and largest params and MACs of the space; see `SearchSpace.bounds_attained`."""
        low, high = self._space.bounds(self._additive)
        return {name: (int(low[i]), int(high[i])) for i, name in enumerate(("params", "macs"))}


@lru_cache(maxsize=16)
def cost_model(space: SearchSpace) -> CostModel:
    """Return the cost model of a space; its tables are built once."""
    return CostModel(space)
