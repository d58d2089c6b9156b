"""Networks of NAS-Bench-101 (Ying et al., 2019): a cell, given by its graph, in the skeleton of the benchmark."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import get_args

import numpy as np
import numpy.typing as npt

from nas.errors import NasError, suggestion
from nas.space import Block, NetworkSpec, Node
from nas.space.block import DenseBlock, PoolBlock
from nas.space.mbconv_blocks import ConvBlock
from nas.space.nasbench_blocks import CellOutputBlock, VertexBlock, VertexOp, WindowPoolBlock
from nas.space.network import IMAGE, check_multipliers, scaled_depth

STACKS = 3


def vertex_channels(matrices: npt.NDArray[np.bool_], channels: int) -> npt.NDArray[np.int64]:
    """Return int[n, V - 2], the channels of the vertices between input and output, 0 for those not in use.

    Those that lead to the output share the channels of the cell, the first of them get one more each where the
    division leaves a rest; any other has as many as the widest it leads to.

    Args:
        matrices: bool[n, V, V], whether there is an edge from x to y; edges lead to later vertices.
        channels: of the output of the cell.
    """
    inner = slice(1, matrices.shape[1] - 1)
    shares = matrices[:, inner, -1]
    base, rest = np.divmod(channels, np.maximum(shares.sum(axis=1, keepdims=True), 1))
    widths: npt.NDArray[np.int64] = np.where(shares, base + (np.cumsum(shares, axis=1) <= rest), 0)
    for vertex in range(widths.shape[1] - 1, -1, -1):
        widest = np.where(matrices[:, 1 + vertex, inner], widths, 0).max(axis=1)
        widths[:, vertex] = np.where(shares[:, vertex], widths[:, vertex], widest)
    return widths


@dataclass(frozen=True, kw_only=True)
class NasBench101Network(NetworkSpec):
    """A stem, three stacks of equal cells with a max pool of stride 2 between them, and a head.

    Args:
        matrix: for every vertex 1 where it leads to another; the first is the input of the cell, the last its output.
        operations: of the vertices between.
        channels: of the first stack; every later one has twice as many on half the resolution.
        cells: in each stack.
    """

    matrix: tuple[tuple[int, ...], ...]
    operations: tuple[VertexOp, ...]
    channels: int = 128
    cells: int = 3
    resolution: int = 32
    num_classes: int = 10

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        self._check()
        nodes = [Node("stem", self.stem, (IMAGE,))]
        for stack in range(STACKS):
            if stack:
                nodes.append(Node(f"downsample{stack}", self.downsample(stack), (len(nodes) - 1,)))
            for cell in range(self.cells):
                self._append_cell(nodes, f"cell{stack * self.cells + cell + 1}", stack)
        nodes += [Node("head", block, (len(nodes) + i - 1,)) for i, block in enumerate(self.head)]
        return tuple(nodes)

    def _append_cell(self, nodes: list[Node], part: str, stack: int) -> None:
        """Append the blocks of one cell that reads the last node; what is appended last is its output."""
        entry = len(nodes) - 1
        in_channels = nodes[entry].block.out_channels
        channels, size = self.stack_shape(stack)
        widths = [in_channels, *(int(width) for width in vertex_channels(self.edges[None], channels)[0])]
        # Every vertex has one block, in order: vertex v is node entry + v.
        for vertex, op in enumerate(self.operations, start=1):
            projects = bool(self.matrix[0][vertex])
            sources = [source for source in range(1, vertex) if self.matrix[source][vertex]]
            sources.sort(key=lambda source: -widths[source])
            block = vertex_block(
                in_channels, widths[vertex], size, op, projects, tuple(widths[source] for source in sources)
            )
            inputs = [0, *sources] if projects else sources
            nodes.append(Node(part, block, tuple(entry + vertex for vertex in inputs)))
        projects = bool(self.matrix[0][-1])
        sources = [vertex for vertex in range(1, len(widths)) if self.matrix[vertex][-1]]
        inputs = [0, *sources] if projects else sources
        nodes += [
            Node(part, output, tuple(entry + vertex for vertex in inputs))
            for output in output_blocks(in_channels, channels, size, projects, len(sources))
        ]

    @property
    def edges(self) -> npt.NDArray[np.bool_]:
        """bool[V, V], whether there is an edge from x to y."""
        return np.array(self.matrix, dtype=bool)

    def stack_shape(self, stack: int) -> tuple[int, int]:
        """Channels and size of the outputs of the cells of stack 0, 1 or 2."""
        return self.channels * 2**stack, math.ceil(self.resolution / 2**stack)

    @property
    def stem(self) -> Block:
        return ConvBlock(self.in_channels, self.channels, self.resolution, 3)

    def downsample(self, stack: int) -> Block:
        """The block that makes the input of stack 1 or 2."""
        channels, size = self.stack_shape(stack - 1)
        return WindowPoolBlock(channels, channels, size, "max_pool", 2, 2)

    @property
    def head(self) -> tuple[Block, ...]:
        channels, size = self.stack_shape(STACKS - 1)
        pool = PoolBlock(channels, channels, size)
        return pool, DenseBlock(channels, self.num_classes, 1, dropout=self.dropout)

    def scale(self, depth: float = 1.0, width: float = 1.0, resolution: int | None = None) -> NasBench101Network:
        """Return a bigger or smaller network: cells × depth rounded up, channels × width rounded to the nearest."""
        check_multipliers(depth, width)
        return replace(
            self,
            cells=scaled_depth(self.cells, depth),
            channels=max(1, round(width * self.channels)),
            resolution=self.resolution if resolution is None else resolution,
            name="",
            source="",
        )

    def _check(self) -> None:
        self._check_counts()
        for name in ("channels", "cells"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise NasError(f"{name} is {value!r}, must be a whole number of at least 1")
        check_cell(self.matrix, self.operations)
        branches = int(self.edges[1:, -1].sum())
        if self.channels < branches:
            raise NasError(f"{self.channels} channels cannot be divided among the {branches} branches of the cell")


def check_cell(matrix: tuple[tuple[int, ...], ...], operations: tuple[str, ...]) -> None:
    """Refuse with NasError what is no graph of operations from an input to an output, or has idle vertices."""
    count = len(operations) + 2
    edges = np.array(matrix) if {len(row) for row in matrix} == {len(matrix)} else np.zeros((0, 0))
    if edges.shape != (count, count) or not np.isin(edges, (0, 1)).all():
        raise NasError(f"a cell of {len(operations)} operations has a {count}×{count} matrix of 0 and 1")
    if np.tril(edges).any():
        source, target = (int(vertex) for vertex in np.argwhere(np.tril(edges))[0])
        raise NasError(f"the edge from vertex {source} to {target} of the cell does not lead to a later vertex")
    for vertex, op in enumerate(operations, start=1):
        if op not in get_args(VertexOp):
            raise NasError(f"vertex {vertex} of the cell: unknown operation {op!r}{suggestion(op, get_args(VertexOp))}")
    idle = [vertex for vertex in range(count) if not (vertex == 0 or edges[:, vertex].any())]
    idle += [vertex for vertex in range(count - 1) if not edges[vertex].any()]
    if idle:
        raise NasError(f"vertex {idle[0]} of the cell lies on no path from its input to its output; leave it out")


def vertex_block(
    in_channels: int, channels: int, size: int, op: VertexOp, projects: bool, sources: tuple[int, ...]
) -> VertexBlock:
    """Return the block of a vertex; that of one without an edge from the input does not depend on `in_channels`."""
    return VertexBlock(in_channels if projects else channels, channels, size, op, projects, sources)


def output_blocks(in_channels: int, channels: int, size: int, projects: bool, branches: int) -> list[Block]:
    """Return the block that joins what leads to the output; none where that is a single vertex."""
    if branches == 1 and not projects:
        return []
    base, rest = divmod(channels, max(branches, 1))
    sources = tuple(base + (i < rest) for i in range(branches))
    return [CellOutputBlock(in_channels if projects else channels, channels, size, projects, sources)]
