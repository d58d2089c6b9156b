"""What schedulers of successive halving share: rungs of fidelities, and the reduction factor between two of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Self

import pandas as pd

from nas.errors import NasError
from nas.schedulers.base import Scheduler, StrategyMaker
from nas.schedulers.rung import Key, Rung, as_codes
from nas.space import Codes


class Halving(Scheduler):
    """The best 1 / `eta` of the networks of a rung go on to the next one; `NAME:3` sets `eta` to 3.

    The rungs are the fidelities that the estimator has, so `eta` is the share that goes on and not, as in the papers,
    also the ratio of the epochs: 12 and 200 epochs are one rung apart.

    Args:
        eta: reduction factor.

    Raises:
        NasError: fewer than two fidelities, too many objectives, or a reduction factor below 2.
    """

    least_fidelities = 2

    def __init__(self, make_strategy: StrategyMaker, fidelities: Sequence[int], seed: int, eta: int = 4):
        super().__init__(make_strategy, fidelities, seed)
        if eta < 2:
            raise NasError(f"the reduction factor is {eta}; it must be at least 2, as in asha:3")
        self.eta = eta
        self.rungs = [Rung(len(self.strategy.objectives)) for _ in self.fidelities]

    @classmethod
    def with_argument(cls, eta: str) -> Callable[..., Self]:
        """Return what makes the scheduler with a reduction factor; see `nas.registry.load`.

        Raises:
            NasError: it is no whole number.
        """
        if not eta.isdecimal():
            raise NasError(f"the reduction factor of a scheduler is {eta!r}, expected a whole number, as in asha:3")
        return partial(cls, eta=int(eta))

    def tell(self, codes: Codes, fidelity: int | None, metrics: pd.DataFrame) -> None:
        losses, violation = self.strategy.judge(metrics)
        self.rungs[self.fidelities.index(fidelity)].add(codes, losses, violation)

    def _job(self, keys: Sequence[Key], rung: int) -> tuple[Codes, int | None]:
        """What `ask` returns for these networks."""
        return as_codes(keys, len(self.strategy.space.decisions)), self.fidelities[rung]
