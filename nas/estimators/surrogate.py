"""Accuracy from a model fitted to measured accuracies, shipped with the space."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from nas.errors import NasError
from nas.estimators.base import About, Estimator, HasSpace
from nas.estimators.regressor import Regressor
from nas.space import Codes, SearchSpace


class SurrogateEstimator(Estimator):
    """Accuracy predicted by the surrogate that ships with the space, in microseconds a network.

    `top1` is on the surrogate's last scale, the one its other scales are calibrated to: accuracy after full training,
    say. Every other scale has a column of its own, `top1_<scale>`, to be compared with the data it was fitted to.
    """

    metrics = ("top1",)
    origin = "predicted"
    cost_hint = "µs"

    def evaluate(self, problem: HasSpace, codes: Codes, fidelity: int | None = None) -> pd.DataFrame:
        regressor = _regressor_of(problem)
        predictions = regressor.predict(_decision_values(problem.space, regressor, codes))
        *others, main = regressor.scales
        columns = {}
        for metric, scale in {"top1": main, **{f"top1_{scale}": scale for scale in others}}.items():
            prediction = predictions[scale]
            columns[metric] = prediction.mean
            columns[f"{metric}_std"] = prediction.std
            columns[f"{metric}_low"] = prediction.low
            columns[f"{metric}_high"] = prediction.high
        return pd.DataFrame(columns)

    def about(self, problem: HasSpace) -> About:
        metadata = _regressor_of(problem).metadata
        note = f"{metadata['note']}; fitted on {metadata['fitted_rows']:,} networks; held out: {_held_out(metadata)}"
        source = f"{metadata['source']}; {metadata['dataset']}; {metadata['licence']}"
        path = problem.space.surrogate
        assert path is not None
        return About(note, source, hashlib.sha256(path.read_bytes()).hexdigest())


def _held_out(metadata: dict[str, Any]) -> str:
    held_out = metadata["held_out"]
    tau, networks = f"Kendall tau {held_out['kendall_tau']:.3f}", f"{held_out['networks']} networks"
    if "full_calibration" not in metadata:
        return f"{tau}, mean error {held_out['mae']:.2f} points ({networks})"
    full = metadata["full_calibration"]
    error = f"mean error {full['mae']:.2f} points ({full['networks']}, full training)"
    return f"{tau} ({networks}, short training), {error}"


def _decision_values(space: SearchSpace, regressor: Regressor, codes: Codes) -> npt.NDArray[np.int64]:
    """Return int[n, D], the values of the decisions in the order the surrogate knows them in.

    Raises:
        NasError: the space lacks a decision of the surrogate, or has one it does not know.
    """
    expected, found = regressor.metadata.get("decisions", []), [decision.name for decision in space.decisions]
    if strange := sorted(set(expected) ^ set(found)):
        raise NasError(f"the accuracy surrogate of {space.name} is for other decisions: {strange[0]!r} is not in both")
    return space.values(codes).astype(np.int64)[:, [found.index(name) for name in expected]]


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
