"""The supernet of NAS-Bench-201: five operations mixed on each of the six edges of its cell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nas.errors import NasError
from nas.space import Block, Codes, NetworkSpec, SearchSpace
from nas.space.block import AddBlock
from nas.space.cell_blocks import StridedZerosBlock
from nas.supernet.cell_edge import PLAIN, CandidateOptions, MixedCell, MixedEdge, partial_channels
from nas.supernet.cell_extract import Source, check_extractable, transplant
from nas.supernet.expected import ExpectedCost
from nas.supernet.supernet import Site, Supernet
from nas.supernet.weights import SiteWeights, dense, one_hot, terms


class NasBench201Supernet(Supernet):
    """All networks of `nasbench201`: every cell has own weights for every operation on every edge.

    The sites are the decisions of the space, shared by all cells; what a node sums up, and the blocks of the
    skeleton, are read off networks of the space.

    Args:
        space: a space whose decisions are the operations of edges, `node1.from0` ...; each node of its cell sums up
            its edges, the last node is the output.
        options: how candidates differ from the operations of the networks.
        overrides: fields of the networks that are other than in the space, e.g. channels=8, cells=1. Expected costs
            remain those of the space.

    Raises:
        NasError: it is another kind of space, or no network can be as the overrides say.
    """

    def __init__(self, space: SearchSpace, options: CandidateOptions = PLAIN, **overrides: Any):
        super().__init__()
        self.space = space
        self.overrides = overrides
        self.options = options
        self._edges = [_ends(space, decision.name) for decision in space.decisions]
        self.sites = tuple(Site(decision.name, _words(decision.choices)) for decision in space.decisions)
        self.parts = nn.ModuleList()
        self._cost: ExpectedCost | None = None
        whole = self._uniform(0)
        seen = self._seen_overrides(whole)
        uniform = [_by_part(self._uniform(choice, **seen)) for choice in range(len(self.sites[0].operations))]
        for part, blocks in _by_part(whole).items():
            if part.startswith("cell"):
                self.parts.append(self._cell([networks[part] for networks in uniform]))
            else:
                self.parts.append(nn.Sequential(*(block.build() for block in blocks)))

    def _uniform(self, choice: int, **overrides: Any) -> NetworkSpec:
        """Return the network that has one operation on all edges."""
        return self.space.spec(np.full(len(self.sites), choice), **self.overrides | overrides)

    def _seen_overrides(self, whole: NetworkSpec) -> dict[str, Any]:
        """Return what makes a network as wide as the part of the channels that candidates see."""
        if self.options.partial == 1:
            return {}
        return {"channels": partial_channels(whole.channels, self.options.partial)}  # type: ignore[attr-defined]

    def _cell(self, uniform: list[list[Block]]) -> MixedCell:
        """Return the cell in which, with operation i on all edges, the blocks are `uniform[i]`, one an edge or none."""
        nodes: dict[int, list[MixedEdge]] = {}
        for e, (source, target) in enumerate(self._edges):
            blocks = {
                name: operations[e] if operations else None
                for name, operations in zip(self.sites[e].operations, uniform, strict=True)
            }
            nodes.setdefault(target, []).append(MixedEdge(e, source, 1, blocks, self.options))
        return MixedCell([nodes[target] for target in sorted(nodes)])

    def forward(self, images: Tensor, weights: Sequence[SiteWeights]) -> Tensor:
        todo = terms(weights, self.sites)
        x = images
        for part in self.parts:
            x = part([x], todo)[-1] if isinstance(part, MixedCell) else part(x)
        return x

    def weights_of(self, code: npt.NDArray[np.integer]) -> list[Tensor]:
        (row,) = self.space.check(np.asarray(code)[None])
        device = next(self.parameters()).device
        chosen = [one_hot(int(choice), len(site.operations)) for choice, site in zip(row, self.sites, strict=True)]
        return list(torch.stack(chosen).to(device))

    def derive(self, weights: Sequence[SiteWeights]) -> Codes:
        """Return int8[D], on every edge the operation of the largest weight, "none" included, the first of several."""
        chosen = np.array([site.detach().double().cpu().numpy().argmax() for site in dense(weights)])
        code: Codes = self.space.check(chosen[None])[0]
        return code

    def network(self, code: npt.NDArray[np.integer]) -> NetworkSpec:
        return self.space.spec(code, **self.overrides)

    def extract(self, code: npt.NDArray[np.integer]) -> nn.Module:
        check_extractable(self.options)
        todo = terms(self.weights_of(code), self.sites)
        sources: list[Source] = []
        for part in self.parts:
            modules = part.used(todo) if isinstance(part, MixedCell) else part.children()
            sources += [(module, None) for module in modules]
        network = self.network(code).build().to(next(self.parameters()))
        transplant(sources, network)
        return network.train(self.training)

    def expected(self, values: npt.NDArray[np.float64], weights: Sequence[SiteWeights]) -> Tensor:
        if self._cost is None or not np.array_equal(values, self._cost.values):
            self._cost = ExpectedCost(self.vocabulary, values)
        return self._cost(dense(weights))


def _ends(space: SearchSpace, name: str) -> tuple[int, int]:
    """Return the nodes that an edge goes from and to."""
    found = re.fullmatch(r"node(\d+)\.from(\d+)", name)
    if found is None:
        raise NasError(f"{name!r} of {space.name} is not an edge of a cell, as node1.from0 would be")
    return int(found[2]), int(found[1])


def _words(choices: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(map(str, choices))


def _by_part(network: NetworkSpec) -> dict[str, list[Block]]:
    """Return the blocks of each part of a network, without those that join the edges of a node."""
    parts: dict[str, list[Block]] = {}
    for node in network.nodes:
        held = parts.setdefault(node.part, [])
        if not isinstance(node.block, AddBlock | StridedZerosBlock):
            held.append(node.block)
    return parts
