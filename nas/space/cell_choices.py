"""What is free at one node of a cell: which states it reads, and through which operations."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nas.errors import NasError
from nas.space.cell import Edge
from nas.space.decision import Choice, Condition, Decision

Codes = npt.NDArray[np.integer]

#: no edge, or none yet
NONE = -1


@dataclass(frozen=True)
class NodeChoices:
    """The free edges of one node, as decisions that give every set of edges exactly one setting.

    `inputs` says which states are read. Two different ones go through `op1` (the lower state) and `op2`, a single one
    through `op1`; where one state is read twice the order of its two operations means nothing, so `ops` is a pair.

    Args:
        name: what the decisions begin with, e.g. "normal.node2".
        inputs: the sets of states it may read, each of at most two, lower first.
        operations: what may happen on an edge, in the order of `nas.space.cell_blocks.OPERATIONS`.
    """

    name: str
    inputs: tuple[tuple[int, ...], ...]
    operations: tuple[str, ...]

    @cached_property
    def decisions(self) -> tuple[Decision, ...]:
        """`inputs`, `op1`, `op2`, and `ops` where a state may be read twice."""
        parent = f"{self.name}.inputs"
        words = {states: "".join(map(str, states)) or "none" for states in self.inputs}
        twice = tuple(words[states] for states in self.inputs if len(states) == 2 and states[0] == states[1])
        single = tuple(word for states, word in words.items() if states and word not in twice)
        double = tuple(word for states, word in words.items() if len(states) == 2 and word not in twice)
        decisions = [
            Decision(parent, tuple(words.values())),
            Decision(f"{self.name}.op1", self.operations, Condition(parent, single)),
            Decision(f"{self.name}.op2", self.operations, Condition(parent, double)),
        ]
        if twice:
            pairs = tuple("+".join(pair) for pair in self.pairs)
            decisions.append(Decision(f"{self.name}.ops", pairs, Condition(parent, twice)))
        return tuple(decisions)

    @cached_property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The choices of `ops`."""
        return tuple(itertools.combinations_with_replacement(self.operations, 2))

    def first_edge(self, inputs: int, op1: int) -> tuple[Edge, ...]:
        """Return the edge that `op1` is about, if there is one."""
        states = self.inputs[inputs]
        return ((self.operations[op1], states[0]),) if len(set(states)) == len(states) > 0 else ()

    def second_edge(self, inputs: int, op2: int) -> tuple[Edge, ...]:
        """Return the edge that `op2` is about, if there is one."""
        states = self.inputs[inputs]
        return ((self.operations[op2], states[1]),) if len(set(states)) == 2 else ()

    def twin_edges(self, inputs: int, ops: int) -> tuple[Edge, ...]:
        """Return the two edges that `ops` is about, if there are any."""
        states = self.inputs[inputs]
        return tuple(zip(self.pairs[ops], states, strict=True)) if len(set(states)) < len(states) else ()

    def edges(self, setting: Codes) -> tuple[Edge, ...]:
        """Return the edges of one setting of the decisions, int[decisions]."""
        inputs, op1, op2, *ops = (int(value) for value in setting)
        twins = self.twin_edges(inputs, ops[0]) if ops else ()
        return self.first_edge(inputs, op1) + self.second_edge(inputs, op2) + twins

    def setting(self, edges: tuple[Edge, ...]) -> Mapping[str, Choice]:
        """Return the decisions that give `edges`.

        Raises:
            NasError: the node cannot have them.
        """
        states = tuple(state for _, state in edges)
        operations = tuple(operation for operation, _ in edges)
        strange = [operation for operation in operations if operation not in self.operations]
        if states not in self.inputs or strange:
            described = " + ".join(f"{operation} of {state}" for operation, state in edges) or "no edge"
            raise NasError(f"{self.name} is {described}, which the space does not have")
        word = self.decisions[0].choices[self.inputs.index(states)]
        if len(set(states)) < len(states):
            return {f"{self.name}.inputs": word, f"{self.name}.ops": "+".join(operations)}
        chosen = {f"{self.name}.op{i}": operation for i, operation in enumerate(operations, start=1)}
        return {f"{self.name}.inputs": word} | chosen

    def edge_arrays(self, settings: Codes) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Return intp[n, 2] twice, the states read and the operations of the edges; NONE where there is no edge.

        `settings` is int[n, decisions].
        """
        padded = np.array([(*states, NONE, NONE)[:2] for states in self.inputs], dtype=np.intp)
        states = padded[settings[:, 0]]
        operations = settings[:, 1:3].astype(np.intp)
        if len(self.decisions) > 3:
            twins = np.array(list(itertools.combinations_with_replacement(range(len(self.operations)), 2)))
            same = states[:, 0] == states[:, 1]
            operations[same] = twins[settings[same, 3]]
        operations[states == NONE] = NONE
        return states, operations
