"""ResNet, Wide ResNet, ResNeXt and RegNet.

RegNets are called as in timm: X or Y, then the target in units of 10⁸ multiply-adds. torchvision rounds widths to the
group width in another way, which changes three sizes; those have torchvision's own names.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from nas.space import NetworkSpec
from nas.space.regnet import RegNet
from nas.space.residual_network import ResidualNetwork

_RESNET = "He et al., 2016 (arXiv:1512.03385), stride in the 3×3 convolution as in torchvision"
_WIDE = "Zagoruyko & Komodakis, 2016 (arXiv:1605.07146), torchvision"
_RESNEXT = "Xie et al., 2017 (arXiv:1611.05431)"
_REGNET = "Radosavovic et al., 2020 (arXiv:2003.13678), pycls"

_RESNETS: dict[str, ResidualNetwork] = {
    "resnet18": ResidualNetwork((2, 2, 2, 2), block="basic", source=_RESNET),
    "resnet34": ResidualNetwork((3, 4, 6, 3), block="basic", source=_RESNET),
    "resnet50": ResidualNetwork((3, 4, 6, 3), source=_RESNET),
    "resnet101": ResidualNetwork((3, 4, 23, 3), source=_RESNET),
    "resnet152": ResidualNetwork((3, 8, 36, 3), source=_RESNET),
    "resnet200": ResidualNetwork((3, 24, 36, 3), source="timm; the paper's ResNet-200 is pre-activated"),
    "wide_resnet50_2": ResidualNetwork((3, 4, 6, 3), mid_factor=2, source=_WIDE),
    "wide_resnet101_2": ResidualNetwork((3, 4, 23, 3), mid_factor=2, source=_WIDE),
    "resnext50_32x4d": ResidualNetwork((3, 4, 6, 3), groups=32, mid_factor=2, source=_RESNEXT),
    "resnext101_32x4d": ResidualNetwork((3, 4, 23, 3), groups=32, mid_factor=2, source=_RESNEXT),
    "resnext101_32x8d": ResidualNetwork((3, 4, 23, 3), groups=32, mid_factor=4, source=_RESNEXT),
    "resnext101_64x4d": ResidualNetwork((3, 4, 23, 3), groups=64, mid_factor=4, source=_RESNEXT),
    "resnext152_32x4d": ResidualNetwork((3, 8, 36, 3), groups=32, mid_factor=2, source=_RESNEXT),
}

#: depth, w_0, w_a, w_m, group width (pycls, configs/dds_baselines)
REGNET_X = {
    "regnetx_002": (13, 24, 36.44, 2.49, 8),
    "regnetx_004": (22, 24, 24.48, 2.54, 16),
    "regnetx_006": (16, 48, 36.97, 2.24, 24),
    "regnetx_008": (16, 56, 35.73, 2.28, 16),
    "regnetx_016": (18, 80, 34.01, 2.25, 24),
    "regnetx_032": (25, 88, 26.31, 2.25, 48),
    "regnetx_040": (23, 96, 38.65, 2.43, 40),
    "regnetx_064": (17, 184, 60.83, 2.07, 56),
    "regnetx_080": (23, 80, 49.56, 2.88, 120),
    "regnetx_120": (19, 168, 73.36, 2.37, 112),
    "regnetx_160": (22, 216, 55.59, 2.1, 128),
    "regnetx_320": (23, 320, 69.86, 2.0, 168),
}
REGNET_Y = {
    "regnety_002": (13, 24, 36.44, 2.49, 8),
    "regnety_004": (16, 48, 27.89, 2.09, 8),
    "regnety_006": (15, 48, 32.54, 2.32, 16),
    "regnety_008": (14, 56, 38.84, 2.4, 16),
    "regnety_016": (27, 48, 20.71, 2.65, 24),
    "regnety_032": (21, 80, 42.63, 2.66, 24),
    "regnety_040": (22, 96, 31.41, 2.24, 64),
    "regnety_064": (25, 112, 33.22, 2.27, 72),
    "regnety_080": (17, 192, 76.82, 2.19, 56),
    "regnety_120": (19, 168, 73.36, 2.37, 112),
    "regnety_160": (18, 200, 106.23, 2.48, 112),
    "regnety_320": (20, 232, 115.89, 2.53, 232),
    "regnety_1280": (27, 456, 160.83, 2.52, 264),
}
#: where torchvision's rounding gives other widths: its name, the size it stands for
_TORCHVISION = {"regnet_x_400mf": "regnetx_004", "regnet_y_800mf": "regnety_008", "regnet_y_8gf": "regnety_080"}


def _regnet(
    name: str, rounding: Literal["nearest", "mostly_up"] = "nearest", source: str = _REGNET
) -> RegNet:  # fmt: skip
    depth, w_0, w_a, w_m, group_width = (REGNET_X | REGNET_Y)[name]
    se_ratio = 0.25 if name in REGNET_Y else 0.0
    return RegNet(depth, w_0, w_a, w_m, group_width, se_ratio, rounding, source=source)


_REGNETS: dict[str, RegNet] = {name: _regnet(name) for name in (*REGNET_X, *REGNET_Y)} | {
    name: _regnet(size, "mostly_up", "torchvision, after Radosavovic et al., 2020 (arXiv:2003.13678)")
    for name, size in _TORCHVISION.items()
}

NETWORKS: dict[str, NetworkSpec] = {name: replace(spec, name=name) for name, spec in (_RESNETS | _REGNETS).items()}

_TORCHVISION_TOP1 = "torchvision, weights IMAGENET1K_V1"
_PYCLS_TOP1 = "pycls model zoo, 100 epochs, mean of 5 runs"

PUBLISHED_TOP1: dict[str, tuple[float, str]] = {
    "resnet18": (69.758, _TORCHVISION_TOP1),
    "resnet34": (73.314, _TORCHVISION_TOP1),
    "resnet50": (76.130, _TORCHVISION_TOP1),
    "resnet101": (77.374, _TORCHVISION_TOP1),
    "resnet152": (78.312, _TORCHVISION_TOP1),
    "wide_resnet50_2": (78.468, _TORCHVISION_TOP1),
    "wide_resnet101_2": (78.848, _TORCHVISION_TOP1),
    "resnext50_32x4d": (77.618, _TORCHVISION_TOP1),
    "resnext101_32x8d": (79.312, _TORCHVISION_TOP1),
    "resnext101_64x4d": (83.246, _TORCHVISION_TOP1),
    "regnet_x_400mf": (72.834, _TORCHVISION_TOP1),
    "regnet_y_800mf": (76.420, _TORCHVISION_TOP1),
    "regnet_y_8gf": (80.032, _TORCHVISION_TOP1),
    "regnetx_002": (68.9, _PYCLS_TOP1),
    "regnetx_004": (72.7, _PYCLS_TOP1),
    "regnetx_006": (74.1, _PYCLS_TOP1),
    "regnetx_008": (75.2, _PYCLS_TOP1),
    "regnetx_016": (77.0, _PYCLS_TOP1),
    "regnetx_032": (78.3, _PYCLS_TOP1),
    "regnetx_040": (78.6, _PYCLS_TOP1),
    "regnetx_064": (79.2, _PYCLS_TOP1),
    "regnetx_080": (79.3, _PYCLS_TOP1),
    "regnetx_120": (79.7, _PYCLS_TOP1),
    "regnetx_160": (80.0, _PYCLS_TOP1),
    "regnetx_320": (80.5, _PYCLS_TOP1),
    "regnety_002": (70.4, _PYCLS_TOP1),
    "regnety_004": (74.1, _PYCLS_TOP1),
    "regnety_006": (75.5, _PYCLS_TOP1),
    "regnety_008": (76.3, _PYCLS_TOP1),
    "regnety_016": (78.0, _PYCLS_TOP1),
    "regnety_032": (79.0, _PYCLS_TOP1),
    "regnety_040": (79.4, _PYCLS_TOP1),
    "regnety_064": (79.9, _PYCLS_TOP1),
    "regnety_080": (79.9, _PYCLS_TOP1),
    "regnety_120": (80.3, _PYCLS_TOP1),
    "regnety_160": (80.4, _PYCLS_TOP1),
    "regnety_320": (81.0, _PYCLS_TOP1),
}
