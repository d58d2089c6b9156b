"""An edge of a cell on which several operations are mixed, and a cell of such edges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas.errors import NasError
from nas.nn.cells import StridedZeros
from nas.nn.nasbench import WindowPool
from nas.space import Block
from nas.supernet.cell_state import CandidateOperation, CellState, layout
from nas.supernet.weights import Term

#: the operation that brings nothing
NONE = "none"


@dataclass(frozen=True)
class CandidateOptions:
    """How the candidate operations of a supernet differ from those of its networks.

    Args:
        affine: whether their batch normalisations have weights and biases; DARTS searches without (Liu et al., 2019,
            sec. 3.1.1), so that no operation can make up for its architecture weight. Networks are extracted with
            weights 1 and biases 0.
        track_running_stats: whether they keep running statistics; without, they normalise by the batch in evaluation
            too, and an extracted network has to be recalibrated.
        partial: K of PC-DARTS (Xu et al., ICLR 2020, eq. 2): operations see the first of K parts of the channels, the
            rest passes by, times the sum of the weights, and channels are shuffled. An edge weight (their eq. 3) is
            thus a factor on all weights of the edge.
        pool_norm: whether a batch normalisation without weights follows a pool, as where DARTS searches.
    """

    affine: bool = True
    track_running_stats: bool = True
    partial: int = 1
    pool_norm: bool = False

    @property
    def changes_outputs(self) -> bool:
        """Whether networks of the space lack something that the candidates have, so that none can be extracted."""
        return self.partial > 1 or self.pool_norm

    def build(self, block: Block | None) -> nn.Module:
        """Return the module of a candidate, randomly initialised; None is the identity."""
        if block is None:
            return nn.Identity()
        module = block.build()
        if self.pool_norm and isinstance(module, WindowPool):
            module = nn.Sequential(module, nn.BatchNorm2d(block.out_channels, affine=False))
        for norm in module.modules():
            if isinstance(norm, nn.BatchNorm2d):
                self._strip(norm)
        return module

    def _strip(self, norm: nn.BatchNorm2d) -> None:
        if not self.affine:
            norm.affine = False
            norm.register_parameter("weight", None)
            norm.register_parameter("bias", None)
        if not self.track_running_stats:
            norm.track_running_stats = False
            for name in ("running_mean", "running_var", "num_batches_tracked"):
                norm.register_buffer(name, None)


#: candidates that are the operations of the networks
PLAIN = CandidateOptions()


class MixedEdge(nn.Module):
    """The weighted sum of several operations on one feature map (Liu et al., DARTS, ICLR 2019, eq. 2).

    Args:
        site: position of its weights.
        source: the state of the cell that it reads.
        stride: of its operations.
        blocks: operation -> its block on the channels that it sees, None for the identity, in the order of the site;
            `NONE` brings nothing and may have any.
    """

    def __init__(
        self, site: int, source: int, stride: int, blocks: Mapping[str, Block | None], options: CandidateOptions
    ):  # fmt: skip
        super().__init__()
        self.site = site
        self.source = source
        self.partial = options.partial
        self.names = tuple(blocks)
        self.operations = nn.ModuleDict({name: options.build(block) for name, block in blocks.items() if name != NONE})
        self._candidates = {name: CandidateOperation(module) for name, module in self.operations.items()}
        # Channels that pass by a strided operation are pooled, as in the code of PC-DARTS.
        self._bypass = CandidateOperation(nn.MaxPool2d(stride, stride, ceil_mode=True) if stride > 1 else nn.Identity())

    def forward(self, state: CellState, terms: Sequence[Term]) -> Tensor | None:
        """Return the sum of `terms`, None if there is nothing to compute."""
        if self.partial == 1:
            return self._mixed(state, terms)
        mixed = self._mixed(state.seen, terms)
        if not terms:
            return mixed
        rest = self._bypass(state.rest)
        if mixed is None:
            mixed = torch.zeros_like(rest[:, : rest.shape[1] // (self.partial - 1)])
        total = sum(term.weight for term in terms)
        return shuffled(torch.cat([mixed, _times(total, rest)], 1), self.partial)

    def _mixed(self, state: CellState, terms: Sequence[Term]) -> Tensor | None:
        total = None
        for term in terms:
            if self.names[term.operation] != NONE:
                brought = _times(term.weight, self._candidates[self.names[term.operation]](state))
                total = brought if total is None else total + brought
        return total

    def used(self, terms: Sequence[Term]) -> Iterator[nn.Module]:
        """Yield the modules that `terms` stand for, in order, one of weight 2 twice."""
        for term in terms:
            if self.names[term.operation] != NONE:
                for _ in range(round(term.value)):
                    yield self.operations[self.names[term.operation]]


class MixedCell(nn.Module):
    """Nodes that each sum up what their mixed edges bring.

    Args:
        nodes: for every node its edges, in the order of the states they read.
        stride: of edges that read an input of the cell; so big are zeros where a node has no edge.
    """

    def __init__(self, nodes: Sequence[Sequence[MixedEdge]], stride: int = 1):
        super().__init__()
        self.nodes = nodes
        self.edges = nn.ModuleList(edge for edges in nodes for edge in edges)
        self.zeros = StridedZeros(stride)

    def forward(self, inputs: Sequence[Tensor], terms: Sequence[Sequence[Term]]) -> list[Tensor]:
        """Return what each node gives.

        Args:
            inputs: the states that come from outside, each float[batch, channels, height, width].
            terms: for every site what is to be computed.
        """
        partial = self.nodes[0][0].partial
        states = [CellState(x, partial) for x in inputs]
        for edges in self.nodes:
            total = None
            for edge in edges:
                brought = edge(states[edge.source], terms[edge.site])
                if brought is not None:
                    total = brought if total is None else total + brought
            states.append(CellState(self.zeros(inputs[0]) if total is None else total, partial))
        return [state.x for state in states[len(inputs) :]]

    def used(self, terms: Sequence[Sequence[Term]]) -> list[nn.Module]:
        """Return the modules that `terms` stand for, in order of execution."""
        return [module for edges in self.nodes for edge in edges for module in edge.used(terms[edge.site])]


def _times(weight: float | Tensor, x: Tensor) -> Tensor:
    return x if isinstance(weight, float) and weight == 1 else weight * x


def shuffled(x: Tensor, groups: int) -> Tensor:
    """Return x with its channels in another order, as if dealt from `groups` equal stacks in turn (ShuffleNet)."""
    dealt: Tensor = x.unflatten(1, (groups, -1)).transpose(1, 2)  # type: ignore[no-untyped-call]
    if layout(x) == torch.channels_last:
        return dealt.movedim((1, 2), (3, 4)).flatten(3).movedim(3, 1)
    return dealt.flatten(1, 2)


def partial_channels(channels: int, partial: int) -> int:
    """Return how many of the channels of a cell its operations see.

    Raises:
        NasError: the channels cannot be split so.
    """
    if partial < 1 or channels % partial:
        raise NasError(f"{channels} channels of a cell cannot be split into {partial} equal parts")
    return channels // partial
