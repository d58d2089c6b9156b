"""NetworkSpec against counts published by others, and networks that cannot exist."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import nas
from nas.errors import NasError
from nas.space import LayerSpec, SqueezeExciteRule, StagedNetwork, round_channels
from nas.space.catalogue import network_names

#: parameters: facebookresearch/pycls, tests/model_complexity.json (B0-B5), timm results CSV (B6, B7), torchvision
#: weights table (all). Multiply-adds with those of squeeze-and-excite: within 0.003 % of pycls, which adds pooling.
EFFICIENTNET = {
    "efficientnet_b0": (5_288_548, 385_814_752),
    "efficientnet_b1": (7_794_184, 686_802_832),
    "efficientnet_b2": (9_109_994, 993_561_872),
    "efficientnet_b3": (12_233_232, 1_827_141_392),
    "efficientnet_b4": (19_341_616, 4_393_771_024),
    "efficientnet_b5": (30_389_784, 10_266_384_752),
    "efficientnet_b6": (43_040_704, 19_067_593_536),
    "efficientnet_b7": (66_347_960, 37_745_884_192),
}

#: parameters in the metadata of torchvision's ImageNet weights: our name -> (their name, parameters)
TORCHVISION = {
    "mnasnet_b1_0.5": ("mnasnet0_5", 2_218_512),
    "mnasnet_b1_0.75": ("mnasnet0_75", 3_170_208),
    "mnasnet_b1": ("mnasnet1_0", 4_383_312),
    "mnasnet_b1_1.3": ("mnasnet1_3", 6_282_256),
    "mobilenetv3_large": ("mobilenet_v3_large", 5_483_032),
    "mobilenetv3_small": ("mobilenet_v3_small", 2_542_856),
    "mobilenetv2": ("mobilenet_v2", 3_504_872),
} | {name: (name, params) for name, (params, _) in EFFICIENTNET.items()}

#: million parameters, rounded to two places, in timm's ImageNet results: for networks torchvision has no weights of
TIMM_MILLIONS = {
    "mobilenetv3_large_0.75": ("tf_mobilenetv3_large_075.in1k", 3.99),
    "mobilenetv3_small_0.75": ("tf_mobilenetv3_small_075.in1k", 2.04),
    "mobilenetv3_large_minimalistic": ("tf_mobilenetv3_large_minimal_100.in1k", 3.92),
    "mobilenetv3_small_minimalistic": ("tf_mobilenetv3_small_minimal_100.in1k", 2.04),
    "efficientnet_b8": ("tf_efficientnet_b8.ra_in1k", 87.41),
    "efficientnet_l2": ("tf_efficientnet_l2.ns_jft_in1k", 480.31),
    "mnasnet_a1": ("semnasnet_100.rmsp_in1k", 3.89),
    "mobilenetv2_0.5": ("mobilenetv2_050.lamb_in1k", 1.97),
    "mobilenetv2_1.4": ("mobilenetv2_140.ra_in1k", 6.11),
    "efficientnet_lite0": ("tf_efficientnet_lite0.in1k", 4.65),
    "efficientnet_lite1": ("tf_efficientnet_lite1.in1k", 5.42),
    "efficientnet_lite2": ("tf_efficientnet_lite2.in1k", 6.09),
    "efficientnet_lite3": ("tf_efficientnet_lite3.in1k", 8.20),
    "efficientnet_lite4": ("tf_efficientnet_lite4.in1k", 13.01),
}

BODY: dict[str, Any] = {"stem": "cn_k3_s2_c8", "stages": ("ir_k3_s2_e4_c16_se",), "head": ("cn_c32", "pool", "fc")}


@pytest.mark.parametrize(("name", "counts"), EFFICIENTNET.items())
def test_efficientnet_has_the_published_counts(name: str, counts: tuple[int, int]) -> None:
    cost = nas.network(name).cost()
    assert (cost["params"], cost["macs"]) == counts
    assert cost["weight_bytes"] == 4 * counts[0]


@pytest.mark.parametrize("name", EFFICIENTNET)
def test_efficientnet_multiply_adds_agree_with_pycls(name: str, data_dir: Path) -> None:
    table = pd.read_csv(data_dir / "published" / "efficientnet_scaling.csv").set_index("model")
    row = table.loc[name.replace("_", "-")]
    cost = nas.network(name).cost()
    assert cost["params"] == row.params_exact
    if not pd.isna(row.macs_exact_pycls):
        assert cost["macs"] == pytest.approx(row.macs_exact_pycls, rel=3e-5)
        assert cost["macs"] < row.macs_exact_pycls


@pytest.mark.parametrize(("name", "published"), TORCHVISION.items())
def test_parameters_are_those_of_torchvision(name: str, published: tuple[str, int]) -> None:
    assert nas.network(name).cost()["params"] == published[1]


@pytest.mark.parametrize(("name", "published"), TORCHVISION.items())
def test_counts_agree_with_the_weights_table(name: str, published: tuple[str, int], data_dir: Path) -> None:
    table = pd.read_csv(data_dir / "published" / "torchvision_imagenet_weights_meta.csv")
    rows = table[table.model == published[0]]
    assert set(rows.params) == {published[1]}
    spec = nas.network(name)
    # torchvision counts at the crop its weights were trained for: 288 for B2, the released resolution elsewhere.
    macs = replace(spec, resolution=int(rows.crop.iloc[0])).cost()["macs"]
    assert macs / 1e9 == pytest.approx(rows.gmacs.iloc[0], abs=0.0011)


@pytest.mark.parametrize(("name", "published"), TIMM_MILLIONS.items())
def test_parameters_are_those_of_timm(name: str, published: tuple[str, float], data_dir: Path) -> None:
    table = pd.read_csv(data_dir / "published" / "timm-results-imagenet.csv").set_index("model")
    assert float(table.param_count[published[0]]) == published[1]
    assert round(nas.network(name).cost()["params"] / 1e6, 2) == published[1]


#: widths of MobileNetV2 whose multiply-adds its authors print, in millions, at several resolutions
MOBILENETV2 = {"mobilenetv2_0.35": 0.35, "mobilenetv2_0.75": 0.75, "mobilenetv2_1.3": 1.3} | {
    "mobilenetv2_0.5": 0.5, "mobilenetv2": 1, "mobilenetv2_1.4": 1.4,
}  # fmt: skip


@pytest.mark.parametrize(("name", "width"), MOBILENETV2.items())
def test_multiply_adds_are_those_of_the_authors(name: str, width: float, data_dir: Path) -> None:
    table = pd.read_csv(data_dir / "published" / "phone_latency.csv")
    rows = table[(table.model == f"mobilenet_v2_{width:g}") & table.macs_m.notna()]
    assert len(rows) > 0
    for resolution, millions in zip(rows.resolution, rows.macs_m, strict=True):
        macs = replace(nas.network(name), resolution=int(resolution)).cost()["macs"]
        # Printed without decimals, some rounded and some cut off.
        assert macs / 1e6 == pytest.approx(millions, abs=1)


def test_every_published_network_is_checked_against_somebody() -> None:
    assert set(network_names()) == set(TORCHVISION) | set(TIMM_MILLIONS) | set(MOBILENETV2)


@pytest.mark.parametrize(("name", "depth", "width", "resolution"), [
    ("efficientnet_b4", 1.8, 1.4, 380), ("efficientnet_b7", 3.1, 2.0, 600),
])  # fmt: skip
def test_scaling_b0_gives_the_family(name: str, depth: float, width: float, resolution: int) -> None:
    scaled = nas.network("efficientnet_b0").scale(depth, width, resolution)
    assert scaled == nas.network(name)
    assert (scaled.cost()["params"], scaled.cost()["macs"]) == EFFICIENTNET[name]
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
