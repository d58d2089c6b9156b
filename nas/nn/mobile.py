"""Blocks of MobileNetV1, MobileNetV4 and EfficientNetV2. Plain torch, nothing of `nas`: exported files quote them."""

from __future__ import annotations

from torch import Tensor, nn

from nas.nn.blocks import ACTIVATIONS, ConvNormAct, SqueezeExcite


class FusedMBConv(nn.Module):
    """Fused-MBConv (Tan & Le, 2021): expand k x k, optional squeeze-and-excite, linear project 1x1.

    Without expansion (`mid_channels == in_channels`) it is one k x k convolution with activation, on the gated input
    where there is squeeze-and-excite. The input is added to the output where shapes allow it.
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
    ):
        super().__init__()
        expands = mid_channels != in_channels
        layers: list[nn.Module] = []
        if expands:
            layers.append(ConvNormAct(in_channels, mid_channels, kernel, stride, 1, activation, norm_eps, padding))
        if squeeze_channels:
            layers.append(SqueezeExcite(mid_channels, squeeze_channels, se_activation, se_gate))
        if expands:
            layers.append(ConvNormAct(mid_channels, out_channels, 1, activation="none", norm_eps=norm_eps))
        else:
            layers.append(ConvNormAct(in_channels, out_channels, kernel, stride, 1, activation, norm_eps, padding))
        self.body = nn.Sequential(*layers)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.residual else y


class DepthwiseSeparable(nn.Sequential):
    """Depthwise, then pointwise convolution, each normalised and activated (Howard et al., 2017)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        activation: str = "relu",
        norm_eps: float = 1e-5,
        padding: tuple[int, int] | None = None,
    ):
        super().__init__(
            ConvNormAct(in_channels, in_channels, kernel, stride, in_channels, activation, norm_eps, padding),
            ConvNormAct(in_channels, out_channels, 1, activation=activation, norm_eps=norm_eps),
        )


class UniversalInvertedBottleneck(nn.Module):
    """Inverted bottleneck with a depthwise convolution before, inside, both or none (Qin et al., 2024).

    `start_kernel` is that of the depthwise convolution before the expansion, which has no activation, `kernel` of the
    one between expansion and projection; 0 for none. The stride is that of the inner one where there is one.
    """

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        start_kernel: int = 0,
        kernel: int = 3,
        stride: int = 1,
        activation: str = "relu",
        norm_eps: float = 1e-5,
        start_padding: tuple[int, int] | None = None,
        padding: tuple[int, int] | None = None,
    ):
        super().__init__()
        layers: list[nn.Module] = []
        if start_kernel:
            start = 1 if kernel else stride
            layers.append(
                ConvNormAct(in_channels, in_channels, start_kernel, start, in_channels, "none", norm_eps, start_padding)
            )
        layers.append(ConvNormAct(in_channels, mid_channels, 1, activation=activation, norm_eps=norm_eps))
        if kernel:
            layers.append(
                ConvNormAct(mid_channels, mid_channels, kernel, stride, mid_channels, activation, norm_eps, padding)
            )
        layers.append(ConvNormAct(mid_channels, out_channels, 1, activation="none", norm_eps=norm_eps))
        self.body = nn.Sequential(*layers)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.residual else y


class Identity(nn.Module):
    """What enters leaves."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class NormDenseLayer(nn.Sequential):
    """Fully connected layer without bias, batch normalisation, activation."""

    def __init__(self, in_channels: int, out_channels: int, activation: str = "relu", norm_eps: float = 1e-5):
        super().__init__(
            nn.Linear(in_channels, out_channels, bias=False),
            nn.BatchNorm1d(out_channels, eps=norm_eps),
            ACTIVATIONS[activation](),
        )
