"""Published networks of cells against the counts that others print, and against their torch modules."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nas.errors import NasError
from nas.space import NetworkSpec
from nas.space.catalogue import published_counts
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
     "pnasnet5_large", "amoebanet_b_mobile", "amoebanet_c_6_228"],
)  # fmt: skip
def test_the_module_has_the_counted_parameters_and_gives_logits(name: str) -> None:
    spec = NETWORKS[name]
    with torch.device("meta"):
        network = spec.build().eval()
        logits = network(torch.empty(1, spec.in_channels, spec.resolution, spec.resolution))
    assert logits.shape == (1, spec.num_classes)
    assert sum(parameter.numel() for parameter in network.parameters()) == spec.cost()["params"]


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
