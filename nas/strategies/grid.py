"""Grid search: every network of a small space, one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from nas.space import Codes
from nas.strategies.base import Strategy


class GridSearch(Strategy):
    """All networks in the order of their codes, without those that violate a free constraint; small spaces only.

    Raises:
        NasError: the space has too many networks to list.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        codes = self.space.all_codes()
        codes = codes[np.lexsort(codes.T[::-1])]
        excess = self.excess(codes)
        self._codes = codes[excess == 0] if not excess.all() else codes[np.argsort(excess, kind="stable")]
        self._position = 0

    def _propose(self, n: int, rng: np.random.Generator) -> Codes:
        found, position = self._none, self._position
        while len(found) < n and position < len(self._codes):
            found = np.concatenate([found, self._new(self._codes[position : position + n], found)])
            position += n
        return found

    def _learn(self, codes: Codes, metrics: pd.DataFrame) -> None:
        while self._position < len(self._codes) and self._codes[self._position].tobytes() in self._known:
            self._position += 1
