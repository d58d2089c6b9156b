"""The 423,624 cells of NAS-Bench-101 (Ying et al., 2019), each once: enumeration and canonical form.

A cell is a directed acyclic graph of at most 7 vertices and 9 edges. Vertex 0 is its input, vertex 6 its output; the
operations stand on the vertices between, and a cell of fewer than 7 vertices leaves the last of them unused. Every
vertex in use lies on a path from input to output.

Of isomorphic graphs one is canonical, the one the benchmark itself keeps: with the smallest number made of its edges,
the edge from x to y being bit x + y(y-1)/2, then with the first operations in the order of `OPERATIONS`. Which one is
taken matters: where channels do not divide evenly among branches, the first branches get one more.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from nas.space.nasbench_blocks import VertexOp

#: in the order of the benchmark
OPERATIONS: tuple[VertexOp, ...] = ("conv3x3", "conv1x1", "maxpool3x3")

VERTICES = 7
OUTPUT = VERTICES - 1
INTERIOR = VERTICES - 2
MAX_EDGES = 9

#: number of labellings of the vertices between input and output
LABELLINGS = len(OPERATIONS) ** INTERIOR

#: what graph_ids answers for a graph that is no cell
INVALID = -1

Matrices = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.int8]
Ids = npt.NDArray[np.int64]

_BIT = np.array([[1 << (x + y * (y - 1) // 2) if x < y else 0 for y in range(VERTICES)] for x in range(VERTICES)])
_DIGIT = len(OPERATIONS) ** np.arange(INTERIOR - 1, -1, -1)


@dataclass(frozen=True)
class Graphs:
    """All cells, in the order in which the benchmark finds them; the position is the graph's id.

    Args:
        shapes: bool[2494, 7, 7], the graphs without operations: whether there is an edge from x to y.
        shape: int[423624], which of them each cell is.
        labels: int8[423624, 5], operations of the vertices 1 to 5, 0 for those not in use.
    """

    shapes: Matrices
    shape: Ids
    labels: Labels

    def __len__(self) -> int:
        return len(self.shape)


@dataclass(frozen=True)
class _Lookup:
    """From any topologically sorted graph without unused vertices to its canonical form.

    Args:
        bits: int[m], the edges of all such graphs as numbers, ascending.
        shape: int[m], which unlabelled canonical graph each is.
        order: int[m, 5], the permutation of vertices 1 to 5 that makes it canonical.
        ids: int[shapes, labellings], the graph's id for each labelling of a canonical graph.
    """

    bits: npt.NDArray[np.int64]
    shape: npt.NDArray[np.int64]
    order: npt.NDArray[np.int64]
    ids: Ids


@cache
def graphs() -> Graphs:
    """Return all cells; enumerated at the first call, which takes about a second."""
    return _enumerate()[0]


def graph_ids(matrices: Matrices, labels: Labels) -> Ids:
    """Return int[n], the id of the cell each graph is once what lies on no path from input to output is removed.

    Args:
        matrices: bool[n, 7, 7], any directed graphs.
        labels: int8[n, 5], operations of the vertices 1 to 5.

    INVALID stands for graphs that have no such path, a cycle on one, or more than 9 edges on them.
    """
    lookup = _enumerate()[1]
    used = on_paths(matrices)
    matrices = matrices & used[:, :, None] & used[:, None, :]
    depth = _depths(matrices)
    valid = used[:, OUTPUT] & (depth.max(axis=1) < VERTICES) & (matrices.sum(axis=(1, 2)) <= MAX_EDGES)
    order = np.argsort(np.where(used, depth, VERTICES)[:, 1:OUTPUT], axis=1, kind="stable")
    labels = np.take_along_axis(np.where(used[:, 1:OUTPUT], labels, 0), order, axis=1)
    bits = _numbers(_permuted(matrices, order))
    # What is not valid may not be listed; its row does not matter.
    row = np.minimum(np.searchsorted(lookup.bits, bits), len(lookup.bits) - 1)
    key = _keys(np.take_along_axis(labels, lookup.order[row], axis=1))
    return np.where(valid, lookup.ids[lookup.shape[row], key], INVALID)


def on_paths(matrices: Matrices) -> npt.NDArray[np.bool_]:
    """Return bool[n, 7], which vertices lie on a path from input to output."""
    forward = np.zeros(matrices.shape[:2], dtype=bool)
    backward = forward.copy()
    forward[:, 0] = backward[:, OUTPUT] = True
    for _ in range(VERTICES - 1):
        forward |= (forward[:, :, None] & matrices).any(axis=1)
        backward |= (backward[:, None, :] & matrices).any(axis=2)
    used: npt.NDArray[np.bool_] = forward & backward
    return used


def _depths(matrices: Matrices) -> npt.NDArray[np.int64]:
    """Return int[n, 7], edges on the longest path to each vertex; `VERTICES` and more behind a cycle."""
    depth = np.zeros(matrices.shape[:2], dtype=np.int64)
    for _ in range(VERTICES):
        depth = np.where(matrices, depth[:, :, None] + 1, 0).max(axis=1)
    return depth


def _permuted(matrices: Matrices, order: npt.NDArray[np.integer]) -> Matrices:
    """Renumber vertices 1 to 5: the new vertex i is what `order[:, i - 1] + 1` was."""
    full = np.zeros((len(order), VERTICES), dtype=np.int64)
    full[:, 1:OUTPUT] = order + 1
    full[:, OUTPUT] = OUTPUT
    rows = np.arange(len(matrices))[:, None, None]
    return matrices[rows, full[:, :, None], full[:, None, :]]


def _numbers(matrices: Matrices) -> npt.NDArray[np.int64]:
    """Return int[n], the number made of the edges of each graph."""
    bits: npt.NDArray[np.int64] = (matrices * _BIT).sum(axis=(1, 2))
    return bits


def _keys(labels: Labels) -> npt.NDArray[np.int64]:
    """Return int[n], the number made of the operations of each graph, below LABELLINGS."""
    numbers: npt.NDArray[np.int64] = labels @ _DIGIT
    return numbers


def _matrices(bits: npt.NDArray[np.int64]) -> Matrices:
    matrices: Matrices = (bits[:, None, None] & _BIT) > 0
    return matrices


@cache
def _enumerate() -> tuple[Graphs, _Lookup]:
    bits, shapes, orders, tables = [], [], [], []
    canonicals, shape_of, labels = [], [], []
    n_shapes = n_graphs = 0
    for interior in range(INTERIOR + 1):
        full = _full_graphs(interior)
        permutations = _permutations(interior)
        renumbered = _renumbered(_matrices(full), permutations)
        smallest = renumbered.min(axis=1)
        canonical = full[smallest == full]
        bits.append(full)
        shapes.append(n_shapes + np.searchsorted(canonical, smallest))
        orders.append(permutations[renumbered.argmin(axis=1)])

        symmetries = renumbered[smallest == full] == canonical[:, None]
        labellings = _labellings(interior)
        first = _first_labellings(symmetries, permutations, labellings)
        is_first = first == np.arange(len(labellings))
        ids = np.where(is_first, n_graphs - 1 + np.cumsum(is_first).reshape(is_first.shape), INVALID)
        table = np.full((len(canonical), LABELLINGS), INVALID, dtype=np.int64)
        table[:, _keys(labellings)] = np.take_along_axis(ids, first, axis=1)
        tables.append(table)

        shape, labelling = np.nonzero(is_first)
        canonicals.append(_matrices(canonical))
        shape_of.append(n_shapes + shape)
        labels.append(labellings[labelling])
        n_shapes += len(canonical)
        n_graphs += len(shape)
    by_bits = np.argsort(np.concatenate(bits))
    found = Graphs(np.concatenate(canonicals), np.concatenate(shape_of), np.concatenate(labels))
    return found, _Lookup(
        bits=np.concatenate(bits)[by_bits],
        shape=np.concatenate(shapes)[by_bits],
        order=np.concatenate(orders)[by_bits],
        ids=np.concatenate(tables),
    )


def _full_graphs(interior: int) -> npt.NDArray[np.int64]:
    """Return, ascending, the numbers of all sorted graphs that use vertices 1 to `interior`, of at most 9 edges."""
    bits = np.zeros(1, dtype=np.int64)
    for vertex in [*range(1, interior + 1), OUTPUT]:
        # Something comes into every vertex, from one or more of those before it.
        sources = np.arange(1, 1 << min(vertex, interior + 1)) << (vertex * (vertex - 1) // 2)
        bits = (bits[:, None] | sources).ravel()
        bits = bits[np.bitwise_count(bits) <= MAX_EDGES]
    for vertex in range(interior + 1):
        bits = bits[(bits & _BIT[vertex].sum()) > 0]
    return np.sort(bits)


def _permutations(interior: int) -> npt.NDArray[np.int64]:
    """Return int[interior!, 5], the orders of vertices 1 to `interior` (from 0); the unused ones stay behind."""
    unused = tuple(range(interior, INTERIOR))
    return np.array([order + unused for order in itertools.permutations(range(interior))])


def _renumbered(matrices: Matrices, permutations: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return int[m, p], the number of each graph under each order of its vertices, huge where edges go backwards."""
    columns = []
    for order in permutations:
        permuted = _permuted(matrices, np.broadcast_to(order, (len(matrices), INTERIOR)))
        backwards = (permuted & (_BIT == 0)).any(axis=(1, 2))
        columns.append(np.where(backwards, np.iinfo(np.int64).max, _numbers(permuted)))
    return np.stack(columns, axis=1)


def _labellings(interior: int) -> Labels:
    """Return int8[3^interior, 5], all operations of vertices 1 to `interior`, ascending; the unused ones are 0."""
    choices = [range(len(OPERATIONS))] * interior + [range(1)] * (INTERIOR - interior)
    return np.array(list(itertools.product(*choices)), dtype=np.int8)


def _first_labellings(
    symmetries: npt.NDArray[np.bool_], permutations: npt.NDArray[np.int64], labellings: Labels
) -> npt.NDArray[np.int64]:
    """Return int[s, l], the first labelling that is the same graph as labelling l of shape s.

    Args:
        symmetries: bool[s, p], the permutations that leave a shape as it is.
    """
    first = np.full((len(symmetries), len(labellings)), len(labellings), dtype=np.int64)
    keys = _keys(labellings)
    for p, order in enumerate(permutations):
        moved = np.searchsorted(keys, _keys(labellings[:, order]))
        np.minimum(first, moved, out=first, where=symmetries[:, p, None])
    return first
