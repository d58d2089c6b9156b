"""NasNetwork: cells stacked as in NASNet, PNASNet and AmoebaNet (Zoph et al., 2018), stems and adjustments included."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from nas.errors import NasError, suggestion
from nas.space.block import Block, DenseBlock, PoolBlock
from nas.space.cell import INPUTS, Cell, Feature, GraphBuilder
from nas.space.cell_blocks import (
    CONVOLUTIONS,
    IDENTITY,
    POOLS,
    FactorizedReduceBlock,
    PreActivationConvBlock,
    ReluBlock,
    UnpaddedConvBlock,
    pool_block,
)
from nas.space.mbconv_blocks import ConvBlock
from nas.space.network import NetworkSpec, Node, check_multipliers, scaled_depth


@dataclass(frozen=True, kw_only=True)
class NasNetwork(NetworkSpec):
    """Cells whose inputs are brought to one shape only where they differ, as the networks of these papers were built.

    It differs from CellNetwork: the output of the cell before the last enters unchanged where it has the right shape
    and, in the first cell, always; reductions may be cells of their own; on ImageNet the stem ends in two reduction
    cells of a quarter and half the width; a ReLU precedes the classifier.

    Args:
        normal, reduction: the two cells; they may give out inputs as well as nodes.
        filters: channels of each node in the first cells after the stem.
        cells: number of cells, without those of the stem and, if `extra_reductions`, without reduction cells.
        stem_filters: channels of the first convolution.
        stem: "cifar", a padded convolution, or "imagenet", an unpadded one with stride 2 and two reduction cells.
        extra_reductions: a reduction cell is put in before the cells at one third and two thirds, as in NASNet, or
            takes their place, as in PNASNet.
        skip_reduction_input: the cell after a reduction reads what the reduction read as the cell before the last, not
            the last output before it.
        norm_eps: epsilon of every batch normalisation.
    """

    normal: Cell
    reduction: Cell
    filters: int
    cells: int
    stem_filters: int
    stem: Literal["cifar", "imagenet"] = "imagenet"
    extra_reductions: bool = True
    skip_reduction_input: bool = False
    norm_eps: float = 1e-3

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        self._check()
        graph = GraphBuilder()
        image = Feature(-1, self.in_channels, self.resolution)
        outputs: list[Feature] = [graph.add("stem", self._stem_block(), image)]
        if self.stem == "imagenet":
            for i, share in enumerate((4, 2), start=1):
                prev = outputs[-2] if len(outputs) > 1 else None
                outputs.append(self._add_cell(graph, f"stem{i}", self.filters // share, prev, outputs[-1], True))
        reductions = (self.cells // 3, 2 * self.cells // 3)
        filters, count = self.filters, 0
        for i in range(self.cells):
            prev = outputs[-2] if len(outputs) > 1 else None
            reduces = i in reductions
            filters *= 2 if reduces else 1
            if reduces and self.extra_reductions:
                count += 1
                outputs.append(self._add_cell(graph, f"cell{count}", filters, prev, outputs[-1], True))
                prev = prev if self.skip_reduction_input else outputs[-2]
                reduces = False
            count += 1
            outputs.append(self._add_cell(graph, f"cell{count}", filters, prev, outputs[-1], reduces))
        for block in self._head(outputs[-1]):
            outputs.append(graph.add("head", block, outputs[-1]))
        return tuple(graph.nodes)

    def _stem_block(self) -> Block:
        channels, out, size, eps = self.in_channels, self.stem_filters, self.resolution, self.norm_eps
        if self.stem == "cifar":
            return ConvBlock(channels, out, size, 3, activation="none", norm_eps=eps)
        return UnpaddedConvBlock(channels, out, size, 3, 2, "none", eps)

    def _head(self, output: Feature) -> tuple[Block, ...]:
        channels, size = output.channels, output.size
        return (
            ReluBlock(channels, channels, size),
            PoolBlock(channels, channels, size),
            DenseBlock(channels, self.num_classes, 1, dropout=self.dropout),
        )

    def _add_cell(
        self, graph: GraphBuilder, part: str, filters: int, prev: Feature | None, last: Feature, reduces: bool
    ) -> Feature:
        if reduces and last.size == 1:
            raise NasError(f"{part} strides over a 1×1 feature map; raise the resolution")
        before = last if prev is None else self._match(graph, part, prev, filters, last.size)
        squeezed = PreActivationConvBlock(last.channels, filters, last.size, norm_eps=self.norm_eps)
        states = [before, graph.add(part, squeezed, last)]
        cell, stride = (self.reduction, 2) if reduces else (self.normal, 1)
        for edges in cell.nodes:
            terms = [
                self._operate(graph, part, operation, states[state], filters, stride if state < INPUTS else 1)
                for operation, state in edges
            ]
            states.append(graph.add_sum(part, terms, states[1], stride))
        size = states[-1].size
        return graph.join(part, [self._shrink(graph, part, states[state], filters, size) for state in cell.concat])

    def _match(self, graph: GraphBuilder, part: str, prev: Feature, filters: int, size: int) -> Feature:
        """Bring the output of the cell before the last to the shape of the cell's other input, where it is not."""
        if prev.size != size:
            return graph.add(part, FactorizedReduceBlock(prev.channels, filters, prev.size, True, self.norm_eps), prev)
        if prev.channels != filters:
            block = PreActivationConvBlock(prev.channels, filters, size, norm_eps=self.norm_eps)
            return graph.add(part, block, prev)
        return prev

    def _operate(
        self, graph: GraphBuilder, part: str, operation: str, source: Feature, filters: int, stride: int
    ) -> Feature:
        channels, size, eps = source.channels, source.size, self.norm_eps
        if operation in POOLS:
            pooled = graph.add(part, pool_block(operation, channels, size, stride), source)
            return pooled if channels == filters else self._project(graph, part, pooled, filters)
        if operation == IDENTITY:
            if stride == 1 and channels == filters:
                return source
            return graph.add(part, PreActivationConvBlock(channels, filters, size, 1, stride, norm_eps=eps), source)
        return graph.add(part, CONVOLUTIONS[operation](channels, filters, size, stride, eps), source)

    def _project(self, graph: GraphBuilder, part: str, source: Feature, filters: int) -> Feature:
        block = ConvBlock(source.channels, filters, source.size, 1, activation="none", norm_eps=self.norm_eps)
        return graph.add(part, block, source)

    def _shrink(self, graph: GraphBuilder, part: str, source: Feature, filters: int, size: int) -> Feature:
        """Bring a state to the shape of the last node, where it has another, before it leaves the cell."""
        if source.size != size:
            block = FactorizedReduceBlock(source.channels, filters, source.size, False, self.norm_eps)
            return graph.add(part, block, source)
        return source if source.channels == filters else self._project(graph, part, source, filters)

    def scale(self, depth: float = 1.0, width: float = 1.0, resolution: int | None = None) -> NasNetwork:
        """Return a network of the same cells: their number × depth rounded up, filters × width rounded to 4."""
        check_multipliers(depth, width)
        return replace(
            self,
            cells=scaled_depth(self.cells, depth),
            filters=self.filters if width == 1 else max(4, 4 * round(self.filters * width / 4)),
            stem_filters=self.stem_filters if width == 1 else max(1, round(self.stem_filters * width)),
            resolution=self.resolution if resolution is None else resolution,
            name="",
            source="",
        )

    def _check(self) -> None:
        self._check_counts()
        for name, least in (("cells", 1), ("filters", 4), ("stem_filters", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise NasError(f"{name} is {value!r}, must be a whole number of at least {least}")
        if self.stem not in ("cifar", "imagenet"):
            raise NasError(f"unknown stem {self.stem!r}{suggestion(str(self.stem), ('cifar', 'imagenet'))}")
        if self.stem == "imagenet" and self.resolution < 3:
            raise NasError(f"resolution is {self.resolution}, the unpadded 3×3 stem needs at least 3")
