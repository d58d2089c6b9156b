"""The networks that a trained one-shot strategy stands for, proposed as any strategy proposes its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from nas.cost.objectives import Constraint, Objective
from nas.space import Codes, SearchSpace
from nas.strategies.base import Costs, Strategy

#: networks drawn to find some that meet the bounds, where the derived one does not
DRAWN = 500


class Derived(Strategy):
    """Proposes the derived network first, then others that the architecture weights make likely.

    Where bounds on free metrics rule out the derived network, those of the drawn ones come first that meet them; only
    where none does are they repaired, as with any strategy.

    Args:
        propose: (n, seed) -> codes int8[m, D], m at most n, the derived one first.
    """

    def __init__(
        self, space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint], seed: int,
        costs: Costs | None, propose: Callable[[int, int], Codes],
    ):  # fmt: skip
        super().__init__(space, objectives, constraints, seed, costs)
        self._source = propose

    @property
    def batch_size(self) -> int:
        return 1

    def _propose(self, n: int, rng: np.random.Generator) -> Codes:
        seed = int(rng.integers(2**62))
        if not self.free_constraints:
            return self._source(n + len(self._known), seed)
        drawn = self._source(DRAWN, seed)
        feasible = drawn[self.excess(drawn) == 0]
        return feasible if len(feasible) else drawn[:n]
