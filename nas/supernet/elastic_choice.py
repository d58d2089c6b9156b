"""What uncertain decisions make of a table over their choices: a distribution over its entries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


class Choice(NamedTuple):
    """The choices of a decision that have to be reckoned with.

    Args:
        indices: which they are, ascending.
        probabilities: float[indices]; None for a single one that is certain.
    """

    indices: tuple[int, ...]
    probabilities: Tensor | None


class Choices(list[Choice]):
    """The choices of all decisions in one forward pass.

    Attributes:
        memo: what has been made of them, so that equal places of a network need not do it again.
    """

    def __init__(self, choices: Iterable[Choice]):
        super().__init__(choices)
        self.memo: dict[object, Any] = {}


class Lookup:
    """A table over the choices of some decisions, drawn independently.

    Args:
        table: int, one axis for each decision.
        columns: the positions of the decisions.
    """

    #: how many sets of choices are remembered
    KEPT = 256

    def __init__(self, table: npt.NDArray[np.integer], columns: Sequence[int]):
        # The probabilities of a decision add up to 1, so one that changes nothing drops out.
        matters = [axis for axis in range(table.ndim) if np.any(table != table.take([0], axis))]
        self.table = table[tuple(slice(None) if axis in matters else 0 for axis in range(table.ndim))]
        self.columns = tuple(columns[axis] for axis in matters)
        self._found: dict[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], Tensor, list[bool]]] = {}

    def distribution(self, choices: Sequence[Choice]) -> tuple[tuple[int, ...], Tensor | None]:
        """Return the entries that may be drawn, ascending, and their probabilities; None where one is certain."""
        used = [choices[column] for column in self.columns]
        if all(choice.probabilities is None for choice in used):
            return (int(self.table[tuple(choice.indices[0] for choice in used)]),), None
        values, index, counts = self._entries(tuple(choice.indices for choice in used))
        factors = [c.probabilities for c, factor in zip(used, counts, strict=True) if factor]
        joint: Tensor | None = None
        for factor in factors:
            if factor is not None:
                joint = factor if joint is None else (joint[:, None] * factor).flatten()
        if joint is None:
            return values, None
        return values, joint.new_zeros(len(values)).index_add(0, index.to(joint.device), joint)

    def _entries(self, indices: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], Tensor, list[bool]]:
        """The distinct entries under some choices, which each setting gives, and which decisions make a difference."""
        if indices not in self._found:
            part = self.table[np.ix_(*indices)]
            # A choice that stands alone counts as a factor: its weight may be 1 and still need a gradient.
            counts = [n == 1 or bool(np.any(part != part.take([0], i))) for i, n in enumerate(part.shape)]
            part = part[tuple(slice(None) if count else 0 for count in counts)]
            values, index = np.unique(part, return_inverse=True)
            if len(self._found) >= self.KEPT:
                self._found.clear()
            self._found[indices] = tuple(values.tolist()), torch.from_numpy(index.reshape(-1)), counts
        return self._found[indices]
