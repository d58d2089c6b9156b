"""Results at one fidelity, in order of merit."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from nas.space import Codes
from nas.strategies.nsga2 import survival_order

#: a code as bytes, one a decision
Key = bytes


class Rung:
    """The networks evaluated at one fidelity.

    Merit is that of NSGA-II: who violates the constraints less, then the lower non-domination rank, then the larger
    crowding distance. With one objective that is the order of the objective.
    """

    def __init__(self, objectives: int):
        self._row: dict[Key, int] = {}
        self._losses = np.zeros((0, objectives))
        self._violation = np.zeros(0)

    def __len__(self) -> int:
        return len(self._row)

    def __contains__(self, key: Key) -> bool:
        return key in self._row

    def add(self, codes: Codes, losses: npt.NDArray[np.float64], violation: npt.NDArray[np.float64]) -> None:
        """Add results as `Strategy.judge` returns them, one row a code."""
        first = len(self._violation)
        self._row.update((row.tobytes(), first + i) for i, row in enumerate(codes))
        self._losses = np.concatenate([self._losses, losses])
        self._violation = np.concatenate([self._violation, violation])

    def best_first(self, keys: Collection[Key] | None = None) -> list[Key]:
        """Return all networks, or the given ones that are here, in order of merit; failed evaluations are left out."""
        known = list(self._row) if keys is None else [key for key in keys if key in self._row]
        rows = np.array([self._row[key] for key in known], dtype=np.int64)
        order = survival_order(self._losses[rows], self._violation[rows])
        return [known[i] for i in order if np.isfinite(self._violation[rows[i]])]


def as_codes(keys: Collection[Key], width: int) -> Codes:
    """Return int8[n, width]."""
    return np.frombuffer(b"".join(keys), dtype=np.int8).reshape(len(keys), width).copy()
