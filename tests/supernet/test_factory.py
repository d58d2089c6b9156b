"""Which spaces have a supernet, how small it can be made, and that its networks are those of the space."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import nas
from nas.errors import NasError
from nas.space import ListedSpace, StagedNetwork, StagedSpace
from nas.space.residual_network import ResidualNetwork
from nas.space.residual_space import ResidualSpace
from nas.supernet.cell_edge import CandidateOptions
from nas.supernet.extremes import largest_code, smallest_code
from nas.supernet.factory import make_supernet
from nas.supernet.staged import ElasticSupernet

DIGITS: dict[str, Any] = {"num_classes": 10, "in_channels": 1, "resolution": 32}

#: space -> what makes its networks small
SMALL: dict[str, dict[str, Any]] = {
    "nasbench201": {"channels": 8, "cells": 1},
    "darts": {"channels": 4, "cells": 3},
    "mbconv": {"width": 0.125},
    "mbconv-fbnet": {"width": 0.25},
}

#: of every kind of block, with widths of which two round to the same at 0.2
RESIDUAL = ResidualSpace(
    "residual", ResidualNetwork((1, 1), resolution=32, num_classes=4), depths=((1, 2), (1,)),
    choices={
        "width": (40, 44, 96), "stem": ("resnet", "patchify"), "downsampling": ("block", "separate"),
        "norm": ("batch", "layer"), "activation": ("relu", "gelu"),
        "block": ("bottleneck", "dw_bottleneck", "inverted", "convnext"), "kernel": (3, 11), "expansion": (4, 2),
        "activations": (3, 1), "norms": (3, 1), "scaling": ("none", "grn"),
    },
)  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_networks_are_those_of_the_space_made_small(name: str) -> None:
    """Truth is the network that the space itself describes, other sizes and all, built alone."""
    space, network = nas.space(name), dict(SMALL[name])
    torch.manual_seed(0)
    supernet = make_supernet(space, **DIGITS, **network).eval()
    batch = torch.randn(2, 1, 32, 32)
    width = network.pop("width", None)
    for code in space.sample(4, np.random.default_rng(1)):
        spec = space.spec(code, **DIGITS, **network)
        spec = spec if width is None else spec.scale(width=width)
        alone = supernet.extract(code)
        shapes = {name: tensor.shape for name, tensor in alone.state_dict().items()}
        assert shapes == {name: tensor.shape for name, tensor in spec.build().state_dict().items()}
        assert sum(parameter.numel() for parameter in alone.parameters()) == spec.cost()["params"]
        with torch.no_grad():
            assert (supernet.forward_code(batch, code) - alone(batch)).abs().max() <= 1e-6
        # The code, and what it costs, are those of the space.
        macs = np.array([block.macs for block in space.vocabulary.blocks], dtype=np.float64)
        assert float(supernet.expected(macs, supernet.weights_of(code))) == space.spec(code).cost()["macs"]


@pytest.mark.parametrize("width", [0.2, 0.5])
def test_scaled_vocabulary_is_that_of_scaled_networks(width: float) -> None:
    spaces = [nas.space(name) for name in ("mbconv", "mbconv-fbnet", "mbconv-v2", "mbconv-ofa")]
    for space in [*spaces, RESIDUAL]:
        scaled = space.scaled_vocabulary(width)
        codes = space.sample(20, np.random.default_rng(0))
        for code, ids in zip(codes, scaled.ids(codes), strict=True):
            blocks = [scaled.blocks[i] for i in ids if i >= 0]
            assert blocks == list(space.spec(code).scale(width=width).blocks)


def test_every_kind_of_residual_block_can_be_narrow() -> None:
    torch.manual_seed(0)
    supernet = make_supernet(RESIDUAL, width=0.2).eval()
    batch = torch.randn(2, 3, 32, 32)
    codes = RESIDUAL.sample(40, np.random.default_rng(0))
    columns = {decision.name: i for i, decision in enumerate(RESIDUAL.decisions)}
    # Bottlenecks have few designs, so uniform draws rarely are any.
    codes[::4, columns["block.block"]] = 0
    codes = RESIDUAL.canonical(codes)
    assert len({RESIDUAL.decode(code).decisions["block.block"] for code in codes}) == 4
    for code in codes:
        with torch.no_grad():
            assert (supernet.forward_code(batch, code) - supernet.extract(code)(batch)).abs().max() <= 1e-6
    # 40 × 0.2 and 44 × 0.2 both round to 8, so these networks are one; 96 × 0.2 does not.
    twins = np.repeat(codes[:1], 3, axis=0)
    twins[:, columns["network.width"]] = range(3)
    with torch.no_grad():
        first, second, third = (supernet.forward_code(batch, code) for code in twins)
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_a_space_too_heavy_for_a_supernet_has_a_narrow_one() -> None:
    stages = ("er_r{1-16}_k{3,7}_s2_e6_c1024", "er_r{1-16}_k{3,7}_s2_e6_c1024")
    skeleton = StagedNetwork.from_strings(stem="cn_k3_s2_c8", stages=(), head=("pool", "fc"), resolution=32)
    space = StagedSpace("heavy", skeleton, stages)
    with pytest.raises(NasError, match=r"narrower networks, e\.g\. with width="):
        make_supernet(space)
    supernet = make_supernet(space, width=0.01)
    assert sum(parameter.numel() for parameter in supernet.parameters()) < 10_000_000


def test_rims_of_kernels_beyond_the_feature_map_change_nothing() -> None:
    """A mixture leaves them out; in float64 it still is the convex sum of its networks."""
    skeleton = StagedNetwork.from_strings(
        stem="cn_k3_s2_c8", stages=(), head=("pool", "fc"), resolution=6, num_classes=4
    )
    for notation, resolution in (("ir_k{3,5,11}_s2_e2_c16", 6), ("cn_k{1,9,11}_c8_nno", 4), ("cn_k{7,9}_c8", 1)):
        supernet = ElasticSupernet(StagedSpace("rims", skeleton, (notation.replace("_c16", "_c16_nno"),))).double()
        supernet.eval()
        batch = torch.randn(2, 3, resolution, resolution, dtype=torch.float64)
        for i in range(len(supernet.sites[0].operations)):
            weights = torch.zeros(len(supernet.sites[0].operations), dtype=torch.float64)
            weights[i] = 1
            with torch.no_grad():
                alone = supernet.extract(np.array([i]))(batch)
            assert (supernet(batch, [weights.requires_grad_()]) - alone).abs().max() <= 1e-12


def test_options_reach_cells_and_chains_have_none() -> None:
    partial = CandidateOptions(partial=2)
    for name in ("nasbench201", "darts"):
        assert make_supernet(nas.space(name), partial, **SMALL[name]).options == partial
    assert make_supernet(nas.space("mbconv"), partial, width=0.125).width == 0.125


@pytest.mark.parametrize(
    ("name", "network", "message"),
    [
        ("nasbench101", {}, "nasbench101 has no supernet; .*nasbench201.*mbconv"),
        ("darts", {"chanels": 8}, "no 'chanels' to set in a supernet; did you mean 'channels'"),
        ("darts", {"width": 0.5}, "no 'width'"),
        ("mbconv", {"channels": 8}, "networks of mbconv have no 'channels'"),
        ("darts", {"channels": 8.5}, "channels is 8.5, must be a whole number"),
        ("darts", {"channels": True}, "channels is True, must be a whole number"),
        ("nasbench201", {"cells": 0}, "cells is 0, must be a whole number of at least 1"),
        ("nasbench201", {"resolution": 30}, "resolution is 30, must be a multiple of 4"),
        ("mbconv", {"num_classes": 0}, "num_classes is 0"),
        ("mbconv", {"width": 0}, "width is 0, must be a number above 0 and at most 1"),
        ("mbconv", {"width": float("nan")}, "width is nan"),
        ("mbconv", {"width": "narrow"}, "width is 'narrow', must be a number"),
        ("mbconv", {"dropout": 1.0}, "dropout is 1.0, must be at least 0 and below 1"),
    ],
)
def test_refusals(name: str, network: dict[str, Any], message: str) -> None:
    with pytest.raises(NasError, match=message):
        make_supernet(nas.space(name), **network)


def test_listed_networks_share_no_weights() -> None:
    space = nas.space("nasbench201")
    with pytest.raises(NasError, match="only listed networks of nasbench201"):
        make_supernet(ListedSpace(space, space.sample(3, np.random.default_rng(0))))


def test_ends_of_a_small_space_are_its_extremes() -> None:
    codes = RESIDUAL.sample(3000, np.random.default_rng(0))
    macs = [RESIDUAL.spec(code).cost()["macs"] for code in (*codes[:300], largest_code(RESIDUAL))]
    assert max(macs) == macs[-1]
    assert RESIDUAL.spec(smallest_code(RESIDUAL)).cost()["macs"] <= min(macs)


def test_ends_of_cells_compute_something() -> None:
    space = nas.space("nasbench201")
    assert space.decode(largest_code(space)).decisions == dict.fromkeys(
        [decision.name for decision in space.decisions], "nor_conv_3x3"
    )
    # Nothing costs less than skip connections, and they pass the input on.
    assert set(space.decode(smallest_code(space)).decisions.values()) == {"skip_connect"}
    darts = nas.space("darts")
    small, large = (darts.spec(end(darts)).cost()["macs"] for end in (smallest_code, largest_code))
    drawn = [darts.spec(code).cost()["macs"] for code in darts.sample(30, np.random.default_rng(0))]
    assert small < min(drawn)
    assert max(drawn) < large
    assert "none" not in darts.decode(smallest_code(darts)).decisions.values()
