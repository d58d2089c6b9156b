"""The layers of an elastic supernet: blocks that can stand in one place, with their shared weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from nas.errors import NasError
from nas.supernet.elastic_anatomy import Anatomy, Piece, Place, Step
from nas.supernet.elastic_choice import Choices, Lookup
from nas.supernet.elastic_mixture import conditional, fitted, total_of, weighed
from nas.supernet.elastic_steps import Mixed, Plan, run
from nas.supernet.elastic_weights import Shared, shared_weights


class Design:
    """What can stand in a place, apart from the weights; places that look the same have one in common.

    Args:
        anatomies: the blocks.
        lookup: which of them the decisions choose.
    """

    #: how many sets of blocks are remembered
    KEPT = 256

    def __init__(self, anatomies: Sequence[Anatomy], lookup: Lookup):
        self._lookup = lookup
        groups: dict[tuple[object, ...], list[Anatomy]] = {}
        for own in anatomies:
            groups.setdefault(own.signature, []).append(own)
        #: for each operation its blocks, those of one signature (see `Anatomy.signature`)
        self.operations = list(groups.values())
        places = {own: (i, j) for i, members in enumerate(self.operations) for j, own in enumerate(members)}
        self._places = [places[own] for own in anatomies]
        self._plans: dict[tuple[int, tuple[int, ...]], Plan] = {}

    def mixed(self, choices: Choices) -> list[tuple[int, Mixed, Tensor | None]]:
        """Return the operations that may be drawn, with the shares of their blocks and the probability of each.

        That is None for the only one.
        """
        if self not in choices.memo:
            choices.memo[self] = self._mixed(choices)
        found: list[tuple[int, Mixed, Tensor | None]] = choices.memo[self]
        return found

    def _mixed(self, choices: Choices) -> list[tuple[int, Mixed, Tensor | None]]:
        entries, probabilities = self._lookup.distribution(choices)
        if probabilities is None:
            operation, block = self._places[entries[0]]
            return [(operation, self._plan(operation, (block,)).mixed(None), None)]
        found: dict[int, list[int]] = {}
        for i, entry in enumerate(entries):
            found.setdefault(self._places[entry][0], []).append(i)
        mixtures: list[tuple[int, Mixed, Tensor | None]] = []
        for operation, members in found.items():
            shares, whole = conditional(probabilities[members])
            blocks = tuple(self._places[entries[i]][1] for i in members)
            mixtures.append((operation, self._plan(operation, blocks).mixed(shares), whole))
        return mixtures

    def _plan(self, operation: int, blocks: tuple[int, ...]) -> Plan:
        key = operation, blocks
        if key not in self._plans:
            if len(self._plans) >= self.KEPT:
                self._plans.clear()
            self._plans[key] = Plan.of([self.operations[operation][block] for block in blocks])
        return self._plans[key]

    def certain(self, choices: Choices) -> tuple[int, int]:
        """Return the operation that choices, all certain, put here, and which of its blocks."""
        (entry,), _ = self._lookup.distribution(choices)
        return self._places[entry]


class Operation(nn.Module):
    """Blocks of one signature (see `Anatomy.signature`) and the weights they share.

    Args:
        anatomies: the blocks.
        transforms: smaller kernels pass through trained matrices.
    """

    def __init__(self, anatomies: Sequence[Anatomy], transforms: bool):
        super().__init__()
        self.anatomies = anatomies
        self._shared: dict[Step, Shared] = {}
        pieces: dict[Step, dict[Piece, None]] = {}
        for anatomy in anatomies:
            for step, piece in anatomy.steps:
                pieces.setdefault(step, {})[piece] = None
        for step in sorted(pieces):
            weights = shared_weights(step, list(pieces[step]), anatomies[0].norm_eps, transforms)
            if weights is not None:
                self._shared[step] = weights
                self.add_module(str(step), weights)

    def forward(self, x: Tensor, plan: Mixed) -> Tensor:
        """Return the output of some of the blocks at once, as much of each as its share."""
        x = fitted(x, plan.inputs)
        y = run(plan, self._shared, Place.BODY, x, self.training)
        if plan.has(Place.SHORTCUT):
            y = y + run(plan, self._shared, Place.SHORTCUT, x, self.training)
        if True in plan.identity:
            y = y + weighed(fitted(x, y.shape[1]), plan.identity[True])
        return run(plan, self._shared, Place.SUM, y, self.training)

    def state(self, block: int) -> Iterator[tuple[str, Tensor]]:
        """Yield the parameters and buffers of a block in order, each with the last part of its name."""
        for step, piece in self.anatomies[block].steps:
            if step in self._shared:
                yield from self._shared[step].state(piece)


class ElasticLayer(nn.Module):
    """One place in the network, with the weights of what can stand there.

    Args:
        depth: position of the decision whether there is a block at all, and for each of its choices whether there is;
            None where there always is.
    """

    def __init__(self, design: Design, depth: tuple[int, npt.NDArray[np.bool_]] | None, transforms: bool):
        super().__init__()
        self.design = design
        self.depth = depth
        self.operations = nn.ModuleList(Operation(members, transforms) for members in design.operations)

    def forward(self, x: Tensor, choices: Choices) -> Tensor:
        """Return the expected output: a sum over operations of probability × output at its conditional shares."""
        terms = []
        for operation, plan, whole in self.design.mixed(choices):
            y = self.operations[operation](x, plan)
            terms.append(weighed(y, None if whole is None else whole.to(x.dtype)))
        return _mixed(terms)

    def state(self, choices: Choices) -> Iterator[tuple[str, Tensor]]:
        """Yield the state of the block that choices, all certain, put here; see `Operation.state`."""
        operation, block = self.design.certain(choices)
        chosen = self.operations[operation]
        assert isinstance(chosen, Operation)
        yield from chosen.state(block)


def tail(x: Tensor, layers: Sequence[ElasticLayer], choices: Choices) -> Tensor:
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
