"""EfficientNet, EfficientNet-Lite, EfficientNetV2 and TinyNet, with where they were published."""

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
EFFICIENTNET_SCALING = {
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
EFFICIENTNET_LITE_SCALING = {
    "efficientnet_lite0": (1.0, 1.0, 224, 0.2),
    "efficientnet_lite1": (1.0, 1.1, 240, 0.2),
    "efficientnet_lite2": (1.1, 1.2, 260, 0.3),
    "efficientnet_lite3": (1.2, 1.4, 280, 0.3),
    "efficientnet_lite4": (1.4, 1.8, 300, 0.3),
}

#: TinyNet: EfficientNet-B0 made smaller; width, depth, resolution (huawei-noah, tinynet_pytorch)
TINYNET_SCALING = {
    "tinynet_a": (1.0, 1.2, 192),
    "tinynet_b": (0.75, 1.1, 188),
    "tinynet_c": (0.54, 0.85, 184),
    "tinynet_d": (0.54, 0.695, 152),
    "tinynet_e": (0.51, 0.6, 106),
}

_V2_OPTIONS = {"activation": "silu", "se": _EFFICIENTNET.se, "norm_eps": 1e-3}
_V2_HEAD = ("cn_c1280", "pool", "fc")

#: stem, stages, resolution, dropout (google/automl, effnetv2_configs.py)
EFFICIENTNETV2 = {
    "efficientnetv2_s": (
        "cn_k3_s2_c24",
        ("er_r2_e1_c24", "er_r4_s2_e4_c48", "er_r4_s2_e4_c64", "ir_r6_s2_e4_c128_se", "ir_r9_s1_e6_c160_se",
         "ir_r15_s2_e6_c256_se"),
        384, 0.2,
    ),
    "efficientnetv2_m": (
        "cn_k3_s2_c24",
        ("er_r3_e1_c24", "er_r5_s2_e4_c48", "er_r5_s2_e4_c80", "ir_r7_s2_e4_c160_se", "ir_r14_s1_e6_c176_se",
         "ir_r18_s2_e6_c304_se", "ir_r5_s1_e6_c512_se"),
        480, 0.3,
    ),
    "efficientnetv2_l": (
        "cn_k3_s2_c32",
        ("er_r4_e1_c32", "er_r7_s2_e4_c64", "er_r7_s2_e4_c96", "ir_r10_s2_e4_c192_se", "ir_r19_s1_e6_c224_se",
         "ir_r25_s2_e6_c384_se", "ir_r7_s1_e6_c640_se"),
        480, 0.4,
    ),
    "efficientnetv2_xl": (
        "cn_k3_s2_c32",
        ("er_r4_e1_c32", "er_r8_s2_e4_c64", "er_r8_s2_e4_c96", "ir_r16_s2_e4_c192_se", "ir_r24_s1_e6_c256_se",
         "ir_r32_s2_e6_c512_se", "ir_r8_s1_e6_c640_se"),
        512, 0.4,
    ),
}  # fmt: skip

_EFFICIENTNETV2_B0 = StagedNetwork.from_strings(
    stem="cn_k3_s2_c32",
    stages=(
        "er_r1_e1_c16",
        "er_r2_s2_e4_c32",
        "er_r2_s2_e4_c48",
        "ir_r3_s2_e4_c96_se",
        "ir_r5_s1_e6_c112_se",
        "ir_r8_s2_e6_c192_se",
    ),
    head=_V2_HEAD,
    **_V2_OPTIONS,
)

#: width, depth, resolution of evaluation, dropout (google/automl, effnetv2_configs.py)
EFFICIENTNETV2_SCALING = {
    "efficientnetv2_b0": (1.0, 1.0, 224, 0.2),
    "efficientnetv2_b1": (1.0, 1.1, 240, 0.2),
    "efficientnetv2_b2": (1.1, 1.2, 260, 0.3),
    "efficientnetv2_b3": (1.2, 1.4, 300, 0.3),
}


def _lite(depth: float, width: float, resolution: int) -> StagedNetwork:
    scaled = _EFFICIENTNET_LITE.scale(depth, width, resolution, scale_head=False)
    ends = _EFFICIENTNET_LITE.scale(1.0, width)
    stages = (ends.stages[0], *scaled.stages[1:-1], ends.stages[-1])
    return replace(scaled, stem=_EFFICIENTNET_LITE.stem, stages=stages)


def _tinynet(depth: float, width: float, resolution: int) -> StagedNetwork:
    """Repeats are rounded to the nearest, stem and head not narrowed."""
    narrow = _EFFICIENTNET.scale(1.0, width, resolution, scale_head=False)
    stages = []
    for stage in narrow.stages:
        count = max(1, round(depth * len(stage)))
        stages.append(stage[:count] + (replace(stage[-1], stride=1),) * (count - len(stage)))
    return replace(narrow, stem=_EFFICIENTNET.stem, stages=tuple(stages))


def _v2_base(depth: float, width: float, resolution: int) -> StagedNetwork:
    scaled = _EFFICIENTNETV2_B0.scale(depth, width, resolution)
    # Its code rounds to the nearest multiple of 8 even where that is below 90 %: 16 × 1.2 stays 16.
    first = tuple(replace(layer, channels=16) for layer in scaled.stages[0])
    return replace(scaled, stages=(first, *scaled.stages[1:]))


def _networks() -> dict[str, StagedNetwork]:
    networks = {
        name: replace(
            _EFFICIENTNET.scale(depth, width, resolution), dropout=dropout, source="EfficientNet, Tan & Le, ICML 2019"
        )
        for name, (width, depth, resolution, dropout) in EFFICIENTNET_SCALING.items()
    }
    for name, (width, depth, resolution, dropout) in EFFICIENTNET_LITE_SCALING.items():
        source = "EfficientNet-Lite, tensorflow/tpu, 2020"
        networks[name] = replace(_lite(depth, width, resolution), dropout=dropout, source=source)
    for name, (width, depth, resolution) in TINYNET_SCALING.items():
        networks[name] = replace(
            _tinynet(depth, width, resolution), dropout=0.2, source="TinyNet, Han et al., NeurIPS 2020"
        )
    v2 = "EfficientNetV2, Tan & Le, ICML 2021"
    for name, (stem, stages, resolution, dropout) in EFFICIENTNETV2.items():
        networks[name] = StagedNetwork.from_strings(
            stem, stages, _V2_HEAD, resolution=resolution, dropout=dropout, source=v2, **_V2_OPTIONS
        )
    for name, (width, depth, resolution, dropout) in EFFICIENTNETV2_SCALING.items():
        networks[name] = replace(_v2_base(depth, width, resolution), dropout=dropout, source=v2)
    return {name: replace(spec, name=name) for name, spec in networks.items()}


NETWORKS = _networks()

_PAPER = "EfficientNet, Tan & Le, arXiv:1905.11946v5, Table 2"
_LITE_README = "tensorflow/tpu, EfficientNet-Lite README (float32)"
_V2_PAPER = "EfficientNetV2, Tan & Le, ICML 2021, Table 7 (trained on ImageNet alone)"
_V2_TIMM = "timm results of Google's weights (trained on ImageNet alone)"
_TINYNET_TIMM = "timm results of the authors' weights"

#: ImageNet top-1 (%) as published, each under the recipe of its source
PUBLISHED_TOP1 = {
    "efficientnet_b0": (77.1, _PAPER),
    "efficientnet_b1": (79.1, _PAPER),
    "efficientnet_b2": (80.1, _PAPER),
    "efficientnet_b3": (81.6, _PAPER),
    "efficientnet_b4": (82.9, _PAPER),
    "efficientnet_b5": (83.6, _PAPER),
    "efficientnet_b6": (84.0, _PAPER),
    "efficientnet_b7": (84.3, _PAPER),
    "efficientnet_lite0": (75.1, _LITE_README),
    "efficientnet_lite1": (76.7, _LITE_README),
    "efficientnet_lite2": (77.6, _LITE_README),
    "efficientnet_lite4": (81.5, _LITE_README),
    "efficientnetv2_s": (83.9, _V2_PAPER),
    "efficientnetv2_m": (85.1, _V2_PAPER),
    "efficientnetv2_l": (85.7, _V2_PAPER),
    "efficientnetv2_b0": (78.386, _V2_TIMM),
    "efficientnetv2_b1": (79.518, _V2_TIMM),
    "efficientnetv2_b2": (80.226, _V2_TIMM),
    "efficientnetv2_b3": (81.96, _V2_TIMM),
    "tinynet_a": (77.666, _TINYNET_TIMM),
    "tinynet_b": (74.946, _TINYNET_TIMM),
    "tinynet_c": (71.214, _TINYNET_TIMM),
    "tinynet_d": (66.936, _TINYNET_TIMM),
    "tinynet_e": (59.874, _TINYNET_TIMM),
}
