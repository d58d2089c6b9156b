"""Accuracy from a model fitted to measured accuracies, shipped with the space."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import pandas as pd

from nas.errors import NasError
from nas.estimators.base import Estimator, HasSpace
from nas.estimators.regressor import Regressor
from nas.space import Codes, SearchSpace


class SurrogateEstimator(Estimator):
    """Predicts accuracy with the surrogate that ships with the space, in microseconds a network."""

    metrics = ("top1",)
    origin = "predicted"
    cost_hint = "µs"

    def __init__(self, space: SearchSpace):
        """Load the surrogate of `space`.

        Raises:
            NasError: the space has none, or its file is damaged.
        """
        if space.surrogate is None:
            raise NasError(f"the space {space.name} ships no accuracy surrogate")
        self._regressor, self.digest = _load(space.surrogate)
        self.note = str(self._regressor.metadata["note"])
        self.source = str(self._regressor.metadata["source"])

    def evaluate(self, problem: HasSpace, codes: Codes, fidelity: int | None = None) -> pd.DataFrame:
        prediction = self._regressor.predict(problem.space.values(codes))
        return pd.DataFrame(
            {
                "top1": prediction.mean,
                "top1_std": prediction.std,
                "top1_low": prediction.low,
                "top1_high": prediction.high,
            }
        )


@lru_cache(maxsize=8)
def _load(path: Path) -> tuple[Regressor, str]:
    try:
        return Regressor.load(path), hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, ValueError) as error:
        raise NasError(f"cannot use the accuracy surrogate {path}: {error}") from None
