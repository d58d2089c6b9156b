"""The blocks of the MobileNet and EfficientNet family at known shapes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from nas.space.block import NORM_EPS, Block
from nas.space.trace import Tensor, Trace, downsampled


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Padding before and after that TensorFlow's "SAME" gives: the odd pixel goes after (bottom, right)."""
    total = max((downsampled(size, stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


@dataclass(frozen=True)
class ConvBlock(Block):
    """Convolution, batch normalisation, activation."""

    kernel: int = 1
    stride: int = 1
    activation: str = "relu"
    norm_eps: float = NORM_EPS
    padding: tuple[int, int] | None = None

    @property
    def out_size(self) -> int:
        return downsampled(self.in_size, self.stride)

    def trace(self, trace: Trace, *inputs: Tensor) -> Tensor:
        return trace.conv_norm_act(inputs[0], self.out_channels, self.kernel, self.stride, activation=self.activation)

    def module_call(self) -> tuple[str, dict[str, Any]]:
        return "ConvNormAct", module_arguments(self)

    def describe(self) -> str:
        return f"cn_k{self.kernel}_s{self.stride}_c{self.out_channels}"


@dataclass(frozen=True)
class ExpandingBlock(Block):
    """What MBConv and Fused-MBConv have in common.

    `mid_channels` is the width after the expansion, `squeeze_channels` that of the squeeze-and-excite bottleneck, 0 for
    none. The input is added to the output where their shapes are the same.
    """

    mid_channels: int = 0
    kernel: int = 3
    stride: int = 1
    squeeze_channels: int = 0
    activation: str = "relu"
    se_activation: str = "relu"
    se_gate: str = "sigmoid"
    norm_eps: float = NORM_EPS
    padding: tuple[int, int] | None = None

    @property
    def out_size(self) -> int:
        return downsampled(self.in_size, self.stride)

    @property
    def residual(self) -> bool:
        return self.stride == 1 and self.in_channels == self.out_channels


@dataclass(frozen=True)
class InvertedResidualBlock(ExpandingBlock):
    """MBConv: pointwise expansion, depthwise convolution, optional squeeze-and-excite, linear pointwise projection.

    Without expansion (`mid_channels == in_channels`) the first convolution is left out unless `always_expand`. With
    `groups` the pointwise convolutions are grouped and channels shuffled before the depthwise one, as in FBNet (Wu et
    al., 2019).
    """

    groups: int = 1
    always_expand: bool = False

    def trace(self, trace: Trace, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        y, mid = x, self.mid_channels
        if mid != self.in_channels or self.always_expand:
            y = trace.conv_norm_act(y, mid, groups=self.groups, activation=self.activation)
        if self.groups > 1:
            y = trace.shuffle(y)
        y = trace.conv_norm_act(y, mid, self.kernel, self.stride, groups=mid, activation=self.activation)
        if self.squeeze_channels:
            y = trace.squeeze_excite(y, self.squeeze_channels, self.se_activation, self.se_gate)
        y = trace.conv_norm_act(y, self.out_channels, groups=self.groups)
        return trace.add(x, y) if self.residual else y

    def module_call(self) -> tuple[str, dict[str, Any]]:
        return "InvertedResidual", module_arguments(self)

    def describe(self) -> str:
        expand = self.mid_channels / self.in_channels
        text = f"ir_k{self.kernel}_s{self.stride}_e{expand:.3g}_c{self.out_channels}"
        text += "_se" if self.squeeze_channels else ""
        return text + f"_g{self.groups}" if self.groups > 1 else text


@dataclass(frozen=True)
class FusedMBConvBlock(ExpandingBlock):
    """Fused-MBConv (Tan & Le, 2021): k × k expansion, optional squeeze-and-excite, linear pointwise projection.

    Without expansion (`mid_channels == in_channels`) it is one k × k convolution with activation, on the gated input
    where there is squeeze-and-excite.
    """

    def trace(self, trace: Trace, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        y, expands = x, self.mid_channels != self.in_channels
        if expands:
            y = trace.conv_norm_act(y, self.mid_channels, self.kernel, self.stride, activation=self.activation)
        if self.squeeze_channels:
            y = trace.squeeze_excite(y, self.squeeze_channels, self.se_activation, self.se_gate)
        if expands:
            y = trace.conv_norm_act(y, self.out_channels)
        else:
            y = trace.conv_norm_act(y, self.out_channels, self.kernel, self.stride, activation=self.activation)
        return trace.add(x, y) if self.residual else y

    def module_call(self) -> tuple[str, dict[str, Any]]:
        return "FusedMBConv", module_arguments(self)

    def describe(self) -> str:
        expand = self.mid_channels / self.in_channels
        text = f"er_k{self.kernel}_s{self.stride}_e{expand:.3g}_c{self.out_channels}"
        return text + "_se" if self.squeeze_channels else text


def module_arguments(block: Block) -> dict[str, Any]:
    """The fields of a block as arguments of its module: all but the input size, which convolutions do not need."""
    arguments = asdict(block)
    del arguments["in_size"]
    return arguments
