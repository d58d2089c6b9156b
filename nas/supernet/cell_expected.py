"""Expected cost of the networks of a CellSpace under the weights of their edges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nas.errors import NasError
from nas.space import Block
from nas.space.cell import INPUTS, sum_block
from nas.space.cell_blocks import operation_block
from nas.space.cell_network import CellPlace
from nas.space.cell_space import KINDS, CellSpace
from nas.supernet.cell_sites import CellSites
from nas.supernet.expected import check_values

#: edges of a node in a network of a CellSpace, at most
MOST_EDGES = 2


class CellExpectedCost:
    """The expectation of a sum over blocks, every edge of a cell drawn from its weights alone; exact for a code.

    Each operation costs its weight times what it costs in all cells of the kind. What joins the edges of a node hangs
    on their number, and where loose ends are what leaves a cell, what reads it hangs on how many there are; both have
    the distribution of sums of independent edges, with more than two edges of a node at the price of two. In a
    relaxation all edges count, not two a node. Sums are kept in float64.

    Args:
        space, sites: the space and its sites.
        values: float[V], what each block of its vocabulary costs.

    Raises:
        NasError: there are not as many values as blocks; or a node may read a state twice, but need not have two
            edges, so that weights do not say how many there are.
    """

    def __init__(self, space: CellSpace, sites: CellSites, values: npt.NDArray[np.float64]):
        self.values = check_values(space.vocabulary, values)
        self._index = space.vocabulary.index
        self._sites = sites
        self._loose_ends = space.concat == "loose ends"
        inputs = [states for nodes in space.choices.values() for node in nodes for states in node.inputs]
        self._always_two = {len(states) for states in inputs} == {MOST_EDGES}
        if not self._always_two and any(len(set(states)) < len(states) for states in inputs):
            raise NasError(
                f"{space.name}: a node may read one state twice or have fewer than two edges; the expected cost of "
                "that is not defined"
            )
        self._constant = 0.0
        self._edges = np.zeros((len(sites.sites), len(space.operations) + 1))
        #: cost of joining 0, 1 and 2 edges at each node, and of what hangs on 1 ... nodes that leave the cell, by kind
        self._joins = np.zeros((len(KINDS), MOST_EDGES + 1))
        self._leaving = np.zeros((len(KINDS), sites.nodes))
        self._add_up(space)
        if self._always_two:
            self._constant += sites.nodes * self._joins[:, MOST_EDGES].sum()
        if not self._loose_ends:
            self._constant += self._leaving[:, -1].sum()
        self._tables = [torch.from_numpy(table) for table in (self._edges, self._joins, self._leaving)]

    def _add_up(self, space: CellSpace) -> None:
        skeleton = space.spec(np.zeros(len(space.decisions), dtype=np.int8))
        self._constant = self._of(skeleton.stem_blocks)
        counts = range(1, self._sites.nodes + 1)
        for place in skeleton.places:
            kind = int(place.reduction)
            self._add_edges(space, place, skeleton.norm_eps)
            for state, before in enumerate(place.before):
                if before < 0:
                    stem = place.preprocess(place.stem_channels, place.stem_channels, skeleton.norm_eps)
                    self._constant += self._of([stem[state]])
                    continue
                source = skeleton.places[before]
                for count in counts:
                    width = count * source.channels
                    block = place.preprocess(width, width, skeleton.norm_eps)[state]
                    self._leaving[int(source.reduction), count - 1] += self._of([block])
            for count in counts:
                self._leaving[kind, count - 1] += self._of(place.join(count))
        for count in counts:
            self._leaving[int(skeleton.places[-1].reduction), count - 1] += self._of(skeleton.head_blocks(count))

    def _add_edges(self, space: CellSpace, place: CellPlace, norm_eps: float) -> None:
        for edges in self._sites.edges[KINDS[place.reduction]]:
            for state, site in edges.items():
                size, stride = (place.in_size, place.stride) if state < INPUTS else (place.out_size, 1)
                for i, name in enumerate(space.operations, start=1):
                    block = operation_block(name, place.channels, size, stride, norm_eps)
                    self._edges[site, i] += self._of([block] if block else [])
        for count in (0, MOST_EDGES):
            self._joins[int(place.reduction), count] += self._of(
                [sum_block(place.channels, place.in_size, place.stride, count)]
            )

    def _of(self, blocks: Sequence[Block]) -> float:
        """Return what blocks cost together; those that are in no network of the space are never met."""
        return float(sum(self.values[self._index[block]] for block in blocks if block in self._index))

    def __call__(self, weights: Sequence[Tensor]) -> Tensor:
        """Return the scalar expectation, float64.

        Args:
            weights: for each site float[operations]; that of "none" is taken for the probability of no edge.
        """
        given = torch.stack([site.to(torch.float64) for site in weights])
        self._tables = [table.to(given.device) for table in self._tables]
        edges, joins, leaving = self._tables
        total = self._constant + (given * edges).sum()
        for k, kind in enumerate(KINDS):
            if not self._always_two:
                for node in self._sites.edges[kind]:
                    there = [1 - given[site, 0] for site in node.values()]
                    total = total + _distribution(there, MOST_EDGES, given) @ joins[k]
            if self._loose_ends:
                leave = self._leave(kind, given)
                total = total + _distribution(leave, len(leave), given)[1:] @ leaving[k]
        return total

    def _leave(self, kind: str, given: Tensor) -> list[Tensor]:
        """Return for each node the probability that no other node reads it."""
        probabilities = [given.new_ones(()) for _ in range(self._sites.nodes)]
        for edges in self._sites.edges[kind]:
            for state, site in edges.items():
                if state >= INPUTS:
                    probabilities[state - INPUTS] = probabilities[state - INPUTS] * given[site, 0]
        return probabilities


def _distribution(probabilities: Sequence[Tensor], most: int, like: Tensor) -> Tensor:
    """Return float[most + 1], the probabilities of 0, 1 ... and of `most` or more of independent events."""
    counts = torch.eye(most + 1, dtype=like.dtype, device=like.device)[0]
    for p in probabilities:
        moved = counts * p
        # What is at the most stays there.
        moved_on = torch.cat([moved.new_zeros(1), moved[: most - 1], moved[most - 1 :].sum().reshape(1)])
        counts = counts - moved + moved_on
    return counts
