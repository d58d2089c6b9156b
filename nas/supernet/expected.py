"""Expected cost of a network whose decisions are uncertain, through the block vocabulary of its space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nas.errors import NasError
from nas.space import BlockVocabulary


class ExpectedCost:
    """The expectation of a sum over the blocks of a network, its decisions drawn independently.

    A group of blocks is a table over the decisions that settle it, so its expectation is that table contracted with
    the probabilities of each (the sum over operations of FBNet, Wu et al., CVPR 2019, eq. 7, for groups of one
    decision); the expectation of the sum is the sum over groups. For one-hot probabilities it is the exact cost of
    that network: a decision that does not matter changes no table, so its probabilities may be anything that adds up
    to 1. Sums are kept in float64.

    Args:
        vocabulary: the blocks of a space.
        values: float[V], what each block costs.

    Raises:
        NasError: there are not as many values as blocks.
    """

    def __init__(self, vocabulary: BlockVocabulary, values: npt.NDArray[np.float64]):
        self.values = check_values(vocabulary, values)
        padded = np.append(self.values, 0.0)
        constant = 0.0
        tables: dict[tuple[int, ...], npt.NDArray[np.float64]] = {}
        for group in vocabulary.groups:
            sums = np.zeros(len(group.table))
            for ids in group.table.T:
                sums += padded[ids]
            if group.columns:
                table = sums.reshape(group.choices)
                tables[group.columns] = tables[group.columns] + table if group.columns in tables else table
            else:
                constant += float(sums[0])
        self._constant = constant
        self._tables = {columns: torch.from_numpy(table) for columns, table in tables.items()}
        self._width = 1 + max((column for columns in tables for column in columns), default=-1)

    def __call__(self, probabilities: Sequence[Tensor]) -> Tensor:
        """Return the scalar expectation, float64, differentiable.

        Args:
            probabilities: for each column of the vocabulary (the decisions of the space, then derived columns where it
                has them) float[choices], which need not add up to 1: the cost is linear in each.

        Raises:
            NasError: they are too few.
        """
        if len(probabilities) < self._width:
            raise NasError(f"{len(probabilities)} tensors of probabilities for {self._width} columns of the vocabulary")
        factors = [given.to(torch.float64) for given in probabilities]
        device = factors[0].device if factors else torch.device("cpu")
        total = torch.tensor(self._constant, dtype=torch.float64, device=device)
        for columns, table in self._tables.items():
            if table.device != device:
                table = self._tables[columns] = table.to(device)
            for column in columns:
                table = torch.einsum("i...,i->...", table, factors[column])
            total = total + table
        return total


def check_values(vocabulary: BlockVocabulary, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return a copy of float[V], what each block costs.

    Raises:
        NasError: there are not as many values as blocks.
    """
    copied = np.array(values, dtype=np.float64)
    if copied.shape != (len(vocabulary),):
        raise NasError(f"{len(vocabulary)} blocks cost one number each, not {list(copied.shape)}")
    return copied
