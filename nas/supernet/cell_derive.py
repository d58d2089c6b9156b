"""What edges a node of a cell gets from the weights of all that it may have."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from nas.space.cell import Edge
from nas.space.cell_choices import NodeChoices


def derived_edges(choices: NodeChoices, weights: Mapping[int, npt.NDArray[np.float64]]) -> tuple[Edge, ...]:
    """Return the edges of a node by the rule of DARTS (Liu et al., ICLR 2019, sec. 2.4), "none" left out.

    An edge is as strong as its strongest operation; the strongest edges that the node may have together stay, each
    with its strongest operation, the first of several. What has weight 0 or less is not there: so a node that has no
    more than one such edge gets one, reads that state twice or has no edge, whichever the space has. An edge that is
    read twice has its two strongest operations, or one twice if all others have weight 0.

    Args:
        choices: what the node may read.
        weights: state -> float[operations], without "none".
    """
    strength = {state: float(values.max()) for state, values in weights.items()}

    def rank(states: tuple[int, ...]) -> tuple[bool, int, list[float]]:
        there = all(strength[state] > 0 for state in states)
        return there, len(set(states)), sorted((strength[state] for state in states), reverse=True)

    # The first of equals is the one of lower states, where the space lists them so.
    states = max(choices.inputs, key=rank)
    if len(set(states)) < len(states):
        pair = _two_strongest(weights[states[0]])
        return tuple((choices.operations[operation], states[0]) for operation in pair)
    return tuple((choices.operations[int(weights[state].argmax())], state) for state in states)


def _two_strongest(weights: npt.NDArray[np.float64]) -> list[int]:
    """Return the positions of the two largest weights in order, or one twice if no other is above 0."""
    first, *others = np.argsort(-weights, kind="stable").tolist()
    second = others[0] if others and weights[others[0]] > 0 else first
    return sorted((first, second))
