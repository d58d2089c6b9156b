"""Activations and gates of the published networks, which no parameter count would betray.

As the papers and the authors' code have them: ReLU6 in MobileNetV1 and V2 and ProxylessNAS, ReLU in MnasNet, FBNet and
MobileNetV4, h-swish with some ReLU layers in MobileNetV3, SiLU in EfficientNet, ReLU in ResNet and RegNet, GELU in
ConvNeXt.
"""

from __future__ import annotations

import pytest

import nas

FUNCTIONS = {
    "mobilenetv1_0.5": {"relu6"},
    "mobilenetv2": {"relu6"},
    "proxylessnas_mobile": {"relu6"},
    "efficientnet_lite0": {"relu6"},
    "mnasnet_a1": {"relu", "sigmoid"},
    "mnasnet_b1": {"relu"},
    "fbnet_a": {"relu"},
    "mobilenetv4_conv_small": {"relu"},
    "mobilenetv3_large": {"relu", "hardswish", "hardsigmoid"},
    "mobilenetv3_small_minimalistic": {"relu"},
    "efficientnet_b0": {"silu", "sigmoid"},
    "efficientnetv2_s": {"silu", "sigmoid"},
    "tinynet_a": {"silu", "sigmoid"},
    "resnet18": {"relu"},
    "resnet50": {"relu"},
    "regnet_y_800mf": {"relu", "sigmoid"},
    "convnext_tiny": {"gelu"},
    "convnextv2_tiny": {"gelu"},
    "darts_v2": {"relu"},
    "nasnet_a_mobile": {"relu"},
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_those_of_the_paper(name: str) -> None:
    assert {layer.function for layer in nas.network(name).layers() if layer.op == "act"} == FUNCTIONS[name]


def test_mobilenetv3_has_h_swish_from_80_channels_on() -> None:
    """Table 1 of the paper: RE up to the last block of 40 channels, HS behind and in the stem."""
    nodes = nas.network("mobilenetv3_large").nodes
    functions = [node.block.activation for node in nodes if hasattr(node.block, "activation")]  # type: ignore[attr-defined]
    assert functions == ["hardswish", *["relu"] * 6, *["hardswish"] * 11, "none"]
