"""The supernet of spaces of a normal and a reduction cell (DARTS, NASNet)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nas.space import Codes
from nas.space.cell import INPUTS
from nas.space.cell_blocks import operation_block
from nas.space.cell_network import CellNetwork, CellPlace
from nas.space.cell_space import KINDS, CellSpace
from nas.space.decision import Choice
from nas.supernet.cell_derive import derived_edges
from nas.supernet.cell_edge import NONE, PLAIN, CandidateOptions, MixedCell, MixedEdge, partial_channels
from nas.supernet.cell_expected import CellExpectedCost
from nas.supernet.cell_extract import Source, check_extractable, transplant
from nas.supernet.cell_sites import CellSites
from nas.supernet.supernet import Supernet
from nas.supernet.weights import SiteWeights, Term, dense, one_hot, terms


class PlacedCell(nn.Module):
    """A mixed cell in its place: both inputs are brought to its shape first."""

    def __init__(self, prev: nn.Module, last: nn.Module, mixed: MixedCell, reduction: bool):
        super().__init__()
        self.prev = prev
        self.last = last
        self.mixed = mixed
        self.reduction = reduction

    def forward(
        self, prev: Tensor, last: Tensor, terms: Sequence[Sequence[Term]], leaves: Sequence[bool]
    ) -> Tensor:  # fmt: skip
        """Return the nodes side by side, zeros for those that do not leave the cell."""
        nodes = self.mixed([self.prev(prev), self.last(last)], terms)
        return torch.cat([x if leaves_ else torch.zeros_like(x) for x, leaves_ in zip(nodes, leaves, strict=True)], 1)


class CellSupernet(Supernet):
    """All networks of a CellSpace: every cell has own weights for every operation on every edge that may exist.

    A site is an edge of the normal or the reduction cell, from a state to a later node, shared by all cells of the
    kind; "none" comes first in it, then the operations of the space. In a relaxation each node sums up all its edges
    (Liu et al., DARTS, ICLR 2019, eq. 2), and no two of them are alternatives: that a network keeps two a node is
    said by `derive` alone. A node that reads one state twice (NASNet) has two operations of weight 1 on that edge, or
    one of weight 2: then both share weights, also where a network is extracted.

    Where the loose ends of a cell are what leaves it, a node is one as long as no weights read it for certain, that
    is, have another operation and exactly 0 for none; so in a softmax all nodes leave the cell, for a code its loose
    ends. Whoever reads the cell has a weight for each channel of every node.

    Args:
        space: the space of the cells.
        options: how candidates differ from the operations of the networks.
        overrides: fields of the networks that are other than in the space, e.g. channels=16, cells=8. Expected costs
            remain those of the space.

    Raises:
        NasError: no network can be as the overrides say, or the channels cannot be split as the options want.
    """

    space: CellSpace

    def __init__(self, space: CellSpace, options: CandidateOptions = PLAIN, **overrides: Any):
        super().__init__()
        self.space = space
        self.options = options
        self.overrides = overrides
        self._sites = CellSites(space)
        self.sites = self._sites.sites
        network = space.spec(np.zeros(len(space.decisions), dtype=np.int8), **overrides)
        self._cifar_stem = network.stem == "cifar"
        self.stem = nn.ModuleList(block.build() for block in network.stem_blocks)
        self._cells = [self._placed(network, place) for place in network.places]
        self.cells = nn.ModuleList(self._cells)
        self.head = nn.Sequential(*(block.build() for block in network.head_blocks(self._sites.nodes)))
        self._cost: CellExpectedCost | None = None

    def _placed(self, network: CellNetwork, place: CellPlace) -> PlacedCell:
        widths = [
            place.stem_channels if before < 0 else self._sites.nodes * network.places[before].channels
            for before in place.before
        ]
        prev, last = (block.build() for block in place.preprocess(widths[0], widths[1], network.norm_eps))
        channels = partial_channels(place.channels, self.options.partial)
        nodes: list[list[MixedEdge]] = []
        for edges in self._sites.edges[KINDS[place.reduction]]:
            nodes.append([])
            for state, site in edges.items():
                size, stride = (place.in_size, place.stride) if state < INPUTS else (place.out_size, 1)
                blocks = {NONE: None} | {
                    name: operation_block(name, channels, size, stride, network.norm_eps)
                    for name in self.space.operations
                }
                nodes[-1].append(MixedEdge(site, state, stride, blocks, self.options))
        return PlacedCell(prev, last, MixedCell(nodes, place.stride), place.reduction)

    def forward(self, images: Tensor, weights: Sequence[SiteWeights]) -> Tensor:
        todo = terms(weights, self.sites)
        leaves = [self._sites.leaving(kind, todo) for kind in KINDS]
        x, outputs = images, [images]
        for block in self.stem:
            x = block(x)
            outputs = [outputs[-1], x]
        prev, last = (x, x) if self._cifar_stem else outputs
        for cell in self._cells:
            prev, last = last, cell(prev, last, todo, leaves[cell.reduction])
        logits: Tensor = self.head(last)
        return logits

    def weights_of(self, code: npt.NDArray[np.integer]) -> list[Tensor]:
        """Return the weights of a code int[D]: the operations of its edges, "none" on all other edges.

        They are one-hot but where a node reads one state twice, which has weight 2 in all.
        """
        network = self.space.spec(code)
        width = len(self.space.operations) + 1
        chosen = torch.stack([one_hot(0, width) for _ in self.sites])
        for kind, cell in zip(KINDS, (network.normal, network.reduction), strict=True):
            for edges, sites in zip(cell.nodes, self._sites.edges[kind], strict=True):
                for operation, state in edges:
                    chosen[sites[state], 0] = 0
                    chosen[sites[state], 1 + self.space.operations.index(operation)] += 1
        return list(chosen.to(next(self.parameters()).device))

    def derive(self, weights: Sequence[SiteWeights]) -> Codes:
        """Return int8[D], by the rule of DARTS (Liu et al., ICLR 2019, sec. 2.4), see `derived_edges`."""
        values = [site.detach().double().cpu().numpy() for site in dense(weights)]
        decisions: dict[str, Choice] = {}
        for kind in KINDS:
            for choices, sites in zip(self.space.choices[kind], self._sites.edges[kind], strict=True):
                edges = derived_edges(choices, {state: values[site][1:] for state, site in sites.items()})
                decisions.update(choices.setting(edges))
        return self.space.encode(decisions)

    def network(self, code: npt.NDArray[np.integer]) -> CellNetwork:
        return self.space.spec(code, **self.overrides)

    def extract(self, code: npt.NDArray[np.integer]) -> nn.Module:
        check_extractable(self.options)
        spec = self.network(code)
        todo = terms(self.weights_of(code), self.sites)
        kept = [self._sites.leaving(kind, todo) for kind in KINDS]
        sources: list[Source] = [(block, None) for block in self.stem]
        before: list[Tensor | None] = [None, None]
        for cell, place in zip(self._cells, spec.places, strict=True):
            sources += [(cell.prev, before[0]), (cell.last, before[1])]
            sources += [(module, None) for module in cell.mixed.used(todo)]
            before = [before[1], _channels(kept[place.reduction], place.channels)]
        sources += [(module, before[1]) for module in self.head]
        network = spec.build().to(next(self.parameters()))
        transplant(sources, network)
        return network.train(self.training)

    def expected(self, values: npt.NDArray[np.float64], weights: Sequence[SiteWeights]) -> Tensor:
        """Return the scalar expectation of an additive cost, differentiable; exact for a code. See CellExpectedCost."""
        if self._cost is None or not np.array_equal(values, self._cost.values):
            self._cost = CellExpectedCost(self.space, self._sites, values)
        return self._cost(dense(weights))


def _channels(leaves: Sequence[bool], channels: int) -> Tensor:
    """Return the positions of the channels of the nodes that leave a cell, each of `channels`, among those of all."""
    return torch.tensor(leaves).repeat_interleave(channels).nonzero().flatten()
