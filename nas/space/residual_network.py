"""ResidualNetwork: ResNet, ConvNeXt and everything on the way from one to the other."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Literal

from nas.errors import NasError, suggestion
from nas.space.block import Block, DenseBlock, PoolBlock
from nas.space.network import NetworkSpec, Node, chain, check_multipliers, round_channels, scaled_depth
from nas.space.residual_blocks import (
    BasicBlock,
    BottleneckBlock,
    ConvNeXtBlock,
    PatchMergingBlock,
    PatchStemBlock,
    PooledNormBlock,
    ResNetStemBlock,
)
from nas.space.trace import downsampled

#: for every kind of block the fields it has a use for
BLOCK_FIELDS: dict[str, frozenset[str]] = {
    "basic": frozenset(),
    "bottleneck": frozenset({"groups", "mid_factor"}),
    "dw_bottleneck": frozenset({"kernel"}),
    "inverted": frozenset({"kernel", "expansion"}),
    "convnext": frozenset({"kernel", "expansion", "norms", "activations", "scaling"}),
}

#: kinds whose blocks end four times as wide as the stage is called
_WIDE = ("bottleneck", "dw_bottleneck")
_WIDENING = 4

_CHOICES: dict[str, tuple[object, ...]] = {
    "block": tuple(BLOCK_FIELDS),
    "stem": ("resnet", "patchify"),
    "norm": ("batch", "layer", "simple"),
    "activation": ("relu", "gelu"),
    "downsampling": ("block", "separate"),
    "scaling": ("none", "layer_scale", "grn"),
    "norms": (1, 3),
    "activations": (1, 3),
}


@dataclass(frozen=True)
class ResidualNetwork(NetworkSpec):
    """A stem that shrinks the image four times, stages of equal residual blocks, each half as large, and a head.

    He et al., 2016 (ResNet); Xie et al., 2017 (ResNeXt); Liu et al., 2022 (ConvNeXt); Woo et al., 2023 (ConvNeXt V2).
    A field the kind of block has no use for (see `BLOCK_FIELDS`) must keep its default, so equal networks are equal.

    Args:
        depths: blocks of each stage.
        width: channels of the first stage; every next one has twice as many. The output of "bottleneck" and
            "dw_bottleneck" is four times as wide.
        block: "basic", two 3×3 convolutions; "bottleneck", 1×1, 3×3, 1×1; "dw_bottleneck", the same with a depthwise
            convolution; "inverted", the same but wide in the middle; "convnext", depthwise first, wide in the middle.
        kernel: of the depthwise convolution.
        expansion: how much wider the middle is than the output.
        stem: "resnet", 7×7 convolution, normalisation, activation and max pool; or "patchify", 4×4 convolution with
            stride 4.
        norm: "batch" or "layer" normalisation, or "simple", which only divides by the standard deviation.
        norms, activations, scaling: see `ConvNeXtBlock`.
        downsampling: "block", the first block of a stage has a stride and a convolution on its shortcut; "separate",
            a 2×2 convolution stands before the stage, and a normalisation wherever the resolution changes: before
            those convolutions, behind the patchify stem and behind the last pool.
        groups, mid_factor: of a "bottleneck": groups of the 3×3 convolution, and its channels per stage width.
    """

    depths: tuple[int, ...]
    width: int = 64
    block: Literal["basic", "bottleneck", "dw_bottleneck", "inverted", "convnext"] = "bottleneck"
    kernel: int = 3
    expansion: int = 4
    stem: Literal["resnet", "patchify"] = "resnet"
    norm: Literal["batch", "layer", "simple"] = "batch"
    activation: Literal["relu", "gelu"] = "relu"
    norms: Literal[1, 3] = 3
    activations: Literal[1, 3] = 3
    downsampling: Literal["block", "separate"] = "block"
    scaling: Literal["none", "layer_scale", "grn"] = "none"
    groups: int = 1
    mid_factor: int = 1

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        self._check()
        labelled: list[tuple[str, Block]] = [("stem", self.stem_block())]
        for stage, depth in enumerate(self.depths):
            blocks = self.entry_blocks(stage) + (self.later_block(stage),) * (depth - 1)
            labelled += [(f"stage{stage + 1}", block) for block in blocks]
        return chain(labelled + [("head", block) for block in self.head_blocks()])

    def stem_block(self) -> Block:
        if self.stem == "patchify":
            norm = self.norm if self.downsampling == "separate" else "none"
            return PatchStemBlock(self.in_channels, self.width, self.resolution, norm=norm)
        return ResNetStemBlock(self.in_channels, self.width, self.resolution, self.norm, self.activation)

    def entry_blocks(self, stage: int) -> tuple[Block, ...]:
        """Return the blocks of a stage (from 0) up to its first residual block, downsampling included."""
        inputs, outputs = self._channels(stage - 1), self._channels(stage)
        size = self._size(stage - 1)
        if stage == 0 or self.downsampling == "block":
            return (self._residual(stage, inputs, size, stride=2 if stage else 1),)
        return PatchMergingBlock(inputs, outputs, size, self.norm), self.later_block(stage)

    def later_block(self, stage: int) -> Block:
        """Return the block that the rest of a stage repeats."""
        return self._residual(stage, self._channels(stage), self._size(stage), stride=1)

    def head_blocks(self) -> tuple[Block, ...]:
        channels, size = self._channels(len(self.depths) - 1), self._size(len(self.depths) - 1)
        pool: Block = PoolBlock(channels, channels, size)
        if self.downsampling == "separate":
            pool = PooledNormBlock(channels, channels, size, self.norm)
        return pool, DenseBlock(channels, self.num_classes, 1, dropout=self.dropout)

    def _channels(self, stage: int) -> int:
        """Channels that come out of a stage; out of the stem for -1."""
        if stage < 0:
            return self.width
        return (self.width << stage) * (_WIDENING if self.block in _WIDE else 1)

    @cached_property
    def _stem_size(self) -> int:
        return self.stem_block().out_size

    def _size(self, stage: int) -> int:
        """Height = width that comes out of a stage; out of the stem for -1."""
        size = self._stem_size
        for _ in range(stage):
            size = size // 2 if self.downsampling == "separate" else downsampled(size, 2)
        return size

    def _residual(self, stage: int, in_channels: int, in_size: int, stride: int) -> Block:
        shapes = in_channels, self._channels(stage), in_size, stride, self.norm, self.activation
        width = self.width << stage
        match self.block:
            case "basic":
                return BasicBlock(*shapes)
            case "bottleneck":
                return BottleneckBlock(*shapes, mid_channels=width * self.mid_factor, groups=self.groups)
            case "dw_bottleneck":
                return BottleneckBlock(*shapes, mid_channels=width, kernel=self.kernel, groups=width)
            case "inverted":
                mid = width * self.expansion
                return BottleneckBlock(*shapes, mid_channels=mid, kernel=self.kernel, groups=mid)
        return ConvNeXtBlock(
            *shapes, mid_channels=width * self.expansion, kernel=self.kernel, norms=self.norms,
            activations=self.activations, scaling=self.scaling,
        )  # fmt: skip

    def _check(self) -> None:
        self._check_counts()
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                known = [str(choice) for choice in choices]
                raise NasError(f"{name} is {value!r}, one of {', '.join(known)}{suggestion(str(value), known)}")
        defaults = {field.name: field.default for field in fields(self)}
        for name in frozenset().union(*BLOCK_FIELDS.values()) - BLOCK_FIELDS[self.block]:
            if getattr(self, name) != defaults[name]:
                raise NasError(f"a network of {self.block!r} blocks has no use for {name}; leave it {defaults[name]!r}")
        if not self.depths or any(not isinstance(depth, int) or depth < 1 for depth in self.depths):
            raise NasError(f"depths are {self.depths}, need at least one stage of at least one block")
        for name in ("width", "kernel", "expansion", "groups", "mid_factor"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise NasError(f"{name} is {value!r}, must be a whole number of at least 1")
        if self.kernel % 2 == 0:
            raise NasError(f"kernel is {self.kernel}, must be odd")
        if self.width * self.mid_factor % self.groups:
            raise NasError(f"{self.width * self.mid_factor} channels do not divide into {self.groups} groups")
        before_strides = [self._size(stage) for stage in range(len(self.depths) - 1)]
        if self.resolution < (4 if self.stem == "patchify" else 3) or min(before_strides, default=2) < 2:
            raise NasError(
                f"{len(self.depths)} stages stride over less than a pixel at {self.resolution}×{self.resolution}; "
                "raise the resolution"
            )

    def scale(self, depth: float = 1.0, width: float = 1.0, resolution: int | None = None) -> ResidualNetwork:
        """Return a bigger or smaller network: blocks a stage × depth rounded up, width × width rounded to 8.

        With `groups` their number stays, so the width is rounded to a multiple of it as well.
        """
        check_multipliers(depth, width)
        divisor = math.lcm(8, self.groups // math.gcd(self.groups, self.mid_factor))
        return replace(
            self,
            depths=tuple(scaled_depth(count, depth) for count in self.depths),
            width=round_channels(self.width * width, divisor),
            resolution=self.resolution if resolution is None else resolution,
            name="",
            source="",
        )
