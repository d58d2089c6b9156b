"""Published networks of cells against the counts that others print, and against their torch modules."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import nas
from nas.errors import NasError
from nas.space import NetworkSpec
from nas.space.catalogue import published_counts
from nas.space.cell import Cell
from nas.space.cell_network import CellNetwork
from nas.space.nasnet_network import NasNetwork
from search_spaces.published.cells import NETWORKS, PUBLISHED_TOP1


def test_integers_of_other_implementations() -> None:
    rows = {row.network: row for row in published_counts() if row.network in NETWORKS and row.integer}
    assert set(rows) >= {
        "darts_v2",
        "darts_v2_imagenet",
        "p_darts",
        "nasnet_a_mobile",
        "nasnet_a_large",
        "pnasnet5_large",
    }
    assert all(row.agree for row in rows.values())


def test_every_published_network_says_where_it_comes_from() -> None:
    assert all(spec.name == name and spec.source for name, spec in NETWORKS.items())
    assert set(PUBLISHED_TOP1) <= set(NETWORKS)


@pytest.mark.parametrize(
    "name",
    ["darts_v2", "amoebanet_a_darts", "pc_darts_imagenet", "nasnet_a_mobile", "nasnet_a_6_768", "pnasnet5_mobile",
     "pnasnet5_large", "amoebanet_b_mobile", "amoebanet_c_6_228", "amoebanet_d_6_208", "snas_aggressive", "enas"],
)  # fmt: skip
def test_the_module_has_the_counted_parameters_and_gives_logits(name: str) -> None:
    spec = NETWORKS[name]
    with torch.device("meta"):
        network = spec.build().eval()
        logits = network(torch.empty(1, spec.in_channels, spec.resolution, spec.resolution))
    assert logits.shape == (1, spec.num_classes)
    assert sum(parameter.numel() for parameter in network.parameters()) == spec.cost()["params"]


#: `fixed_arc` of scripts/cifar10_micro_final.sh in melodyguan/enas: state and operation, two edges a node
ENAS_NORMAL = "0 2 0 0 0 4 0 1 0 4 1 1 1 0 0 1 0 2 1 1"
ENAS_REDUCTION = "1 0 1 0 0 3 0 2 1 1 3 1 1 0 0 4 0 3 1 1"
ENAS_OPERATIONS = ("sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3", "skip_connect")


def enas_cell(arc: str) -> Cell:
    numbers = [int(number) for number in arc.split()]
    edges = [(ENAS_OPERATIONS[op], state) for state, op in zip(numbers[::2], numbers[1::2], strict=True)]
    return Cell.of_pairs(edges, sorted(set(range(7)) - {state for _, state in edges}))


def test_enas_is_the_cell_of_the_authors_script() -> None:
    spec = NETWORKS["enas"]
    assert isinstance(spec, CellNetwork)
    assert (spec.normal, spec.reduction) == (enas_cell(ENAS_NORMAL), enas_cell(ENAS_REDUCTION))


def test_the_network_of_enas_is_ours_of_17_cells_with_one_more_convolution_each() -> None:
    """3,894,372 parameters has the network of the authors' code, whose classifier has no bias."""
    spec = NETWORKS["enas"]
    assert isinstance(spec, CellNetwork)
    ours = CellNetwork(normal=spec.normal, reduction=spec.reduction, channels=36, cells=17)
    second = sum(place.channels**2 + 2 * place.channels for place in ours.places)
    assert ours.cost()["params"] + second - ours.num_classes == 3_894_372


#: of model_specs.py in tensorflow/tpu (models/official/amoeba_net): operations and states of the edges, two a node, and
#: which states do not leave the cell; its state 0 is the last cell and 1 the one before
AMOEBANETS = {
    "amoebanet_c_mobile": (
        ("avg_pool_3x3 separable_3x3_2 none separable_3x3_2 avg_pool_3x3 separable_3x3_2 none separable_3x3_2 "
         "avg_pool_3x3 separable_3x3_2", (0, 0, 0, 0, 2, 1, 0, 1, 3, 0), (1, 0, 0, 1, 0, 0, 0)),
        ("max_pool_3x3 max_pool_3x3 separable_7x7_2 separable_3x3_2 separable_7x7_2 max_pool_3x3 separable_5x5_2 "
         "separable_5x5_2 max_pool_3x3 separable_3x3_2", (0, 0, 2, 0, 0, 1, 4, 4, 1, 1), (0, 1, 0, 0, 0, 0, 0)),
    ),
    "amoebanet_d_6_208": (
        ("1x1 max_pool_3x3 none 1x7_7x1 1x1 1x7_7x1 max_pool_3x3 none avg_pool_3x3 1x1",
         (1, 1, 1, 0, 0, 0, 2, 2, 1, 5), (0, 1, 1, 0, 0, 1, 0)),
        ("max_pool_2x2 max_pool_3x3 none 3x3 1x7_7x1 max_pool_3x3 none max_pool_2x2 avg_pool_3x3 1x1",
         (0, 0, 2, 1, 2, 2, 3, 1, 2, 3), (1, 1, 1, 1, 0, 0, 0)),
    ),
}  # fmt: skip
TPU_OPERATIONS = {
    "none": "skip_connect", "1x1": "conv_1x1", "3x3": "bottleneck_3x3", "1x7_7x1": "bottleneck_7x1_1x7",
    "separable_3x3_2": "sep_conv_3x3", "separable_5x5_2": "sep_conv_5x5", "separable_7x7_2": "sep_conv_7x7",
}  # fmt: skip


def amoebanet_cell(operations: str, states: tuple[int, ...], used: tuple[int, ...]) -> Cell:
    ours = [1, 0, *range(2, 7)]
    names = [TPU_OPERATIONS.get(operation, operation) for operation in operations.split()]
    edges = [(name, ours[state]) for name, state in zip(names, states, strict=True)]
    return Cell.of_pairs(edges, sorted(ours[state] for state in range(7) if not used[state]))


@pytest.mark.parametrize("name", AMOEBANETS)
def test_amoebanets_are_the_cells_of_the_authors_code(name: str) -> None:
    spec = NETWORKS[name]
    assert isinstance(spec, NasNetwork)
    normal, reduction = (amoebanet_cell(*cell) for cell in AMOEBANETS[name])
    assert (spec.normal, spec.reduction) == (normal, reduction)


@pytest.mark.parametrize(
    ("space", "name"),
    [("nasnet", "enas"), ("darts", "snas_mild"), ("darts", "snas_moderate"), ("darts", "snas_aggressive")],
)
def test_cells_are_points_of_their_space(space: str, name: str) -> None:
    code = nas.space(space).encode(NETWORKS[name])
    assert nas.space(space).spec(code) == NETWORKS[name]


@pytest.mark.parametrize("name", ["nasnet_a_mobile", "amoebanet_a_mobile", "pnasnet5_mobile"])
def test_a_scaled_network_is_of_the_same_kind(name: str) -> None:
    spec: NetworkSpec = NETWORKS[name]
    assert spec.scale() == spec
    assert spec.scale(width=2.0).cost()["params"] > 3 * spec.cost()["params"] / 1.5
    assert spec.scale(depth=2.0).cost()["params"] > 1.5 * spec.cost()["params"]
    assert spec.scale(resolution=448).cost()["macs"] > 3.5 * spec.cost()["macs"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cells": 0}, "cells is 0, must be a whole number of at least 1"),
        ({"filters": 2}, "filters is 2"),
        ({"stem": "imagenett"}, "did you mean 'imagenet'"),
        ({"resolution": 2}, "the unpadded 3×3 stem needs at least 3"),
        ({"resolution": 5}, "strides over a 1×1 feature map"),
    ],
)
def test_impossible_networks_are_refused(options: dict[str, Any], message: str) -> None:
    cells = NETWORKS["nasnet_a_mobile"]
    assert isinstance(cells, NasNetwork)
    given: dict[str, Any] = {"filters": 44, "cells": 12, "stem_filters": 32} | options
    with pytest.raises(NasError, match=message):
        NasNetwork(normal=cells.normal, reduction=cells.reduction, **given).nodes  # noqa: B018
    with pytest.raises(NasError, match="multipliers must be positive"):
        cells.scale(width=0)
