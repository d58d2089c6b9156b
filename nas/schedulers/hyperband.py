"""Hyperband: successive halving begun at different fidelities in turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from nas.schedulers.base import StrategyMaker
from nas.schedulers.halving import Halving
from nas.schedulers.rung import Key
from nas.space import Codes


class Hyperband(Halving):
    """Hyperband (Li et al., 2018, Algorithm 1), by one objective; its brackets follow one another again and again.

    A bracket starts ceil(K / (s + 1) · eta^s) networks, where K is the number of fidelities and s how many rungs lie
    above the one it starts at; when all of them are evaluated at a rung, the best 1 / eta, at least one, go on. The
    bracket that starts lowest comes first, that of full training alone last.

    New networks come from strategies instead of chance, one for each rung, which is told all results of that rung and
    of the others the failures alone, as BOHB (Falkner et al., 2018) has a model for each.
    """

    most_objectives = 1

    def __init__(self, make_strategy: StrategyMaker, fidelities: Sequence[int], seed: int, eta: int = 4):
        super().__init__(make_strategy, fidelities, seed, eta)
        others = np.random.SeedSequence(seed).generate_state(len(self.rungs) - 1)
        self.strategies = [self.strategy, *(make_strategy(int(other)) for other in others)]
        #: the rung at which the present bracket starts, and what it started
        self._start = 0
        self._started: list[Key] = []

    @property
    def batch_size(self) -> int:
        return self.strategies[self._start].batch_size

    def size(self, start: int) -> int:
        """Return how many networks the bracket that starts at a rung starts there."""
        above = len(self.rungs) - 1 - start
        return -(-len(self.rungs) * int(self.eta**above) // (above + 1))

    def first_result(self) -> tuple[int, ...]:
        return (*(max(1, self.size(0) // self.eta**rung) for rung in range(len(self.rungs) - 1)), 1)

    def ask(self, n: int) -> tuple[Codes, int | None]:
        for start, started in self._brackets():
            if len(started) < self.size(start):
                codes = self.strategies[start].ask(min(n, self.size(start) - len(started)))
                if len(codes):
                    return codes, self.fidelities[start]
            for rung, keys in self._levels(start, started):
                if due := [key for key in keys if key not in self.rungs[rung]]:
                    return self._job(due[:n], rung)
        return self._job([], 0)

    def tell(self, codes: Codes, fidelity: int | None, metrics: pd.DataFrame) -> None:
        if not len(codes):
            return
        rung, told = self.fidelities.index(fidelity), [row.tobytes() for row in codes]
        continued = any(told[0] in keys for level, keys in self._levels(self._start, self._started) if level == rung)
        super().tell(codes, fidelity, metrics)
        self.strategies[rung].tell(codes, metrics)
        self._warn_of_failures(codes, rung, metrics)
        if continued:
            return
        if rung != self._start or len(self._started) >= self.size(self._start):
            self._start, self._started = rung, []
        self._started += told

    def _warn_of_failures(self, codes: Codes, rung: int, metrics: pd.DataFrame) -> None:
        """Tell the strategies of the other rungs which networks failed at this one, lest they propose them."""
        fine = set(self.rungs[rung].best_first([code.tobytes() for code in codes]))
        for other in set(range(len(self.rungs))) - {rung}:
            failed = [code.tobytes() not in fine and code.tobytes() not in self.rungs[other] for code in codes]
            self.strategies[other].tell(codes[failed], metrics[failed])

    def _brackets(self) -> Iterator[tuple[int, list[Key]]]:
        """The present bracket, then each of the others as it would begin."""
        yield self._start, self._started
        for i in range(1, len(self.rungs) + 1):
            yield (self._start + i) % len(self.rungs), []

    def _levels(self, start: int, started: list[Key]) -> Iterator[tuple[int, list[Key]]]:
        """The rungs above the start, each with the networks of a bracket that belong there; ends where some are due."""
        keys = started
        for rung in range(start, len(self.rungs) - 1):
            if any(key not in self.rungs[rung] for key in keys):
                return
            best = self.rungs[rung].best_first(keys)
            keys = best[: max(1, len(keys) // self.eta)]
            yield rung + 1, keys
