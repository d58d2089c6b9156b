"""Peak activation memory of many networks of cells at once: liveness of tensors over arrays of edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.space.block import Block
from nas.space.cell import INPUTS
from nas.space.cell_blocks import operation_block
from nas.space.cell_choices import NONE
from nas.space.cell_network import CellNetwork, CellPlace
from nas.space.layer import FLOAT_BYTES
from nas.space.trace import peak_bytes

Ints = npt.NDArray[np.intp]


@dataclass(frozen=True)
class CellArrays:
    """The cells of n networks.

    Args:
        states, operations: intp[n, nodes, 2], for each edge the state it reads and its operation, NONE for no edge.
        concat: bool[n, nodes], which nodes leave the cell.
    """

    states: Ints
    operations: Ints
    concat: npt.NDArray[np.bool_]

    @property
    def counts(self) -> Ints:
        """intp[n], how many nodes leave each cell."""
        counts: Ints = self.concat.sum(axis=1)
        return counts


@cache
def _rise(block: Block, survives: bool) -> int:
    """How many elements more than before it are alive at most while a block runs; its input may have to survive."""
    trace, output = block.traced()
    elements = [tensor.elements for tensor in trace.inputs]
    outputs = [output.index, -1] if survives else [output.index]
    return peak_bytes(trace.layers, elements, outputs) // FLOAT_BYTES - sum(elements)


class _Liveness:
    """Elements alive now and at most so far, of n networks."""

    def __init__(self, n: int):
        self.now = np.zeros(n, dtype=np.int64)
        self.peak = np.zeros(n, dtype=np.int64)

    def step(self, rise: npt.NDArray[Any] | int, change: npt.NDArray[Any] | int) -> None:
        """Run an operation: `rise` more than before it are alive at most, `change` more after it."""
        np.maximum(self.peak, self.now + rise, out=self.peak)
        self.now += change


class CellMemory:
    """Peak memory of networks in one skeleton, exact, for cells whose concatenated nodes are distinct tensors or all.

    Args:
        skeleton: gives everything but the cells.
        operations: names that the indices in CellArrays stand for.
    """

    def __init__(self, skeleton: CellNetwork, operations: Sequence[str]):
        self._skeleton = skeleton
        self._operations = tuple(operations)

    def __call__(self, normal: CellArrays, reduction: CellArrays) -> npt.NDArray[np.int64]:
        """Return int64[n], bytes of float32 at batch 1, as `NetworkSpec.peak_activation_bytes` gives them one by one.

        A cell's memory depends on where it stands, not on what happens elsewhere, so equal places are looked at once.
        """
        skeleton = self._skeleton
        kinds = [reduction if place.reduction else normal for place in skeleton.places]
        peak = np.full(len(normal.states), self._stem_peak)
        seen = set()
        for i, place in enumerate(skeleton.places):
            sources = tuple(self._source(before) for before in place.before)
            same = skeleton.stem == "cifar" and place.before == (-1, -1)
            last = i == len(kinds) - 1
            key = (place.reduction, place.channels, place.in_size, place.prev_size, sources, same, last)
            if key not in seen:
                seen.add(key)
                widths = [
                    np.full(len(peak), channels) if before < 0 else channels * kinds[before].counts
                    for (channels, _), before in zip(sources, place.before, strict=True)
                ]
                np.maximum(peak, self._cell_peak(place, kinds[i], widths, same, last), out=peak)
        outputs = kinds[-1].counts
        np.maximum(peak, self._head_peaks(kinds[-1].states.shape[1])[outputs - 1], out=peak)
        return FLOAT_BYTES * peak

    def _source(self, before: int) -> tuple[int, bool]:
        """Channels (those of each node of a cell) and kind of what comes from a cell before, or from the stem."""
        if before < 0:
            return self._skeleton.stem_blocks[-1].out_channels, False
        place = self._skeleton.places[before]
        return place.channels, place.reduction

    @property
    def _stem_peak(self) -> int:
        """Elements alive at most before the first cell; it reads the outputs of the last two blocks, if there are."""
        blocks = self._skeleton.stem_blocks
        image = self._skeleton.in_channels * self._skeleton.resolution**2
        peak = live = image
        for i, block in enumerate(blocks):
            survives = i > 0 and i == len(blocks) - 1
            peak = max(peak, live + _rise(block, survives))
            live += block.out_channels * block.out_size**2
            live -= 0 if survives else block.in_channels * block.in_size**2
        return peak

    def _head_peaks(self, nodes: int) -> Ints:
        """Elements alive at most after the last cell, where it gives out 1, 2, ... nodes."""
        peaks = []
        for count in range(1, nodes + 1):
            pool, dense = self._skeleton.head_blocks(count)
            peaks.append(
                max(pool.in_channels * pool.in_size**2 + pool.out_channels, dense.in_channels + dense.out_channels)
            )
        return np.array(peaks)

    def _cell_peak(
        self, place: CellPlace, cells: CellArrays, widths: Sequence[Ints], same: bool, last: bool
    ) -> npt.NDArray[np.int64]:
        """Elements alive at most in one cell; `widths` are the channels of the two outputs it reads.

        `same` says that both are one tensor, `last` that no cell after it reads the output of the one before.
        """
        n, nodes = cells.states.shape[:2]
        in_elements = place.channels * place.in_size**2
        out_elements = place.channels * place.out_size**2
        reads = _Reads(place, cells, self._operations)
        live = _Liveness(n)
        prev, last_output = widths[0] * place.prev_size**2, widths[1] * place.in_size**2
        live.now += last_output if same else prev + last_output
        unread = reads.last[:, :INPUTS] == NONE
        for state, (width, survives, elements) in enumerate(
            zip(widths, (same, not last), (prev, last_output), strict=True)
        ):
            live.step(
                self._preprocess_rise(place, state, width, survives),
                np.where(unread[:, state], 0, in_elements) - (0 if survives else elements),
            )
        rises = self._rises(place)
        for node in range(nodes):
            for edge in range(2):
                present = reads.runs[:, node, edge]
                source, operation = cells.states[:, node, edge], cells.operations[:, node, edge]
                dies = reads.is_last(node, edge)
                rise = rises[operation, (source < INPUTS).astype(np.intp), dies.astype(np.intp)]
                freed = np.where(source < INPUTS, in_elements, out_elements) * dies
                live.step(np.where(present, rise, 0), np.where(present, out_elements - freed, 0))
            dying, written = reads.sums(node)
            live.step(np.where(written & (dying == 0), out_elements, 0), np.where(written, 1 - dying, 0) * out_elements)
        joined = cells.counts
        live.step(np.where(joined > 1, joined, 0) * out_elements, 0)
        return live.peak

    def _preprocess_rise(self, place: CellPlace, state: int, widths: Ints, survives: bool) -> Ints:
        rises = {
            int(width): _rise(place.preprocess(int(width), int(width), self._skeleton.norm_eps)[state], survives)
            for width in np.unique(widths)
        }
        return np.array([rises[key] for key in sorted(rises)])[np.searchsorted(sorted(rises), widths)]

    def _rises(self, place: CellPlace) -> Ints:
        """intp[operations, 2, 2]: what each operation adds, on a node or an input; input surviving or dying."""
        rises = np.zeros((len(self._operations), 2, 2), dtype=np.intp)
        shapes = ((place.out_size, 1), (place.in_size, place.stride))
        for i, operation in enumerate(self._operations):
            for j, (size, stride) in enumerate(shapes):
                block = operation_block(operation, place.channels, size, stride, self._skeleton.norm_eps)
                if block is not None:
                    rises[i, j] = _rise(block, True), _rise(block, False)
        return rises


class _Reads:
    """Which tensor each edge of the cells reads, and when each tensor is read for the last time.

    A node with the identity on its only edge is no tensor of its own but the one it reads. Time counts three steps a
    node, first edge, second edge, sum, and one for the concatenation.
    """

    def __init__(self, place: CellPlace, cells: CellArrays, operations: Sequence[str]):
        n, nodes = cells.states.shape[:2]
        self._rows = np.arange(n)
        is_identity = np.array([
            [operation_block(name, 2, 2, stride) is None for stride in (1, place.stride)] for name in operations
        ])  # fmt: skip
        self.edges = cells.operations != NONE
        passes = self.edges & is_identity[cells.operations, (cells.states < INPUTS).astype(np.intp)]
        #: bool[n, nodes, 2]: edges that are an operation of their own
        self.runs = self.edges & ~passes
        #: intp[n, states]: the tensor that each state is
        tensor = np.tile(np.arange(nodes + INPUTS), (n, 1))
        self.source = np.full((n, nodes, 2), NONE)
        #: intp[n, states]: when each tensor is read for the last time, NONE if never
        self.last = np.full((n, nodes + INPUTS), NONE)
        for node in range(nodes):
            for edge in range(2):
                there = self.edges[:, node, edge]
                self.source[there, node, edge] = tensor[there, cells.states[there, node, edge]]
                runs = self.runs[:, node, edge]
                self.last[runs, self.source[runs, node, edge]] = 3 * node + edge
            alias = passes[:, node, 0] & ~self.edges[:, node, 1]
            tensor[alias, node + INPUTS] = self.source[alias, node, 0]
            for edge in range(2):
                summed = passes[:, node, edge] & ~alias
                self.last[summed, self.source[summed, node, edge]] = 3 * node + 2
        for node in range(nodes):
            joined = cells.concat[:, node]
            self.last[joined, tensor[joined, node + INPUTS]] = 3 * nodes

    def is_last(self, node: int, edge: int) -> npt.NDArray[np.bool_]:
        """Return bool[n]: the operation of this edge is the last to read its tensor."""
        return np.asarray(self.last[self._rows, self.source[:, node, edge]] == 3 * node + edge)

    def sums(self, node: int) -> tuple[Ints, npt.NDArray[np.bool_]]:
        """Return intp[n], how many tensors die when the node is summed up, and bool[n], whether that writes a tensor.

        A node without edges is a tensor of zeros; with one edge it is what that edge brings.
        """
        source, runs, edges = self.source[:, node], self.runs[:, node], self.edges[:, node]
        at = self.last[self._rows[:, None], source] == 3 * node + 2
        dying = runs | (edges & at)
        # One tensor added to itself dies once.
        dying[:, 1] &= ~(edges.all(axis=1) & ~runs.any(axis=1) & (source[:, 0] == source[:, 1]))
        return np.where(edges.all(axis=1), dying.sum(axis=1), 0), edges.sum(axis=1) != 1
