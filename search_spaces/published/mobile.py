"""Published networks, described in the block notation, with where they were published."""

from __future__ import annotations

from dataclasses import replace

from nas.space import SqueezeExciteRule, StagedNetwork

_EFFICIENTNET = StagedNetwork.from_strings(
    stem="cn_k3_s2_c32",
    stages=(
        "ir_r1_k3_s1_e1_c16_se",
        "ir_r2_k3_s2_e6_c24_se",
        "ir_r2_k5_s2_e6_c40_se",
        "ir_r3_k3_s2_e6_c80_se",
        "ir_r3_k5_s1_e6_c112_se",
        "ir_r4_k5_s2_e6_c192_se",
        "ir_r1_k3_s1_e6_c320_se",
    ),
    head=("cn_c1280", "pool", "fc"),
    activation="silu",
    se=SqueezeExciteRule(ratio=0.25, of="input", activation="silu", gate="sigmoid"),
)

#: width, depth, resolution, dropout as released (tensorflow/tpu, efficientnet_builder.py)
_EFFICIENTNET_SCALING = {
    "efficientnet_b0": (1.0, 1.0, 224, 0.2),
    "efficientnet_b1": (1.0, 1.1, 240, 0.2),
    "efficientnet_b2": (1.1, 1.2, 260, 0.3),
    "efficientnet_b3": (1.2, 1.4, 300, 0.3),
    "efficientnet_b4": (1.4, 1.8, 380, 0.4),
    "efficientnet_b5": (1.6, 2.2, 456, 0.4),
    "efficientnet_b6": (1.8, 2.6, 528, 0.5),
    "efficientnet_b7": (2.0, 3.1, 600, 0.5),
    "efficientnet_b8": (2.2, 3.6, 672, 0.5),
    "efficientnet_l2": (4.3, 5.3, 800, 0.5),
}

#: EfficientNet-Lite: no squeeze-and-excite, ReLU6; stem and head are not scaled, the first and last stage not deepened
_EFFICIENTNET_LITE = replace(
    _EFFICIENTNET,
    stages=tuple(tuple(replace(layer, se=0) for layer in stage) for stage in _EFFICIENTNET.stages),
    activation="relu6",
    norm_eps=1e-3,
    padding="same",
)

#: width, depth, resolution, dropout as released (tensorflow/tpu, efficientnet_lite_builder.py)
_EFFICIENTNET_LITE_SCALING = {
    "efficientnet_lite0": (1.0, 1.0, 224, 0.2),
    "efficientnet_lite1": (1.0, 1.1, 240, 0.2),
    "efficientnet_lite2": (1.1, 1.2, 260, 0.3),
    "efficientnet_lite3": (1.2, 1.4, 280, 0.3),
    "efficientnet_lite4": (1.4, 1.8, 300, 0.3),
}

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

_V3_SE = SqueezeExciteRule(ratio=0.25, of="expanded", divisor=8, activation="relu", gate="hardsigmoid")

_MOBILENETV3_LARGE = StagedNetwork.from_strings(
    stem="cn_k3_s2_c16",
    stages=(
        "ir_k3_s1_e1_c16_nre",
        "ir_k3_s2_e4_c24_nre",
        "ir_k3_s1_e3_c24_nre",
        "ir_r3_k5_s2_e3_c40_se_nre",
        "ir_k3_s2_e6_c80",
        "ir_k3_s1_e2.5_c80",
        "ir_r2_k3_s1_e2.3_c80",
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
        "ir_k3_s2_e4.5_c24_nre",
        "ir_k3_s1_e3.67_c24_nre",
        "ir_k5_s2_e4_c40_se",
        "ir_r2_k5_s1_e6_c40_se",
        "ir_r2_k5_s1_e3_c48_se",
        "ir_r3_k5_s2_e6_c96_se",
    ),
    head=("cn_c576", "pool", "fc_c1024", "fc"),
    activation="hardswish",
    se=_V3_SE,
    norm_eps=1e-3,
    dropout=0.2,
)


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


def _lite(depth: float, width: float, resolution: int) -> StagedNetwork:
    scaled = _EFFICIENTNET_LITE.scale(depth, width, resolution, scale_head=False)
    ends = _EFFICIENTNET_LITE.scale(1.0, width)
    stages = (ends.stages[0], *scaled.stages[1:-1], ends.stages[-1])
    return replace(scaled, stem=_EFFICIENTNET_LITE.stem, stages=stages)


def _networks() -> dict[str, StagedNetwork]:
    efficientnet = "EfficientNet, Tan & Le, ICML 2019"
    mnasnet = "MnasNet, Tan et al., CVPR 2019"
    mobilenetv3 = "MobileNetV3, Howard et al., ICCV 2019"
    networks = {
        name: replace(_EFFICIENTNET.scale(depth, width, resolution), dropout=dropout, source=efficientnet)
        for name, (width, depth, resolution, dropout) in _EFFICIENTNET_SCALING.items()
    }
    lite = "EfficientNet-Lite, tensorflow/tpu, 2020"
    for name, (width, depth, resolution, dropout) in _EFFICIENTNET_LITE_SCALING.items():
        networks[name] = replace(_lite(depth, width, resolution), dropout=dropout, source=lite)
    for width in (0.35, 0.5, 0.75, 1.0, 1.3, 1.4):
        # Below width 1 the last convolution keeps its 1280 channels.
        scaled = _MOBILENETV2.scale(width=width, scale_head=width > 1)
        name = "mobilenetv2" + ("" if width == 1 else f"_{width:g}")
        networks[name] = replace(scaled, dropout=0.2, source="MobileNetV2, Sandler et al., CVPR 2018")
    networks["mnasnet_a1"] = replace(_MNASNET_A1, source=mnasnet)
    for width in (0.5, 0.75, 1.0, 1.3):
        networks[f"mnasnet_b1_{width:g}"] = replace(_mnasnet(width), source=mnasnet)
    for size, spec in (("large", _MOBILENETV3_LARGE), ("small", _MOBILENETV3_SMALL)):
        for width in (0.75, 1.0):
            name = f"mobilenetv3_{size}" + ("" if width == 1 else f"_{width:g}")
            networks[name] = replace(_with_width(spec, width), source=mobilenetv3)
        networks[f"mobilenetv3_{size}_minimalistic"] = replace(_minimalistic(spec), source=mobilenetv3)
    networks["mnasnet_b1"] = networks.pop("mnasnet_b1_1")
    return {name: replace(spec, name=name) for name, spec in networks.items()}


NETWORKS = _networks()

#: ImageNet top-1 (%) as published, under the training recipe of the paper
PUBLISHED_TOP1 = {
    "efficientnet_b0": (77.1, "EfficientNet, Tan & Le, arXiv:1905.11946v5, Table 2"),
}
