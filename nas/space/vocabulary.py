"""The blocks that can occur in a space, and how a set of codes selects them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nas.space.block import Block

#: absent block: the layer does not exist in this network
ABSENT = -1

#: codes int[n, D] -> int[n, E], further columns that follow from the decisions, such as how many inputs a cell joins
Derive = Callable[[npt.NDArray[np.integer]], npt.NDArray[np.integer]]


@dataclass(frozen=True)
class Group:
    """A run of blocks settled by a few decisions alone, e.g. one stage.

    Args:
        columns: positions in the code of the decisions that settle it; from the number of decisions on, derived ones.
        choices: number of choices of each of them.
        table: int[K, L], block ids (ABSENT where there is none) for each of the K = prod(choices) settings, counted
            with the last column fastest. It must not depend on a decision that does not matter in a network.
    """

    columns: tuple[int, ...]
    choices: tuple[int, ...]
    table: npt.NDArray[np.int32]

    def keys(self, codes: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
        """Return int[n], the row of `table` for each code."""
        return _keys(self.columns, self.choices, codes)


@dataclass(frozen=True)
class BlockVocabulary:
    """All blocks of a space, each once, and the groups that map codes to them.

    Args:
        derive: makes the derived columns, where there are any.
        independent: whether every combination of choices in the columns that the groups name is some network's; with
            derived columns that need not be so.
    """

    blocks: tuple[Block, ...]
    groups: tuple[Group, ...]
    derive: Derive | None = None
    independent: bool = True

    def ids(self, codes: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
        """Return int[n, P], the block ids of each network in order, ABSENT where a layer does not exist."""
        columns = self.columns(codes)
        return np.concatenate([group.table[group.keys(columns)] for group in self.groups], axis=1)

    def columns(self, codes: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
        """Return the codes with the derived columns behind them."""
        return codes if self.derive is None else np.concatenate([codes, self.derive(codes)], axis=1)

    def __len__(self) -> int:
        return len(self.blocks)

    @cached_property
    def index(self) -> dict[Block, int]:
        return {block: i for i, block in enumerate(self.blocks)}


class VocabularyBuilder:
    """Collects the groups of a space; a block that occurs twice is kept once."""

    def __init__(self) -> None:
        self._blocks: dict[Block, int] = {}
        self._groups: list[Group] = []

    def add(
        self,
        columns: Sequence[int],
        choices: Sequence[int],
        blocks_of: Callable[..., Sequence[Block]],
    ) -> None:
        """Add the group that decisions `columns` settle; `blocks_of(*indices)` gives the blocks of one setting."""
        rows = [
            [self._blocks.setdefault(block, len(self._blocks)) for block in blocks_of(*setting)]
            for setting in itertools.product(*map(range, choices))
        ]
        table = np.full((len(rows), max(map(len, rows))), ABSENT, dtype=np.int32)
        for i, row in enumerate(rows):
            table[i, : len(row)] = row
        self._groups.append(Group(tuple(columns), tuple(choices), table))

    def build(self, derive: Derive | None = None, independent: bool = True) -> BlockVocabulary:
        return BlockVocabulary(tuple(self._blocks), tuple(self._groups), derive, independent)


@dataclass(frozen=True)
class _Factor:
    """Quantities that a few decisions settle: `values` is float[*choices, F]."""

    columns: tuple[int, ...]
    values: npt.NDArray[np.float64]

    @property
    def choices(self) -> tuple[int, ...]:
        return self.values.shape[:-1]

    def over(self, columns: Sequence[int]) -> npt.NDArray[np.float64]:
        """Return the values with one axis for each of `columns`, of length 1 where they do not depend on it."""
        held = [column for column in columns if column in self.columns]
        order = [self.columns.index(column) for column in held]
        moved = self.values.transpose([*order, self.values.ndim - 1])
        lengths = dict(zip(held, moved.shape, strict=False))
        return moved.reshape([lengths.get(column, 1) for column in columns] + [moved.shape[-1]])


def _sum(factors: Sequence[_Factor]) -> _Factor:
    columns = tuple(dict.fromkeys(column for factor in factors for column in factor.columns))
    total = factors[0].over(columns)
    for factor in factors[1:]:
        total = total + factor.over(columns)
    return _Factor(columns, total)


def _joint_rows(a: _Factor, b: _Factor) -> int:
    lengths = dict(zip(a.columns + b.columns, a.choices + b.choices, strict=True))
    return int(np.prod(list(lengths.values()), dtype=object))


class BlockTable:
    """Per-block quantities, summed over whole networks without touching a block twice.

    Blocks that one group of decisions settles are added up once for every setting of the group, so a network costs
    one gather a group. Neighbouring small groups are merged while their joint table still fits the cache.
    """

    #: rows of a merged table; 4,096 rows of a few columns stay in the second-level cache
    MAX_ROWS = 4096

    def __init__(self, vocabulary: BlockVocabulary, values: npt.NDArray[np.float64]):
        """`values` is float[V, F]: F quantities for each of the V blocks of the vocabulary."""
        self._vocabulary = vocabulary
        padded = np.vstack([values, np.zeros((1, values.shape[1]))])
        self._factors: list[_Factor] = []
        for group in vocabulary.groups:
            # Layer by layer: all at once would take as many copies of the table as a stage has layers.
            sums = np.zeros((len(group.table), values.shape[1]))
            for ids in group.table.T:
                sums += padded[ids]
            sums = sums.reshape(*group.choices, values.shape[1])
            factor = _Factor(group.columns, sums)
            if self._factors and _joint_rows(self._factors[-1], factor) <= self.MAX_ROWS:
                factor = _sum([self._factors.pop(), factor])
            self._factors.append(factor)

    def sum(self, codes: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """Return float[n, F], the sums over the blocks of each network; exact for integers below 2^53."""
        columns = self._vocabulary.columns(codes)
        total: npt.NDArray[np.float64] | None = None
        for factor in self._factors:
            table = factor.values.reshape(-1, factor.values.shape[-1])
            gathered = table[_keys(factor.columns, factor.choices, columns)]
            total = gathered if total is None else np.add(total, gathered, out=total)
        assert total is not None
        return total

    def bounds(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return float[F], the smallest and the largest sums over all networks, by eliminating decision by decision.

        Where the columns of the vocabulary are not independent the bounds hold, but need not be attained.
        """
        return self._extreme(np.min), self._extreme(np.max)

    def _extreme(self, reduce: Callable[..., npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
        factors = list(self._factors)
        while open_columns := {column for factor in factors for column in factor.columns}:

            def cost(column: int) -> tuple[int, int]:
                touched = [factor for factor in factors if column in factor.columns]  # noqa: B023
                lengths = {c: n for factor in touched for c, n in zip(factor.columns, factor.choices, strict=True)}
                return int(np.prod(list(lengths.values()), dtype=object)), column

            column = min(open_columns, key=cost)
            joint = _sum([factor for factor in factors if column in factor.columns])
            axis = joint.columns.index(column)
            rest = tuple(c for c in joint.columns if c != column)
            factors = [factor for factor in factors if column not in factor.columns]
            factors.append(_Factor(rest, reduce(joint.values, axis=axis)))
        total: npt.NDArray[np.float64] = np.sum([factor.values for factor in factors], axis=0)
        return total


class BlockMaximum:
    """A per-block quantity maximised over whole networks."""

    def __init__(self, vocabulary: BlockVocabulary, values: npt.NDArray[np.float64]):
        """`values` is float[V], one quantity for each block, not negative."""
        padded = np.append(values, 0.0)
        self._vocabulary = vocabulary
        self._groups = [(group, self._maxima(group, padded)) for group in vocabulary.groups]

    @staticmethod
    def _maxima(group: Group, padded: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        maxima = np.zeros(len(group.table))
        for ids in group.table.T:
            np.maximum(maxima, padded[ids], out=maxima)
        return maxima

    def __call__(self, codes: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """Return float[n], the maximum over the blocks of each network."""
        columns = self._vocabulary.columns(codes)
        result = np.zeros(len(codes))
        for group, maxima in self._groups:
            np.maximum(result, maxima[group.keys(columns)], out=result)
        return result


def _keys(
    columns: Sequence[int], choices: Sequence[int], codes: npt.NDArray[np.integer]
) -> npt.NDArray[np.int32]:  # fmt: skip
    keys = np.zeros(len(codes), dtype=np.int32)
    for column, count in zip(columns, choices, strict=True):
        keys *= count
        keys += codes[:, column]
    return keys
