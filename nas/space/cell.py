"""Cells: small graphs of operations, repeated to make a network; and the building of networks from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nas.errors import NasError
from nas.space.block import AddBlock, Block, ConcatBlock
from nas.space.cell_blocks import OPERATIONS, StridedZerosBlock, check_operation, operation_block
from nas.space.network import Node

#: an operation and the state it reads: 0 is the output of the cell before the last, 1 of the last, 2 ... the nodes
Edge = tuple[str, int]

#: states of a cell that come from outside
INPUTS = 2


@dataclass(frozen=True)
class Cell:
    """Nodes that each sum up what their edges bring; the nodes in `concat` are what leaves the cell.

    A cell is a value: edges with the operation "none" are dropped and those of a node are brought into one order, for
    neither changes what the cell computes.

    Args:
        nodes: for every node its edges (operation, state); states count from 0, node i is state i + 2.
        concat: states whose channels leave the cell, one after the other.

    Raises:
        NasError: an operation does not exist, an edge reads a state that comes later, or nothing leaves the cell.
    """

    nodes: tuple[tuple[Edge, ...], ...]
    concat: tuple[int, ...]

    def __post_init__(self) -> None:
        for i, edges in enumerate(self.nodes):
            for operation, state in edges:
                if operation != "none":
                    check_operation(operation)
                if not 0 <= state < i + INPUTS:
                    raise NasError(f"node {i + INPUTS} of a cell reads state {state}, must be 0 to {i + INPUTS - 1}")
        if not self.concat or not all(0 <= state < len(self.nodes) + INPUTS for state in self.concat):
            raise NasError(f"a cell of {len(self.nodes)} nodes cannot give out the states {list(self.concat)}")
        object.__setattr__(self, "nodes", tuple(_canonical(edges) for edges in self.nodes))

    @classmethod
    def of_pairs(cls, edges: Iterable[Edge], concat: Iterable[int]) -> Cell:
        """Return the cell of a flat list of edges, two a node, the way genotypes are written down."""
        flat = list(edges)
        return cls(tuple(zip(flat[::2], flat[1::2], strict=True)), tuple(concat))

    @property
    def loose_ends(self) -> tuple[int, ...]:
        """The nodes that no other node reads."""
        read = {state for edges in self.nodes for _, state in edges}
        return tuple(i for i in range(INPUTS, len(self.nodes) + INPUTS) if i not in read)


def _canonical(edges: tuple[Edge, ...]) -> tuple[Edge, ...]:
    kept = [(operation, state) for operation, state in edges if operation != "none"]
    return tuple(sorted(kept, key=lambda edge: (edge[1], OPERATIONS.index(edge[0]))))


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature map: position of the node that makes it, channels, height = width in pixels."""

    node: int
    channels: int
    size: int


class GraphBuilder:
    """Collects the nodes of a network."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def add(self, part: str, block: Block, *inputs: Feature) -> Feature:
        """Append a block that reads `inputs`; returns what it makes."""
        self.nodes.append(Node(part, block, tuple(feature.node for feature in inputs)))
        return Feature(len(self.nodes) - 1, block.out_channels, block.out_size)

    def join(self, part: str, features: list[Feature]) -> Feature:
        """Concatenate feature maps of one shape; a single one passes through."""
        first, count = features[0], len(features)
        return self.add(part, concat_block(first.channels, first.size, count), *features) if count > 1 else first

    def add_cell(self, part: str, cell: Cell, states: tuple[Feature, Feature], stride: int, norm_eps: float) -> Feature:
        """Append the nodes of a cell on two feature maps of one shape; operations on these have the stride."""
        features = list(states)
        for edges in cell.nodes:
            terms = []
            for operation, state in edges:
                source = features[state]
                step = stride if state < INPUTS else 1
                block = operation_block(operation, source.channels, source.size, step, norm_eps)
                terms.append(self.add(part, block, source) if block else source)
            features.append(self.add_sum(part, terms, states[0], stride))
        return self.join(part, [features[state] for state in cell.concat])

    def add_sum(self, part: str, terms: list[Feature], like: Feature, stride: int) -> Feature:
        """Append the sum of what a node's edges bring, zeros if there are none; `like` is an input of the cell."""
        if len(terms) == 1:
            return terms[0]
        block = sum_block(like.channels, like.size, stride, len(terms))
        return self.add(part, block, *(terms or [like]))


def sum_block(channels: int, in_size: int, stride: int, count: int) -> Block:
    """Return the block that makes a node of a cell from 0 or several terms, given the shape of the cell's inputs."""
    zeros = StridedZerosBlock(channels, channels, in_size, stride)
    return AddBlock(channels, channels, zeros.out_size, count) if count else zeros


def concat_block(channels: int, size: int, count: int) -> Block:
    """Return the block that joins `count` feature maps of one shape."""
    return ConcatBlock(channels, count * channels, size, count)
