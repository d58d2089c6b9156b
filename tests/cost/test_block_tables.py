"""Sums and their bounds where several groups of blocks hang on the same decisions, against plain enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest

from nas.space import ABSENT, BlockMaximum, BlockTable, BlockVocabulary
from nas.space.block import PoolBlock
from nas.space.vocabulary import Group

CHOICES = (2, 3, 2, 4)
#: columns of each group: a chain, a decision that all share, one group settled by nothing
SHARED = [(0,), (0, 1), (1, 2), (2, 3), (3, 0), (), (2, 1, 3)]
ALL_CODES = np.array(list(itertools.product(*map(range, CHOICES))), dtype=np.int8)


def vocabulary(columns: list[tuple[int, ...]], rng: np.random.Generator, derived: bool = False) -> BlockVocabulary:
    blocks = tuple(PoolBlock(channels, channels, 4) for channels in range(1, 31))
    choices = (*CHOICES, 3)
    groups = []
    for group in columns:
        counts = tuple(choices[column] for column in group)
        table = rng.integers(ABSENT, len(blocks), (int(np.prod(counts)), 3)).astype(np.int32)
        groups.append(Group(group, counts, table))
    return BlockVocabulary(
        blocks, tuple(groups), (lambda codes: codes.sum(axis=1, keepdims=True) % 3) if derived else None
    )


def by_hand(vocabulary: BlockVocabulary, values: npt.NDArray[np.float64]) -> list[npt.NDArray[np.float64]]:
    """The values of all blocks of every code, looked up one by one."""
    found = []
    for code in ALL_CODES:
        columns = [*code, int(code.sum()) % 3]
        rows = []
        for group in vocabulary.groups:
            key = 0
            for column, count in zip(group.columns, group.choices, strict=True):
                key = key * count + int(columns[column])
            rows += [values[block] for block in group.table[key] if block != ABSENT]
        found.append(np.array(rows).reshape(-1, values.shape[1]))
    return found


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


@pytest.mark.parametrize("largest", [1, 8, 4096])
@pytest.mark.parametrize("derived", [False, True])
def test_sums(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, largest: int, derived: bool) -> None:
    monkeypatch.setattr(BlockTable, "MAX_ROWS", largest)
    words = vocabulary([*SHARED, (4, 1), (4,)] if derived else SHARED, rng, derived)
    values = rng.integers(0, 1000, (len(words), 2)).astype(np.float64)
    expected = np.array([rows.sum(axis=0) for rows in by_hand(words, values)])
    assert (BlockTable(words, values).sum(ALL_CODES) == expected).all()


@pytest.mark.parametrize("seed", range(8))
def test_bounds_are_attained(seed: int) -> None:
    rng = np.random.default_rng(seed)
    words = vocabulary(SHARED, rng)
    values = rng.integers(-1000, 1000, (len(words), 2)).astype(np.float64)
    sums = np.array([rows.sum(axis=0) for rows in by_hand(words, values)])
    low, high = BlockTable(words, values).bounds()
    assert (low == sums.min(axis=0)).all()
    assert (high == sums.max(axis=0)).all()


def test_bounds_hold_with_derived_columns(rng: np.random.Generator) -> None:
    words = vocabulary([*SHARED, (4, 1)], rng, derived=True)
    values = rng.integers(-1000, 1000, (len(words), 1)).astype(np.float64)
    sums = BlockTable(words, values).sum(ALL_CODES)
    low, high = BlockTable(words, values).bounds()
    assert low <= sums.min() <= sums.max() <= high


def test_maxima(rng: np.random.Generator) -> None:
    words = vocabulary(SHARED, rng)
    values = rng.integers(0, 1000, len(words)).astype(np.float64)
    expected = [rows.max(initial=0.0) for rows in by_hand(words, values[:, None])]
    assert (BlockMaximum(words, values)(ALL_CODES) == expected).all()
