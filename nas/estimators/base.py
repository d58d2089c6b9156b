"""The contract of everything that says how accurate an architecture is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, Protocol

import pandas as pd

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
        metrics: names of the values it returns, the main one first.
        origin: whether they are measured, predicted or published.
        cost_hint: order of magnitude of one evaluation, "µs", "s" or "h"; chooses batch sizes and executors.
    """

    metrics: tuple[str, ...]
    origin: Origin
    cost_hint: str

    @abstractmethod
    def evaluate(self, problem: HasSpace, codes: Codes, fidelity: int | None = None) -> pd.DataFrame:
        """Return one row for each code, in order; NaN where an evaluation failed."""

    @abstractmethod
    def about(self, problem: HasSpace) -> About:
        """Say what the values mean on the space of `problem`, and where they come from."""
