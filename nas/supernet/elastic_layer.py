"""The layers of an elastic supernet: blocks that can stand in one place, with their shared weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from nas.errors import NasError
from nas.supernet.elastic_anatomy import Anatomy, Place, Step
from nas.supernet.elastic_choice import Choice, Lookup
from nas.supernet.elastic_mixture import Mixture, conditional, fitted, total_of, weighed
from nas.supernet.elastic_steps import Plan, run
from nas.supernet.elastic_weights import Shared, shared_weights


class Operation(nn.Module):
    """Blocks of one signature (see `Anatomy.signature`) and the weights they share.

    Args:
        anatomies: the blocks.
        transforms: smaller kernels pass through trained matrices.
    """

    #: how many sets of blocks are remembered
    KEPT = 256

    def __init__(self, anatomies: Sequence[Anatomy], transforms: bool):
        super().__init__()
        self.anatomies = tuple(anatomies)
        self._shared: dict[Step, Shared] = {}
        for step in sorted({step for anatomy in anatomies for step, _ in anatomy.steps}):
            weights = shared_weights(step, anatomies, transforms)
            if weights is not None:
                self._shared[step] = weights
                self.add_module(str(step), weights)
        self._plans: dict[tuple[int, ...], Plan] = {}

    def forward(self, x: Tensor, blocks: tuple[int, ...], shares: Tensor | None) -> Tensor:
        """Return the output of some of the blocks at once, shares float[blocks] of each; of the only one for None."""
        plan = self._plan(blocks)
        x = fitted(x, plan.inputs)
        y = run(plan, Place.BODY, x, shares, self.training)
        if plan.has(Place.SHORTCUT):
            y = y + run(plan, Place.SHORTCUT, x, shares, self.training)
        identity = Mixture(plan.identity, shares, x).split(lambda value: value.channels == 1)
        if True in identity:
            y = y + weighed(fitted(x, y.shape[1]), identity[True])
        return run(plan, Place.SUM, y, shares, self.training)

    def _plan(self, blocks: tuple[int, ...]) -> Plan:
        if blocks not in self._plans:
            if len(self._plans) >= self.KEPT:
                self._plans.clear()
            self._plans[blocks] = Plan.of([self.anatomies[block] for block in blocks], self._shared)
        return self._plans[blocks]

    def state(self, block: int) -> Iterator[tuple[str, Tensor]]:
        """Yield the parameters and buffers of a block in order, each with the last part of its name."""
        for step, piece in self.anatomies[block].steps:
            if step in self._shared:
                yield from self._shared[step].state(piece)


class ElasticLayer(nn.Module):
    """One place in the network: the blocks that can stand there, and the decisions that settle which does.

    Args:
        lookup: which of `anatomies` the decisions choose.
        depth: position of the decision whether there is a block at all, and for each of its choices whether there is;
            None where there always is.
    """

    def __init__(
        self,
        anatomies: Sequence[Anatomy],
        lookup: Lookup,
        depth: tuple[int, npt.NDArray[np.bool_]] | None,
        transforms: bool,
    ):
        super().__init__()
        self.lookup = lookup
        self.depth = depth
        groups: dict[tuple[object, ...], list[Anatomy]] = {}
        for own in anatomies:
            groups.setdefault(own.signature, []).append(own)
        #: for every anatomy its operation, and its place among the blocks of that
        places = {own: (i, j) for i, members in enumerate(groups.values()) for j, own in enumerate(members)}
        self._places = [places[own] for own in anatomies]
        self.operations = nn.ModuleList(Operation(members, transforms) for members in groups.values())

    def forward(self, x: Tensor, choices: Sequence[Choice]) -> Tensor:
        """Return the expected output: a sum over operations of probability × output at its conditional shares."""
        entries, probabilities = self.lookup.distribution(choices)
        if probabilities is None:
            operation, block = self._places[entries[0]]
            y: Tensor = self.operations[operation](x, (block,), None)
            return y
        found: dict[int, list[int]] = {}
        for i, entry in enumerate(entries):
            found.setdefault(self._places[entry][0], []).append(i)
        terms = []
        for operation, members in found.items():
            shares, whole = conditional(probabilities[members])
            blocks = tuple(self._places[entries[i]][1] for i in members)
            terms.append(self.operations[operation](x, blocks, shares) * whole.to(x.dtype))
        return _mixed(terms)

    def state(self, choices: Sequence[Choice]) -> Iterator[tuple[str, Tensor]]:
        """Yield the state of the block that choices, all certain, put here; see `Operation.state`."""
        (entry,), _ = self.lookup.distribution(choices)
        operation, block = self._places[entry]
        chosen = self.operations[operation]
        assert isinstance(chosen, Operation)
        yield from chosen.state(block)


def tail(x: Tensor, layers: Sequence[ElasticLayer], choices: Sequence[Choice]) -> Tensor:
    """Run layers of which one decision says how many there are: the expected output over its choices.

    That is a sum over depths of probability × what comes out after so many layers, each layer run once.
    """
    assert layers[0].depth is not None
    indices, probabilities = choices[layers[0].depth[0]]
    left, terms = list(range(len(indices))), []

    def end(where: list[int]) -> None:
        terms.append(x if probabilities is None else x * probabilities[where].sum().to(x.dtype))

    for layer in layers:
        assert layer.depth is not None
        present = layer.depth[1]
        if ending := [i for i in left if not present[indices[i]]]:
            end(ending)
            left = [i for i in left if i not in ending]
        if not left:
            break
        x = layer(x, choices)
    if left:
        end(left)
    return _mixed(terms)


def _mixed(terms: Sequence[Tensor]) -> Tensor:
    """Sum features of different widths, the narrower ones inside zeros."""
    if len({term.shape[2:] for term in terms}) > 1:
        sizes = " and ".join(sorted({"×".join(map(str, term.shape[2:])) for term in terms}))
        raise NasError(f"feature maps of {sizes} cannot be mixed; choose a resolution that halves without a rest")
    widest = max(term.shape[1] for term in terms)
    return total_of([fitted(term, widest) for term in terms])
