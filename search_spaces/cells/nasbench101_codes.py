"""Codes of NAS-Bench-101 cells: for every vertex its operation and the edges that come into it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from nas.errors import NasError
from nas.space import Codes, Decision
from search_spaces.cells.nasbench101_graphs import (
    INVALID,
    OPERATIONS,
    OUTPUT,
    VERTICES,
    Ids,
    Labels,
    Matrices,
    graph_ids,
    graphs,
    on_paths,
)

#: for every decision the vertex it belongs to and the vertex an edge comes from, -1 for the operation
_PLACES = [(vertex, source) for vertex in range(1, VERTICES) for source in range(-1 if vertex < OUTPUT else 0, vertex)]
_EDGES = [column for column, (_, source) in enumerate(_PLACES) if source >= 0]
_OPERATIONS = [column for column, (_, source) in enumerate(_PLACES) if source < 0]
_TARGETS, _SOURCES = np.array([_PLACES[column] for column in _EDGES]).T

#: a code times these is a number of its own
_WEIGHTS = np.cumprod([1, *(2 if source >= 0 else len(OPERATIONS) for _, source in _PLACES[:-1])])


def decisions() -> tuple[Decision, ...]:
    """Return the 26 decisions: five operations, 21 edges."""
    stages = [f"vertex{vertex}" if vertex < OUTPUT else "output" for vertex in range(VERTICES)]
    return tuple(
        Decision(f"{stages[vertex]}.op", OPERATIONS)
        if source < 0
        else Decision(f"{stages[vertex]}.from{source}", (0, 1))
        for vertex, source in _PLACES
    )


def graphs_of(codes: npt.NDArray[np.integer]) -> tuple[Matrices, Labels]:
    """Return the graphs bool[n, 7, 7] and the operations int8[n, 5] that codes describe, canonical or not."""
    matrices = np.zeros((len(codes), VERTICES, VERTICES), dtype=bool)
    matrices[:, _SOURCES, _TARGETS] = codes[:, _EDGES]
    return matrices, codes[:, _OPERATIONS].astype(np.int8)


def used_decisions(codes: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Return bool[n, 26], which decisions matter: all edges, and the operations of the vertices in use."""
    used = np.ones(codes.shape, dtype=bool)
    used[:, _OPERATIONS] = on_paths(graphs_of(codes)[0])[:, 1:OUTPUT]
    return used


@cache
def canonical_codes() -> Codes:
    """Return int8[423624, 26], the code of every cell, in the order of their ids; read-only."""
    found = graphs()
    codes = np.zeros((len(found), len(_PLACES)), dtype=np.int8)
    codes[:, _EDGES] = found.shapes[:, _SOURCES, _TARGETS][found.shape]
    codes[:, _OPERATIONS] = found.labels
    codes.setflags(write=False)
    return codes


def ids_of(codes: npt.NDArray[np.integer]) -> Ids:
    """Return int[n], the ids of the cells that codes stand for, canonical or not; INVALID where that is no cell."""
    numbers = _numbers(codes)
    known, order = _sorted_numbers()
    row = np.minimum(np.searchsorted(known, numbers), len(known) - 1)
    ids = order[row]
    other = np.flatnonzero(known[row] != numbers)
    ids[other] = graph_ids(*graphs_of(codes[other]))
    return ids


def require_ids(codes: npt.NDArray[np.integer]) -> Ids:
    """Return int[n], as `ids_of`, or raise NasError where a code is no cell."""
    ids = ids_of(codes)
    wrong = np.flatnonzero(ids == INVALID)
    if wrong.size:
        row = int(wrong[0])
        matrices = graphs_of(codes[row : row + 1])[0]
        used = on_paths(matrices)[0]
        edges = int(matrices[0][np.ix_(used, used)].sum())
        problem = f"has {edges} edges, at most 9 are allowed" if used[OUTPUT] else "has no path from input to output"
        raise NasError(f"code {row}: the cell {problem}")
    return ids


def id_of_cell(matrix: Sequence[Sequence[int]], operations: Sequence[str]) -> int:
    """Return the id of a cell given as the benchmark gives it.

    Args:
        matrix: V × V for V up to 7, 1 where there is an edge to a later vertex; idle vertices are left out.
        operations: of all V vertices, "input" first, "output" last, e.g. "conv3x3-bn-relu" between.

    Raises:
        NasError: that is no cell of the benchmark.
    """
    edges = np.array(matrix) if len({len(row) for row in matrix}) == 1 else np.zeros(0)
    count = len(edges)
    names = [operation.removesuffix("-bn-relu") for operation in operations]
    if edges.shape != (count, count) or not 2 <= count <= VERTICES or len(names) != count:
        raise NasError(f"a cell has a square matrix of 2 to {VERTICES} vertices and one operation for each")
    if names[0] != "input" or names[-1] != "output" or not set(names[1:-1]) <= set(OPERATIONS):
        raise NasError(f"operations are input, then any of {', '.join(OPERATIONS)}, then output, not {operations}")
    if np.tril(edges).any() or not np.isin(edges, (0, 1)).all():
        raise NasError("the matrix of a cell has 0 and 1 above its diagonal, 0 elsewhere")
    code = np.zeros((1, len(_PLACES)), dtype=np.int8)
    position = [*range(count - 1), OUTPUT]
    for column, (target, source) in enumerate(_PLACES):
        if target in position and source in position[:-1]:
            code[0, column] = edges[position.index(source), position.index(target)]
        elif source < 0 and target in position:
            code[0, column] = OPERATIONS.index(names[target])
    return int(require_ids(code)[0])


@cache
def _sorted_numbers() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The number of every canonical code, ascending, and the ids in that order."""
    numbers = _numbers(canonical_codes())
    order = np.argsort(numbers)
    return numbers[order], order


def _numbers(codes: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    numbers: npt.NDArray[np.int64] = codes.astype(np.int64) @ _WEIGHTS
    return numbers
