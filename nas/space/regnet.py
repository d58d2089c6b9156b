"""RegNet: networks whose stages follow from a line (Radosavovic et al., 2020)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from nas.errors import NasError
from nas.space.block import Block, DenseBlock, PoolBlock
from nas.space.mbconv_blocks import ConvBlock
from nas.space.network import NetworkSpec, Node, chain, check_multipliers, round_channels, scaled_depth
from nas.space.residual_blocks import BottleneckBlock

#: widths of blocks are multiples of this before they are adapted to the groups
_QUANTUM = 8
_STEM_WIDTH = 32


@dataclass(frozen=True)
class RegNet(NetworkSpec):
    """RegNetX, and with `se_ratio` RegNetY: bottleneck blocks as wide in the middle as outside, in groups.

    Block j is w_0 + w_a·j channels wide, moved to the nearest power w_0·w_m^k; blocks of one width are a stage.

    Args:
        depth: number of blocks.
        w_0, w_a, w_m: initial width, slope, and ratio of the widths of neighbouring stages.
        group_width: channels of a group of the 3×3 convolution; a stage that is narrower is one group.
        se_ratio: width of the squeeze-and-excite per channel that enters the block; 0 for none.
        rounding: how a width becomes a multiple of the group width: "nearest" as in pycls, or "mostly_up", to the
            nearest half up and never below 90 %, as in torchvision. The published sizes differ in a few stages.
    """

    depth: int
    w_0: int
    w_a: float
    w_m: float
    group_width: int
    se_ratio: float = 0.0
    rounding: Literal["nearest", "mostly_up"] = "nearest"

    @cached_property
    def stages(self) -> tuple[tuple[int, int, int], ...]:
        """Blocks, channels and group width of every stage."""
        self._check()
        powers = [round(math.log((self.w_0 + self.w_a * j) / self.w_0, self.w_m)) for j in range(self.depth)]
        widths = [round(self.w_0 * self.w_m**power / _QUANTUM) * _QUANTUM for power in powers]
        stages = []
        for width in sorted(set(widths)):
            group_width = min(self.group_width, width)
            if self.rounding == "nearest":
                channels = max(group_width, round(width / group_width) * group_width)
            else:
                channels = round_channels(width, group_width)
            stages.append((widths.count(width), channels, group_width))
        return tuple(stages)

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        self._check_counts()
        if self.resolution <= 2 ** len(self.stages):
            raise NasError(f"{len(self.stages)} stages need a resolution above {2 ** len(self.stages)}")
        stem = ConvBlock(self.in_channels, _STEM_WIDTH, self.resolution, 3, 2)
        labelled: list[tuple[str, Block]] = [("stem", stem)]
        inputs, size = stem.out_channels, stem.out_size
        for i, (blocks, channels, group_width) in enumerate(self.stages, start=1):
            for j in range(blocks):
                block = BottleneckBlock(
                    inputs, channels, size, stride=1 if j else 2, mid_channels=channels,
                    groups=channels // group_width, squeeze_channels=round(self.se_ratio * inputs),
                )  # fmt: skip
                labelled.append((f"stage{i}", block))
                inputs, size = channels, block.out_size
        labelled.append(("head", PoolBlock(inputs, inputs, size)))
        labelled.append(("head", DenseBlock(inputs, self.num_classes, 1, dropout=self.dropout)))
        return chain(labelled)

    def _check(self) -> None:
        for name in ("depth", "w_0", "group_width"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise NasError(f"{name} is {value!r}, must be a whole number of at least 1")
        if self.w_0 % _QUANTUM:
            raise NasError(f"w_0 is {self.w_0}, must be a multiple of {_QUANTUM}")
        if self.w_a < 0 or self.w_m <= 1:
            raise NasError(f"w_a is {self.w_a:g} and w_m {self.w_m:g}; w_a must not be negative, w_m above 1")
        if not 0 <= self.se_ratio <= 1:
            raise NasError(f"se_ratio is {self.se_ratio:g}, must lie between 0 and 1")
        if self.rounding not in ("nearest", "mostly_up"):
            raise NasError(f"rounding is {self.rounding!r}, one of nearest, mostly_up")

    def scale(self, depth: float = 1.0, width: float = 1.0, resolution: int | None = None) -> RegNet:
        """Return a bigger or smaller network: blocks × depth rounded up, initial and last width × width.

        The line that the widths follow starts `width` times as high, and reaches `width` times as high over all
        blocks, however many there are; w_m and the group width stay.
        """
        check_multipliers(depth, width)
        blocks = scaled_depth(self.depth, depth)
        return replace(
            self,
            depth=blocks,
            w_0=round_channels(self.w_0 * width, _QUANTUM),
            w_a=self.w_a * width * self.depth / blocks,
            resolution=self.resolution if resolution is None else resolution,
            name="",
            source="",
        )
