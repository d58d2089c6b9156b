"""Asynchronous successive halving, with one objective or several."""

from __future__ import annotations

import pandas as pd

from nas.schedulers.halving import Halving
from nas.schedulers.rung import Key
from nas.space import Codes


class ParetoASHA(Halving):
    """ASHA (Li et al., 2020, Algorithm 2) in which a network's merit is its non-domination rank, then its crowding.

    Whenever a network of a rung is due, it is continued at the next one; else a new network starts at the lowest
    rung. Due are the best 1 / `eta` of a rung, the best first. Merit with several objectives is that of MO-ASHA
    (Schmucker et al., 2021) with NSGA-II's crowding among equals; networks within the bounds come first.

    Three things differ from the paper. A rung never has more than 1 / `eta` of the rung below it: new networks come
    from a strategy that learns, and as it gets better almost each of them is among the best so far. No network is
    continued before `warm_up` are known at the lowest rung. When no new network is left to start, those that wait are
    continued, the best first.

    The strategy is told the results of the lowest rung alone: those after different numbers of epochs do not compare.
    """

    #: networks known at the lowest rung before the first is continued
    warm_up = 20

    def ask(self, n: int) -> tuple[Codes, int | None]:
        for rung in reversed(range(len(self.rungs) - 1)):
            if due := self._due(rung):
                return self._job(due[:n], rung + 1)
        codes = self.strategy.ask(n)
        if not len(codes):
            for rung in reversed(range(len(self.rungs) - 1)):
                if waiting := self._waiting(rung):
                    return self._job(waiting[:n], rung + 1)
        return codes, self.entry

    def tell(self, codes: Codes, fidelity: int | None, metrics: pd.DataFrame) -> None:
        super().tell(codes, fidelity, metrics)
        if fidelity == self.entry:
            self.strategy.tell(codes, metrics)

    def first_result(self) -> tuple[int, ...]:
        # A network goes on as soon as it is due, so the upper rungs hold no more than it takes.
        lowest, *upper = (int(self.eta**above) for above in reversed(range(len(self.rungs))))
        return (max(self.warm_up, lowest), *upper)

    def _due(self, rung: int) -> list[Key]:
        """The networks of a rung that are to go on now."""
        if len(self.rungs[0]) < self.warm_up:
            return []
        places = len(self.rungs[rung]) // self.eta - len(self.rungs[rung + 1])
        return self._waiting(rung)[:places] if places > 0 else []

    def _waiting(self, rung: int) -> list[Key]:
        """The networks of a rung that were not continued, the best first."""
        above = self.rungs[rung + 1]
        return [key for key in self.rungs[rung].best_first() if key not in above]


class ASHA(ParetoASHA):
    """Asynchronous successive halving by one objective (Li et al., 2020, Algorithm 2); see `ParetoASHA`."""

    most_objectives = 1
