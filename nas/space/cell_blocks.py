"""The blocks of searched cells (DARTS, NASNet) at known shapes, and the operations an edge of a cell may have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nas.errors import NasError, suggestion
from nas.space.block import NORM_EPS, Block
from nas.space.mbconv_blocks import ConvBlock, module_arguments
from nas.space.nasbench_blocks import WindowPoolBlock
from nas.space.trace import Tensor, Trace, downsampled


@dataclass(frozen=True)
class PreActivationConvBlock(Block):
    """ReLU, convolution, batch normalisation."""

    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    norm_eps: float = NORM_EPS

    @property
    def out_size(self) -> int:
        return downsampled(self.in_size, self.stride)

    def trace(self, trace: Trace, *inputs: Tensor) -> Tensor:
        return trace.conv_norm_act(trace.act(inputs[0], "relu"), self.out_channels, self.kernel, self.stride)

    def module_call(self) -> tuple[str, dict[str, Any]]:
        return "PreActivationConv", module_arguments(self)

    def describe(self) -> str:
        dilated = f"_d{self.dilation}" if self.dilation > 1 else ""
        return f"relu_cn_k{self.kernel}_s{self.stride}{dilated}_c{self.out_channels}"


@dataclass(frozen=True)
class SeparableConvBlock(Block):
    """ReLU, depthwise and pointwise convolution, batch normalisation, `repeats` times; the first one strides."""

    kernel: int = 3
    stride: int = 1
    dilation: int = 1
    repeats: int = 2
    norm_eps: float = NORM_EPS

    @property
    def out_size(self) -> int:
        return downsampled(self.in_size, self.stride)

    def trace(self, trace: Trace, *inputs: Tensor) -> Tensor:
        x = inputs[0]
        for i in range(self.repeats):
            x = trace.act(x, "relu")
            x = trace.conv(x, x.channels, self.kernel, 1 if i else self.stride, groups=x.channels)
            x = trace.conv_norm_act(x, self.out_channels)
        return x

    def module_call(self) -> tuple[str, dict[str, Any]]:
        return "SeparableConv", module_arguments(self)

    def describe(self) -> str:
        name = "dil_conv" if self.dilation > 1 else "sep_conv"
        return f"{name}_k{self.kernel}_s{self.stride}_c{self.out_channels}"


@dataclass(frozen=True)
class FactorizedConvBlock(Block):
    """ReLU, 1×k convolution that strides over the width, k×1 over the height, batch normalisation."""

    kernel: int = 7
    stride: int = 1
    norm_eps: float = NORM_EPS

    @property
    def out_size(self) -> int:
        return downsampled(self.in_size, self.stride)

    def trace(self, trace: Trace, *inputs: Tensor) -> Tensor:
        x = trace.act(inputs[0], "relu")
        return trace.norm(trace.factorized_conv(x, self.out_channels, self.kernel, self.stride))

    def module_call(self) -> tuple[str, dict[str, Any]]:
        return "FactorizedConv", module_arguments(self)

    def describe(self) -> str:
        return f"conv_1x{self.kernel}_{self.kernel}x1_s{self.stride}_c{self.out_channels}"


@dataclass(frozen=True)
class BottleneckConvBlock(Block):
    """A k×k, or 1×k and k×1, convolution between 1×1 convolutions to fewer channels and back (AmoebaNet).

    Each convolution follows a ReLU and is followed by batch normalisation.
    """

    mid_channels: int = 1
    kernel: int = 3
    stride: int = 1
    factorized: bool = False
    norm_eps: float = NORM_EPS

    @property
    def out_size(self) -> int:
        return downsampled(self.in_size, self.stride)

    def trace(self, trace: Trace, *inputs: Tensor) -> Tensor:
        x = trace.act(inputs[0], "relu")
        x = trace.conv_norm_act(x, self.mid_channels, activation="relu")
        if self.factorized:
            x = trace.factorized_conv(x, self.mid_channels, self.kernel, self.stride, between="relu")
        else:
            x = trace.conv(x, self.mid_channels, self.kernel, self.stride)
        return trace.conv_norm_act(trace.act(trace.norm(x), "relu"), self.out_channels)

    def module_call(self) -> tuple[str, dict[str, Any]]:
        return "BottleneckConv", module_arguments(self)

    def describe(self) -> str:
        shape = f"1x{self.kernel}_{self.kernel}x1" if self.factorized else f"k{self.kernel}"
        return f"bottleneck_{shape}_s{self.stride}_m{self.mid_channels}_c{self.out_channels}"


@dataclass(frozen=True)
class FactorizedReduceBlock(Block):
    """Half the resolution by two strided 1×1 convolutions, one shifted by a pixel (Zoph et al., 2018)."""

    relu: bool = True
    norm_eps: float = NORM_EPS

    @property
    def out_size(self) -> int:
        return downsampled(self.in_size, 2)

    def trace(self, trace: Trace, *inputs: Tensor) -> Tensor:
        x = trace.act(inputs[0], "relu" if self.relu else "none")
        half = self.out_channels // 2
        even = trace.conv(x, half, stride=2)
        shifted = trace.pad(x, self.in_size) if self.in_size % 2 else x
        odd = trace.conv(shifted, self.out_channels - half, stride=2)
        return trace.norm(trace.concat(even, odd))

    def module_call(self) -> tuple[str, dict[str, Any]]:
        return "FactorizedReduce", module_arguments(self) | {"odd_size": self.in_size % 2 == 1}

    def describe(self) -> str:
        return f"reduce_s2_c{self.out_channels}"


@dataclass(frozen=True)
class StridedZerosBlock(Block):
    """Zeros in the shape of the input, which is not read, at 1 / `stride` of its resolution."""

    stride: int = 1

    @property
    def out_size(self) -> int:
        return downsampled(self.in_size, self.stride)

    def trace(self, trace: Trace, *inputs: Tensor) -> Tensor:
        return trace.zeros(self.out_channels, self.out_size)

    def module_call(self) -> tuple[str, dict[str, Any]]:
        return "StridedZeros", {"stride": self.stride}

    def describe(self) -> str:
        return f"zeros_s{self.stride}"


@dataclass(frozen=True)
class ReluBlock(Block):
    """ReLU as a block of its own."""

    def trace(self, trace: Trace, *inputs: Tensor) -> Tensor:
        return trace.act(inputs[0], "relu")

    def module_call(self) -> tuple[str, dict[str, Any]]:
        return "Relu", {}

    def describe(self) -> str:
        return "relu"


@dataclass(frozen=True)
class UnpaddedConvBlock(ConvBlock):
    """Convolution without padding, batch normalisation, activation: the stem of NASNet on ImageNet."""

    padding: tuple[int, int] | None = (0, 0)

    @property
    def out_size(self) -> int:
        return (self.in_size - self.kernel) // self.stride + 1

    def trace(self, trace: Trace, *inputs: Tensor) -> Tensor:
        y = trace.conv(inputs[0], self.out_channels, self.kernel, self.stride, out_size=self.out_size)
        return trace.act(trace.norm(y), self.activation)


def _separable(kernel: int, dilation: int = 1, repeats: int = 2) -> Callable[..., Block]:
    return lambda channels, out_channels, size, stride, eps: SeparableConvBlock(
        channels, out_channels, size, kernel, stride, dilation, repeats, eps
    )


def _conv(kernel: int, dilation: int = 1) -> Callable[..., Block]:
    return lambda channels, out_channels, size, stride, eps: PreActivationConvBlock(
        channels, out_channels, size, kernel, stride, dilation, eps
    )


def _factorized(kernel: int) -> Callable[..., Block]:
    return lambda channels, out_channels, size, stride, eps: FactorizedConvBlock(
        channels, out_channels, size, kernel, stride, eps
    )


def _bottleneck(kernel: int, factorized: bool = False) -> Callable[..., Block]:
    return lambda channels, out_channels, size, stride, eps: BottleneckConvBlock(
        channels, out_channels, size, max(1, out_channels // 4), kernel, stride, factorized, eps
    )


#: no operation at all: what comes in is what comes out
IDENTITY = "skip_connect"

#: (kind, kernel) of the pools, which keep the number of channels
POOLS: dict[str, tuple[Any, int]] = {
    "max_pool_2x2": ("max_pool", 2),
    "max_pool_3x3": ("max_pool", 3),
    "avg_pool_3x3": ("avg_pool", 3),
    "max_pool_5x5": ("max_pool", 5),
    "max_pool_7x7": ("max_pool", 7),
}

#: block of every convolution, given channels in and out, size, stride and epsilon of the normalisation
CONVOLUTIONS: dict[str, Callable[..., Block]] = {
    "sep_conv_3x3": _separable(3),
    "sep_conv_5x5": _separable(5),
    "sep_conv_7x7": _separable(7),
    "dil_conv_3x3": _separable(3, dilation=2, repeats=1),
    "dil_conv_5x5": _separable(5, dilation=2, repeats=1),
    "conv_1x1": _conv(1),
    "conv_3x3": _conv(3),
    "conv_3x3_dilated": _conv(3, dilation=2),
    "conv_3x1_1x3": _factorized(3),
    "conv_7x1_1x7": _factorized(7),
    "bottleneck_3x3": _bottleneck(3),
    "bottleneck_7x1_1x7": _bottleneck(7, factorized=True),
}

#: every operation an edge of a cell may have; "none" (no edge) is not among them
OPERATIONS: tuple[str, ...] = (IDENTITY, *POOLS, *CONVOLUTIONS)


def operation_block(name: str, channels: int, size: int, stride: int = 1, norm_eps: float = NORM_EPS) -> Block | None:
    """Return the block of an operation that keeps the channels, None for the identity at stride 1.

    The identity at stride 2 is a factorized reduction, as in DARTS (Liu et al., 2019).

    Raises:
        NasError: there is no such operation.
    """
    if name == IDENTITY:
        return None if stride == 1 else FactorizedReduceBlock(channels, channels, size, norm_eps=norm_eps)
    if name in POOLS:
        return pool_block(name, channels, size, stride)
    check_operation(name)
    return CONVOLUTIONS[name](channels, channels, size, stride, norm_eps)


def pool_block(name: str, channels: int, size: int, stride: int) -> Block:
    """Return the block of one of POOLS.

    Raises:
        NasError: the pool has an even window and does not stride, so that it cannot keep the size.
    """
    op, kernel = POOLS[name]
    if kernel % 2 == 0 and stride == 1:
        raise NasError(f"{name} cannot keep the size of a feature map; it reads the inputs of a reduction cell only")
    return WindowPoolBlock(channels, channels, size, op, kernel, stride)


def check_operation(name: str) -> None:
    """Refuse the name of an operation that does not exist."""
    if name not in OPERATIONS:
        raise NasError(f"unknown operation {name!r} in a cell{suggestion(name, OPERATIONS)}")
