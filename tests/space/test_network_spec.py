"""Descriptions of networks: scaling, rounding, block types in their places, and networks that cannot exist."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import nas
from nas.errors import NasError
from nas.space import LayerSpec, SqueezeExciteRule, StagedNetwork, round_channels

BODY: dict[str, Any] = {"stem": "cn_k3_s2_c8", "stages": ("ir_k3_s2_e4_c16_se",), "head": ("cn_c32", "pool", "fc")}


@pytest.mark.parametrize(("name", "depth", "width", "resolution"), [
    ("efficientnet_b4", 1.8, 1.4, 380), ("efficientnet_b7", 3.1, 2.0, 600),
])  # fmt: skip
def test_scaling_b0_gives_the_family(name: str, depth: float, width: float, resolution: int) -> None:
    scaled = nas.network("efficientnet_b0").scale(depth, width, resolution)
    assert scaled == nas.network(name)
    assert (scaled.name, scaled.source) == ("", "")


def test_scaling_rounds_repeats_up_and_keeps_one_layer() -> None:
    spec = StagedNetwork.from_strings("cn_k3_s2_c8", ("ir_r4_k3_s2_c16", "ir_r10_k3_c16"), ("pool", "fc"))
    assert [len(stage) for stage in spec.scale(depth=1.1).stages] == [5, 11]
    assert [len(stage) for stage in spec.scale(depth=0.01).stages] == [1, 1]
    # 1.12 * 25 is 28.000000000000004 in binary
    long = StagedNetwork.from_strings("cn_k3_s2_c8", ("ir_r25_k3_c16",), ("pool", "fc"))
    assert len(long.scale(depth=1.12).stages[0]) == 28
    assert [layer.stride for layer in spec.scale(depth=1.5).stages[0]] == [2, 1, 1, 1, 1, 1]


def test_scaling_leaves_classes_alone_and_the_head_if_asked() -> None:
    spec = StagedNetwork.from_strings(**BODY, num_classes=10)
    assert spec.scale(width=2).blocks[-1].out_channels == 10
    assert [layer.channels for layer in spec.scale(width=2).head] == [64, 0, 0]
    assert spec.scale(width=2, scale_head=False).head == spec.head
    assert spec.scale() == spec


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        (32 * 1.1, 32), (24 * 1.1, 24), (40 * 1.4, 56), (16 * 1.1, 16), (80 * 1.1, 88), (1, 8), (11.9, 16), (18, 24),
        (19, 24), (17.7, 16), (17.9, 24),
    ],
)  # fmt: skip
def test_channels_round_as_in_the_released_code(asked: float, given: int) -> None:
    # max(8, int(c + 4) // 8 * 8), and 8 more where that is below 0.9 c (tensorflow/tpu, round_filters)
    assert round_channels(asked) == given
    assert round_channels(asked) >= 0.9 * asked


def test_squeeze_widths_follow_either_paper() -> None:
    # EfficientNet: a quarter of what enters the block. MobileNetV3: a quarter of the expanded width, rounded to 8.
    assert SqueezeExciteRule(of="input").squeeze_channels(in_channels=40, mid_channels=240) == 10
    assert SqueezeExciteRule(of="input").squeeze_channels(in_channels=2, mid_channels=12) == 1
    assert SqueezeExciteRule(of="expanded", divisor=8).squeeze_channels(in_channels=24, mid_channels=72) == 24


def test_names_and_dropout_do_not_make_another_network() -> None:
    spec = StagedNetwork.from_strings(**BODY)
    assert replace(spec, name="x", source="y", dropout=0.5) == spec
    assert replace(spec, resolution=192) != spec
    assert replace(spec, activation="silu") != spec


@pytest.mark.parametrize("options", [{"resolution": 0}, {"resolution": -32}, {"in_channels": 0}, {"num_classes": 0}])
def test_networks_without_pixels_channels_or_classes_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(NasError, match="at least 1"):
        StagedNetwork.from_strings(**BODY, **options).cost()


def test_a_stride_beyond_the_resolution_is_refused() -> None:
    spec = StagedNetwork.from_strings("cn_k3_s2_c8", ["ir_s2_c8"] * 5, ("pool", "fc"), resolution=32)
    with pytest.raises(NasError, match=r"ir_k3_s2_e1_c8 strides over a 1×1 feature map; raise the resolution"):
        spec.cost()
    assert replace(spec, resolution=33).blocks[-3].out_size == 1


@pytest.mark.parametrize("multipliers", [{"width": 0.0}, {"depth": 0.0}, {"width": -1.0}, {"depth": -2.0}])
def test_multipliers_are_positive(multipliers: dict[str, float]) -> None:
    with pytest.raises(NasError, match="multipliers must be positive"):
        StagedNetwork.from_strings(**BODY).scale(**multipliers)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("multiplier", ["width", "depth"])
def test_multipliers_are_finite(multiplier: str, value: float) -> None:
    with pytest.raises(NasError, match="multipliers must be positive numbers"):
        StagedNetwork.from_strings(**BODY).scale(**{multiplier: value})


VECTOR = (LayerSpec("pool"), LayerSpec("fc"))
MISPLACED = "cannot stand here: 'fc' blocks, and no others, come after the pool"


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        pytest.param((LayerSpec("cn"), *VECTOR), "cn_k1_s1 has 0 channels, needs at least 1", id="no channels"),
        pytest.param((LayerSpec("ir", channels=-8), *VECTOR), "has -8 channels", id="negative channels"),
        pytest.param((LayerSpec("cn", channels=8, kernel=2), *VECTOR), "has kernel 2, needs an odd", id="even kernel"),
        pytest.param((LayerSpec("cn", channels=8, stride=0), *VECTOR), "stride", id="no stride"),
        pytest.param((LayerSpec("ir", channels=8, expand=0), *VECTOR), "has expansion 0, needs", id="no expansion"),
        pytest.param((LayerSpec("xx", channels=8), *VECTOR), "is of no known block type; known: cn, ir", id="unknown"),
        pytest.param((LayerSpec("cn", channels=8), LayerSpec("fc")), MISPLACED, id="unpooled"),
        pytest.param((LayerSpec("pool"), LayerSpec("cn", channels=8), LayerSpec("fc")), MISPLACED, id="of a vector"),
        pytest.param((*(LayerSpec("cn", channels=8, stride=2),) * 5, LayerSpec("fc")), MISPLACED, id="one pixel"),
    ],
)
def test_networks_that_cannot_be_built_are_refused(layers: tuple[LayerSpec, ...], message: str) -> None:
    with pytest.raises(NasError, match=message):
        StagedNetwork(stem=(), stages=(), head=layers, resolution=32).cost()


def test_an_unknown_network_names_the_nearest() -> None:
    with pytest.raises(NasError, match=r"unknown network 'efficientnet-b0'; did you mean 'efficientnet_b0'\?"):
        nas.network("efficientnet-b0")
