"""Accuracy from a model fitted to measured accuracies, shipped with the space."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from nas.errors import NasError
from nas.estimators.base import About, Estimator, HasSpace
from nas.estimators.regressor import Regressor
from nas.space import Codes


#: accuracy is reported as after full training; the short training that most data come from is another scale
SCALE = "full"


class SurrogateEstimator(Estimator):
    """Accuracy predicted by the surrogate that ships with the space, in microseconds a network."""

    metrics = ("top1",)
    origin = "predicted"
    cost_hint = "µs"

    def evaluate(self, problem: HasSpace, codes: Codes, fidelity: int | None = None) -> pd.DataFrame:
        prediction = _regressor_of(problem).predict(problem.space.values(codes).astype(np.int64), SCALE)
        return pd.DataFrame(
            {
                "top1": prediction.mean,
                "top1_std": prediction.std,
                "top1_low": prediction.low,
                "top1_high": prediction.high,
            }
        )

    def about(self, problem: HasSpace) -> About:
        metadata = _regressor_of(problem).metadata
        held_out = metadata["held_out"]
        note = (
            f"{metadata['units']}; surrogate of {metadata['fitted_rows']:,} trained networks, on {held_out['networks']} "
            f"held out: Kendall tau {held_out['kendall_tau']:.3f}, mean error {held_out['mae']:.2f} points, "
            f"90 % intervals hold {held_out['coverage_90']:.1%}"
        )
        source = f"{metadata['source']}; {metadata['dataset']}; {metadata['licence']}"
        path = problem.space.surrogate
        assert path is not None
        return About(note, source, hashlib.sha256(path.read_bytes()).hexdigest())


def _regressor_of(problem: HasSpace) -> Regressor:
    """The surrogate of a problem's space.

    Raises:
        NasError: the space has none, or its file is damaged.
    """
    if problem.space.surrogate is None:
        raise NasError(f"the space {problem.space.name} ships no accuracy surrogate")
    return _load(problem.space.surrogate)


@cache
def _load(path: Path) -> Regressor:
    try:
        return Regressor.load(path)
    except (OSError, ValueError) as error:
        raise NasError(f"cannot use the accuracy surrogate {path}: {error}") from None
