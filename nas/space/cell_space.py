"""Spaces of cells: what a normal and a reduction cell look like is free, the network around them is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nas.errors import NasError
from nas.space.block import Block
from nas.space.cell import INPUTS, Cell, Edge, sum_block
from nas.space.cell_blocks import OPERATIONS, check_operation, operation_block
from nas.space.cell_choices import NONE, NodeChoices
from nas.space.cell_memory import CellArrays, CellMemory
from nas.space.cell_network import CellNetwork, CellPlace
from nas.space.decision import Choice
from nas.space.network import NetworkSpec
from nas.space.space import Architecture, Codes, SearchSpace
from nas.space.vocabulary import BlockVocabulary, VocabularyBuilder

KINDS = ("normal", "reduction")


class CellSpace(SearchSpace):
    """All normal and reduction cells of some nodes and operations, in the skeleton of a CellNetwork.

    The decisions of a node are those of NodeChoices; one network has one code. Cells that differ only in the order of
    their nodes count as different, as in the literature. A code string has for each cell the
    edges of its nodes, `0sep3+1sep3_1skip+2max3_...`: the state read and the operation, "none" where there is none.

    Args:
        name, description: for lists and messages.
        skeleton: a network whose stem, size and head all members share; its cells are ignored.
        nodes: nodes of each cell.
        inputs: state i -> the sets of at most two states that it may read, the lower one first.
        operations: what may happen on an edge -> how that reads in code strings.
        concat: which nodes leave the cell, "all" or "loose ends", those that no other node reads.

    Attributes:
        operations: what may happen on an edge, in the order of `nas.space.cell_blocks.OPERATIONS`.
        choices: kind of cell -> what is free at each of its nodes.

    Raises:
        NasError: an operation does not exist, or the skeleton cannot be built.
    """

    def __init__(
        self,
        name: str,
        skeleton: CellNetwork,
        nodes: int,
        inputs: Callable[[int], Sequence[tuple[int, ...]]],
        operations: Mapping[str, str],
        concat: Literal["all", "loose ends"] = "all",
        description: str = "",
    ):
        for operation in operations:
            check_operation(operation)
        self.name = name
        self.description = description
        self.operations = tuple(sorted(operations, key=OPERATIONS.index))
        self._short = [operations[operation] for operation in self.operations]
        self._skeleton = skeleton
        self.concat = concat
        self.choices = {
            kind: [
                NodeChoices(f"{kind}.node{i}", tuple(inputs(i)), self.operations) for i in range(INPUTS, nodes + INPUTS)
            ]
            for kind in KINDS
        }
        self.decisions = tuple(
            decision for choices in self.choices.values() for node in choices for decision in node.decisions
        )
        self.spec(np.zeros(len(self.decisions), dtype=np.int8)).nodes  # noqa: B018 - refuses an impossible skeleton

    @cached_property
    def _columns(self) -> dict[str, list[range]]:
        """For each kind of cell the columns of each node's decisions."""
        columns: dict[str, list[range]] = {}
        start = 0
        for kind, choices in self.choices.items():
            columns[kind] = []
            for node in choices:
                columns[kind].append(range(start, start + len(node.decisions)))
                start += len(node.decisions)
        return columns

    @property
    def _node_count(self) -> int:
        return len(self.choices["normal"])

    # --- networks -------------------------------------------------------------------------------------------------

    def spec(self, code: npt.ArrayLike | Architecture | str, **overrides: Any) -> CellNetwork:
        """Return the network of a code, code string or architecture."""
        row = self.encode(code) if isinstance(code, str | Architecture) else self.check(np.asarray(code)[None])[0]
        cells = {
            kind: self._cell(
                tuple(
                    node.edges(row[list(columns)])
                    for node, columns in zip(self.choices[kind], self._columns[kind], strict=True)
                )
            )
            for kind in KINDS
        }
        fields: dict[str, Any] = {"name": self.format(row[None])[0], **cells, **overrides}
        return replace(self._skeleton, **fields)

    def _cell(self, nodes: tuple[tuple[Edge, ...], ...]) -> Cell:
        cell = Cell(nodes, tuple(range(INPUTS, len(nodes) + INPUTS)))
        return replace(cell, concat=cell.loose_ends) if self.concat == "loose ends" else cell

    def _decisions_of(self, spec: NetworkSpec) -> dict[str, Choice]:
        if not isinstance(spec, CellNetwork):
            raise NasError(f"not in {self.name}: a {type(spec).__name__} is no network of cells")
        shared = replace(self._skeleton, normal=spec.normal, reduction=spec.reduction)
        if spec != shared:
            wrong = next(
                name for name, field in CellNetwork.__dataclass_fields__.items()
                if field.compare and getattr(spec, name) != getattr(shared, name)
            )  # fmt: skip
            raise NasError(
                f"not in {self.name}: {wrong} is {getattr(spec, wrong)}, the space has {getattr(shared, wrong)}"
            )
        return self._decisions_of_cells({"normal": spec.normal, "reduction": spec.reduction})

    def _decisions_of_cells(self, cells: Mapping[str, Cell]) -> dict[str, Choice]:
        decisions: dict[str, Choice] = {}
        for kind, cell in cells.items():
            if len(cell.nodes) != self._node_count:
                raise NasError(
                    f"not in {self.name}: the {kind} cell has {len(cell.nodes)} nodes, the space {self._node_count}"
                )
            if cell.concat != self._cell(cell.nodes).concat:
                raise NasError(
                    f"not in {self.name}: the {kind} cell gives out the states {list(cell.concat)}, the space "
                    f"{self.concat}, {list(self._cell(cell.nodes).concat)}"
                )
            for node, edges in zip(self.choices[kind], cell.nodes, strict=True):
                decisions |= node.setting(edges)
        return decisions

    # --- code strings ---------------------------------------------------------------------------------------------

    def format(self, codes: Codes) -> list[str]:
        """Return a readable string for each code."""
        cells = [self._arrays(codes, kind) for kind in KINDS]
        return [
            "-".join(
                "_".join(map(self._node_word, states, operations))
                for states, operations in zip(cell_states, cell_operations, strict=True)
            )
            for cell_states, cell_operations in zip(
                zip(*(cell.states.tolist() for cell in cells), strict=True),
                zip(*(cell.operations.tolist() for cell in cells), strict=True),
                strict=True,
            )
        ]

    def _node_word(self, states: Sequence[int], operations: Sequence[int]) -> str:
        edges = [f"{state}{self._short[op]}" for state, op in zip(states, operations, strict=True) if state != NONE]
        return "+".join(edges) or "none"

    def _parse(self, text: str) -> npt.NDArray[np.int8]:
        edges = {
            f"{state}{short}": (operation, state)
            for state in range(self._node_count + INPUTS - 1)
            for operation, short in zip(self.operations, self._short, strict=True)
        }
        cells = []
        for part in text.split("-"):
            words = [[] if node == "none" else node.split("+") for node in part.split("_")]
            if len(words) != self._node_count or not all(word in edges for node in words for word in node):
                break
            cells.append(self._cell(tuple(tuple(edges[word] for word in node) for node in words)))
        else:
            if len(cells) == len(KINDS):
                return self._encode_decisions(self._decisions_of_cells(dict(zip(KINDS, cells, strict=True))))
        example = self.format(np.zeros((1, len(self.decisions)), dtype=np.int8))[0]
        raise NasError(f"{text!r} is not a code of {self.name}; one looks like {example!r}")

    # --- costs ----------------------------------------------------------------------------------------------------

    def _arrays(self, codes: npt.NDArray[np.integer], kind: str) -> CellArrays:
        states, operations = zip(
            *(
                node.edge_arrays(codes[:, columns.start : columns.stop])
                for node, columns in zip(self.choices[kind], self._columns[kind], strict=True)
            ),
            strict=True,
        )
        return CellArrays(np.stack(states, axis=1), np.stack(operations, axis=1), self._concatenated(states))

    def _concatenated(self, states: Sequence[npt.NDArray[np.intp]]) -> npt.NDArray[np.bool_]:
        """Return bool[n, nodes], which nodes leave the cell, given for each the states that it reads."""
        leaves = np.ones((len(states[0]), len(states)), dtype=bool)
        if self.concat == "loose ends":
            for node in range(len(states)):
                leaves[:, node] = ~np.any([(read == node + INPUTS).any(axis=1) for read in states], axis=0)
        return leaves

    def peak_activation_bytes(self, codes: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
        """Return int64[n], the largest sum of activations alive at one time, float32, batch 1."""
        return self._memory(self._arrays(codes, "normal"), self._arrays(codes, "reduction"))

    @cached_property
    def _memory(self) -> CellMemory:
        return CellMemory(self._skeleton, self.operations)

    @cached_property
    def vocabulary(self) -> BlockVocabulary:
        builder = VocabularyBuilder()
        skeleton = self._skeleton
        builder.add((), (), lambda: skeleton.stem_blocks)
        places = skeleton.places
        for place in places:
            self._add_preprocessing(builder, place)
            for node in range(self._node_count):
                self._add_node(builder, place, node)
            self._add_for_count(builder, place.reduction, place.join)
        self._add_for_count(builder, places[-1].reduction, skeleton.head_blocks)
        if self.concat == "loose ends":
            return builder.build(self._output_counts, independent=False)
        return builder.build()

    def _output_counts(self, codes: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
        """Return int[n, 2], how many nodes leave the normal and the reduction cell, less one."""
        return np.stack([self._arrays(codes, kind).counts - 1 for kind in KINDS], axis=1)

    def _add_for_count(
        self, builder: VocabularyBuilder, reduction: bool, blocks_of: Callable[[int], Sequence[Block]]
    ) -> None:
        """Add blocks that hang on how many nodes leave the cell of one kind."""
        if self.concat == "loose ends":
            builder.add((len(self.decisions) + reduction,), (self._node_count,), lambda less: blocks_of(less + 1))
        else:
            builder.add((), (), lambda: blocks_of(self._node_count))

    def _add_preprocessing(self, builder: VocabularyBuilder, place: CellPlace) -> None:
        eps = self._skeleton.norm_eps
        for state, before in enumerate(place.before):
            if before < 0:
                stem = place.preprocess(place.stem_channels, place.stem_channels, eps)[state]
                builder.add((), (), lambda stem=stem: [stem])
                continue
            source = self._skeleton.places[before]

            def blocks_of(count: int, state: int = state, width: int = source.channels) -> list[Block]:
                return [place.preprocess(count * width, count * width, eps)[state]]

            self._add_for_count(builder, source.reduction, blocks_of)

    def _add_node(self, builder: VocabularyBuilder, place: CellPlace, node: int) -> None:
        kind = KINDS[place.reduction]
        choices = self.choices[kind][node]
        inputs, *operations = self._columns[kind][node]
        sizes = [len(decision.choices) for decision in choices.decisions]

        def blocks_of(edges: tuple[Edge, ...]) -> list[Block]:
            blocks = []
            for operation, state in edges:
                size, stride = (place.in_size, place.stride) if state < INPUTS else (place.out_size, 1)
                blocks.append(operation_block(operation, place.channels, size, stride, self._skeleton.norm_eps))
            return [block for block in blocks if block is not None]

        def sum_of(index: int) -> list[Block]:
            count = len(choices.inputs[index])
            return [] if count == 1 else [sum_block(place.channels, place.in_size, place.stride, count)]

        edges_of = (choices.first_edge, choices.second_edge, choices.twin_edges)[: len(operations)]
        for column, size, edge in zip(operations, sizes[1:], edges_of, strict=True):
            builder.add((inputs, column), (sizes[0], size), lambda index, op, edge=edge: blocks_of(edge(index, op)))
        builder.add((inputs,), (sizes[0],), sum_of)
