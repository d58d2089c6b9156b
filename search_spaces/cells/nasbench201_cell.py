"""The cell of NAS-Bench-201 (Dong & Yang, 2020): its strings, its isomorphisms, its memory.

Four nodes, an operation on each of the six edges from an earlier to a later node. A node is the sum of what its edges
bring, the first is the input of the cell, the last its output.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import cache
from itertools import groupby

import numpy as np
import numpy.typing as npt

from nas.errors import NasError, suggestion
from nas.space import Codes

#: in the order of the benchmark
OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")

#: (source, target) of the edges, in the order of the benchmark's strings
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))

SIZE = len(OPERATIONS) ** len(EDGES)

#: for every node but the first: its edges
NODES = tuple(tuple(edges) for _, edges in groupby(range(len(EDGES)), key=lambda edge: EDGES[edge][1]))

#: what the benchmark seeded its order of architectures with
_ORDER_SEED = 88


def format_cell(edges: Sequence[str]) -> str:
    """Return the benchmark's string of a cell, e.g. `|nor_conv_3x3~0|+|none~0|skip_connect~1|+|...|`."""
    return "+".join("|" + "".join(f"{edges[edge]}~{EDGES[edge][0]}|" for edge in node) for node in NODES)


def parse_cell(text: str) -> tuple[str, ...]:
    """Return the operations of the six edges of a cell given as the benchmark writes it.

    Raises:
        NasError: the string has another shape or an operation that does not exist.
    """
    edges = tuple(re.findall(r"([^|~+]+)~\d", text))
    if len(edges) != len(EDGES) or format_cell(edges) != text:
        example = format_cell(["skip_connect"] * len(EDGES))
        raise NasError(f"{text!r} is no cell of NAS-Bench-201; one looks like {example!r}")
    check_operations(edges)
    return edges


def check_operations(edges: Sequence[str]) -> None:
    """Refuse edges that are not six operations of the benchmark with NasError."""
    if len(edges) != len(EDGES):
        raise NasError(f"a cell of NAS-Bench-201 has {len(EDGES)} edges, not {len(edges)}")
    for (source, target), operation in zip(EDGES, edges, strict=True):
        if operation not in OPERATIONS:
            hint = suggestion(str(operation), OPERATIONS)
            raise NasError(f"edge {source} to {target} of the cell: unknown operation {operation!r}{hint}")


def unique_cell(edges: Sequence[str]) -> str:
    """Return a string that is the same for cells the benchmark counts as isomorphic; 6,466 of the 15,625 remain.

    A node is written as the sorted sum of what its edges bring, spelled out down to the input 0: a skip connection is
    what it reads, and an edge that is `none` or reads a node known to be zero is #.
    """
    nodes = ["0"]
    for node in NODES:
        terms = []
        for edge in node:
            source, operation = nodes[EDGES[edge][0]], edges[edge]
            if operation == "none" or source == "#":
                terms.append("#")
            else:
                terms.append(source if operation == "skip_connect" else f"({source})@{operation}")
        nodes.append("+".join(sorted(terms)))
    return nodes[-1]


def live_edges(codes: Codes) -> npt.NDArray[np.bool_]:
    """Return bool[n, 6], which edges lie on a path from the first to the last node that no `none` cuts."""
    passes = codes != OPERATIONS.index("none")
    last = len(NODES)
    reached, reaching = np.zeros((2, len(codes), last + 1), dtype=bool)
    reached[:, 0] = reaching[:, last] = True
    for edge, (source, target) in enumerate(EDGES):
        reached[:, target] |= reached[:, source] & passes[:, edge]
    for edge, (source, target) in reversed(list(enumerate(EDGES))):
        reaching[:, source] |= reaching[:, target] & passes[:, edge]
    sources, targets = np.transpose(EDGES)
    return np.asarray(passes & reached[:, sources] & reaching[:, targets])


@cache
def benchmark_codes() -> Codes:
    """Return int8[15625, 6]: row i is the code of the architecture that the benchmark's tables call `idx` i.

    The benchmark lists all cells, the last edge fastest, and shuffles them with Python's generator.
    """
    order = list(range(SIZE))
    random.Random(_ORDER_SEED).shuffle(order)
    digits = np.stack(np.unravel_index(order, (len(OPERATIONS),) * len(EDGES)), axis=1).astype(np.int8)
    digits.setflags(write=False)
    return digits


def peak_feature_maps(codes: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Return int[n], how many feature maps of the cell are alive at one time at most, its input included.

    All feature maps of a cell have one shape. Same rules as `nas.space.trace.peak_bytes`, for all codes at once:
    feature map 0 is the input, 1 + e the result of edge e, 7 + j the sum at node j.
    """
    return _peaks()[_keys(codes)]


def _keys(codes: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    weights = len(OPERATIONS) ** np.arange(len(EDGES) - 1, -1, -1)
    keys: npt.NDArray[np.int64] = codes @ weights
    return keys


@cache
def _peaks() -> npt.NDArray[np.int64]:
    """The peaks of all cells, in the order of their codes."""
    codes = np.stack(np.unravel_index(np.arange(SIZE), (len(OPERATIONS),) * len(EDGES)), axis=1)
    sums = 1 + len(EDGES)
    rows = np.arange(SIZE)
    holds = np.zeros((SIZE, 1 + len(NODES)), dtype=np.int64)  # the feature map that each node is
    reads = []  # in order of execution: what each step reads, bool[SIZE, maps]

    def reading(maps: Sequence[npt.NDArray[np.int64]], who: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        mask = np.zeros((SIZE, sums + len(holds[0])), dtype=bool)
        for read in maps:
            mask[rows, read] = True
        return mask & who[:, None]

    for j, node in enumerate(NODES, start=1):
        present = codes[:, node] != OPERATIONS.index("none")
        brings = [_brought(codes, holds, edge) for edge in node]
        for edge in node:
            computes = codes[:, edge] >= OPERATIONS.index("nor_conv_1x1")
            reads.append(reading([holds[:, EDGES[edge][0]]], computes))
        # What a missing edge would bring is another edge's, so that a set of what is read does not grow.
        first = np.array(brings)[present.argmax(axis=1), rows]
        count = present.sum(axis=1)
        brought = [np.where(present[:, i], brings[i], first) for i in range(len(node))]
        reads.append(reading(brought, count > 1))
        holds[:, j] = np.where(count == 1, first, sums + j)
    reads.append(reading([holds[:, -1]], np.ones(SIZE, dtype=bool)))
    return _simulate(codes, np.array(reads), sums)


def _brought(codes: npt.NDArray[np.int64], holds: npt.NDArray[np.int64], edge: int) -> npt.NDArray[np.int64]:
    skips = codes[:, edge] == OPERATIONS.index("skip_connect")
    return np.where(skips, holds[:, EDGES[edge][0]], 1 + edge)


def _simulate(codes: npt.NDArray[np.int64], reads: npt.NDArray[np.bool_], sums: int) -> npt.NDArray[np.int64]:
    """Execute all cells step by step, keeping count of the live feature maps."""
    later = np.logical_or.accumulate(reads[::-1])[::-1]  # whether a map is read in a step or after it
    alive = np.zeros(reads.shape[1:], dtype=bool)
    alive[:, 0] = later[0, :, 0]
    peak: npt.NDArray[np.int64] = alive.sum(axis=1)
    step = 0
    for j, node in enumerate(NODES, start=1):
        for edge in node:
            dies = reads[step] & ~later[step + 1]
            held = alive.sum(axis=1)
            pools = codes[:, edge] == OPERATIONS.index("avg_pool_3x3")
            convolves = (codes[:, edge] >= OPERATIONS.index("nor_conv_1x1")) & ~pools
            # The ReLU before a convolution writes over its input where nobody else reads that.
            needs = np.where(pools, 1, np.where(convolves, 2 - dies.any(axis=1), 0))
            peak = np.maximum(peak, held + needs)
            alive &= ~dies
            alive[:, 1 + edge] = (pools | convolves) & later[step + 1, :, 1 + edge]
            step += 1
        dies = reads[step] & ~later[step + 1]
        made = (codes[:, node] != OPERATIONS.index("none")).sum(axis=1) != 1
        # A sum writes over one of its terms where nobody else reads that.
        peak = np.maximum(peak, alive.sum(axis=1) + (made & ~dies.any(axis=1)))
        alive &= ~dies
        alive[:, sums + j] = made & later[step + 1, :, sums + j]
        step += 1
    return peak
