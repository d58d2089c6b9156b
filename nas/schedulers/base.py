"""The contract of multi-fidelity schedulers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import pandas as pd

from nas.errors import NasError
from nas.space import Codes
from nas.strategies.base import Strategy

#: seed -> a fresh strategy on the problem of the search
StrategyMaker = Callable[[int], Strategy]


class FewFidelitiesError(NasError):
    """The estimator has fewer kinds of evaluation than a scheduler needs."""


class Scheduler(ABC):
    """Says which networks are evaluated next and at which fidelity; new networks come from a strategy.

    A network is started at a low fidelity, continued at the next one or paused; what is paused when the search ends is
    stopped. A fidelity is a number of epochs, None full training. Like a strategy, a scheduler is a deterministic
    function of the seed and of what it was told, and `ask` changes nothing. No network is evaluated twice at the same
    fidelity.

    Args:
        make_strategy: makes the strategies that propose new networks.
        fidelities: epochs, fewest first; the last is full training. Empty where there is one kind of evaluation only.
        seed: of all random choices.

    Raises:
        FewFidelitiesError: fewer fidelities than it needs.
        NasError: more objectives than it can judge by.
    """

    #: kinds of evaluation without which it makes no sense
    least_fidelities = 0
    #: objectives it can judge by
    most_objectives: int | None = None

    def __init__(self, make_strategy: StrategyMaker, fidelities: Sequence[int], seed: int):
        if len(fidelities) < self.least_fidelities:
            raise FewFidelitiesError(
                f"it needs accuracies after at least {self.least_fidelities} different numbers of epochs"
            )
        #: fewest epochs first
        self.fidelities: tuple[int | None, ...] = (*fidelities[:-1], None)
        #: proposes the new networks; with several strategies the one of the lowest fidelity
        self.strategy = make_strategy(seed)
        objectives = len(self.strategy.objectives)
        if self.most_objectives is not None and objectives > self.most_objectives:
            raise NasError(
                f"this scheduler judges by one objective, and there are {objectives}; "
                "take --scheduler pareto-asha, or name one objective, as in --objectives error"
            )

    @property
    def reason(self) -> str:
        """Why this strategy was chosen, where it was not the user who chose it."""
        return self.strategy.reason

    @property
    def batch_size(self) -> int:
        """Evaluations a search asks for at a time."""
        return self.strategy.batch_size

    @property
    def entry(self) -> int | None:
        """The fidelity at which networks that the user names are started."""
        return self.fidelities[0]

    def first_result(self) -> tuple[int, ...]:
        """Return how many evaluations at each fidelity come before and with the first one at full fidelity."""
        return (*(0 for _ in self.fidelities[1:]), 1)

    @abstractmethod
    def ask(self, n: int) -> tuple[Codes, int | None]:
        """Return up to `n` canonical codes, each once, and the fidelity at which to evaluate them; none: it is over.

        All of them may be fewer than `n`, and the caller may evaluate only the first of them.
        """

    @abstractmethod
    def tell(self, codes: Codes, fidelity: int | None, metrics: pd.DataFrame) -> None:
        """Learn the metrics of networks evaluated at a fidelity, one row each in order."""


class FullFidelity(Scheduler):
    """Every network that the strategy proposes is trained fully."""

    def __init__(self, make_strategy: StrategyMaker, fidelities: Sequence[int], seed: int):
        super().__init__(make_strategy, fidelities[-1:], seed)

    def ask(self, n: int) -> tuple[Codes, int | None]:
        return self.strategy.ask(n), None

    def tell(self, codes: Codes, fidelity: int | None, metrics: pd.DataFrame) -> None:
        self.strategy.tell(codes, metrics)
