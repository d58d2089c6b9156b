"""One decision of a search space, and the arithmetic of which decisions matter."""

from __future__ import annotations

import numbers
import re
from collections.abc import Sequence
from dataclasses import dataclass

from nas.errors import NasError

Choice = int | float | str

#: codes are stored as int8
MAX_CHOICES = 127


def word(choice: Choice | numbers.Real) -> str:
    """Return how a choice reads in a code string: numbers without a trailing ".0"."""
    if isinstance(choice, str):
        return choice
    number = float(choice)
    return str(int(number)) if number.is_integer() else repr(number)


@dataclass(frozen=True, slots=True)
class Condition:
    """A decision matters only while the decision named `parent` holds one of `values`."""

    parent: str
    values: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """A named choice. `choices` keeps the declared order; a code stores the index into it."""

    name: str
    choices: tuple[Choice, ...]
    active_if: Condition | None = None

    def __post_init__(self) -> None:
        if not self.choices:
            raise NasError(f"decision {self.name!r} has no choices")
        if len(self.choices) > MAX_CHOICES:
            raise NasError(
                f"decision {self.name!r} has {len(self.choices)} choices, at most {MAX_CHOICES} are possible"
            )
        words = [word(choice) for choice in self.choices]
        if len(set(words)) != len(words):
            raise NasError(f"decision {self.name!r} lists a choice twice: {', '.join(words)}")
        for text in words:
            if not re.fullmatch(r"[A-Za-z0-9_.+]+", text):
                raise NasError(f"decision {self.name!r}: choice {text!r} may have letters, digits, '_', '.', '+' only")


class DecisionTree:
    """Counts of distinct settings below every choice, for decisions that depend on at most one other.

    `active_if` makes a forest of the decisions. The number of distinct settings below choice v of decision d is
    the product over the children that v activates of the sum over their own choices; a setting of an inactive
    decision does not count.

    Raises:
        NasError: a condition names a decision that does not come earlier, or a value that it does not have.
    """

    def __init__(self, decisions: Sequence[Decision]):
        self.decisions = tuple(decisions)
        position = {decision.name: i for i, decision in enumerate(self.decisions)}
        if len(position) != len(self.decisions):
            raise NasError("two decisions have the same name")
        #: per decision: position of its parent (-1: none) and the parent's choice indices that activate it
        self.parent: list[int] = []
        self.activating: list[frozenset[int]] = []
        for i, decision in enumerate(self.decisions):
            parent, active = self._resolve(decision, i, position)
            self.parent.append(parent)
            self.activating.append(active)
        #: per decision: number of distinct settings of the subtree below each of its choices
        self.weights: list[list[int]] = self._count()

    @property
    def size(self) -> int:
        """Number of distinct settings of all decisions together, exact."""
        total = 1
        for parent, weights in zip(self.parent, self.weights, strict=True):
            if parent < 0:
                total *= sum(weights)
        return total

    def _resolve(self, decision: Decision, i: int, position: dict[str, int]) -> tuple[int, frozenset[int]]:
        condition = decision.active_if
        if condition is None:
            return -1, frozenset()
        parent = position.get(condition.parent, len(self.decisions))
        if parent >= i:
            raise NasError(f"{decision.name!r} depends on {condition.parent!r}, which does not come before it")
        choices = self.decisions[parent].choices
        wrong = [value for value in condition.values if value not in choices]
        if wrong:
            raise NasError(f"{decision.name!r} depends on {condition.parent!r} = {wrong[0]!r}, not one of {choices}")
        return parent, frozenset(choices.index(value) for value in condition.values)

    def _count(self) -> list[list[int]]:
        weights = [[1] * len(decision.choices) for decision in self.decisions]
        for i in reversed(range(len(self.decisions))):
            if self.parent[i] >= 0:
                below = sum(weights[i])
                for choice in self.activating[i]:
                    weights[self.parent[i]][choice] *= below
        return weights
