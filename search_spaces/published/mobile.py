"""MobileNets and the networks of searches around them, with where they were published."""

from __future__ import annotations

from dataclasses import replace

from nas.space import SqueezeExciteRule, StagedNetwork

_MOBILENETV1 = StagedNetwork.from_strings(
    stem="cn_k3_s2_c32",
    stages=("ds_s1_c64", "ds_r2_s2_c128", "ds_r2_s2_c256", "ds_r6_s2_c512", "ds_r2_s2_c1024"),
    head=("pool", "fc"),
    activation="relu6",
)

_MOBILENETV2 = StagedNetwork.from_strings(
    stem="cn_k3_s2_c32",
    stages=(
        "ir_r1_k3_s1_e1_c16",
        "ir_r2_k3_s2_e6_c24",
        "ir_r3_k3_s2_e6_c32",
        "ir_r4_k3_s2_e6_c64",
        "ir_r3_k3_s1_e6_c96",
        "ir_r3_k3_s2_e6_c160",
        "ir_r1_k3_s1_e6_c320",
    ),
    head=("cn_c1280", "pool", "fc"),
    activation="relu6",
    dropout=0.2,
)

_MNASNET_A1 = StagedNetwork.from_strings(
    stem="cn_k3_s2_c32",
    stages=(
        "ir_r1_k3_s1_e1_c16",
        "ir_r2_k3_s2_e6_c24",
        "ir_r3_k5_s2_e3_c40_se",
        "ir_r4_k3_s2_e6_c80",
        "ir_r2_k3_s1_e6_c112_se",
        "ir_r3_k5_s2_e6_c160_se",
        "ir_r1_k3_s1_e6_c320",
    ),
    head=("cn_c1280", "pool", "fc"),
    activation="relu",
    se=SqueezeExciteRule(ratio=0.25, of="input", activation="relu", gate="sigmoid"),
    dropout=0.2,
)

_MNASNET_B1 = StagedNetwork.from_strings(
    stem="cn_k3_s2_c32",
    stages=(
        "ir_r1_k3_s1_e1_c16",
        "ir_r3_k3_s2_e3_c24",
        "ir_r3_k5_s2_e3_c40",
        "ir_r3_k5_s2_e6_c80",
        "ir_r2_k3_s1_e6_c96",
        "ir_r4_k5_s2_e6_c192",
        "ir_r1_k3_s1_e6_c320",
    ),
    head=("cn_c1280", "pool", "fc"),
    activation="relu",
    dropout=0.2,
)

_MNASNET_SMALL = StagedNetwork.from_strings(
    stem="cn_k3_s2_c8",
    stages=(
        "ir_k3_s1_e1_c8",
        "ir_k3_s2_e3_c16",
        "ir_r2_k3_s2_e6_c16",
        "ir_r4_k5_s2_e6_c32_se",
        "ir_r3_k3_s1_e6_c32_se",
        "ir_r3_k5_s2_e6_c88_se",
        "ir_k3_s1_e6_c144",
    ),
    head=("cn_c1280", "pool", "fc"),
    activation="relu",
    se=_MNASNET_A1.se,
    dropout=0.2,
)

_V3_SE = SqueezeExciteRule(ratio=0.25, of="expanded", divisor=8, activation="relu", gate="hardsigmoid")

_MOBILENETV3_LARGE = StagedNetwork.from_strings(
    stem="cn_k3_s2_c16",
    stages=(
        "ir_k3_s1_e1_c16_nre",
        "ir_k3_s2_e4_c24_nre ir_k3_s1_e3_c24_nre",
        "ir_r3_k5_s2_e3_c40_se_nre",
        "ir_k3_s2_e6_c80 ir_k3_s1_e2.5_c80 ir_r2_k3_s1_e2.3_c80",
        "ir_r2_k3_s1_e6_c112_se",
        "ir_r3_k5_s2_e6_c160_se",
    ),
    head=("cn_c960", "pool", "fc_c1280", "fc"),
    activation="hardswish",
    se=_V3_SE,
    norm_eps=1e-3,
    dropout=0.2,
)

_MOBILENETV3_SMALL = StagedNetwork.from_strings(
    stem="cn_k3_s2_c16",
    stages=(
        "ir_k3_s2_e1_c16_se_nre",
        "ir_k3_s2_e4.5_c24_nre ir_k3_s1_e3.67_c24_nre",
        "ir_k5_s2_e4_c40_se ir_r2_k5_s1_e6_c40_se",
        "ir_r2_k5_s1_e3_c48_se",
        "ir_r3_k5_s2_e6_c96_se",
    ),
    head=("cn_c576", "pool", "fc_c1024", "fc"),
    activation="hardswish",
    se=_V3_SE,
    norm_eps=1e-3,
    dropout=0.2,
)


_V4_HEAD = ("cn_c960", "pool", "fc_c1280", "fc")

#: stem and stages (paper, Tables 11 to 13); conv_small begins with plain convolutions, the others with a Fused-MBConv
_MOBILENETV4: dict[str, tuple[str, tuple[str, ...]]] = {
    "small": (
        "cn_k3_s2_c32",
        (
            "cn_k3_s2_c32 cn_c32",
            "cn_k3_s2_c96 cn_c64",
            "ui_a5_k5_s2_e3_c96 ui_r4_a0_k3_e2_c96 ui_a3_k0_e4_c96",
            "ui_a3_k3_s2_e6_c128 ui_a5_k5_e4_c128 ui_a0_k5_e4_c128 ui_a0_k5_e3_c128 ui_r2_a0_k3_e4_c128",
        ),
    ),
    "medium": (
        "cn_k3_s2_c32",
        (
            "er_k3_s2_e4_c48",
            "ui_a3_k5_s2_e4_c80 ui_a3_k3_e2_c80",
            "ui_a3_k5_s2_e6_c160 ui_r2_a3_k3_e4_c160 ui_a3_k5_e4_c160 ui_a3_k3_e4_c160 ui_a3_k0_e4_c160 "
            "ui_a0_k0_e2_c160 ui_a3_k0_e4_c160",
            "ui_a5_k5_s2_e6_c256 ui_a5_k5_e4_c256 ui_r2_a3_k5_e4_c256 ui_a0_k0_e4_c256 ui_a3_k0_e4_c256 "
            "ui_a3_k5_e2_c256 ui_a5_k5_e4_c256 ui_r2_a0_k0_e4_c256 ui_a5_k0_e2_c256",
        ),
    ),
    "large": (
        "cn_k3_s2_c24",
        (
            "er_k3_s2_e4_c48",
            "ui_a3_k5_s2_e4_c96 ui_a3_k3_e4_c96",
            "ui_a3_k5_s2_e4_c192 ui_r3_a3_k3_e4_c192 ui_a3_k5_e4_c192 ui_r5_a5_k3_e4_c192 ui_a3_k0_e4_c192",
            "ui_r4_a5_k5_s2_e4_c512 ui_a5_k0_e4_c512 ui_a5_k3_e4_c512 ui_r2_a5_k0_e4_c512 ui_a5_k3_e4_c512 "
            "ui_a5_k5_e4_c512 ui_r3_a5_k0_e4_c512",
        ),
    ),
}

#: stem, stages, head (mit-han-lab/proxylessnas, proxyless_{mobile,cpu,gpu}.config)
_PROXYLESSNAS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "mobile": (
        "cn_k3_s2_c32",
        (
            "ir_k3_e1_c16",
            "ir_k5_s2_e3_c32 ir_k3_e3_c32",
            "ir_k7_s2_e3_c40 ir_k3_e3_c40 ir_r2_k5_e3_c40",
            "ir_k7_s2_e6_c80 ir_r3_k5_e3_c80",
            "ir_k5_e6_c96 ir_r3_k5_e3_c96",
            "ir_r2_k7_s2_e6_c192 ir_r2_k7_e3_c192",
            "ir_k7_e6_c320",
        ),
        "cn_c1280",
    ),
    "cpu": (
        "cn_k3_s2_c40",
        (
            "ir_k3_e1_c24",
            "ir_k3_s2_e6_c32 ir_r3_k3_e3_c32",
            "ir_k3_s2_e6_c48 ir_r2_k3_e3_c48 ir_k5_e3_c48",
            "ir_k3_s2_e6_c88 ir_k3_e3_c88",
            "ir_k5_e6_c104 ir_r3_k3_e3_c104",
            "ir_k5_s2_e6_c216 ir_r2_k5_e3_c216 ir_k3_e3_c216",
            "ir_k5_e6_c360",
        ),
        "cn_c1432",
    ),
    "gpu": (
        "cn_k3_s2_c40",
        (
            "ir_k3_e1_c24",
            "ir_k5_s2_e3_c32",
            "ir_k7_s2_e3_c56 ir_k3_e3_c56",
            "ir_k7_s2_e6_c112 ir_k5_e3_c112",
            "ir_k5_e6_c128 ir_k3_e3_c128 ir_k5_e3_c128",
            "ir_r3_k7_s2_e6_c256 ir_k5_e6_c256",
            "ir_k7_e6_c432",
        ),
        "cn_c1728",
    ),
}  # fmt: skip

#: stages and last convolution (facebookresearch/mobile-vision, fbnet_modeldef_cls_fbnet.py)
_FBNET: dict[str, tuple[tuple[str, ...], str]] = {
    "a": (
        (
            "id_c16",
            "ir_k3_s2_e3_c24 ir_k3_e1_c24",
            "ir_k5_s2_e6_c32 ir_k3_e3_c32 ir_k5_e1_c32 ir_k3_e3_c32",
            "ir_k5_s2_e6_c64 ir_k5_e3_c64 ir_k5_e1_c64_g2 ir_k5_e6_c64",
            "ir_k3_e6_c112 ir_k5_e1_c112_g2 ir_k5_e3_c112 ir_k3_e1_c112_g2",
            "ir_r2_k5_s2_e6_c184 ir_k5_e3_c184 ir_k5_e6_c184",
            "ir_k5_e6_c352",
        ),
        "cn_c1504",
    ),
    "b": (
        (
            "ir_k3_e1_c16",
            "ir_k3_s2_e6_c24 ir_k5_e1_c24 ir_r2_k3_e1_c24",
            "ir_k5_s2_e6_c32 ir_k5_e3_c32 ir_k3_e6_c32 ir_k5_e6_c32",
            "ir_r2_k5_s2_e6_c64 ir_k5_e3_c64",
            "ir_k5_e6_c112 ir_k3_e1_c112 ir_k5_e1_c112 ir_k5_e3_c112",
            "ir_k5_s2_e6_c184 ir_k5_e1_c184 ir_r2_k5_e6_c184",
            "ir_k3_e6_c352",
        ),
        "cn_c1984",
    ),
    "c": (
        (
            "ir_k3_e1_c16",
            "ir_k3_s2_e6_c24 ir_r2_k3_e1_c24",
            "ir_k5_s2_e6_c32 ir_k5_e3_c32 ir_k5_e6_c32 ir_k3_e6_c32",
            "ir_k5_s2_e6_c64 ir_k5_e3_c64 ir_r2_k5_e6_c64",
            "ir_r3_k5_e6_c112 ir_k5_e3_c112",
            "ir_r4_k5_s2_e6_c184",
            "ir_k3_e6_c352",
        ),
        "cn_c1984",
    ),
}  # fmt: skip

_SINGLE_PATH_NAS = StagedNetwork.from_strings(
    stem="cn_k3_s2_c32",
    stages=(
        "ir_k3_e1_c16",
        "ir_r3_k3_s2_e3_c24",
        "ir_k5_s2_e6_c40 ir_r3_k3_e3_c40",
        "ir_k5_s2_e6_c80 ir_r3_k3_e3_c80",
        "ir_k5_e6_c96 ir_r3_k5_e3_c96",
        "ir_r4_k5_s2_e6_c192",
        "ir_k3_e6_c320",
    ),
    head=("cn_c1280", "pool", "fc"),
    activation="relu",
    dropout=0.2,
    source="Single-Path NAS, Stamoulis et al., ECML-PKDD 2019",
)


def _widths(base: str, *widths: float) -> dict[str, float]:
    """The networks that differ from `base` in width, and their width multipliers."""
    return {base if width == 1 else f"{base}_{width:g}": width for width in widths}


#: width multipliers that were published, by family
WIDTHS = {
    "mobilenetv1": _widths("mobilenetv1", 0.25, 0.5, 0.75, 1),
    "mobilenetv2": _widths("mobilenetv2", 0.35, 0.5, 0.75, 1, 1.3, 1.4),
    "mobilenetv3_large": _widths("mobilenetv3_large", 0.75, 1),
    "mobilenetv3_small": _widths("mobilenetv3_small", 0.5, 0.75, 1),
    "mnasnet_b1": _widths("mnasnet_b1", 0.5, 0.75, 1, 1.3, 1.4),
}


def _minimalistic(spec: StagedNetwork) -> StagedNetwork:
    """MobileNetV3 without squeeze-and-excite, h-swish and 5x5 kernels, for hardware that lacks them."""
    stages = tuple(tuple(replace(layer, kernel=3, se=0, activation="") for layer in stage) for stage in spec.stages)
    return replace(spec, stages=stages, activation="relu")


def _with_width(spec: StagedNetwork, width: float) -> StagedNetwork:
    """A narrower or wider MobileNet; the layer after pooling keeps its width, the one before follows."""
    scaled = spec.scale(width=width)
    post_pool = {i: layer for i, layer in enumerate(spec.head) if layer.kind == "fc"}
    return replace(scaled, head=tuple(post_pool.get(i, layer) for i, layer in enumerate(scaled.head)))


def _mnasnet(width: float) -> StagedNetwork:
    return replace(_MNASNET_B1.scale(width=width, scale_head=False), dropout=0.2)


def _networks() -> dict[str, StagedNetwork]:
    mnasnet = "MnasNet, Tan et al., CVPR 2019"
    mobilenetv3 = "MobileNetV3, Howard et al., ICCV 2019"
    networks: dict[str, StagedNetwork] = {}
    for name, width in WIDTHS["mobilenetv1"].items():
        networks[name] = replace(_MOBILENETV1.scale(width=width), source="MobileNets, Howard et al., 2017")
    for name, width in WIDTHS["mobilenetv2"].items():
        # Below width 1 the last convolution keeps its 1280 channels.
        scaled = _MOBILENETV2.scale(width=width, scale_head=width > 1)
        networks[name] = replace(scaled, dropout=0.2, source="MobileNetV2, Sandler et al., CVPR 2018")
    networks["mnasnet_a1"] = replace(_MNASNET_A1, source=mnasnet)
    for name, width in WIDTHS["mnasnet_b1"].items():
        networks[name] = replace(_mnasnet(width), source=mnasnet)
    for size, spec in (("large", _MOBILENETV3_LARGE), ("small", _MOBILENETV3_SMALL)):
        for name, width in WIDTHS[f"mobilenetv3_{size}"].items():
            networks[name] = replace(_with_width(spec, width), source=mobilenetv3)
        networks[f"mobilenetv3_{size}_minimalistic"] = replace(_minimalistic(spec), source=mobilenetv3)
    networks["mnasnet_small"] = replace(_MNASNET_SMALL, source=mnasnet)
    for size, (stem, stages) in _MOBILENETV4.items():
        networks[f"mobilenetv4_conv_{size}"] = StagedNetwork.from_strings(
            stem, stages, _V4_HEAD, resolution={"small": 224, "medium": 256, "large": 384}[size], norm_after_pool=True,
            dropout=0.2, source="MobileNetV4, Qin et al., ECCV 2024",
        )  # fmt: skip
    for device, (stem, stages, last) in _PROXYLESSNAS.items():
        networks[f"proxylessnas_{device}"] = StagedNetwork.from_strings(
            stem, stages, (last, "pool", "fc"), activation="relu6", norm_eps=1e-3,
            source="ProxylessNAS, Cai et al., ICLR 2019",
        )  # fmt: skip
    for letter, (stages, last) in _FBNET.items():
        networks[f"fbnet_{letter}"] = StagedNetwork.from_strings(
            "cn_k3_s2_c16", stages, (last, "pool", "fc"), activation="relu", dropout=0.2,
            source="FBNet, Wu et al., CVPR 2019, as in facebookresearch/mobile-vision",
        )  # fmt: skip
    networks["fbnetc_100"] = replace(
        networks["fbnet_c"], expand_at_one=True, source="FBNet, Wu et al., CVPR 2019, as in timm"
    )
    networks["single_path_nas"] = _SINGLE_PATH_NAS
    return {name: replace(spec, name=name) for name, spec in networks.items()}


NETWORKS = _networks()

_SLIM = "tensorflow/models, slim MobileNet README (weights trained by the authors)"

#: ImageNet top-1 (%) as published, each under the recipe of its source
PUBLISHED_TOP1 = {
    "mobilenetv1_0.25": (50.6, "MobileNets, Howard et al., 2017, Table 6"),
    "mobilenetv1_0.5": (63.7, "MobileNets, Howard et al., 2017, Table 6"),
    "mobilenetv1_0.75": (68.4, "MobileNets, Howard et al., 2017, Table 6"),
    "mobilenetv1": (70.6, "MobileNets, Howard et al., 2017, Table 6"),
    "mobilenetv2_0.35": (60.3, _SLIM),
    "mobilenetv2_0.5": (65.4, _SLIM),
    "mobilenetv2_0.75": (69.8, _SLIM),
    "mobilenetv2": (72.0, "MobileNetV2, Sandler et al., CVPR 2018, Table 4"),
    "mobilenetv2_1.3": (74.4, _SLIM),
    "mobilenetv2_1.4": (75.0, _SLIM),
    "mobilenetv3_large": (75.2, "MobileNetV3, Howard et al., ICCV 2019, Table 3"),
    "mobilenetv3_large_0.75": (73.3, _SLIM),
    "mobilenetv3_large_minimalistic": (72.3, _SLIM),
    "mobilenetv3_small": (67.4, "MobileNetV3, Howard et al., ICCV 2019, Table 3"),
    "mobilenetv3_small_0.75": (65.4, _SLIM),
    "mobilenetv3_small_minimalistic": (61.9, _SLIM),
    "mobilenetv4_conv_small": (73.8, "MobileNetV4, Qin et al., ECCV 2024"),
    "mobilenetv4_conv_medium": (79.9, "MobileNetV4, Qin et al., ECCV 2024"),
    "mobilenetv4_conv_large": (82.9, "MobileNetV4, Qin et al., ECCV 2024"),
    "mnasnet_a1": (75.2, "MnasNet, Tan et al., CVPR 2019, Table 1"),
    "mnasnet_b1_0.5": (67.734, "torchvision weights (recipe of 1e100/mnasnet_trainer)"),
    "mnasnet_b1_0.75": (71.18, "torchvision weights (recipe of torchvision)"),
    "mnasnet_b1": (73.456, "torchvision weights (recipe of 1e100/mnasnet_trainer)"),
    "mnasnet_b1_1.3": (76.506, "torchvision weights (recipe of torchvision)"),
    "mnasnet_small": (66.204, "timm results (LAMB recipe of timm)"),
    "proxylessnas_mobile": (74.6, "ProxylessNAS, Cai et al., ICLR 2019"),
    "proxylessnas_gpu": (75.1, "ProxylessNAS, Cai et al., ICLR 2019"),
    "fbnet_a": (73.3, "facebookresearch/mobile-vision model zoo"),
    "fbnet_b": (74.5, "facebookresearch/mobile-vision model zoo"),
    "fbnet_c": (75.2, "facebookresearch/mobile-vision model zoo"),
    "fbnetc_100": (75.12, "timm results (RMSProp recipe of timm)"),
    "single_path_nas": (74.7, "Once-for-all, Cai et al., ICLR 2020, Table 1"),
}
