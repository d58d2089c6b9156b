"""Random search: the baseline everything else has to beat."""

from __future__ import annotations

import numpy as np

from nas.space import Codes
from nas.strategies.base import Strategy


class RandomSearch(Strategy):
    """Uniform over distinct networks, without repetition (Bergstra & Bengio, 2012)."""

    def _propose(self, n: int, rng: np.random.Generator) -> Codes:
        return self.sample(n, rng)
