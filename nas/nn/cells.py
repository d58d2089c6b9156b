"""The torch modules of searched cells (DARTS, NASNet). Plain torch: exported source files quote them."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AlignedConv(nn.Conv2d):
    """A convolution whose stride is its dilation: of its input it reads every so many pixels alone.

    In training it gets no others, which gives the same and makes the backward pass on a CPU several times as fast.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        step, padding = self.stride[0], self.kernel_size[0] // 2
        return nn.functional.conv2d(x[:, :, ::step, ::step], self.weight, self.bias, 1, padding, 1, self.groups)


class PreActivationConv(nn.Sequential):
    """ReLU, convolution without bias, batch normalisation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        stride: int = 1,
        dilation: int = 1,
        norm_eps: float = 1e-5,
    ):
        padding = dilation * (kernel // 2)
        convolution = AlignedConv if stride == dilation > 1 else nn.Conv2d
        super().__init__(
            nn.ReLU(),
            convolution(in_channels, out_channels, kernel, stride, padding, dilation, bias=False),
            nn.BatchNorm2d(out_channels, eps=norm_eps),
        )


class SeparableConv(nn.Sequential):
    """ReLU, depthwise and pointwise convolution, batch normalisation, `repeats` times; the first one strides."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        dilation: int = 1,
        repeats: int = 2,
        norm_eps: float = 1e-5,
    ):
        padding = dilation * (kernel // 2)
        layers: list[nn.Module] = []
        for i in range(repeats):
            channels = out_channels if i else in_channels
            step = 1 if i else stride
            depthwise = AlignedConv if step == dilation > 1 else nn.Conv2d
            layers += [
                nn.ReLU(),
                depthwise(channels, channels, kernel, step, padding, dilation, groups=channels, bias=False),
                nn.Conv2d(channels, out_channels, 1, bias=False),
                nn.BatchNorm2d(out_channels, eps=norm_eps),
            ]
        super().__init__(*layers)


class FactorizedConv(nn.Sequential):
    """ReLU, 1×k and k×1 convolution, batch normalisation."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 7, stride: int = 1, norm_eps: float = 1e-5
    ):  # fmt: skip
        half = kernel // 2
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(in_channels, out_channels, (1, kernel), (1, stride), (0, half), bias=False),
            nn.Conv2d(out_channels, out_channels, (kernel, 1), (stride, 1), (half, 0), bias=False),
            nn.BatchNorm2d(out_channels, eps=norm_eps),
        )


class BottleneckConv(nn.Sequential):
    """ReLU, 1×1 convolution to fewer channels, k×k or 1×k and k×1 convolution, 1×1 convolution, all normalised.

    A ReLU stands before each convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        mid_channels: int,
        kernel: int = 3,
        stride: int = 1,
        factorized: bool = False,
        norm_eps: float = 1e-5,
    ):
        half = kernel // 2
        shapes = [(in_channels, mid_channels, (1, 1), (1, 1))]
        if factorized:
            shapes.append((mid_channels, mid_channels, (1, kernel), (1, stride)))
            shapes.append((mid_channels, mid_channels, (kernel, 1), (stride, 1)))
        else:
            shapes.append((mid_channels, mid_channels, (kernel, kernel), (stride, stride)))
        shapes.append((mid_channels, out_channels, (1, 1), (1, 1)))
        layers: list[nn.Module] = []
        for channels, out, size, step in shapes:
            padding = (half if size[0] > 1 else 0, half if size[1] > 1 else 0)
            layers += [
                nn.ReLU(),
                nn.Conv2d(channels, out, size, step, padding, bias=False),
                nn.BatchNorm2d(out, eps=norm_eps),
            ]
        super().__init__(*layers)


class FactorizedReduce(nn.Module):
    """Half the resolution without losing information: two strided 1×1 convolutions, one shifted by a pixel.

    Their outputs, half the channels each, are concatenated and normalised; with `relu` the input is activated first.
    On inputs of odd size the shifted one would end a pixel short, so its input is padded.
    """

    def __init__(
        self, in_channels: int, out_channels: int, relu: bool = True, norm_eps: float = 1e-5, odd_size: bool = False
    ):
        super().__init__()
        half = out_channels // 2
        self.activation = nn.ReLU() if relu else nn.Identity()
        self.even = nn.Conv2d(in_channels, half, 1, 2, bias=False)
        self.odd = nn.Conv2d(in_channels, out_channels - half, 1, 2, bias=False)
        self.norm = nn.BatchNorm2d(out_channels, eps=norm_eps)
        self.odd_size = odd_size

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(x)
        even, shifted = self.even(x), x[:, :, 1:, 1:]
        if self.odd_size:
            shifted = nn.functional.pad(shifted, (0, 1, 0, 1))
        y: Tensor = self.norm(torch.cat([even, self.odd(shifted)], 1))
        return y


class StridedZeros(nn.Module):
    """Zeros in the shape of the input, at 1 / `stride` of its resolution, rounded up."""

    def __init__(self, stride: int = 1):
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x[:, :, :: self.stride, :: self.stride])


class Relu(nn.ReLU):
    """ReLU as a block of its own."""
