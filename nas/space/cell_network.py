"""CellNetwork: one normal and one reduction cell, stacked as in DARTS (Liu et al., 2019)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from nas.errors import NasError, suggestion
from nas.space.block import NORM_EPS, Block, DenseBlock, PoolBlock
from nas.space.cell import INPUTS, Cell, Feature, GraphBuilder, concat_block
from nas.space.cell_blocks import FactorizedReduceBlock, PreActivationConvBlock
from nas.space.mbconv_blocks import ConvBlock
from nas.space.network import NetworkSpec, Node, check_multipliers, scaled_depth
from nas.space.trace import downsampled


@dataclass(frozen=True, slots=True)
class CellPlace:
    """Where a cell stands, as far as that does not depend on what is in the cells.

    Args:
        reduction: whether it is the reduction cell, which halves the resolution.
        channels: channels of each of its nodes.
        in_size, prev_size: height = width of the output of the last cell and of the one before it.
        before: positions of the cell before the last and of the last; -1 for the stem.
        stem_channels: channels of what the stem puts there.
    """

    reduction: bool
    channels: int
    in_size: int
    prev_size: int
    before: tuple[int, int]
    stem_channels: int

    @property
    def stride(self) -> int:
        return 2 if self.reduction else 1

    @property
    def out_size(self) -> int:
        return downsampled(self.in_size, self.stride)

    def join(self, count: int) -> tuple[Block, ...]:
        """Return what concatenates `count` nodes: no block for a single one."""
        return (concat_block(self.channels, self.out_size, count),) if count > 1 else ()

    def preprocess(self, prev_channels: int, channels: int, norm_eps: float) -> tuple[Block, Block]:
        """Return the blocks that bring the outputs of the two cells before to the shape of the cell's inputs."""
        prev: Block = PreActivationConvBlock(prev_channels, self.channels, self.prev_size, norm_eps=norm_eps)
        if self.prev_size != self.in_size:
            prev = FactorizedReduceBlock(prev_channels, self.channels, self.prev_size, norm_eps=norm_eps)
        return prev, PreActivationConvBlock(channels, self.channels, self.in_size, norm_eps=norm_eps)


@dataclass(frozen=True, kw_only=True)
class CellNetwork(NetworkSpec):
    """A stem, `cells` cells of which two reduce the resolution and double the channels, and a linear classifier.

    Every cell reads the outputs of the two cells before it. The auxiliary head of training is no part of it.

    Args:
        normal, reduction: the two cells.
        channels: channels of each node in the first cells.
        cells: their number; those at one third and two thirds are reduction cells.
        stem: "cifar", a 3×3 convolution to 3 times the channels, or "imagenet", three with stride 2.
        norm_eps: epsilon of every batch normalisation.
    """

    normal: Cell
    reduction: Cell
    channels: int = 36
    cells: int = 20
    stem: Literal["cifar", "imagenet"] = "cifar"
    norm_eps: float = NORM_EPS
    resolution: int = 32
    num_classes: int = 10

    @cached_property
    def places(self) -> tuple[CellPlace, ...]:
        """Where each cell stands."""
        self._check()
        channels = self.channels
        stem = self.stem_blocks[-1].out_channels
        prev_size, size = self._stem_sizes
        places = []
        for i in range(self.cells):
            reduction = i in (self.cells // 3, 2 * self.cells // 3)
            channels *= 2 if reduction else 1
            if reduction and size == 1:
                raise NasError(f"cell {i + 1} strides over a 1×1 feature map; raise the resolution")
            place = CellPlace(reduction, channels, size, prev_size, (max(i - 2, -1), i - 1), stem)
            places.append(place)
            prev_size, size = size, place.out_size
        return tuple(places)

    @cached_property
    def stem_blocks(self) -> tuple[Block, ...]:
        """The blocks before the first cell, one after the other."""
        image, size, width = self.in_channels, self.resolution, self.channels
        eps = self.norm_eps
        if self.stem == "cifar":
            return (ConvBlock(image, 3 * width, size, 3, activation="none", norm_eps=eps),)
        first = ConvBlock(image, width // 2, size, 3, 2, norm_eps=eps)
        second = ConvBlock(width // 2, width, first.out_size, 3, 2, "none", eps)
        return first, second, PreActivationConvBlock(width, width, second.out_size, 3, 2, norm_eps=eps)

    @property
    def _stem_sizes(self) -> tuple[int, int]:
        """Height = width of what the first cell reads as outputs of the cell before the last and the last."""
        blocks = self.stem_blocks
        return blocks[-1].in_size, blocks[-1].out_size

    def head_blocks(self, concatenated: int) -> tuple[Block, Block]:
        """Return the blocks after the last cell, which gives out `concatenated` nodes."""
        last = self.places[-1]
        channels = concatenated * last.channels
        pool = PoolBlock(channels, channels, last.out_size)
        return pool, DenseBlock(channels, self.num_classes, 1, dropout=self.dropout)

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        places = self.places
        graph = GraphBuilder()
        made = [Feature(-1, self.in_channels, self.resolution)]
        for block in self.stem_blocks:
            made.append(graph.add("stem", block, made[-1]))
        states = [made[-1], made[-1]] if self.stem == "cifar" else made[-2:]
        for i, place in enumerate(places, start=1):
            prev, last = states[-2:]
            blocks = place.preprocess(prev.channels, last.channels, self.norm_eps)
            inputs = graph.add(f"cell{i}", blocks[0], prev), graph.add(f"cell{i}", blocks[1], last)
            cell = self.reduction if place.reduction else self.normal
            states.append(graph.add_cell(f"cell{i}", cell, inputs, place.stride, self.norm_eps))
        output = states[-1]
        for block in self.head_blocks(len(self._last_cell.concat)):
            output = graph.add("head", block, output)
        return tuple(graph.nodes)

    @property
    def _last_cell(self) -> Cell:
        return self.reduction if self.places[-1].reduction else self.normal

    def scale(self, depth: float = 1.0, width: float = 1.0, resolution: int | None = None) -> CellNetwork:
        """Return a network of the same cells: their number × depth rounded up, channels × width rounded to even."""
        check_multipliers(depth, width)
        return replace(
            self,
            cells=scaled_depth(self.cells, depth),
            channels=self.channels if width == 1 else max(2, 2 * round(self.channels * width / 2)),
            resolution=self.resolution if resolution is None else resolution,
            name="",
            source="",
        )

    def _check(self) -> None:
        self._check_counts()
        for name, least in (("cells", 1), ("channels", 2)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise NasError(f"{name} is {value!r}, must be a whole number of at least {least}")
        if self.stem not in ("cifar", "imagenet"):
            raise NasError(f"unknown stem {self.stem!r}{suggestion(str(self.stem), ('cifar', 'imagenet'))}")
        for name, cell in (("normal", self.normal), ("reduction", self.reduction)):
            inside = [state for state in cell.concat if state < INPUTS]
            if inside:
                raise NasError(f"the {name} cell gives out state {inside[0]}, which is an input; must be a node")
