"""The contract of everything that says how accurate an architecture is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, Protocol

import pandas as pd

from nas.space import Codes, SearchSpace

Origin = Literal["measured", "predicted", "published"]


class HasSpace(Protocol):
    """The part of a problem an estimator may look at."""

    @property
    def space(self) -> SearchSpace: ...


class Estimator(ABC):
    """Evaluates architectures; for each metric a value, and `<metric>_std`, `_low`, `_high` (90 %) where known.

    Attributes:
        metrics: names of the values it returns.
        origin: whether they are measured, predicted or published.
        cost_hint: order of magnitude of one evaluation, "µs", "s" or "h"; chooses batch sizes and executors.
        note: what the value means and how far it can be trusted, in one line.
        source: the data it is fitted on or looks up, with licence.
        digest: identifies the estimator's fitted state; a run remembers it.
    """

    metrics: tuple[str, ...]
    origin: Origin
    cost_hint: str
    note: str
    source: str
    digest: str

    @abstractmethod
    def evaluate(self, problem: HasSpace, codes: Codes, fidelity: int | None = None) -> pd.DataFrame:
        """Return one row for each code, in order; NaN where an evaluation failed."""
