"""The contract of everything that says how accurate an architecture is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import pandas as pd

from nas.errors import NasError
from nas.space import Codes, SearchSpace

Origin = Literal["measured", "predicted", "published"]


class HasSpace(Protocol):
    """The part of a problem an estimator may look at."""

    @property
    def space(self) -> SearchSpace: ...


@dataclass(frozen=True)
class About:
    """What the values of an estimator are on one space.

    Args:
        note: what the value means and how far it can be trusted, in one line.
        source: the data it is fitted on or looks up, with licence.
        digest: identifies its fitted state; a run remembers it.
    """

    note: str
    source: str
    digest: str


class Estimator(ABC):
    """Evaluates architectures; for each metric a value, and `<metric>_std`, `_low`, `_high` (90 %) where known.

    Attributes:
        origin: whether they are measured, predicted or published.
        cost_hint: order of magnitude of one evaluation, "µs", "s" or "h"; chooses batch sizes and executors.
    """

    origin: Origin
    cost_hint: str

    @property
    @abstractmethod
    def metrics(self) -> tuple[str, ...]:
        """Names of the values it returns, the main one first."""

    def reading(self, data: Path) -> Estimator:
        """Return the same estimator with its data read from the folder `data`.

        Raises:
            NasError: it reads none.
        """
        raise NasError(f"this accuracy estimator reads no data, so there is no use for the folder {data}")

    def space_of(self, space: SearchSpace) -> SearchSpace:
        """Return the networks of `space` that can be evaluated: by default all; a table may hold only some."""
        return space

    def fidelities(self, problem: HasSpace) -> tuple[int, ...]:
        """Return the numbers of epochs that `evaluate` takes as fidelity on the space of `problem`, fewest first.

        The last is the one that no fidelity stands for. Empty, as by default: there is one kind of evaluation only.
        """
        return ()

    def limits(self, metric: str) -> tuple[float, float] | None:
        """Return what the values of one metric cannot be below or above; None where that is unknown.

        Needed of every metric that is optimised where an evaluation takes more than microseconds, because the range
        that is searched cannot be sampled then.
        """
        return None

    def check_ready(self) -> None:  # noqa: B027 (nothing to find, by default)
        """Make sure, before a search begins, that evaluations find what they need.

        Raises:
            NasError: they would not.
        """

    def origin_of(self, metric: str) -> Origin:
        """Say whether the values of one metric are measured, predicted or published."""
        return self.origin

    def report(self, codes: Codes) -> pd.DataFrame:
        """Return what only reports may show and no search may see, such as test accuracies: one row a code."""
        return pd.DataFrame(index=range(len(codes)))

    @abstractmethod
    def evaluate(self, problem: HasSpace, codes: Codes, fidelity: int | None = None) -> pd.DataFrame:
        """Return one row for each code, in order; NaN where an evaluation failed.

        Args:
            fidelity: one of `fidelities`; None: the last of them.
        """

    @abstractmethod
    def about(self, problem: HasSpace) -> About:
        """Say what the values mean on the space of `problem`, and where they come from."""
