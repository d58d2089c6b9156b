"""`nasbench201`: the topology space of NAS-Bench-201 (Dong & Yang, 2020), 15,625 cells in a small ResNet skeleton.

Every code is a network of the benchmark's table, so isomorphic cells are different points; `unique_cell` says which
cells are isomorphic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nas.errors import NasError
from nas.space import (
    Architecture,
    Block,
    BlockTable,
    BlockVocabulary,
    Codes,
    Decision,
    NetworkSpec,
    Node,
    SearchSpace,
    VocabularyBuilder,
)
from nas.space.block import AddBlock, DenseBlock, PoolBlock
from nas.space.cell_blocks import PreActivationConvBlock, StridedZerosBlock
from nas.space.decision import Choice
from nas.space.layer import FLOAT_BYTES
from nas.space.mbconv_blocks import ConvBlock
from nas.space.nasbench_blocks import NormActBlock, ReductionResidualBlock, WindowPoolBlock
from nas.space.network import IMAGE, check_multipliers, scaled_depth
from search_spaces.cells.nasbench201_cell import (
    EDGES,
    NODES,
    OPERATIONS,
    check_operations,
    live_edges,
    parse_cell,
    peak_feature_maps,
)

STAGES = 3


@dataclass(frozen=True, kw_only=True)
class NasBench201Network(NetworkSpec):
    """A stem, three stages of equal cells with a residual block of stride 2 between them, and a head.

    Args:
        edges: operations on the edges of the cell, in the order of `EDGES`.
        channels: of the first stage; every later one has twice as many on half the resolution.
        cells: in each stage.
    """

    #: two blocks halve it, and the average pool of their shortcuts needs an even size
    resolution_multiple: ClassVar[int] = 2 ** (STAGES - 1)

    edges: tuple[str, ...]
    channels: int = 16
    cells: int = 5
    resolution: int = 32
    num_classes: int = 10

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        self._check()
        nodes = [Node("stem", self.stem, (IMAGE,))]
        last = 0
        for stage in range(STAGES):
            if stage:
                nodes.append(Node(f"reduction{stage}", self.reduction(stage), (last,)))
                last = len(nodes) - 1
            for cell in range(self.cells):
                last = self._append_cell(nodes, f"cell{stage * self.cells + cell + 1}", last, *self.stage_shape(stage))
        for block in self.head:
            nodes.append(Node("head", block, (last,)))
            last = len(nodes) - 1
        return tuple(nodes)

    def _append_cell(self, nodes: list[Node], part: str, entry: int, channels: int, size: int) -> int:
        """Append the blocks of one cell that reads node `entry`; return the node that is its output."""
        tensors = [entry]
        for edges in NODES:
            terms = []
            for edge in edges:
                source = tensors[EDGES[edge][0]]
                for block in edge_blocks(self.edges[edge], channels, size):
                    nodes.append(Node(part, block, (source,)))
                    source = len(nodes) - 1
                if self.edges[edge] != "none":
                    terms.append(source)
            for block in join_blocks(len(terms), channels, size):
                nodes.append(Node(part, block, tuple(terms) or (entry,)))
                terms = [len(nodes) - 1]
            tensors += terms
        return tensors[-1]

    def stage_shape(self, stage: int) -> tuple[int, int]:
        """Channels and size of the feature maps of stage 0, 1 or 2."""
        return self.channels * 2**stage, self.resolution // 2**stage

    @property
    def stem(self) -> Block:
        return ConvBlock(self.in_channels, self.channels, self.resolution, 3, activation="none")

    def reduction(self, stage: int) -> Block:
        """The block that makes the input of stage 1 or 2."""
        (channels, size), (wider, _) = self.stage_shape(stage - 1), self.stage_shape(stage)
        return ReductionResidualBlock(channels, wider, size)

    @property
    def head(self) -> tuple[Block, ...]:
        channels, size = self.stage_shape(STAGES - 1)
        return (
            NormActBlock(channels, channels, size),
            PoolBlock(channels, channels, size),
            DenseBlock(channels, self.num_classes, 1, dropout=self.dropout),
        )

    def scale(self, depth: float = 1.0, width: float = 1.0, resolution: int | None = None) -> NasBench201Network:
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
        check_operations(self.edges)
        for name in ("channels", "cells"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise NasError(f"{name} is {value!r}, must be a whole number of at least 1")
        if self.resolution % self.resolution_multiple:
            raise NasError(
                f"resolution is {self.resolution}, must be a multiple of {self.resolution_multiple}: two blocks halve "
                "it, and the average pool of their shortcuts needs an even size"
            )


def edge_blocks(operation: str, channels: int, size: int) -> list[Block]:
    """Return the block on an edge; none for `none`, which brings nothing, and a skip, which brings its source."""
    if operation == "avg_pool_3x3":
        return [WindowPoolBlock(channels, channels, size, "avg_pool")]
    if operation in ("nor_conv_1x1", "nor_conv_3x3"):
        return [PreActivationConvBlock(channels, channels, size, 3 if operation == "nor_conv_3x3" else 1)]
    return []


def join_blocks(count: int, channels: int, size: int) -> list[Block]:
    """Return the block that makes a node of what `count` edges bring; none where that is what one edge brings."""
    if count == 0:
        return [StridedZerosBlock(channels, channels, size)]
    return [AddBlock(channels, channels, size, count)] if count > 1 else []


class NasBench201Space(SearchSpace):
    """All cells of NAS-Bench-201 in one skeleton.

    Args:
        name, description: for lists and messages.
        skeleton: a network whose edges are ignored.

    Raises:
        NasError: the skeleton cannot be built.
    """

    def __init__(self, name: str, skeleton: NasBench201Network, description: str = ""):
        self.name = name
        self.description = description
        self.decisions = tuple(Decision(f"node{target}.from{source}", OPERATIONS) for source, target in EDGES)
        self._skeleton = skeleton
        skeleton.nodes  # noqa: B018 - refuses an impossible skeleton

    def encode(self, architecture: Architecture | NetworkSpec | Mapping[str, Choice] | str) -> npt.NDArray[np.int8]:
        """Return int8[6], the code of an architecture, code string, named decisions, a network, or a cell as the
        benchmark writes it, `|avg_pool_3x3~0|+|...|`.

        Raises:
            NasError: it is not in the space; says which part.
        """
        if isinstance(architecture, str) and architecture.startswith("|"):
            return np.array([OPERATIONS.index(operation) for operation in parse_cell(architecture)], dtype=np.int8)
        return super().encode(architecture)

    def spec(self, code: npt.ArrayLike | Architecture | str, **overrides: Any) -> NasBench201Network:
        """Return the network of a code, code string, cell string or architecture; `overrides` replace its fields."""
        row = self.encode(code) if isinstance(code, str | Architecture) else np.asarray(code)
        row = self.check(row[None])[0]
        named = {"name": self.format(row[None])[0]} | overrides
        return replace(self._skeleton, edges=tuple(OPERATIONS[choice] for choice in row), **named)

    def _decisions_of(self, spec: NetworkSpec) -> dict[str, Choice]:
        if not isinstance(spec, NasBench201Network):
            raise NasError(f"not in {self.name}: a {type(spec).__name__} is no network of NAS-Bench-201")
        check_operations(spec.edges)
        shared = replace(self._skeleton, edges=spec.edges)
        for name in ("resolution", "in_channels", "num_classes", "channels", "cells"):
            if getattr(spec, name) != getattr(shared, name):
                raise NasError(
                    f"not in {self.name}: {name} is {getattr(spec, name)}, the space has {getattr(shared, name)}"
                )
        return {decision.name: operation for decision, operation in zip(self.decisions, spec.edges, strict=True)}

    @cached_property
    def vocabulary(self) -> BlockVocabulary:
        builder = VocabularyBuilder()
        skeleton = self._skeleton
        builder.add((), (), lambda: (skeleton.stem,))
        for stage in range(STAGES):
            if stage:
                block = skeleton.reduction(stage)
                builder.add((), (), lambda block=block: (block,))
            for _ in range(skeleton.cells):
                _add_cell(builder, *skeleton.stage_shape(stage))
        builder.add((), (), lambda: skeleton.head)
        return builder.build()

    def predictor_features(self, codes: Codes) -> npt.NDArray[np.float64]:
        """Return float[n, 2]: log(1 + MACs of the operations that take part), and 1 where no path leads through.

        An operation takes part if it lies on a path from the input to the output of the cell that no `none` cuts.
        The unit of MACs is one pointwise convolution in every cell.
        """
        none, live = OPERATIONS.index("none"), self.live(codes)
        empty = np.full((2, len(EDGES)), none)
        empty[1, 0] = OPERATIONS.index("nor_conv_1x1")
        nothing, pointwise = self._macs.sum(empty)[:, 0]
        in_cells = (self._macs.sum(live)[:, 0] - nothing) / (pointwise - nothing)
        return np.stack([np.log1p(in_cells), (live == none).all(axis=1)], axis=1)

    def live(self, codes: Codes) -> Codes:
        """Return int8[n, 6], the codes with `none` on every edge that lies on no path from input to output."""
        return np.where(live_edges(codes), codes, np.int8(OPERATIONS.index("none")))

    @cached_property
    def _macs(self) -> BlockTable:
        return BlockTable(self.vocabulary, np.array([[block.macs] for block in self.vocabulary.blocks], dtype=float))

    def peak_activation_bytes(self, codes: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
        """Return int[n], the largest sum of activations alive at one time, float32, batch 1.

        Only one tensor passes from cell to cell, so the peak is that of a cell or of a block of the skeleton.
        """
        skeleton = self._skeleton
        feature_map = max(channels * size**2 for channels, size in map(skeleton.stage_shape, range(STAGES)))
        fixed = [skeleton.stem, *(skeleton.reduction(stage) for stage in range(1, STAGES)), *skeleton.head]
        floor = max(block.peak_activation_bytes for block in fixed)
        return np.maximum(FLOAT_BYTES * feature_map * peak_feature_maps(codes), floor)


def _add_cell(builder: VocabularyBuilder, channels: int, size: int) -> None:
    """Add the groups of one cell: for every node one an edge, and one for what joins them."""

    def on_edge(choice: int) -> list[Block]:
        return edge_blocks(OPERATIONS[choice], channels, size)

    def joining(*choices: int) -> list[Block]:
        return join_blocks(sum(OPERATIONS[choice] != "none" for choice in choices), channels, size)

    for edges in NODES:
        for edge in edges:
            builder.add((edge,), (len(OPERATIONS),), on_edge)
        builder.add(edges, (len(OPERATIONS),) * len(edges), joining)


_NO_CELL = ("skip_connect",) * len(EDGES)

SPACE = NasBench201Space("nasbench201", NasBench201Network(edges=_NO_CELL), "NAS-Bench-201 cells for CIFAR-10")

CIFAR100 = NasBench201Space(
    "nasbench201_cifar100", NasBench201Network(edges=_NO_CELL, num_classes=100), "NAS-Bench-201 cells for CIFAR-100"
)

IMAGENET16_120 = NasBench201Space(
    "nasbench201_imagenet16_120",
    NasBench201Network(edges=_NO_CELL, resolution=16, num_classes=120),
    "NAS-Bench-201 cells for ImageNet16-120",
)
