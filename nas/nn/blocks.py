"""The torch modules behind the block types. Plain torch, nothing of `nas`: exported source files quote them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "hardswish": nn.Hardswish,
    "sigmoid": nn.Sigmoid,
    "hardsigmoid": nn.Hardsigmoid,
    "none": nn.Identity,
}


class ConvNormAct(nn.Sequential):
    """Convolution without bias, batch normalisation, activation.

    `padding` is (top = left, bottom = right) in pixels; by default both are half the kernel.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        activation: str = "relu",
        norm_eps: float = 1e-5,
        padding: tuple[int, int] | None = None,
    ):
        before, after = padding or (kernel // 2, kernel // 2)
        layers: list[nn.Module] = []
        if before != after:
            layers.append(nn.ZeroPad2d((before, after, before, after)))
        layers += [
            nn.Conv2d(
                in_channels, out_channels, kernel, stride, before if before == after else 0, groups=groups, bias=False
            ),
            nn.BatchNorm2d(out_channels, eps=norm_eps),
            ACTIVATIONS[activation](),
        ]
        super().__init__(*layers)


class SqueezeExcite(nn.Module):
    """Channel gating by global context (Hu et al., 2018): x * gate(expand(act(reduce(mean(x)))))."""

    def __init__(self, channels: int, squeeze_channels: int, activation: str, gate: str):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, squeeze_channels, 1)
        self.activation = ACTIVATIONS[activation]()
        self.expand = nn.Conv2d(squeeze_channels, channels, 1)
        self.gate = ACTIVATIONS[gate]()

    def forward(self, x: Tensor) -> Tensor:
        gate: Tensor = self.gate(self.expand(self.activation(self.reduce(self.pool(x)))))
        return x * gate


class InvertedResidual(nn.Module):
    """MBConv (Sandler et al., 2018): expand 1x1, depthwise, optional squeeze-and-excite, linear project 1x1.

    Without expansion (`mid_channels == in_channels`) the first convolution is left out unless `always_expand`. With
    `groups` the pointwise convolutions are grouped and channels shuffled before the depthwise one. The input is added
    to the output where shapes allow it.
    """

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        squeeze_channels: int = 0,
        activation: str = "relu",
        se_activation: str = "relu",
        se_gate: str = "sigmoid",
        norm_eps: float = 1e-5,
        padding: tuple[int, int] | None = None,
        groups: int = 1,
        always_expand: bool = False,
    ):
        super().__init__()
        layers: list[nn.Module] = []
        if mid_channels != in_channels or always_expand:
            layers.append(ConvNormAct(in_channels, mid_channels, 1, 1, groups, activation, norm_eps))
        if groups > 1:
            layers.append(nn.ChannelShuffle(groups))
        layers.append(
            ConvNormAct(mid_channels, mid_channels, kernel, stride, mid_channels, activation, norm_eps, padding)
        )
        if squeeze_channels:
            layers.append(SqueezeExcite(mid_channels, squeeze_channels, se_activation, se_gate))
        layers.append(ConvNormAct(mid_channels, out_channels, 1, 1, groups, "none", norm_eps))
        self.body = nn.Sequential(*layers)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.residual else y


class GlobalPool(nn.Module):
    """Global average pool to a flat feature vector."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(self.pool(x), 1)


class DenseLayer(nn.Sequential):
    """Dropout, fully connected layer, activation."""

    def __init__(
        self, in_features: int, out_features: int, activation: str = "none", dropout: float = 0.0, bias: bool = True
    ):
        super().__init__(nn.Dropout(dropout), nn.Linear(in_features, out_features, bias), ACTIVATIONS[activation]())
