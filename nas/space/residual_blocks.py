"""The blocks of ResNet, ResNeXt, RegNet and ConvNeXt at known shapes.

`norm` is "batch", "layer" or "simple" (see `nas.nn.residual`). A convolution has a bias unless a batch normalisation
follows, as in the published networks. Every residual block runs its body first and adapts its input to the sum
afterwards, as the modules do: so the input waits during the body, but not its wider copy beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nas.space.block import Block
from nas.space.mbconv_blocks import module_arguments
from nas.space.trace import Tensor, Trace, downsampled


def _conv(
    trace: Trace, x: Tensor, channels: int, kernel: int = 1, stride: int = 1, *, groups: int = 1, norm: str,
    activation: str = "none", out_size: int | None = None,
) -> Tensor:  # fmt: skip
    """Convolve, normalise unless `norm` is "none", activate."""
    x = trace.conv(x, channels, kernel, stride, groups=groups, bias=norm != "batch", out_size=out_size)
    return trace.act(x if norm == "none" else trace.norm(x, norm), activation)


@dataclass(frozen=True)
class ResNetStemBlock(Block):
    """7×7 convolution and 3×3 max pool, both with stride 2, padded by half their windows (He et al., 2016)."""

    norm: str = "batch"
    activation: str = "relu"

    @property
    def out_size(self) -> int:
        return downsampled(downsampled(self.in_size, 2), 2)

    def trace(self, trace: Trace, *inputs: Tensor) -> Tensor:
        x = _conv(trace, inputs[0], self.out_channels, 7, 2, norm=self.norm, activation=self.activation)
        return trace.window_pool(x, "max_pool", 3, 2)

    def module_call(self) -> tuple[str, dict[str, Any]]:
        return "ResNetStem", module_arguments(self)

    def describe(self) -> str:
        return f"stem_k7_s4_c{self.out_channels}"


@dataclass(frozen=True)
class PatchStemBlock(Block):
    """Convolution over patches that do not overlap; pixels that do not fill a patch are dropped.

    `norm` may be "none".
    """

    patch: int = 4
    norm: str = "layer"

    @property
    def out_size(self) -> int:
        return self.in_size // self.patch

    def trace(self, trace: Trace, *inputs: Tensor) -> Tensor:
        return _conv(
            trace, inputs[0], self.out_channels, self.patch, self.patch, norm=self.norm, out_size=self.out_size
        )

    def module_call(self) -> tuple[str, dict[str, Any]]:
        arguments = {"in_channels": self.in_channels, "out_channels": self.out_channels}
        return "NormedConv", arguments | {
            "kernel": self.patch, "stride": self.patch, "norm": self.norm, "padding": 0,
        }  # fmt: skip

    def describe(self) -> str:
        return f"patch_k{self.patch}_s{self.patch}_c{self.out_channels}"


@dataclass(frozen=True)
class PatchMergingBlock(Block):
    """Normalisation, then a 2×2 convolution with stride 2; an odd last row and column are dropped."""

    norm: str = "layer"

    @property
    def out_size(self) -> int:
        return self.in_size // 2

    def trace(self, trace: Trace, *inputs: Tensor) -> Tensor:
        x = trace.norm(inputs[0], self.norm)
        return trace.conv(x, self.out_channels, 2, 2, bias=True, out_size=self.out_size)

    def module_call(self) -> tuple[str, dict[str, Any]]:
        return "PatchMerging", module_arguments(self)

    def describe(self) -> str:
        return f"merge_k2_s2_c{self.out_channels}"


@dataclass(frozen=True)
class PooledNormBlock(Block):
    """Global average pool to a vector (size 1), normalised."""

    norm: str = "layer"

    @property
    def out_size(self) -> int:
        return 1

    def trace(self, trace: Trace, *inputs: Tensor) -> Tensor:
        return trace.norm(trace.pool(inputs[0]), self.norm)

    def module_call(self) -> tuple[str, dict[str, Any]]:
        return "PooledNorm", {"channels": self.in_channels, "norm": self.norm}

    def describe(self) -> str:
        return "pool_norm"


@dataclass(frozen=True)
class _ResidualBlock(Block):
    """A body whose output is added to the input, by way of a 1×1 convolution where shapes differ."""

    stride: int = 1
    norm: str = "batch"
    activation: str = "relu"

    @property
    def out_size(self) -> int:
        return downsampled(self.in_size, self.stride)

    def _add_input(self, trace: Trace, x: Tensor, y: Tensor, activation: str) -> Tensor:
        if self.stride > 1 or self.in_channels != self.out_channels:
            x = _conv(trace, x, self.out_channels, 1, self.stride, norm=self.norm)
        return trace.act(trace.add(y, x), activation)


@dataclass(frozen=True)
class BasicBlock(_ResidualBlock):
    """Two 3×3 convolutions, the first with the stride (He et al., 2016)."""

    def trace(self, trace: Trace, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        y = _conv(trace, x, self.out_channels, 3, self.stride, norm=self.norm, activation=self.activation)
        y = _conv(trace, y, self.out_channels, 3, norm=self.norm)
        return self._add_input(trace, x, y, self.activation)

    def module_call(self) -> tuple[str, dict[str, Any]]:
        return "BasicResidual", module_arguments(self)

    def describe(self) -> str:
        return f"basic_k3_s{self.stride}_c{self.out_channels}"


@dataclass(frozen=True)
class BottleneckBlock(_ResidualBlock):
    """1×1, spatial and 1×1 convolution; the spatial one has the stride, as in torchvision and pycls.

    ResNet's with few `mid_channels`, ResNeXt's and RegNet's with `groups`, an inverted bottleneck with many
    `mid_channels` and as many groups. `squeeze_channels` is the width of the squeeze-and-excite, 0 for none.
    """

    mid_channels: int = 0
    kernel: int = 3
    groups: int = 1
    squeeze_channels: int = 0

    def trace(self, trace: Trace, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        y = _conv(trace, x, self.mid_channels, norm=self.norm, activation=self.activation)
        y = _conv(
            trace, y, self.mid_channels, self.kernel, self.stride, groups=self.groups, norm=self.norm,
            activation=self.activation,
        )  # fmt: skip
        if self.squeeze_channels:
            y = trace.squeeze_excite(y, self.squeeze_channels, "relu", "sigmoid")
        y = _conv(trace, y, self.out_channels, norm=self.norm)
        return self._add_input(trace, x, y, self.activation)

    def module_call(self) -> tuple[str, dict[str, Any]]:
        return "BottleneckResidual", module_arguments(self)

    def describe(self) -> str:
        text = f"bottleneck_k{self.kernel}_s{self.stride}_m{self.mid_channels}_g{self.groups}_c{self.out_channels}"
        return text + "_se" if self.squeeze_channels else text


@dataclass(frozen=True)
class ConvNeXtBlock(_ResidualBlock):
    """Depthwise convolution with the stride, then two 1×1 convolutions that widen and narrow (Liu et al., 2022).

    Args:
        norms: 3, one behind each convolution; or 1, behind the depthwise one.
        activations: 3, behind the depthwise convolution, between the 1×1 ones and behind the sum; or 1, between.
        scaling: "none", "layer_scale" on the output, or "grn", global response normalisation of the wide features.
    """

    mid_channels: int = 0
    kernel: int = 7
    norms: int = 1
    activations: int = 1
    scaling: str = "none"

    def trace(self, trace: Trace, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        outer = self.activation if self.activations == 3 else "none"
        inner = self.norm if self.norms == 3 else "none"
        y = _conv(
            trace, x, x.channels, self.kernel, self.stride, groups=x.channels, norm=self.norm, activation=outer
        )  # fmt: skip
        y = _conv(trace, y, self.mid_channels, norm=inner, activation=self.activation)
        if self.scaling == "grn":
            y = trace.grn(y)
        y = _conv(trace, y, self.out_channels, norm=inner)
        if self.scaling == "layer_scale":
            y = trace.scale(y)
        return self._add_input(trace, x, y, outer)

    def module_call(self) -> tuple[str, dict[str, Any]]:
        return "ConvNeXtResidual", module_arguments(self)

    def describe(self) -> str:
        text = f"convnext_k{self.kernel}_s{self.stride}_m{self.mid_channels}_c{self.out_channels}"
        return text if self.scaling == "none" else f"{text}_{self.scaling}"
