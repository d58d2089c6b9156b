"""A promise checked: networks that a profile was not fitted on are measured, and compared with its predictions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas.errors import NasError
from nas.hardware.fitting.fit_profile import profile_of, store_fits
from nas.hardware.fitting.held_out import HeldOutValues
from nas.hardware.measuring.measure import Measured
from nas.hardware.profile import Fit, HeldOut
from nas.hardware.target import Fitted, Target, read_target
from nas.space import SearchSpace

#: what is measured
METRIC = "latency_ms"


@dataclass(frozen=True)
class Validation:
    """Measured and predicted latency of fresh networks.

    Args:
        items: their codes.
        before: the error stated until now.
        fit: the record in the profile, with the new error.
    """

    measured: Measured
    items: tuple[str, ...]
    values: HeldOutValues
    kind: str
    before: HeldOut | None
    fit: Fit


def fitted_latency(folder: Path, space: SearchSpace) -> tuple[Target, Fitted]:
    """Return a profile and its predictor of latency on a space.

    Raises:
        NasError: none is fitted, or the profile cannot be measured again.
    """
    profile_of(folder)
    target = read_target(folder)
    if target.profile.measuring is None:
        raise NasError(
            f"{folder} says nothing of how to measure on {target.name}; only what nas profile measure made can be "
            "validated, others have the cross-validated error of nas profile fit"
        )
    known = target.on(space) if target.fitted else {}
    if METRIC not in known:
        raise NasError(f"no latency on {space.name} is fitted in {folder}; continue with: nas profile fit {folder}")
    return target, known[METRIC]


def compare(folder: Path, space: SearchSpace, measured: Measured) -> Validation:
    """Compare fresh measurements with predictions, and put the error into the profile in the place of the former.

    Raises:
        NasError: no latency on the space is fitted, a network was part of the fit, or the folder cannot be written.
    """
    target, fitted = fitted_latency(folder, space)
    items = tuple(measured.latency)
    codes = np.stack([space.encode(item) for item in items])
    mean, std = fitted.predictor.predict(space, codes)
    low, high = fitted.predictor.interval(mean, std)
    values = HeldOutValues(np.array([measured.latency[item] for item in items]), mean, low, high)
    pairs = f"{Path(fitted.fit.predictor).stem}_validation.csv"
    held_out = values.error(
        f"{len(items)} fresh networks measured end to end",
        f"two measurements of a network differ by {measured.repeatability:.1%} (median)",
        pairs,
    )
    values.write(folder / pairs)
    fit = fitted.fit.model_copy(update={"held_out": held_out})
    store_fits(folder, target.profile, [fit])
    return Validation(measured, items, values, fitted.predictor.kind, fitted.fit.held_out, fit)
