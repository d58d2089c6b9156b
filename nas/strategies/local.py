"""Local search (White et al., 2021; Den Ottelander et al., 2021): the neighbours of the best, then of the next best."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Any

import numpy as np
import pandas as pd

from nas.space import Codes
from nas.strategies.base import Strategy


class Neighbourhoods:
    """For each network the neighbours not told yet and allowed by the free constraints; listed once, then thinned."""

    def __init__(self, strategy: Strategy):
        self._strategy = strategy
        self._near: dict[bytes, list[bytes]] = {}

    def unknown(self, network: bytes, known: set[bytes]) -> list[bytes]:
        near = self._near.get(network)
        if near is None:
            codes = self._strategy.space.neighbours(np.frombuffer(network, dtype=np.int8))
            near = [row.tobytes() for row in codes[self._strategy.excess(codes) == 0]]
        self._near[network] = [row for row in near if row not in known]
        return self._near[network]

    def forget(self, network: bytes) -> None:
        self._near.pop(network, None)


class LocalSearch(Strategy):
    """Local search, first improvement: a random unknown neighbour of the best that has one; first objective only.

    A better neighbour is the best at once. At a local optimum, all of whose neighbours are known, the search goes on
    from the next best network instead of a fresh random one. Starts with `initial` random networks.
    """

    initial = 10

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        #: networks that may have unknown neighbours, as a heap: violation, loss, age, code
        self._open: list[tuple[float, float, int, bytes]] = []
        self._near = Neighbourhoods(self)

    @property
    def batch_size(self) -> int:
        """One at a time; a hundredth of the evaluations once there are many."""
        return min(max(1, len(self._known) // 100), 20)

    def _propose(self, n: int, rng: np.random.Generator) -> Codes:
        missing = self.initial - len(self._known)
        if missing > 0:
            return self.sample(min(n, missing), rng)
        found, waiting, count = [self._none], list(self._open), 0
        while waiting and count < n:
            near = self._near.unknown(heappop(waiting)[-1], self._known)
            if near:
                found.append(rng.permutation(codes_of(near)))
                count += len(near)
        return np.concatenate(found) if count else self.sample(n, rng)

    def _learn(self, codes: Codes, metrics: pd.DataFrame) -> None:
        points, excess = self.judge(metrics, self.objectives[:1])
        age = len(self._known) - len(codes)
        for i, (row, loss, over) in enumerate(zip(codes, points[:, 0].tolist(), excess.tolist(), strict=True)):
            heappush(self._open, (over, loss, age + i, row.tobytes()))
        if len(self._known) >= self.initial:
            while self._open and not self._near.unknown(self._open[0][-1], self._known):
                self._near.forget(heappop(self._open)[-1])


class BestImprovement(LocalSearch):
    """Local search, best improvement: all neighbours of a network, then of the best known; first objective only."""

    #: the network whose neighbours are being evaluated
    _centre: tuple[float, float, int, bytes] | None = None

    @property
    def batch_size(self) -> int:
        """The rest of the neighbourhood, at most 20."""
        near = self._near.unknown(self._centre[-1], self._known) if self._centre else []
        return min(len(near), 20) or 1

    def _learn(self, codes: Codes, metrics: pd.DataFrame) -> None:
        super()._learn(codes, metrics)
        if len(self._known) < self.initial:
            return
        if self._centre is None or not self._near.unknown(self._centre[-1], self._known):
            self._centre = self._open[0] if self._open else None

    def _propose(self, n: int, rng: np.random.Generator) -> Codes:
        near = self._near.unknown(self._centre[-1], self._known) if self._centre else []
        others = super()._propose(n, rng)
        return np.concatenate([rng.permutation(codes_of(near)), others]) if near else others


def codes_of(rows: list[bytes]) -> Codes:
    """Return int8[n, D] from the bytes of each row."""
    return np.array([np.frombuffer(row, dtype=np.int8) for row in rows])
