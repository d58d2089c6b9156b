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

#: metric -> scale of the surrogate. `top1` is accuracy after full training; `top1_proxy` that after the short training
#: which most of the data come from, and the scale to compare with the benchmark's own table.
SCALES = {"top1": "full", "top1_proxy": "proxy"}


class SurrogateEstimator(Estimator):
    """Accuracy predicted by the surrogate that ships with the space, in microseconds a network."""

    metrics = ("top1",)
    origin = "predicted"
    cost_hint = "µs"

    def evaluate(self, problem: HasSpace, codes: Codes, fidelity: int | None = None) -> pd.DataFrame:
        predictions = _regressor_of(problem).predict(problem.space.values(codes).astype(np.int64))
        columns = {}
        for metric, scale in SCALES.items():
            if scale in predictions:
                prediction = predictions[scale]
                columns[metric] = prediction.mean
                columns[f"{metric}_std"] = prediction.std
                columns[f"{metric}_low"] = prediction.low
                columns[f"{metric}_high"] = prediction.high
        return pd.DataFrame(columns)

    def about(self, problem: HasSpace) -> About:
        metadata = _regressor_of(problem).metadata
        held_out, full = metadata["held_out"], metadata["full_calibration"]
        note = (
            f"{metadata['note']}; fitted on {metadata['fitted_rows']:,} networks; held out: Kendall tau "
            f"{held_out['kendall_tau']:.3f} ({held_out['networks']} networks, short training), mean error "
            f"{full['mae']:.2f} points ({full['networks']}, full training)"
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
