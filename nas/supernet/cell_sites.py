"""Where the cells of a CellSpace mix operations."""

from __future__ import annotations

from collections.abc import Sequence

from nas.space.cell import INPUTS
from nas.space.cell_space import CellSpace
from nas.supernet.cell_edge import NONE
from nas.supernet.supernet import Site
from nas.supernet.weights import Term


class CellSites:
    """The edges that the cells of a space may have, as sites of its supernet.

    Attributes:
        sites: normal before reduction, by node, then by state; operations are "none" and those of the space.
        edges: kind of cell -> for each node: state that it may read -> position of the site.
        nodes: of each cell.
    """

    def __init__(self, space: CellSpace):
        sites: list[Site] = []
        self.edges: dict[str, list[dict[int, int]]] = {}
        for kind, nodes in space.choices.items():
            self.edges[kind] = []
            for choices in nodes:
                found = {}
                for state in sorted({state for states in choices.inputs for state in states}):
                    found[state] = len(sites)
                    sites.append(Site(f"{choices.name}.from{state}", (NONE, *space.operations)))
                self.edges[kind].append(found)
        self.sites = tuple(sites)
        self.nodes = len(self.edges["normal"])
        self._loose_ends = space.concat == "loose ends"

    def leaving(self, kind: str, terms: Sequence[Sequence[Term]]) -> list[bool]:
        """Return which nodes leave the cell: all, or those that no other node reads for certain."""
        leaves = [True] * self.nodes
        if self._loose_ends:
            for edges in self.edges[kind]:
                for state, site in edges.items():
                    if state >= INPUTS and _reads(terms[site]):
                        leaves[state - INPUTS] = False
        return leaves


def _reads(terms: Sequence[Term]) -> bool:
    """Whether an edge brings something for certain."""
    weighty = [term.operation for term in terms if term.value != 0]
    return bool(weighty) and 0 not in weighty
