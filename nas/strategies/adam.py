"""Adam (Kingma & Ba, 2015) on NumPy arrays, for models that are fitted in milliseconds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class Adam:
    """Steps of one array of parameters along a gradient; `decays` are those of its mean and of its square."""

    def __init__(self, rate: float, decays: tuple[float, float]):
        self._rate, self._decays = rate, decays
        self._mean, self._square = np.zeros(1), np.zeros(1)
        self._count = 0

    def step(self, gradient: Array) -> Array:
        """Return how far to go in the direction of `gradient`; the caller adds or subtracts it."""
        first, second = self._decays
        self._count += 1
        self._mean = first * self._mean + (1 - first) * gradient
        self._square = second * self._square + (1 - second) * gradient**2
        size = np.sqrt(self._square / (1 - second**self._count)) + 1e-8
        return np.asarray(self._rate * (self._mean / (1 - first**self._count) / size))
