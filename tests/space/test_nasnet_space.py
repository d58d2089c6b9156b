"""The `nasnet` space: its size, NASNet-A as a point, loose ends, and the vectorised memory."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from nas.cost import cost_model
from nas.space import ABSENT
from nas.space.cell import Cell
from nas.space.cell_network import CellNetwork
from nas.space.cell_space import CellSpace
from search_spaces.cells.nasnet import OPERATIONS, SPACE, inputs
from search_spaces.published.cells import NETWORKS


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(4)


def nasnet_a() -> CellNetwork:
    """The cells as in the DARTS code, which gives out the loose ends."""
    normal = [
        ("sep_conv_5x5", 1), ("sep_conv_3x3", 0), ("sep_conv_5x5", 0), ("sep_conv_3x3", 0), ("avg_pool_3x3", 1),
        ("skip_connect", 0), ("avg_pool_3x3", 0), ("avg_pool_3x3", 0), ("sep_conv_3x3", 1), ("skip_connect", 1),
    ]  # fmt: skip
    reduction = [
        ("sep_conv_5x5", 1), ("sep_conv_7x7", 0), ("max_pool_3x3", 1), ("sep_conv_7x7", 0), ("avg_pool_3x3", 1),
        ("sep_conv_5x5", 0), ("skip_connect", 3), ("avg_pool_3x3", 2), ("sep_conv_3x3", 2), ("max_pool_3x3", 1),
    ]  # fmt: skip
    return CellNetwork(
        normal=Cell.of_pairs(normal, range(2, 7)), reduction=Cell.of_pairs(reduction, (4, 5, 6)), channels=36, cells=20
    )


def test_the_space_has_thirteen_operations_and_every_unordered_pair_of_edges() -> None:
    assert len(OPERATIONS) == 13
    counts = [
        len(set(itertools.combinations_with_replacement(itertools.product(range(state), OPERATIONS), 2)))
        for state in range(2, 7)
    ]
    assert SPACE.size == math.prod(counts) ** 2


def test_nasnet_a_is_a_point() -> None:
    code = SPACE.encode(nasnet_a())
    assert SPACE.spec(code) == nasnet_a()
    text = SPACE.format(code[None])[0]
    assert text.startswith("0sep3+1sep5_0sep3+0sep5_0skip+1avg3_0avg3+0avg3_1skip+1sep3-")
    assert (SPACE.encode(text) == code).all()


def test_nasnet_a_has_the_cells_of_the_tensorflow_network() -> None:
    published = NETWORKS["nasnet_a_mobile"]
    assert nasnet_a().normal.nodes == published.normal.nodes  # type: ignore[attr-defined]
    assert nasnet_a().reduction.nodes == published.reduction.nodes  # type: ignore[attr-defined]


def test_amoebanet_a_is_a_point() -> None:
    spec = NETWORKS["amoebanet_a_darts"]
    assert SPACE.spec(SPACE.encode(spec)) == spec


def test_what_no_block_reads_is_concatenated(rng: np.random.Generator) -> None:
    seen = set()
    for code in SPACE.sample(200, rng):
        spec = SPACE.spec(code)
        for cell in (spec.normal, spec.reduction):
            read = {state for edges in cell.nodes for _, state in edges}
            assert cell.concat == tuple(sorted(set(range(2, 7)) - read))
            seen.add(len(cell.concat))
    assert {1, 2, 3, 4} <= seen


def test_the_vocabulary_gives_the_blocks_in_order(rng: np.random.Generator) -> None:
    codes = SPACE.sample(20, rng)
    for code, ids in zip(codes, SPACE.vocabulary.ids(codes), strict=True):
        assert [SPACE.vocabulary.blocks[i] for i in ids if i != ABSENT] == list(SPACE.spec(code).blocks)


def test_costs_of_many_codes_are_those_of_each_network(rng: np.random.Generator) -> None:
    codes = np.concatenate([SPACE.sample(40, rng), SPACE.encode(nasnet_a())[None]])
    for code, row in zip(codes, cost_model(SPACE)(codes).to_dict("records"), strict=True):
        cost = SPACE.spec(code).cost()
        assert row == {name: cost[name] for name in row}


@pytest.mark.parametrize(("in_channels", "cells"), [(1, 5), (3, 2)])
def test_peak_memory_of_many_codes_is_that_of_each_network(
    in_channels: int, cells: int, rng: np.random.Generator
) -> None:
    skeleton = replace(nasnet_a(), cells=cells, channels=10, resolution=25, in_channels=in_channels)
    space = CellSpace("any", skeleton, 5, inputs, OPERATIONS, "loose ends")
    codes = space.sample(150, rng)
    peaks = space.peak_activation_bytes(codes)
    assert peaks.tolist() == [space.spec(code).peak_activation_bytes() for code in codes]
    assert len(np.unique(peaks)) > 5


def test_memory_where_one_state_is_added_to_itself(rng: np.random.Generator) -> None:
    space = CellSpace(
        "doubles", nasnet_a(), 5, lambda i: [(j, j) for j in range(i)], {"skip_connect": "skip"}, "loose ends"
    )
    codes = space.sample(100, rng)
    assert space.peak_activation_bytes(codes).tolist() == [space.spec(c).peak_activation_bytes() for c in codes]
