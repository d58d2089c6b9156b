"""The space `convnext`: the modernisation of the ConvNeXt paper step by step, published networks, exact costs."""

from __future__ import annotations

import itertools
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np
import pytest

from nas.cost import cost_model
from nas.errors import NasError
from nas.space.residual_network import ResidualNetwork
from nas.space.residual_space import ResidualSpace
from search_spaces.convnext import CONVNEXT, FIGURE_2, PATH, PATH_200, SPACE, Step
from search_spaces.published import convnext, residual

BOTTLENECKS = ("resnet50", "resnet101", "resnet152", "resnet200")


def gflops(step: Step) -> str:
    return f"{step.network.cost()['macs'] / 1e9:.2f}"


def test_the_way_to_convnext_t_costs_what_the_paper_prints() -> None:
    assert len(PATH) == 16
    # The last two rows of Table 10 disagree with Figure 2 of the paper, and the others do not.
    assert [step.name for step in PATH if gflops(step) != step.gflops] == ["BN -> LN", "separate downsampling"]
    # Figure 2 has one decimal, rounded from two.
    one_decimal = [str(Decimal(gflops(step)).quantize(Decimal("0.1"), ROUND_HALF_UP)) for step in PATH]
    assert one_decimal == list(FIGURE_2)
    rounded_once = [f"{step.network.cost()['macs'] / 1e9:.1f}" for step in PATH]
    assert sum(ours == printed for ours, printed in zip(rounded_once, FIGURE_2, strict=True)) == 10


def test_the_way_to_convnext_b_costs_what_the_paper_prints() -> None:
    assert len(PATH_200) == 16
    assert [gflops(step) for step in PATH_200] == [step.gflops for step in PATH_200]


def test_the_ways_lead_from_published_networks_to_published_networks() -> None:
    assert (PATH[0].network, PATH[-1].network) == (
        residual.NETWORKS["resnet50"], convnext.NETWORKS["convnext_tiny"],
    )  # fmt: skip
    assert PATH_200[0].network == residual.NETWORKS["resnet200"]
    assert PATH_200[-1].network == convnext.NETWORKS["convnext_base"]


def test_every_step_is_a_point_of_the_space_one_change_from_the_one_before() -> None:
    codes = np.array([SPACE.encode(step.network) for step in PATH])
    assert len(np.unique(codes, axis=0)) == len(PATH)
    changed = [
        sorted(decision.name for d, decision in enumerate(SPACE.decisions) if before[d] != after[d])
        for before, after in itertools.pairwise(codes)
    ]
    assert changed[:5] == [
        ["depth.stage2", "depth.stage3"], ["network.stem"], ["block.block"], ["network.width"], ["block.block"],
    ]  # fmt: skip
    assert changed[5:] == [
        ["block.block"], ["block.kernel"], ["block.kernel"], ["block.kernel"], ["block.kernel"],
        ["block.kernel", "network.activation"], ["block.activations"], ["block.norms"], ["network.norm"],
        ["block.scaling", "network.downsampling"],
    ]  # fmt: skip


@pytest.mark.parametrize("name", [*BOTTLENECKS, *sorted(convnext.NETWORKS.keys() - {"convnext_zepto_rms"})])
def test_published_networks_are_points(name: str) -> None:
    spec = (residual.NETWORKS | convnext.NETWORKS)[name]
    code = SPACE.encode(spec)
    assert SPACE.spec(code) == spec
    assert (SPACE.encode(SPACE.format(code[None])[0]) == code).all()


def test_the_normalisation_of_zepto_is_outside() -> None:
    with pytest.raises(NasError, match="norm is 'simple', must be one of batch, layer"):
        SPACE.encode(convnext.NETWORKS["convnext_zepto_rms"])


def test_codes_read_as_networks() -> None:
    assert (
        SPACE.format(SPACE.encode(convnext.NETWORKS["convnextv2_nano"])[None])[0]
        == "2,2,8,2-80,patchify,separate,layer,gelu-convnext,7,4,1,1,grn"
    )


def test_the_number_of_networks_by_hand() -> None:
    depths = 2 * 5 * 8 * 2
    body = 11 * 2**4
    # A bottleneck has no choice, a depthwise one the kernel, an inverted one the kernel and the expansion, ConvNeXt's
    # 2 numbers of norms besides, and with one activation of the two 3 scalings.
    blocks = 1 + 5 + 5 * 4 + 5 * 4 * 2 * (1 + 3)
    assert depths * body * blocks == SPACE.size


def test_costs_of_many_codes_are_those_of_each_network() -> None:
    codes = np.concatenate(
        [SPACE.sample(40, np.random.default_rng(5))]
        + [SPACE.encode(spec)[None] for spec in (PATH[0].network, PATH[5].network, PATH[-1].network)]
    )
    model = cost_model(SPACE)
    table = model(codes)
    for code, row in zip(codes, table.to_dict("records"), strict=True):
        cost = SPACE.spec(code).cost()
        assert {name: cost[name] for name in row} == row


def test_the_bounds_are_costs_of_networks() -> None:
    """Cost grows with depths and width, so the extremes are among all designs at the smallest and the largest."""
    counts = np.array([len(decision.choices) for decision in SPACE.decisions])
    sized = [d for d, decision in enumerate(SPACE.decisions) if decision.name.startswith(("depth.", "network.width"))]
    free = [d for d in range(len(counts)) if d not in sized]
    designs = np.zeros((int(np.prod(counts[free])), len(counts)), dtype=np.int8)
    designs[:, free] = np.indices(counts[free]).reshape(len(free), -1).T
    model = cost_model(SPACE)
    least = model.params_and_macs(SPACE.canonical(designs))
    designs[:, sized] = counts[sized] - 1
    most = model.params_and_macs(SPACE.canonical(designs))
    extremes = list(zip(least.min(axis=0), most.max(axis=0), strict=True))
    assert extremes == list(model.bounds().values())


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (ResidualNetwork((3, 4, 6, 3), 84), "network.width is 84, must be one of 32, 40"),
        (ResidualNetwork((3, 4, 6, 4)), "depth.stage4 is 4"),
        (ResidualNetwork((3, 4, 6)), "3 stages, the space has 4"),
        (ResidualNetwork((3, 4, 6, 3), resolution=192), "resolution is 192"),
        (ResidualNetwork((2, 2, 6, 2), block="basic"), "block.block is 'basic'"),
        (ResidualNetwork((3, 4, 6, 3), groups=32), "groups is 32"),
        (ResidualNetwork((3, 4, 6, 3), kernel=7), "kernel is 7, such networks of the space have 3"),
        (ResidualNetwork((3, 3, 9, 3), 96, **(CONVNEXT | {"activations": 3})), "scaling is layer_scale"),
        (residual.NETWORKS["regnetx_002"], "a RegNet is no residual network"),
    ],
)
def test_what_is_outside_is_refused(spec: ResidualNetwork, message: str) -> None:
    with pytest.raises(NasError, match=message):
        SPACE.encode(spec)


CHOICES: dict[str, Any] = {
    "width": (16,), "stem": ("resnet", "patchify"), "downsampling": ("block",), "norm": ("batch",),
    "activation": ("relu",), "block": ("bottleneck", "convnext"), "kernel": (3, 7), "expansion": (4,),
    "activations": (3, 1), "norms": (3, 1), "scaling": ("none", "grn"),
}  # fmt: skip


def test_a_small_space_of_one_s_own() -> None:
    skeleton = ResidualNetwork((1, 1), resolution=32, num_classes=10)
    space = ResidualSpace("small", skeleton, ((1, 2), (1, 2)), CHOICES)
    codes = space.all_codes()
    # 4 depths, 2 stems; a bottleneck, or 2 kernels × 2 norms × (3 activations, or 1 with 2 scalings)
    assert len(codes) == space.size == 4 * 2 * (1 + 2 * 2 * 3)
    specs = [space.spec(code) for code in codes]
    assert len(set(specs)) == len(specs)
    assert cost_model(space)(codes)["macs"].tolist() == [spec.cost()["macs"] for spec in specs]


def test_a_space_without_repeated_blocks() -> None:
    choices = CHOICES | {"block": ("bottleneck",), "activations": (3,)}
    space = ResidualSpace("single", ResidualNetwork((1,), resolution=32), ((1,),), choices)
    codes = space.all_codes()
    assert len(codes) == space.size == 2
    assert cost_model(space)(codes).to_dict("records") == [
        {name: space.spec(code).cost()[name] for name in ("params", "macs", "peak_activation_bytes")} for code in codes
    ]


@pytest.mark.parametrize(
    ("changes", "resolution", "message"),
    [
        ({"kernel": (7, 3)}, 32, "choices of kernel must begin with 3"),
        ({"depth": (1,)}, 32, "needs choices for width.*see depth"),
        ({}, 3, "raise the resolution"),
        ({"block": ("bottleneck", "resnext")}, 32, "block is 'resnext'"),
        ({"width": (16, 0)}, 32, "width is 0"),
        ({"kernel": ()}, 32, "choices of kernel must begin with 3"),
    ],
)
def test_spaces_that_cannot_exist(changes: dict[str, Any], resolution: int, message: str) -> None:
    with pytest.raises(NasError, match=message):
        ResidualSpace("broken", ResidualNetwork((1, 1), resolution=resolution), ((1,), (1,)), CHOICES | changes)
