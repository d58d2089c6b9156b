"""The blocks of the NAS-Bench-101 and NAS-Bench-201 cells at known shapes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from nas.space.block import Block
from nas.space.mbconv_blocks import module_arguments
from nas.space.trace import Tensor, Trace, downsampled

#: an operation of a NAS-Bench-101 cell
VertexOp = Literal["conv3x3", "conv1x1", "maxpool3x3"]


@dataclass(frozen=True)
class WindowPoolBlock(Block):
    """Maximum or average over "same"-padded windows; padding does not enter an average."""

    op: Literal["max_pool", "avg_pool"] = "max_pool"
    kernel: int = 3
    stride: int = 1

    @property
    def out_size(self) -> int:
        return downsampled(self.in_size, self.stride)

    def trace(self, trace: Trace, *inputs: Tensor) -> Tensor:
        return trace.window_pool(inputs[0], self.op, self.kernel, self.stride)

    def module_call(self) -> tuple[str, dict[str, Any]]:
        return "WindowPool", {"op": self.op, "kernel": self.kernel, "stride": self.stride}

    def describe(self) -> str:
        return f"{self.op}_k{self.kernel}_s{self.stride}"


@dataclass(frozen=True)
class ReductionResidualBlock(Block):
    """The ResNet basic block with stride 2 between the stages of NAS-Bench-201 (Dong & Yang, 2020).

    Two ReLU, 3×3 convolution, batch normalisation, plus a 2×2 average pool and a 1×1 convolution of the input.
    `in_size` is even.
    """

    @property
    def out_size(self) -> int:
        return self.in_size // 2

    def trace(self, trace: Trace, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        y = trace.conv_norm_act(trace.act(x, "relu"), self.out_channels, 3, 2)
        y = trace.conv_norm_act(trace.act(y, "relu"), self.out_channels, 3)
        shortcut = trace.conv(trace.window_pool(x, "avg_pool", 2, 2), self.out_channels)
        return trace.add(shortcut, y)

    def module_call(self) -> tuple[str, dict[str, Any]]:
        return "ReductionResidual", module_arguments(self)

    def describe(self) -> str:
        return f"res_s2_c{self.out_channels}"


@dataclass(frozen=True)
class NormActBlock(Block):
    """Batch normalisation and ReLU."""

    def trace(self, trace: Trace, *inputs: Tensor) -> Tensor:
        return trace.act(trace.norm(inputs[0]), "relu")

    def module_call(self) -> tuple[str, dict[str, Any]]:
        return "NormAct", {"channels": self.in_channels}

    def describe(self) -> str:
        return "norm_relu"


@dataclass(frozen=True)
class VertexBlock(Block):
    """An operation of a NAS-Bench-101 cell on the sum of what its edges bring (Ying et al., 2019).

    Args:
        in_channels: channels of the input of the cell; `out_channels` where no edge comes from there.
        out_channels: channels of the vertex.
        op: the operation; convolutions are followed by batch normalisation and ReLU.
        projects: whether the input of the cell comes in, through a 1×1 convolution with normalisation and ReLU.
        sources: channels of the vertices that come in, wide ones first. Of a wider one the first `out_channels` are
            taken, which copies nothing.
    """

    op: VertexOp = "conv3x3"
    projects: bool = False
    sources: tuple[int, ...] = ()

    @property
    def input_shapes(self) -> tuple[tuple[int, int], ...]:
        """The input of the cell, if there is an edge from it, then the vertices."""
        channels = (self.in_channels, *self.sources) if self.projects else self.sources
        return tuple((count, self.in_size) for count in channels)

    def trace(self, trace: Trace, *inputs: Tensor) -> Tensor:
        vertices = inputs[1:] if self.projects else inputs
        terms = [replace(tensor, channels=self.out_channels) for tensor in vertices]
        if self.projects:
            terms.append(trace.conv_norm_act(inputs[0], self.out_channels, activation="relu"))
        x = trace.add(*terms)
        if self.op == "maxpool3x3":
            return trace.window_pool(x, "max_pool", 3, 1)
        return trace.conv_norm_act(x, self.out_channels, 3 if self.op == "conv3x3" else 1, activation="relu")

    def module_call(self) -> tuple[str, dict[str, Any]]:
        arguments = {"in_channels": self.in_channels, "out_channels": self.out_channels, "op": self.op}
        return "CellVertex", arguments | {"projects": self.projects}

    def describe(self) -> str:
        return f"{self.op}_c{self.out_channels}"


@dataclass(frozen=True)
class CellOutputBlock(Block):
    """What leaves a NAS-Bench-101 cell: its last vertices concatenated, plus the projected input if that comes in.

    Args:
        in_channels: channels of the input of the cell; `out_channels` where no edge comes from there.
        projects: whether the input of the cell comes in, through a 1×1 convolution with normalisation and ReLU.
        sources: channels of the vertices that come in, in order.
    """

    projects: bool = False
    sources: tuple[int, ...] = ()

    @property
    def input_shapes(self) -> tuple[tuple[int, int], ...]:
        """The input of the cell, if there is an edge from it, then the vertices."""
        channels = (self.in_channels, *self.sources) if self.projects else self.sources
        return tuple((count, self.in_size) for count in channels)

    def trace(self, trace: Trace, *inputs: Tensor) -> Tensor:
        vertices = inputs[1:] if self.projects else inputs
        terms = [trace.concat(*vertices)] if vertices else []
        if self.projects:
            terms.append(trace.conv_norm_act(inputs[0], self.out_channels, activation="relu"))
        return trace.add(*terms)

    def module_call(self) -> tuple[str, dict[str, Any]]:
        arguments = {"in_channels": self.in_channels, "out_channels": self.out_channels}
        return "CellOutput", arguments | {"projects": self.projects}

    def describe(self) -> str:
        return f"out_c{self.out_channels}"
