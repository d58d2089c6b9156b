"""The `darts` space: its size, its published points, the vectorised memory, and what it refuses."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from nas.cost import cost_model
from nas.errors import NasError
from nas.space.cell import Cell
from nas.space.cell_blocks import OPERATIONS
from nas.space.cell_network import CellNetwork
from nas.space.cell_space import CellSpace
from search_spaces.cells.darts import OPERATIONS as SHORT
from search_spaces.cells.darts import SPACE, inputs
from search_spaces.published.cells import NETWORKS

PUBLISHED = ["darts_v1", "darts_v2", "pc_darts_cifar", "p_darts", "gdas", "snas_moderate"]
SKELETON = CellNetwork(normal=Cell(((),), (2,)), reduction=Cell(((),), (2,)))
IMAGENET: dict[str, Any] = {
    "stem": "imagenet", "channels": 48, "cells": 14, "resolution": 224, "num_classes": 1000
}  # fmt: skip


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def node_settings(state: int) -> set[frozenset[tuple[str, int]]]:
    """What a node can be: two edges from different states, of seven operations or "none", which is no edge."""
    operations = [*SHORT, "none"]
    return {
        frozenset((operation, source) for operation, source in ((a, i), (b, j)) if operation != "none")
        for i, j in itertools.combinations(range(state), 2)
        for a, b in itertools.product(operations, repeat=2)
    }


def test_the_size_is_the_number_of_distinct_cells() -> None:
    counts = [len(node_settings(state)) for state in range(2, 6)]
    assert counts == [64, 169, 323, 526]
    assert SPACE.size == (64 * 169 * 323 * 526) ** 2


def test_without_none_the_space_has_the_size_of_the_literature() -> None:
    """DARTS (appendix): prod_k (k + 1) k / 2 * 7^2, about 10^9 for one cell."""
    pairs = CellSpace("pairs", SKELETON, 4, lambda i: list(itertools.combinations(range(i), 2)), SHORT)
    assert pairs.size == 1_037_664_180**2


def test_sampling_is_uniform_over_distinct_networks(rng: np.random.Generator) -> None:
    codes = SPACE.sample(64_000, rng)
    nodes = [spec_node for code in codes[:6400] for spec_node in [frozenset(SPACE.spec(code).normal.nodes[0])]]
    counts = np.array([nodes.count(setting) for setting in node_settings(2)])
    assert len(counts) == 64
    # Expected 100 each with a standard deviation of 10.
    assert counts.min() > 60
    assert counts.max() < 140


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_cells_are_points_of_the_space(name: str) -> None:
    spec = NETWORKS[name]
    code = SPACE.encode(spec)
    assert SPACE.spec(code) == spec
    assert SPACE.spec(SPACE.format(code[None])[0]) == spec
    costs = cost_model(SPACE)(code[None]).iloc[0].to_dict()
    assert costs == {key: spec.cost()[key] for key in costs}


def test_the_imagenet_network_of_a_code() -> None:
    assert SPACE.spec(SPACE.encode(NETWORKS["darts_v2"]), **IMAGENET) == NETWORKS["darts_v2_imagenet"]


def test_code_strings_name_state_and_operation() -> None:
    text = SPACE.format(SPACE.encode(NETWORKS["darts_v2"])[None])[0]
    assert text.split("-")[0] == "0sep3+1sep3_0sep3+1sep3_0skip+1sep3_0skip+2dil3"
    spec = SPACE.spec("none_1skip_0sep3+2max3_none-0avg3_none_none_4dil5")
    assert spec.normal.nodes == ((), (("skip_connect", 1),), (("sep_conv_3x3", 0), ("max_pool_3x3", 2)), ())


@pytest.mark.parametrize("text", ["", "0sep3", "0sep3+1sep3_none_none_none-none_none_none_5skip", "9skip" * 8])
def test_malformed_code_strings_are_refused(text: str) -> None:
    with pytest.raises(NasError, match="is not a code of darts; one looks like '0"):
        SPACE.encode(text)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": 16}, "channels is 16, the space has 36"),
        ({"normal": Cell.of_pairs([("sep_conv_3x3", 0)] * 8, range(2, 6))}, "normal.node2 is sep_conv_3x3 of 0 \\+"),
        ({"normal": replace(NETWORKS["darts_v2"].normal, concat=(4, 5))}, "gives out the states \\[4, 5\\]"),  # type: ignore[attr-defined]
        ({"reduction": Cell(((("skip_connect", 0),),), (2,))}, "reduction cell has 1 nodes, the space 4"),
    ],
)
def test_networks_outside_the_space_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(NasError, match=message):
        SPACE.encode(replace(NETWORKS["darts_v2"], **changes))
    with pytest.raises(NasError, match="no network of cells"):
        SPACE.encode(NETWORKS["nasnet_a_6_768"])


@pytest.mark.parametrize(
    ("options", "nodes"),
    # The last two are networks where it is not the first cells alone that count.
    [({}, 4), (IMAGENET, 4), ({"cells": 1, "resolution": 9}, 4), ({"cells": 2}, 1)],
    ids=str,
)
def test_peak_memory_of_many_codes_is_that_of_each_network(
    options: dict[str, Any], nodes: int, rng: np.random.Generator
) -> None:
    space = CellSpace("any", replace(SKELETON, **options), nodes, inputs, SHORT)
    codes = space.sample(120, rng)
    peaks = space.peak_activation_bytes(codes)
    assert peaks.tolist() == [space.spec(code).peak_activation_bytes() for code in codes]
    if "cells" in options and options["cells"] < 3:
        assert len(np.unique(peaks)) > 1


def test_memory_follows_tensors_through_identities(rng: np.random.Generator) -> None:
    """Cells that are mostly identities: nodes are other names of the states they pass on."""
    space = CellSpace("skips", SKELETON, 4, inputs, {"skip_connect": "skip", "sep_conv_3x3": "sep3"})
    codes = space.sample(300, rng)
    assert space.peak_activation_bytes(codes).tolist() == [space.spec(c).peak_activation_bytes() for c in codes]


def test_every_operation_runs_at_both_strides_and_odd_sizes() -> None:
    # A pool over an even window can only stride.
    edges = [(operation, 0) for operation in OPERATIONS if operation != "max_pool_2x2"] + [("none", 0)]
    cell = Cell.of_pairs(edges[: len(edges) // 2 * 2], range(2, 2 + len(edges) // 2))
    spec = CellNetwork(normal=cell, reduction=cell, channels=8, cells=4, resolution=13)
    network = spec.build().eval()
    with torch.no_grad():
        assert network(torch.randn(2, 3, 13, 13)).shape == (2, 10)
    assert sum(p.numel() for p in network.parameters()) == spec.cost()["params"]


def test_edges_without_effect_do_not_tell_cells_apart() -> None:
    a = Cell(((("sep_conv_3x3", 1), ("none", 0)), (("skip_connect", 2), ("max_pool_3x3", 0))), (2, 3))
    b = Cell(((("sep_conv_3x3", 1),), (("max_pool_3x3", 0), ("skip_connect", 2))), (2, 3))
    assert a == b


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ((((("sep_conv_3x4", 0),),), (2,)), "unknown operation 'sep_conv_3x4'.*did you mean"),
        ((((("sep_conv_3x3", 2),),), (2,)), "node 2 of a cell reads state 2, must be 0 to 1"),
        ((((("sep_conv_3x3", 0),),), (3,)), "cannot give out the states \\[3\\]"),
        ((((("sep_conv_3x3", 0),),), ()), "cannot give out"),
    ],
)
def test_impossible_cells_are_refused(cell: tuple[Any, Any], message: str) -> None:
    with pytest.raises(NasError, match=message):
        Cell(*cell)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cells": 0}, "cells is 0"),
        ({"channels": 1}, "channels is 1"),
        ({"stem": "cifar10"}, "unknown stem 'cifar10'; did you mean 'cifar'"),
        ({"resolution": 2}, "strides over a 1×1 feature map"),
        ({"normal": Cell(((("skip_connect", 0),),), (0, 2))}, "gives out state 0, which is an input"),
    ],
)
def test_impossible_networks_are_refused_when_declared(options: dict[str, Any], message: str) -> None:
    with pytest.raises(NasError, match=message):
        replace(SKELETON, **options).nodes  # noqa: B018
    if "normal" not in options:
        with pytest.raises(NasError, match=message):
            CellSpace("impossible", replace(SKELETON, **options), 4, inputs, SHORT)
