"""Residual networks: ResNet, ResNeXt, RegNet, ConvNeXt. Plain torch, nothing of `nas`: exported files quote it.

`norm` is "batch", "layer" or "simple" (both over the channels of every pixel), or "none". A convolution has a bias
unless a batch normalisation follows, as in the published networks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas.nn.blocks import ACTIVATIONS, GlobalPool, SqueezeExcite


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation over the channels of [batch, channels, height, width]."""

    def __init__(self, channels: int):
        super().__init__(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class SimpleNorm(nn.Module):
    """Divide by the standard deviation over the channels, times a trained factor for each; the mean stays (timm).

    Takes [batch, channels] or [batch, channels, height, width].
    """

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.rsqrt(x.var(1, keepdim=True) + 1e-6)
        return x * scale * self.weight.view(-1, *[1] * (x.dim() - 2))


class NormedConv(nn.Sequential):
    """Convolution, normalisation, activation; "same"-padded unless `padding` says otherwise."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        norm: str = "batch",
        activation: str = "none",
        padding: int | None = None,
    ):
        padding = kernel // 2 if padding is None else padding
        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=norm != "batch")
        ]
        norms: dict[str, type[nn.Module]] = {"batch": nn.BatchNorm2d, "layer": LayerNorm2d, "simple": SimpleNorm}
        if norm != "none":
            layers.append(norms[norm](out_channels))
        if activation != "none":
            layers.append(ACTIVATIONS[activation]())
        super().__init__(*layers)


class ResNetStem(nn.Sequential):
    """7x7 convolution and 3x3 max pool, both with stride 2."""

    def __init__(self, in_channels: int, out_channels: int, norm: str = "batch", activation: str = "relu"):
        super().__init__(
            NormedConv(in_channels, out_channels, 7, 2, norm=norm, activation=activation), nn.MaxPool2d(3, 2, 1)
        )


class PatchMerging(nn.Sequential):
    """Normalisation, then a 2x2 convolution with stride 2; an odd last row and column are dropped."""

    def __init__(self, in_channels: int, out_channels: int, norm: str = "layer"):
        norms: dict[str, type[nn.Module]] = {"batch": nn.BatchNorm2d, "layer": LayerNorm2d, "simple": SimpleNorm}
        super().__init__(norms[norm](in_channels), nn.Conv2d(in_channels, out_channels, 2, 2))


class PooledNorm(nn.Sequential):
    """Global average pool to a flat feature vector, normalised."""

    def __init__(self, channels: int, norm: str = "layer"):
        norms: dict[str, nn.Module] = {
            "batch": nn.BatchNorm1d(channels),
            "layer": nn.LayerNorm(channels, eps=1e-6),
            "simple": SimpleNorm(channels),
        }
        super().__init__(GlobalPool(), norms[norm])


class GlobalResponseNorm(nn.Module):
    """Channels compete by their norms over the image (Woo et al., 2023): x + weight * x * norm / mean norm + bias."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(x, dim=(2, 3), keepdim=True)
        share = norm / (norm.mean(dim=1, keepdim=True) + 1e-6)
        return torch.addcmul(self.bias, x, 1 + self.weight * share)


class LayerScale(nn.Module):
    """A trained factor for each channel (Touvron et al., 2021)."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.full((1, channels, 1, 1), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


class ShortcutSum(nn.Module):
    """Sum of `body` and the input, activated; a normalised 1x1 convolution adapts the input where shapes differ.

    The body runs first, so that the adapted input does not wait beside it.
    """

    def __init__(
        self, body: nn.Module, in_channels: int, out_channels: int, stride: int, norm: str, activation: str = "none"
    ):
        super().__init__()
        self.body = body
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            self.shortcut = NormedConv(in_channels, out_channels, 1, stride, norm=norm)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        total: Tensor = self.activation(y + self.shortcut(x))
        return total


class BasicResidual(ShortcutSum):
    """Two 3x3 convolutions (He et al., 2016)."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, norm: str = "batch", activation: str = "relu"
    ):
        body = nn.Sequential(
            NormedConv(in_channels, out_channels, 3, stride, norm=norm, activation=activation),
            NormedConv(out_channels, out_channels, 3, norm=norm),
        )
        super().__init__(body, in_channels, out_channels, stride, norm, activation)


class BottleneckResidual(ShortcutSum):
    """1x1 convolution, spatial convolution that carries the stride, optional squeeze-and-excite, 1x1 convolution.

    ResNet's with few `mid_channels`, ResNeXt's and RegNet's with `groups`, an inverted bottleneck with many
    `mid_channels` and as many groups.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        mid_channels: int,
        kernel: int = 3,
        stride: int = 1,
        groups: int = 1,
        squeeze_channels: int = 0,
        norm: str = "batch",
        activation: str = "relu",
    ):
        body = nn.Sequential(
            NormedConv(in_channels, mid_channels, norm=norm, activation=activation),
            NormedConv(mid_channels, mid_channels, kernel, stride, groups, norm, activation),
        )
        if squeeze_channels:
            body.append(SqueezeExcite(mid_channels, squeeze_channels, "relu", "sigmoid"))
        body.append(NormedConv(mid_channels, out_channels, norm=norm))
        super().__init__(body, in_channels, out_channels, stride, norm, activation)


class ConvNeXtResidual(ShortcutSum):
    """Depthwise convolution, then two 1x1 convolutions that widen and narrow (Liu et al., 2022).

    With one normalisation it follows the depthwise convolution, with three every convolution; with one activation it
    stands between the 1x1 convolutions, with three there is one behind the depthwise convolution and one behind the
    sum besides. `scaling` is "none", "layer_scale" on the output, or "grn" on the wide features (Woo et al., 2023).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        mid_channels: int,
        kernel: int = 7,
        stride: int = 1,
        norm: str = "layer",
        activation: str = "gelu",
        norms: int = 1,
        activations: int = 1,
        scaling: str = "none",
    ):
        outer = activation if activations == 3 else "none"
        inner = norm if norms == 3 else "none"
        body = nn.Sequential(
            NormedConv(in_channels, in_channels, kernel, stride, in_channels, norm, outer),
            NormedConv(in_channels, mid_channels, norm=inner, activation=activation),
        )
        if scaling == "grn":
            body.append(GlobalResponseNorm(mid_channels))
        body.append(NormedConv(mid_channels, out_channels, norm=inner))
        if scaling == "layer_scale":
            body.append(LayerScale(out_channels))
        super().__init__(body, in_channels, out_channels, stride, norm, outer)
