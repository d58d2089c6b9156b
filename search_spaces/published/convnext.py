"""ConvNeXt (Liu et al., 2022) and ConvNeXt V2 (Woo et al., 2023); points of the space `convnext` but for one.

timm's smallest, `convnext_zepto_rms`, has a normalisation of its own, which the space does not offer: it divides by
the standard deviation and leaves the mean. The weights published for XXL were trained at 256 pixels.
"""

from __future__ import annotations

from nas.space import NetworkSpec
from nas.space.residual_network import ResidualNetwork
from search_spaces.convnext import CONVNEXT

_PAPER = "Liu et al., 2022 (arXiv:2201.03545)"
_TIMM = "timm, after Liu et al., 2022 (arXiv:2201.03545)"
_V2_PAPER = "Woo et al., 2023 (arXiv:2301.00808)"

#: depths, width, source
V1_SIZES = {
    "convnext_atto": ((2, 2, 6, 2), 40, _TIMM),
    "convnext_femto": ((2, 2, 6, 2), 48, _TIMM),
    "convnext_pico": ((2, 2, 6, 2), 64, _TIMM),
    "convnext_nano": ((2, 2, 8, 2), 80, _TIMM),
    "convnext_tiny": ((3, 3, 9, 3), 96, _PAPER),
    "convnext_small": ((3, 3, 27, 3), 96, _PAPER),
    "convnext_base": ((3, 3, 27, 3), 128, _PAPER),
    "convnext_large": ((3, 3, 27, 3), 192, _PAPER),
    "convnext_xlarge": ((3, 3, 27, 3), 256, _PAPER),
    "convnext_xxlarge": ((3, 4, 30, 3), 384, "OpenCLIP and timm, after Liu et al., 2022 (arXiv:2201.03545)"),
}
V2_SIZES = {
    "convnextv2_atto": ((2, 2, 6, 2), 40),
    "convnextv2_femto": ((2, 2, 6, 2), 48),
    "convnextv2_pico": ((2, 2, 6, 2), 64),
    "convnextv2_nano": ((2, 2, 8, 2), 80),
    "convnextv2_tiny": ((3, 3, 9, 3), 96),
    "convnextv2_base": ((3, 3, 27, 3), 128),
    "convnextv2_large": ((3, 3, 27, 3), 192),
    "convnextv2_huge": ((3, 3, 27, 3), 352),
}

_V1 = {
    name: ResidualNetwork(depths, width, **CONVNEXT, name=name, source=source)
    for name, (depths, width, source) in V1_SIZES.items()
}
_V2 = {
    name: ResidualNetwork(depths, width, **(CONVNEXT | {"scaling": "grn"}), name=name, source=_V2_PAPER)
    for name, (depths, width) in V2_SIZES.items()
}

_ZEPTO = ResidualNetwork(
    (2, 2, 4, 2), 32, **(CONVNEXT | {"norm": "simple"}), name="convnext_zepto_rms", source=_TIMM
)  # fmt: skip

NETWORKS: dict[str, NetworkSpec] = {_ZEPTO.name: _ZEPTO, **_V1, **_V2}

_PAPER_TOP1 = "Liu et al., 2022, Table 1, 224 pixels"
_TIMM_TOP1 = "timm results-imagenet, 224 pixels"
_V2_TOP1 = "ConvNeXt-V2 README, masked autoencoder pre-training on ImageNet-1K, 224 pixels"

PUBLISHED_TOP1: dict[str, tuple[float, str]] = {
    "convnext_zepto_rms": (72.820, _TIMM_TOP1),
    "convnext_atto": (75.672, _TIMM_TOP1),
    "convnext_femto": (77.498, _TIMM_TOP1),
    "convnext_pico": (79.516, _TIMM_TOP1),
    "convnext_nano": (80.762, _TIMM_TOP1),
    "convnext_tiny": (82.1, _PAPER_TOP1),
    "convnext_small": (83.1, _PAPER_TOP1),
    "convnext_base": (83.8, _PAPER_TOP1),
    "convnext_large": (84.3, _PAPER_TOP1),
    "convnext_xlarge": (87.0, "Liu et al., 2022, Table 1, 224 pixels, pre-training on ImageNet-22K"),
    "convnextv2_atto": (76.7, _V2_TOP1),
    "convnextv2_femto": (78.5, _V2_TOP1),
    "convnextv2_pico": (80.3, _V2_TOP1),
    "convnextv2_nano": (81.9, _V2_TOP1),
    "convnextv2_tiny": (83.0, _V2_TOP1),
    "convnextv2_base": (84.9, _V2_TOP1),
    "convnextv2_large": (85.8, _V2_TOP1),
    "convnextv2_huge": (86.3, _V2_TOP1),
}
