"""`convnext`: everything between ResNet-50 and ConvNeXt, one decision for each step of the modernisation.

ResNet (He et al., 2016) is one end, ConvNeXt (Liu et al., 2022) and ConvNeXt V2 (Woo et al., 2023) the other. `PATH`
and `PATH_200` are the two ways the ConvNeXt paper takes from one to the other, as points of the space.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from nas.space.residual_network import ResidualNetwork
from nas.space.residual_space import ResidualSpace

#: what the ConvNeXts have in common
CONVNEXT: dict[str, Any] = {
    "block": "convnext", "kernel": 7, "stem": "patchify", "norm": "layer", "activation": "gelu", "norms": 1,
    "activations": 1, "downsampling": "separate", "scaling": "layer_scale",
}  # fmt: skip

SPACE = ResidualSpace(
    "convnext",
    ResidualNetwork((3, 4, 6, 3)),
    depths=((2, 3), (2, 3, 4, 8, 24), (4, 6, 8, 9, 23, 27, 30, 36), (2, 3)),
    choices={
        "width": (32, 40, 48, 64, 80, 96, 128, 192, 256, 352, 384),
        "stem": ("resnet", "patchify"),
        "downsampling": ("block", "separate"),
        "norm": ("batch", "layer"),
        "activation": ("relu", "gelu"),
        "block": ("bottleneck", "dw_bottleneck", "inverted", "convnext"),
        "kernel": (3, 5, 7, 9, 11),
        "expansion": (4, 2, 3, 6),
        "activations": (3, 1),
        "norms": (3, 1),
        "scaling": ("none", "layer_scale", "grn"),
    },
    description="from ResNet-50 to ConvNeXt V2, one decision for each step",
)
#: the largest network has too many weights to share
SPACE.proxy = {"width": 0.25}


@dataclass(frozen=True)
class Step:
    """One step of the modernisation, with what the paper prints for it.

    Args:
        name: in the words of the paper.
        network: what stands after the step.
        gflops: multiply-adds in billions, as text so that the printed digits are kept.
        top1: ImageNet top-1 in percent, trained by the recipe of the paper.
    """

    name: str
    network: ResidualNetwork
    gflops: str
    top1: float


def _path(start: ResidualNetwork, steps: list[tuple[str, dict[str, Any], str, float]]) -> tuple[Step, ...]:
    """Apply the changes one after the other; kernels that were tried and not kept change nothing later."""
    path, network = [], start
    for name, changes, gflops, top1 in steps:
        network = replace(network, **changes)
        path.append(Step(name, network, gflops, top1))
    return tuple(path)


def _from_depthwise_to_convnext(
    width: int, gflops: list[str], top1: list[float]
) -> list[tuple[str, dict[str, Any], str, float]]:  # fmt: skip
    """The steps that both ways share, from the depthwise convolution on."""
    changes: list[tuple[str, dict[str, Any]]] = [
        ("depthwise conv", {"block": "dw_bottleneck"}),
        ("increase width", {"width": width}),
        ("inverting dimensions", {"block": "inverted"}),
        ("move up depthwise conv", {"block": "convnext"}),
        ("kernel size -> 5", {"kernel": 5}),
        ("kernel size -> 7", {"kernel": 7}),
        ("kernel size -> 9", {"kernel": 9}),
        ("kernel size -> 11", {"kernel": 11}),
        ("ReLU -> GELU", {"kernel": 7, "activation": "gelu"}),
        ("fewer activations", {"activations": 1}),
        ("fewer norms", {"norms": 1}),
        ("BN -> LN", {"norm": "layer"}),
        ("separate downsampling", {"downsampling": "separate", "scaling": "layer_scale"}),
    ]
    return [(*change, flops, accuracy) for change, flops, accuracy in zip(changes, gflops, top1, strict=True)]


#: Table 10 of the ConvNeXt paper. For its last two rows it prints 4.46 and 4.49, but Figure 2 of the same paper 4.2
#: and 4.5, and layer normalisation has no multiply-adds in Table 11; see experiments/convnext_path.
PATH = _path(
    ResidualNetwork((3, 4, 6, 3)),
    [
        ("ResNet-50", {}, "4.09", 78.82),
        ("stage ratio", {"depths": (3, 3, 9, 3)}, "4.53", 79.36),
        ("patchify stem", {"stem": "patchify"}, "4.42", 79.51),
        *_from_depthwise_to_convnext(
            96,
            ["2.35", "5.27", "4.64", "4.07", "4.10", "4.15", "4.21", "4.29", "4.15", "4.15", "4.15", "4.46", "4.49"],
            [78.28, 80.50, 80.64, 79.92, 80.35, 80.57, 80.57, 80.47, 80.62, 81.27, 81.41, 81.47, 81.97],
        ),
    ],
)

#: GFLOPs of the same steps in Figure 2 of the paper: those of two decimals, rounded once more
FIGURE_2 = (
    "4.1", "4.5", "4.4", "2.4", "5.3", "4.6", "4.1", "4.1", "4.2", "4.2", "4.3", "4.2", "4.2", "4.2", "4.2", "4.5",
)  # fmt: skip

#: Table 11, from ResNet-200 to ConvNeXt-B. The paper does not say to which width the second row increases; with 84
#: the three rows come out as printed. Only these lie outside the space, whose widths are those of published families.
PATH_200 = _path(
    ResidualNetwork((3, 24, 36, 3)),
    [
        ("ResNet-200", {}, "15.01", 81.14),
        ("stage ratio and increase width", {"depths": (3, 3, 27, 3), "width": 84}, "14.52", 81.33),
        ("patchify stem", {"stem": "patchify"}, "14.38", 81.59),
        *_from_depthwise_to_convnext(
            128,
            [
                "7.23", "16.76", "15.68", "14.63", "14.70", "14.81", "14.95", "15.13", "14.81", "14.81", "14.81",
                "14.81", "15.35",
            ],
            [80.54, 81.85, 82.64, 82.04, 82.32, 82.30, 82.27, 82.18, 82.19, 82.71, 83.17, 83.35, 83.60],
        ),
    ],
)  # fmt: skip
