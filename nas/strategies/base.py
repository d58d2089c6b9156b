"""The contract of black-box search strategies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import pandas as pd

from nas.cost.objectives import Constraint, Objective
from nas.space import Codes, SearchSpace

#: rounds of proposals that are all known before a strategy lists what is left of a small space
PATIENCE = 20
#: spaces up to this size are listed rather than sampled once new networks become rare
LISTABLE = 1_000_000


class Strategy(ABC):
    """Proposes architectures; a deterministic function of the seed and of what it was told.

    `ask` changes nothing, so a search is resumed by telling a new strategy the recorded history, batch by batch.
    No architecture is proposed twice; when the space is exhausted, `ask` returns fewer than asked for, at last none.
    """

    def __init__(
        self, space: SearchSpace, objectives: Sequence[Objective], constraints: Sequence[Constraint], seed: int
    ):
        self.space = space
        self.objectives = tuple(objectives)
        self.constraints = tuple(constraints)
        self.seed = seed
        self._known: set[bytes] = set()

    @property
    def batch_size(self) -> int:
        """Architectures a search asks for at a time."""
        return 100

    def ask(self, n: int) -> Codes:
        """Return up to `n` architectures that were never told, canonical and distinct."""
        rng = np.random.default_rng((self.seed, len(self._known)))
        chosen = np.zeros((0, len(self.space.decisions)), dtype=np.int8)
        idle = 0
        while len(chosen) < n and idle < PATIENCE:
            proposals = self._propose(n, rng) if idle < PATIENCE // 2 else self.space.sample(n, rng)
            fresh = self._new(proposals, chosen)
            idle = 0 if len(fresh) else idle + 1
            chosen = np.concatenate([chosen, fresh[: n - len(chosen)]])
        if len(chosen) < n and self.space.size <= LISTABLE:
            rest = self._new(self.space.all_codes(), chosen)
            chosen = np.concatenate([chosen, rng.permutation(rest)[: n - len(chosen)]])
        return chosen

    def tell(self, codes: Codes, metrics: pd.DataFrame) -> None:
        """Learn the metrics of evaluated architectures, one row each in order."""
        if not len(codes):
            return
        self._known.update(row.tobytes() for row in codes)
        self._learn(codes, metrics.reset_index(drop=True))

    @abstractmethod
    def _propose(self, n: int, rng: np.random.Generator) -> Codes:
        """Return about `n` proposals; known ones and repetitions are dropped by the caller."""

    def _learn(self, codes: Codes, metrics: pd.DataFrame) -> None:  # noqa: B027 - random search learns nothing
        """Update what proposals depend on."""

    def _new(self, proposals: Codes, chosen: Codes) -> Codes:
        """The proposals that are neither known nor among `chosen`, each once, in order."""
        taken = {row.tobytes() for row in chosen}
        fresh = []
        for row in proposals:
            key = row.tobytes()
            if key not in taken and key not in self._known:
                taken.add(key)
                fresh.append(row)
        return np.array(fresh, dtype=np.int8).reshape(len(fresh), proposals.shape[1])
