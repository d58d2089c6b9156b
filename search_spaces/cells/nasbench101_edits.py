"""Small changes of NAS-Bench-101 cells: what is next to a cell, and random walks among cells.

An edit sets another operation on a vertex; adds or removes an edge, with all vertices still in use; or adds or removes
a vertex with a single edge in and a single edge out. What an edit does, another one undoes.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from search_spaces.cells.nasbench101_graphs import INVALID, OPERATIONS, OUTPUT, Ids, graph_ids, graphs, on_paths

#: where an edge may run between vertices in any order; cycles are refused afterwards
_PAIRS = [(source, target) for source in range(OUTPUT) for target in range(1, OUTPUT + 1) if source != target]

#: (operation to set or -1, vertex of it or -1, source and target of the edge to change or -1), by kind of edit: an
#: operation; an edge, and with it perhaps the vertex that was there for it alone; a new vertex between two others
_EDITS = (
    np.array([(op, vertex, -1, -1) for vertex in range(1, OUTPUT) for op in range(len(OPERATIONS))]),
    np.array([(-1, -1, source, target) for source, target in _PAIRS]),
    np.array([(op, -1, source, target) for source, target in _PAIRS for op in range(len(OPERATIONS))]),
)


def neighbours(cell: int) -> Ids:
    """Return int[m], ascending, the cells that one edit makes of a cell, itself excluded."""
    edits = np.concatenate(_EDITS)
    found: Ids = np.setdiff1d(_edited(np.full(len(edits), cell), edits), (INVALID, cell))
    return found


def walk(cells: Ids, steps: npt.NDArray[np.integer], rng: np.random.Generator) -> Ids:
    """Return int[n], what `steps` random edits make of each cell; one more for those that came back to the start."""
    current = cells.copy()
    for step in range(int(steps.max(initial=0))):
        walking = np.flatnonzero(steps > step)
        current[walking] = _random_edit(current[walking], rng)
    back = np.flatnonzero(current == cells)
    current[back] = _random_edit(current[back], rng)
    return current


def _random_edit(cells: Ids, rng: np.random.Generator) -> Ids:
    """Another cell for each: edits are drawn, every kind as often, until one gives a cell that is another."""
    result = cells.copy()
    waiting = np.arange(len(cells))
    while waiting.size:
        kinds = rng.integers(len(_EDITS), size=waiting.size)
        edits = np.stack([kind[rng.integers(len(kind), size=waiting.size)] for kind in _EDITS])
        found = _edited(cells[waiting], edits[kinds, np.arange(waiting.size)])
        done = (found != INVALID) & (found != cells[waiting])
        result[waiting[done]] = found[done]
        waiting = waiting[~done]
    return result


def _edited(cells: Ids, edits: npt.NDArray[np.integer]) -> Ids:
    """Return int[n], what an edit makes of each cell; INVALID where that is no cell or more than one edit away."""
    found = graphs()
    matrices, labels = found.shapes[found.shape[cells]], found.labels[cells]
    operation, vertex, source, target = edits.T
    rows = np.arange(len(cells))
    # The vertices in use come first; where all five are, there is no room for a new one and nothing changes.
    unused = 1 + on_paths(matrices)[:, 1:OUTPUT].sum(axis=1)
    fresh = rows[(operation >= 0) & (vertex < 0) & (unused < OUTPUT)]
    labels[fresh, unused[fresh] - 1] = operation[fresh]
    matrices[fresh, source[fresh], unused[fresh]] = True
    matrices[fresh, unused[fresh], target[fresh]] = True
    relabelled = rows[vertex >= 0]
    labels[relabelled, vertex[relabelled] - 1] = operation[relabelled]
    flipped = rows[operation < 0]
    matrices[flipped, source[flipped], target[flipped]] ^= True
    return _if_near(cells, graph_ids(matrices, labels))


def _if_near(cells: Ids, edited: Ids) -> Ids:
    """Refuse what lost more than an edge, or a vertex with its two edges."""
    edges, vertices = _sizes()
    before, after = graphs().shape[cells], graphs().shape[edited]
    more_edges, more_vertices = edges[after] - edges[before], vertices[after] - vertices[before]
    near = np.where(more_vertices == 0, abs(more_edges) <= 1, more_edges == 2 * more_vertices)
    return np.where(near & (abs(more_vertices) <= 1), edited, INVALID)


@cache
def _sizes() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The number of edges and of vertices in use of every shape."""
    shapes = graphs().shapes
    return shapes.sum(axis=(1, 2)), on_paths(shapes).sum(axis=1)
