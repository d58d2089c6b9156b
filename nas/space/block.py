"""Block types: a block at known shapes, its operations in order, and the torch module it stands for.

A block is a value: two blocks that compute the same on the same shapes are equal. Everything that is additive over
a network (parameters, multiply-adds, look-up-table latency) is a table over blocks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from nas.space.layer import FLOAT_BYTES, Layer
from nas.space.trace import Step, Tensor, Trace, memory_step, peak_elements

if TYPE_CHECKING:
    from torch import nn

NORM_EPS = 1e-5

#: how many results are kept of what blocks have in common
_KEPT = 2**16

_peak_elements = lru_cache(_KEPT)(peak_elements)


@lru_cache(_KEPT)
def _counted(layer: Layer) -> tuple[Layer, int, int, int, Step]:
    """Return the layer, its params, macs, macs_thop and memory step: equal layers become one object, counted once."""
    return layer, layer.params, layer.macs, layer.macs_thop, memory_step(layer)


@dataclass(frozen=True)
class Block(ABC):
    """A block at known shapes: channels in and out, and height = width in and out in pixels."""

    in_channels: int
    out_channels: int
    in_size: int

    @property
    def out_size(self) -> int:
        return self.in_size

    @property
    def input_shapes(self) -> tuple[tuple[int, int], ...]:
        """Channels and size of every tensor the block reads; one, unless a block says otherwise."""
        return ((self.in_channels, self.in_size),)

    @abstractmethod
    def trace(self, trace: Trace, *inputs: Tensor) -> Tensor:
        """Append the block's primitive operations on `inputs` to `trace`, in order; return what comes out."""

    @abstractmethod
    def module_call(self) -> tuple[str, dict[str, Any]]:
        """Return the class in `nas.nn` and the keyword arguments that build this block."""

    @abstractmethod
    def describe(self) -> str:
        """Return the block in one short token, in the words of the block notation."""

    def build(self) -> nn.Module:
        """Build the torch module, randomly initialised; it takes one tensor for each of `input_shapes`."""
        import nas.nn

        name, arguments = self.module_call()
        module: nn.Module = getattr(nas.nn, name)(**arguments)
        return module

    def layers(self) -> tuple[Layer, ...]:
        """Return the primitive operations in order of execution."""
        return self._examined[0]

    def traced(self) -> tuple[Trace, Tensor]:
        """Return the trace of the block alone, and what comes out of it."""
        trace = Trace()
        inputs = [trace.input(channels, size) for channels, size in self.input_shapes]
        return trace, self.trace(trace, *inputs)

    @cached_property
    def _examined(self) -> tuple[tuple[Layer, ...], tuple[int, int, int, int]]:
        """The layers, and what they add up to.

        A space can have a hundred thousand blocks, but these share some ten thousand layers, and blocks that differ in
        kernels or activations share their peak.
        """
        trace, output = self.traced()
        counted = [_counted(layer) for layer in trace.layers]
        layers, params, macs, macs_thop, steps = zip(*counted, strict=True) if counted else ((),) * 5
        inputs = tuple([tensor.elements for tensor in trace.inputs])
        peak = FLOAT_BYTES * _peak_elements(steps, inputs, (output.index,))
        return layers, (sum(params), sum(macs), sum(macs_thop), peak)

    @property
    def params(self) -> int:
        """Trainable parameters."""
        return self._examined[1][0]

    @property
    def macs(self) -> int:
        """Multiply-adds of convolutions and linear layers for one image."""
        return self._examined[1][1]

    @property
    def macs_thop(self) -> int:
        """Multiply-adds for one image as THOP 0.1 counts them."""
        return self._examined[1][2]

    @property
    def peak_activation_bytes(self) -> int:
        """Largest sum of activations alive at one time inside the block, float32, batch 1."""
        return self._examined[1][3]

    @property
    def shape(self) -> tuple[str, str]:
        """Input and output shape as text, height × width × channels."""
        return _shape(self.in_size, self.in_channels), _shape(self.out_size, self.out_channels)


def _shape(size: int, channels: int) -> str:
    return f"{size}×{size}×{channels}"


@dataclass(frozen=True)
class PoolBlock(Block):
    """Global average pool; the output is a vector (size 1)."""

    @property
    def out_size(self) -> int:
        return 1

    def trace(self, trace: Trace, *inputs: Tensor) -> Tensor:
        return trace.pool(inputs[0])

    def module_call(self) -> tuple[str, dict[str, Any]]:
        return "GlobalPool", {}

    def describe(self) -> str:
        return "pool"


@dataclass(frozen=True)
class DenseBlock(Block):
    """Dropout, fully connected layer, activation, on a pooled feature vector."""

    activation: str = "none"
    dropout: float = 0.0
    bias: bool = True

    def trace(self, trace: Trace, *inputs: Tensor) -> Tensor:
        return trace.act(trace.linear(inputs[0], self.out_channels, self.bias), self.activation)

    def module_call(self) -> tuple[str, dict[str, Any]]:
        arguments = {"in_features": self.in_channels, "out_features": self.out_channels}
        return "DenseLayer", arguments | {"activation": self.activation, "dropout": self.dropout, "bias": self.bias}

    def describe(self) -> str:
        return f"fc_c{self.out_channels}"


@dataclass(frozen=True)
class AddBlock(Block):
    """Sum of `count` tensors of one shape."""

    count: int = 2

    @property
    def input_shapes(self) -> tuple[tuple[int, int], ...]:
        return ((self.in_channels, self.in_size),) * self.count

    def trace(self, trace: Trace, *inputs: Tensor) -> Tensor:
        return trace.add(*inputs)

    def module_call(self) -> tuple[str, dict[str, Any]]:
        return "Add", {}

    def describe(self) -> str:
        return f"add {self.count}"


@dataclass(frozen=True)
class ConcatBlock(Block):
    """Channels of `count` tensors of one shape, one after the other; `in_channels` are those of each."""

    count: int = 2

    @property
    def input_shapes(self) -> tuple[tuple[int, int], ...]:
        return ((self.in_channels, self.in_size),) * self.count

    def trace(self, trace: Trace, *inputs: Tensor) -> Tensor:
        return trace.concat(*inputs)

    def module_call(self) -> tuple[str, dict[str, Any]]:
        return "Concat", {}

    def describe(self) -> str:
        return f"concat {self.count}"
