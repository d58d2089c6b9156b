"""Blocks of MobileNetV1 and MobileNetV4 and the identity of layer-wise spaces, at known shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nas.space.block import NORM_EPS, Block
from nas.space.mbconv_blocks import module_arguments
from nas.space.trace import Tensor, Trace, downsampled


@dataclass(frozen=True)
class DepthwiseSeparableBlock(Block):
    """MobileNetV1 (Howard et al., 2017): depthwise, then pointwise convolution, each normalised and activated."""

    kernel: int = 3
    stride: int = 1
    activation: str = "relu"
    norm_eps: float = NORM_EPS
    padding: tuple[int, int] | None = None

    @property
    def out_size(self) -> int:
        return downsampled(self.in_size, self.stride)

    def trace(self, trace: Trace, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        y = trace.conv_norm_act(
            x, self.in_channels, self.kernel, self.stride, groups=self.in_channels, activation=self.activation
        )
        return trace.conv_norm_act(y, self.out_channels, activation=self.activation)

    def module_call(self) -> tuple[str, dict[str, Any]]:
        return "DepthwiseSeparable", module_arguments(self)

    def describe(self) -> str:
        return f"ds_k{self.kernel}_s{self.stride}_c{self.out_channels}"


@dataclass(frozen=True)
class UniversalInvertedBottleneckBlock(Block):
    """MobileNetV4 (Qin et al., 2024): an inverted bottleneck with a depthwise convolution before, inside, both or none.

    `start_kernel` is that of the depthwise convolution before the expansion, which has no activation, `kernel` of the
    one between expansion and projection; 0 for none. The stride is that of the inner one where there is one.
    """

    mid_channels: int = 0
    start_kernel: int = 0
    kernel: int = 3
    stride: int = 1
    activation: str = "relu"
    norm_eps: float = NORM_EPS
    start_padding: tuple[int, int] | None = None
    padding: tuple[int, int] | None = None

    @property
    def out_size(self) -> int:
        return downsampled(self.in_size, self.stride)

    @property
    def residual(self) -> bool:
        return self.stride == 1 and self.in_channels == self.out_channels

    def trace(self, trace: Trace, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        y, mid = x, self.mid_channels
        if self.start_kernel:
            stride = 1 if self.kernel else self.stride
            y = trace.conv_norm_act(y, self.in_channels, self.start_kernel, stride, groups=self.in_channels)
        y = trace.conv_norm_act(y, mid, activation=self.activation)
        if self.kernel:
            y = trace.conv_norm_act(y, mid, self.kernel, self.stride, groups=mid, activation=self.activation)
        y = trace.conv_norm_act(y, self.out_channels)
        return trace.add(x, y) if self.residual else y

    def module_call(self) -> tuple[str, dict[str, Any]]:
        return "UniversalInvertedBottleneck", module_arguments(self)

    def describe(self) -> str:
        expand = self.mid_channels / self.in_channels
        return f"ui_a{self.start_kernel}_k{self.kernel}_s{self.stride}_e{expand:.3g}_c{self.out_channels}"


@dataclass(frozen=True)
class IdentityBlock(Block):
    """What enters leaves."""

    def trace(self, trace: Trace, *inputs: Tensor) -> Tensor:
        return inputs[0]

    def module_call(self) -> tuple[str, dict[str, Any]]:
        return "Identity", {}

    def describe(self) -> str:
        return "id"


@dataclass(frozen=True)
class NormDenseBlock(Block):
    """Fully connected layer without bias, batch normalisation, activation, on a pooled feature vector."""

    activation: str = "relu"
    norm_eps: float = NORM_EPS

    def trace(self, trace: Trace, *inputs: Tensor) -> Tensor:
        return trace.conv_norm_act(inputs[0], self.out_channels, activation=self.activation)

    def module_call(self) -> tuple[str, dict[str, Any]]:
        return "NormDenseLayer", module_arguments(self)

    def describe(self) -> str:
        return f"fc_c{self.out_channels}_norm"
