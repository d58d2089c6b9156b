"""Block types: a block at known shapes, its operations in order, and the torch module it stands for.

A block is a value: two blocks that compute the same on the same shapes are equal. Everything that is additive over
a network (parameters, multiply-adds, look-up-table latency) is a table over blocks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nas.space.layer import Layer

if TYPE_CHECKING:
    from torch import nn

NORM_EPS = 1e-5


def downsampled(size: int, stride: int) -> int:
    """Output height or width of a "same"-padded convolution with an odd kernel."""
    return -(-size // stride)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Padding before and after that TensorFlow's "SAME" gives: the odd pixel goes after (bottom, right)."""
    total = max((downsampled(size, stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


@dataclass(frozen=True)
class Block(ABC):
    """A block at known shapes: channels in and out, and height = width in and out in pixels."""

    in_channels: int
    out_channels: int
    in_size: int

    @property
    def out_size(self) -> int:
        return self.in_size

    @abstractmethod
    def layers(self) -> tuple[Layer, ...]:
        """Return the primitive operations in order of execution."""

    @abstractmethod
    def module_call(self) -> tuple[str, dict[str, Any]]:
        """Return the class in `nas.nn.blocks` and the keyword arguments that build this block."""

    @abstractmethod
    def describe(self) -> str:
        """Return the block in one short token, in the words of the block notation."""

    def build(self) -> nn.Module:
        """Build the torch module, randomly initialised."""
        from nas.nn import blocks

        name, arguments = self.module_call()
        module: nn.Module = getattr(blocks, name)(**arguments)
        return module

    @cached_property
    def params(self) -> int:
        return sum(layer.params for layer in self.layers())

    @cached_property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers())

    @cached_property
    def macs_thop(self) -> int:
        return sum(layer.macs_thop for layer in self.layers())

    @cached_property
    def peak_activation_bytes(self) -> int:
        """Largest sum of activations alive at one time inside the block, float32, batch 1."""
        return max(layer.live_bytes for layer in self.layers())

    @property
    def shape(self) -> tuple[str, str]:
        """Input and output shape as text, height × width × channels."""
        return _shape(self.in_size, self.in_channels), _shape(self.out_size, self.out_channels)


def _shape(size: int, channels: int) -> str:
    return f"{size}×{size}×{channels}"


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

    def layers(self) -> tuple[Layer, ...]:
        return conv_layers(
            self.in_channels, self.out_channels, self.in_size, self.kernel, self.stride, activation=self.activation
        )

    def module_call(self) -> tuple[str, dict[str, Any]]:
        arguments = asdict(self)
        del arguments["in_size"]
        return "ConvNormAct", arguments

    def describe(self) -> str:
        return f"cn_k{self.kernel}_s{self.stride}_c{self.out_channels}"


@dataclass(frozen=True)
class InvertedResidualBlock(Block):
    """MBConv: pointwise expansion, depthwise convolution, optional squeeze-and-excite, linear pointwise projection.

    `squeeze_channels` is the width of the squeeze-and-excite bottleneck, 0 for none.
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

    def layers(self) -> tuple[Layer, ...]:
        skip = self.in_channels * self.in_size**2 if self.residual else 0
        mid, size = self.mid_channels, self.out_size
        layers: tuple[Layer, ...] = ()
        if mid != self.in_channels:
            # The expansion reads the skip tensor itself, so only its normalisation and activation hold it besides.
            layers += conv_layers(
                self.in_channels, mid, self.in_size, 1, 1, activation=self.activation, held_after=skip
            )
        layers += conv_layers(
            mid, mid, self.in_size, self.kernel, self.stride, groups=mid, activation=self.activation,
            held=skip if layers else 0, held_after=skip,
        )  # fmt: skip
        if self.squeeze_channels:
            layers += self._squeeze_excite_layers(skip)
        layers += conv_layers(mid, self.out_channels, size, 1, 1, activation="none", held=skip, held_after=skip)
        if self.residual:
            layers += (_same("add", self.out_channels, size, held=skip),)
        return layers

    def _squeeze_excite_layers(self, skip: int) -> tuple[Layer, ...]:
        mid, squeeze = self.mid_channels, self.squeeze_channels
        gated = skip + mid * self.out_size**2
        pool = Layer(op="pool", in_channels=mid, out_channels=mid, in_size=self.out_size, out_size=1, held=skip)
        return (
            pool,
            _pointwise(mid, squeeze, held=gated),
            _same("act", squeeze, 1, held=gated, function=self.se_activation),
            _pointwise(squeeze, mid, held=gated),
            _same("act", mid, 1, held=gated, function=self.se_gate),
            _same("mul", mid, self.out_size, held=skip + mid),
        )

    def module_call(self) -> tuple[str, dict[str, Any]]:
        arguments = asdict(self)
        del arguments["in_size"]
        return "InvertedResidual", arguments

    def describe(self) -> str:
        expand = self.mid_channels / self.in_channels
        text = f"ir_k{self.kernel}_s{self.stride}_e{expand:.3g}_c{self.out_channels}"
        return text + "_se" if self.squeeze_channels else text


@dataclass(frozen=True)
class PoolBlock(Block):
    """Global average pool; the output is a vector (size 1)."""

    @property
    def out_size(self) -> int:
        return 1

    def layers(self) -> tuple[Layer, ...]:
        return (
            Layer(
                op="pool", in_channels=self.in_channels, out_channels=self.out_channels,
                in_size=self.in_size, out_size=1,
            ),
        )  # fmt: skip

    def module_call(self) -> tuple[str, dict[str, Any]]:
        return "GlobalPool", {}

    def describe(self) -> str:
        return "pool"


@dataclass(frozen=True)
class DenseBlock(Block):
    """Dropout, fully connected layer with bias, activation, on a pooled feature vector."""

    activation: str = "none"
    dropout: float = 0.0

    def layers(self) -> tuple[Layer, ...]:
        linear = Layer(
            op="linear", in_channels=self.in_channels, out_channels=self.out_channels, in_size=1, out_size=1, bias=True
        )
        if self.activation == "none":
            return (linear,)
        return linear, _same("act", self.out_channels, 1, function=self.activation)

    def module_call(self) -> tuple[str, dict[str, Any]]:
        arguments = {"in_features": self.in_channels, "out_features": self.out_channels}
        return "DenseLayer", arguments | {"activation": self.activation, "dropout": self.dropout}

    def describe(self) -> str:
        return f"fc_c{self.out_channels}"


def conv_layers(
    in_channels: int,
    out_channels: int,
    in_size: int,
    kernel: int,
    stride: int,
    *,
    groups: int = 1,
    activation: str,
    held: int = 0,
    held_after: int = 0,
) -> tuple[Layer, ...]:
    """Return convolution, normalisation and (unless "none") activation as layers.

    `held` elements stay alive during the convolution, `held_after` during what follows it.
    """
    size = downsampled(in_size, stride)
    conv = Layer(
        op="conv", in_channels=in_channels, out_channels=out_channels, in_size=in_size, out_size=size,
        kernel=kernel, stride=stride, groups=groups, held=held,
    )  # fmt: skip
    norm = _same("norm", out_channels, size, held=held_after)
    if activation == "none":
        return conv, norm
    return conv, norm, _same("act", out_channels, size, held=held_after, function=activation)


def _pointwise(in_channels: int, out_channels: int, held: int) -> Layer:
    return Layer(
        op="conv", in_channels=in_channels, out_channels=out_channels, in_size=1, out_size=1, bias=True, held=held
    )


def _same(op: Any, channels: int, size: int, held: int = 0, function: str = "") -> Layer:
    return Layer(
        op=op, in_channels=channels, out_channels=channels, in_size=size, out_size=size, held=held, function=function
    )
