"""Published networks as families, from the smallest to the largest, with their multipliers and how they were trained.

What of a recipe is not found in its source is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from nas.scaling.coefficients import Coefficients
from nas.scaling.recipe import Recipe
from nas.scaling.released import PublishedFamily, PublishedMember
from search_spaces.published import cells, convnext, efficient, mobile, residual

_BUILDER = "tensorflow/tpu, models/official/efficientnet: efficientnet_builder.py, main.py"
_LITE_BUILDER = "tensorflow/tpu, models/official/efficientnet/lite/efficientnet_lite_builder.py"
_V2_CONFIGS = "google/automl, efficientnetv2: effnetv2_configs.py, hparams.py"

#: customary phi of the released EfficientNets; it is no part of what was released
_PHI = dict(zip((f"efficientnet_b{i}" for i in range(8)), (0, 0.5, 1, 2, 3, 4, 5, 6), strict=True))

_EFFICIENTNET = Recipe(
    stochastic_depth=0.2, augmentation="AutoAugment", label_smoothing=0.1, optimizer="RMSProp", weight_decay=1e-5,
    epochs=350, source=_BUILDER,
)  # fmt: skip
#: of B8 and L2 only the network is in the code: its dropout, and a survival probability that all have by default
_BEYOND_B7 = Recipe(stochastic_depth=0.2, source=_V2_CONFIGS)
_LITE = Recipe(stochastic_depth=0.2, source=_LITE_BUILDER)
_V2 = replace(_EFFICIENTNET, augmentation="RandAugment", source=_V2_CONFIGS,
              note="resolution and augmentation grow to these in four stages of training")  # fmt: skip
#: resolution in training, magnitude of RandAugment, alpha of mixup and CutMix (effnetv2_configs.py)
_V2_TRAINING: dict[str, tuple[int, int | None, float]] = {
    "efficientnetv2_s": (300, 10, 0.0),
    "efficientnetv2_m": (384, 15, 0.2),
    "efficientnetv2_l": (384, 20, 0.5),
    "efficientnetv2_xl": (384, 20, 0.5),
    "efficientnetv2_b0": (192, None, 0.0),
    "efficientnetv2_b1": (192, None, 0.0),
    "efficientnetv2_b2": (208, None, 0.0),
    "efficientnetv2_b3": (240, None, 0.0),
}

_CONVNEXT = Recipe(
    dropout=0.0, augmentation="RandAugment", randaugment_magnitude=9, mixup=0.8, label_smoothing=0.1, optimizer="AdamW",
    weight_decay=0.05, epochs=300, source="facebookresearch/ConvNeXt: TRAINING.md, main.py",
    note="CutMix with alpha 1, random erasing with probability 0.25",
)  # fmt: skip
_CONVNEXT_STOCHASTIC_DEPTH = {
    "convnext_tiny": 0.1, "convnext_small": 0.4, "convnext_base": 0.5, "convnext_large": 0.5
}  # fmt: skip
_CONVNEXT_XL = Recipe(
    stochastic_depth=0.2, optimizer="AdamW", weight_decay=0.05, epochs=90, source=_CONVNEXT.source,
    pretraining="ImageNet-22K, to which these settings belong",
)  # fmt: skip
_CONVNEXTV2 = Recipe(
    optimizer="AdamW", pretraining="masked autoencoder on ImageNet-1K; these settings are of the fine-tuning after it",
    source="facebookresearch/ConvNeXt-V2: TRAINING.md",
)  # fmt: skip
_CONVNEXTV2_TRAINING = {
    "convnextv2_atto": replace(
        _CONVNEXTV2, stochastic_depth=0.1, mixup=0.0, label_smoothing=0.2, weight_decay=0.3, epochs=600
    ),
    "convnextv2_tiny": replace(
        _CONVNEXTV2, stochastic_depth=0.2, mixup=0.8, label_smoothing=0.1, weight_decay=0.05, epochs=300
    ),
    "convnextv2_base": replace(
        _CONVNEXTV2, stochastic_depth=0.1, mixup=0.8, label_smoothing=0.1, weight_decay=0.05, epochs=100
    ),
}

_REGNET = Recipe(
    dropout=0.0, stochastic_depth=0.0, optimizer="SGD", weight_decay=5e-5, epochs=100, resolution=224,
    source="facebookresearch/pycls, configs/dds_baselines",
)  # fmt: skip

_SLIM = "tensorflow/models, research/slim/nets/nasnet"
_NASNET_MOBILE = Recipe(
    dropout=0.5, stochastic_depth=0.0, label_smoothing=0.1, weight_decay=4e-5, source=f"{_SLIM}/nasnet.py"
)
_NASNET_CIFAR = replace(
    _NASNET_MOBILE, dropout=0.0, stochastic_depth=0.4, label_smoothing=None, weight_decay=5e-4, epochs=600
)
_PNASNET_MOBILE = replace(_NASNET_MOBILE, label_smoothing=None, source=f"{_SLIM}/pnasnet.py")
_DARTS = Recipe(
    dropout=0.0, stochastic_depth=0.2, optimizer="SGD", weight_decay=3e-4, epochs=600, resolution=32,
    augmentation="cutout of 16 pixels", source="quark0/darts, cnn/train.py",
    note="paths are dropped more and more often in the course of training; auxiliary classifier with weight 0.4",
)  # fmt: skip
_DARTS_IMAGENET = replace(
    _DARTS, stochastic_depth=0.0, label_smoothing=0.1, weight_decay=3e-5, epochs=None, resolution=224, augmentation="",
    source="quark0/darts, cnn/train_imagenet.py", note="auxiliary classifier with weight 0.4",
)  # fmt: skip


def _members(
    family: str, networks: Iterable[str], recipes: Mapping[str, Recipe] | None = None
) -> tuple[PublishedMember, ...]:
    """Members that no multipliers were published for, from the smallest."""
    recipes = recipes or {}
    return tuple(PublishedMember(_short(family, name), name, recipe=recipes.get(name)) for name in networks)


def _short(family: str, network: str) -> str:
    """What is left of a network's name without that of its family."""
    return network.removeprefix(family).strip("_") or "1"


def _by_width(family: str, source: str, note: str = "") -> PublishedFamily:
    """A family whose members differ in width alone."""
    members = (
        PublishedMember(_short(family, name), name, depth=1.0, width=float(width))
        for name, width in mobile.WIDTHS[family].items()
    )
    return PublishedFamily(family, family, source, tuple(members), note=note)


def _efficientnet_recipe(network: str, dropout: float) -> Recipe:
    return replace(_EFFICIENTNET if network in _PHI else _BEYOND_B7, dropout=dropout)


def _v2_recipe(network: str, dropout: float) -> Recipe:
    resolution, magnitude, mixup = _V2_TRAINING[network]
    recipe = replace(_V2, dropout=dropout, resolution=resolution, randaugment_magnitude=magnitude, mixup=mixup)
    if magnitude is None:
        return replace(recipe, augmentation="AutoAugment")
    return replace(recipe, epochs=None, pretraining="ImageNet-21k") if network.endswith("_xl") else recipe


_FAMILIES = (
    PublishedFamily(
        "efficientnet",
        "efficientnet_b0",
        "EfficientNet, Tan & Le, ICML 2019; tensorflow/tpu",
        tuple(
            PublishedMember(
                _short("efficientnet", name), name, _PHI.get(name), depth, width, _efficientnet_recipe(name, dropout)
            )
            for name, (width, depth, _, dropout) in efficient.EFFICIENTNET_SCALING.items()
        ),
        Coefficients(1.2, 1.1, 1.15),
        "The multipliers were released as a table, which the coefficients of the paper do not give; phi is customary.",
    ),
    PublishedFamily(
        "efficientnet_lite",
        "efficientnet_lite0",
        "EfficientNet-Lite, tensorflow/tpu, 2020",
        tuple(
            PublishedMember(f"lite{i}", name, depth=depth, width=width, recipe=replace(_LITE, dropout=dropout))
            for i, (name, (width, depth, _, dropout)) in enumerate(efficient.EFFICIENTNET_LITE_SCALING.items())
        ),
        note="Stem and head are not widened, the first and the last stage not deepened.",
    ),
    PublishedFamily(
        "efficientnetv2",
        "efficientnetv2_s",
        "EfficientNetV2, Tan & Le, ICML 2021",
        tuple(
            PublishedMember(_short("efficientnetv2", name), name, recipe=_v2_recipe(name, dropout))
            for name, (_, _, _, dropout) in efficient.EFFICIENTNETV2.items()
        ),
        note="M, L and XL were scaled by hand: layers were added to the late stages, and a seventh stage.",
    ),
    PublishedFamily(
        "efficientnetv2_b",
        "efficientnetv2_b0",
        "EfficientNetV2, Tan & Le, ICML 2021; google/automl",
        tuple(
            PublishedMember(
                _short("efficientnetv2", name), name, depth=depth, width=width, recipe=_v2_recipe(name, dropout)
            )
            for name, (width, depth, _, dropout) in efficient.EFFICIENTNETV2_SCALING.items()
        ),
        note="Multipliers of EfficientNet-B0 to B3. Channels are rounded to 8 even where that takes more than 10 %.",
    ),
    PublishedFamily(
        "tinynet",
        "efficientnet_b0",
        "TinyNet, Han et al., NeurIPS 2020",
        tuple(
            PublishedMember(_short("tinynet", name), name, depth=depth, width=width)
            for name, (width, depth, _) in reversed(efficient.TINYNET_SCALING.items())
        ),
        note="EfficientNet-B0 made smaller; repeats are rounded to the nearest, stem and head not narrowed.",
    ),
    _by_width("mobilenetv1", "MobileNets, Howard et al., 2017"),
    _by_width(
        "mobilenetv2", "MobileNetV2, Sandler et al., CVPR 2018", "The last convolution is widened, but not narrowed."
    ),
    _by_width(
        "mobilenetv3_large", "MobileNetV3, Howard et al., ICCV 2019", "The layer behind the pool keeps its width."
    ),
    _by_width(
        "mobilenetv3_small", "MobileNetV3, Howard et al., ICCV 2019", "The layer behind the pool keeps its width."
    ),
    _by_width("mnasnet_b1", "MnasNet, Tan et al., CVPR 2019", "The last convolution keeps its width."),
    PublishedFamily(
        "mobilenetv4_conv",
        "mobilenetv4_conv_small",
        "MobileNetV4, Qin et al., ECCV 2024",
        _members("mobilenetv4_conv", (f"mobilenetv4_conv_{size}" for size in ("small", "medium", "large"))),
        note="Each was searched for.",
    ),
    PublishedFamily(
        "convnext",
        "convnext_tiny",
        "ConvNeXt, Liu et al., 2022 (arXiv:2201.03545); up to nano and XXL: timm, OpenCLIP",
        _members(
            "convnext",
            convnext.V1_SIZES,
            {name: replace(_CONVNEXT, stochastic_depth=rate) for name, rate in _CONVNEXT_STOCHASTIC_DEPTH.items()}
            | {"convnext_xlarge": _CONVNEXT_XL},
        ),
        note="Only the third stage is deepened; widths were chosen.",
    ),
    PublishedFamily(
        "convnextv2",
        "convnextv2_tiny",
        "ConvNeXt V2, Woo et al., 2023 (arXiv:2301.00808)",
        _members("convnextv2", convnext.V2_SIZES, _CONVNEXTV2_TRAINING),
        note="Only the third stage is deepened; widths were chosen.",
    ),
    PublishedFamily(
        "resnet",
        "resnet50",
        "He et al., 2016 (arXiv:1512.03385)",
        _members("resnet", (f"resnet{depth}" for depth in (18, 34, 50, 101, 152))),
        note="18 and 34 have another block; from 50 on the second and third stage are deepened.",
    ),
    *(
        PublishedFamily(
            f"regnet{letter}",
            f"regnet{letter}_002",
            "Radosavovic et al., 2020 (arXiv:2003.13678), pycls",
            # The largest RegNetY is not among the configurations of pycls.
            _members(f"regnet{letter}", sizes, {name: _REGNET for name in sizes if name != "regnety_1280"}),
            note="Each was the best of a sample of networks of its size.",
        )
        for letter, sizes in (("x", residual.REGNET_X), ("y", residual.REGNET_Y))
    ),
    PublishedFamily(
        "darts_v2",
        "darts_v2",
        "DARTS, Liu et al., ICLR 2019",
        (
            PublishedMember("cifar10", "darts_v2", recipe=_DARTS),
            PublishedMember("imagenet", "darts_v2_imagenet", recipe=_DARTS_IMAGENET),
        ),
        note="One pair of cells in the network for each data set.",
    ),
    PublishedFamily(
        "nasnet_a",
        "nasnet_a_mobile",
        "NASNet, Zoph et al., CVPR 2018",
        (
            PublishedMember("cifar10", "nasnet_a_6_768", recipe=_NASNET_CIFAR),
            PublishedMember("mobile", "nasnet_a_mobile", recipe=_NASNET_MOBILE),
            PublishedMember(
                "large", "nasnet_a_large", recipe=replace(_NASNET_MOBILE, stochastic_depth=0.3, weight_decay=5e-5)
            ),
        ),
        note="Cells and filters were chosen for each data set and size.",
    ),
    PublishedFamily(
        "pnasnet5",
        "pnasnet5_mobile",
        "PNASNet, Liu et al., ECCV 2018",
        (
            PublishedMember("mobile", "pnasnet5_mobile", recipe=_PNASNET_MOBILE),
            PublishedMember("large", "pnasnet5_large", recipe=replace(_PNASNET_MOBILE, stochastic_depth=0.4)),
        ),
        note="Cells and filters were chosen for each size.",
    ),
    PublishedFamily(
        "amoebanet_d",
        "amoebanet_d_6_208",
        "AmoebaNet, Real et al., AAAI 2019; GPipe, Huang et al., NeurIPS 2019, Table 1",
        _members("amoebanet_d", (f"amoebanet_d_{repeats}_{filters}" for repeats, filters in cells.GPIPE_SIZES)),
        note="Named after the normal cells between reductions and the filters of the first.",
    ),
)

FAMILIES: dict[str, PublishedFamily] = {family.name: family for family in _FAMILIES}
