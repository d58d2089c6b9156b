"""The blocks that can occur in a space, and how a set of codes selects them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nas.space.block import Block

#: absent block: the layer does not exist in this network
ABSENT = -1


@dataclass(frozen=True)
class Group:
    """A run of blocks settled by a few decisions alone, e.g. one stage.

    Args:
        columns: positions in the code of the decisions that settle it.
        choices: number of choices of each of them.
        table: int[K, L], block ids (ABSENT where there is none) for each of the K = prod(choices) settings, counted
            with the last column fastest.
    """

    columns: tuple[int, ...]
    choices: tuple[int, ...]
    table: npt.NDArray[np.int32]

    def keys(self, codes: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
        """Return int[n], the row of `table` for each code."""
        keys = np.zeros(len(codes), dtype=np.int32)
        for column, count in zip(self.columns, self.choices, strict=True):
            keys *= count
            keys += codes[:, column]
        return keys


@dataclass(frozen=True)
class BlockVocabulary:
    """All blocks of a space, each once, and the groups that map codes to them."""

    blocks: tuple[Block, ...]
    groups: tuple[Group, ...]

    def ids(self, codes: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
        """Return int[n, P], the block ids of each network in order, ABSENT where a layer does not exist."""
        return np.concatenate([group.table[group.keys(codes)] for group in self.groups], axis=1)

    def __len__(self) -> int:
        return len(self.blocks)

    @cached_property
    def index(self) -> dict[Block, int]:
        return {block: i for i, block in enumerate(self.blocks)}


class BlockTable:
    """Per-block quantities, summed or maximised over whole networks without touching a block twice.

    Blocks that one group of decisions settles are added up once for every setting of the group, so a network costs
    one gather a group. Neighbouring small groups are merged while their joint table still fits the cache.
    """

    #: rows of a merged table; 4,096 rows of a few columns stay in the second-level cache
    MAX_ROWS = 4096

    def __init__(self, vocabulary: BlockVocabulary, values: npt.NDArray[np.float64]):
        """`values` is float[V, F]: F quantities for each of the V blocks of the vocabulary."""
        padded = np.vstack([values, np.zeros((1, values.shape[1]))])
        self._groups: list[tuple[Group, npt.NDArray[np.float64]]] = []
        for group in vocabulary.groups:
            sums = padded[group.table].sum(axis=1)
            if self._groups and len(self._groups[-1][1]) * len(sums) <= self.MAX_ROWS:
                self._groups.append(_merge(self._groups.pop(), (group, sums)))
            else:
                self._groups.append((group, sums))

    def sum(self, codes: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """Return float[n, F], the sums over the blocks of each network; exact for integers below 2^53."""
        first, *rest = self._groups
        total = first[1][first[0].keys(codes)]
        for group, sums in rest:
            total += sums[group.keys(codes)]
        return total

    def bounds(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return float[F] lower and upper bounds of the sums over all networks.

        They are attained where no decision belongs to two groups.
        """
        tables = [sums for _, sums in self._groups]
        low = np.sum([table.min(axis=0) for table in tables], axis=0)
        high = np.sum([table.max(axis=0) for table in tables], axis=0)
        return low, high


class BlockMaximum:
    """A per-block quantity maximised over whole networks."""

    def __init__(self, vocabulary: BlockVocabulary, values: npt.NDArray[np.float64]):
        """`values` is float[V], one quantity for each block, not negative."""
        padded = np.append(values, 0.0)
        self._groups = [(group, padded[group.table].max(axis=1)) for group in vocabulary.groups]

    def __call__(self, codes: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """Return float[n], the maximum over the blocks of each network."""
        result = np.zeros(len(codes))
        for group, maxima in self._groups:
            np.maximum(result, maxima[group.keys(codes)], out=result)
        return result


def _merge(
    a: tuple[Group, npt.NDArray[np.float64]], b: tuple[Group, npt.NDArray[np.float64]]
) -> tuple[Group, npt.NDArray[np.float64]]:
    group = Group(a[0].columns + b[0].columns, a[0].choices + b[0].choices, np.empty((0, 0), dtype=np.int32))
    sums = (a[1][:, None, :] + b[1][None, :, :]).reshape(-1, a[1].shape[1])
    return group, sums
