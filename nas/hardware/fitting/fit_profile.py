"""From measurements.csv of a profile folder to a fitted predictor and its held-out error in the profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nas.errors import NasError
from nas.hardware.fitting.choosing import AUTO, Choice, check_kind, choose
from nas.hardware.fitting.fit_kinds import MeasuredData
from nas.hardware.measuring.log import MeasuringLog, repeatability
from nas.hardware.measuring.measure import BEGUN, MEASUREMENTS, setting_of
from nas.hardware.measuring.plan import read_begun
from nas.hardware.profile import NOT_STATED, Fit, Profile, PublishedLatency, read_profile, write_profile
from nas.hardware.tables.measurements import Measurements, read_measurements
from nas.hardware.tables.records import read_records
from nas.hardware.tables.units import BY_METRIC, quantity_of
from nas.hardware.target import PROFILE
from nas.space import SearchSpace


@dataclass(frozen=True)
class Fitting:
    """One quantity of a profile: the predictor chosen for it, and its record."""

    data: MeasuredData
    choice: Choice
    fit: Fit


def fit_profile(
    folder: Path, space: SearchSpace | None = None, metric: str | None = None, kind: str = AUTO, seed: int = 0
) -> list[Fitting]:
    """Fit what was measured in a profile folder, and write predictors and their errors into it.

    An earlier fit of the same quantity on the same space is replaced.

    Args:
        space: of which the networks are; default: the one that the table names.
        metric: default: every one that was measured.
        kind: name of a kind of predictor, or "auto" for the one of least cross-validated error.
        seed: of the folds.

    Raises:
        NasError: no or too few measurements, a fault in them, an unknown kind or metric, a kind they do not allow.
    """
    check_kind(kind)
    profile = profile_of(folder)
    setting = _setting(folder, profile)
    fitted = []
    for data in read_measured(folder, space, metric):
        choice = choose(data, kind, seed)
        fitted.append(Fitting(data, choice, _record(folder, data, choice, setting)))
    for fitting in fitted:
        fitting.choice.predictor.write(folder / fitting.fit.predictor)
        if fitting.choice.values is not None and fitting.fit.held_out is not None and fitting.fit.held_out.pairs:
            fitting.choice.values.write(folder / fitting.fit.held_out.pairs)
    store_fits(folder, profile, [fitting.fit for fitting in fitted])
    return fitted


def profile_of(folder: Path) -> Profile:
    """Return the profile in a folder that a user made.

    Raises:
        NasError: there is none, or it is malformed.
    """
    if not (folder / PROFILE).is_file():
        raise NasError(f"{folder} is no profile folder; make one with nas profile measure, or nas profile import")
    return read_profile(folder / PROFILE)


def space_measured(folder: Path) -> str | None:
    """Return the name or file of the space that `nas profile measure` was given for a folder; None: it made none.

    Raises:
        NasError: its record is damaged.
    """
    return read_begun(folder / BEGUN).plan.space if (folder / BEGUN).is_file() else None


def read_measured(folder: Path, space: SearchSpace | None = None, metric: str | None = None) -> list[MeasuredData]:
    """Return what was measured in a folder, quantity by quantity.

    Raises:
        NasError: there is no table, a fault in it, or nothing of the metric.
    """
    path = folder / MEASUREMENTS
    if metric is not None:
        quantity_of(metric)
    if not path.is_file():
        raise NasError(
            f"{folder} has no {MEASUREMENTS} to fit; make it with nas profile measure, or nas profile import"
        )
    kinds = {record.cells.get("kind", "network") for record in read_records(path)}
    blocks = read_measurements(path, space, metric, kind="block") if "block" in kinds else None
    networks = None
    if kinds - {"block", "calibration"}:
        networks = read_measurements(path, space, metric)
    elif "calibration" in kinds:
        # What is measured again and again between blocks is a whole network.
        networks = read_measurements(path, space, metric, kind="calibration")
    tables = [table for table in (networks, blocks) if table is not None]
    names = dict.fromkeys(name for table in tables for name in table.metrics)
    return [MeasuredData(name, tables[0].space, _of(networks, name), _of(blocks, name)) for name in names]


def store_fits(folder: Path, profile: Profile, fits: Sequence[Fit]) -> None:
    """Put fits in the place of those of the same quantity on the same spaces, and remove the files of these.

    Raises:
        NasError: the folder cannot be written.
    """
    kept = [left for old in profile.fits if (left := _without(old, fits)) is not None]
    written = profile.model_copy(update={"fits": (*fits, *kept)})
    write_profile(written, folder / PROFILE)
    for name in _files(profile.fits) - _files(written.fits):
        (folder / name).unlink(missing_ok=True)


def _without(old: Fit, new: Sequence[Fit]) -> Fit | None:
    """What is left of an old fit beside new ones: its spaces that they do not have."""
    same = [fit for fit in new if fit.metric == old.metric]
    if any(fit.spaces == old.spaces for fit in same):
        return None
    left = tuple(space for space in old.spaces if not any(space in fit.spaces for fit in same))
    return old.model_copy(update={"spaces": left}) if left or not old.spaces else None


def _files(fits: Sequence[Fit]) -> set[str]:
    return {name for fit in fits for name in (fit.predictor, fit.held_out.pairs if fit.held_out else None) if name}


def _of(table: Measurements | None, metric: str) -> Measurements | None:
    return None if table is None or metric not in table.metrics else table.of(metric)


def _record(folder: Path, data: MeasuredData, choice: Choice, setting: dict[str, Any]) -> Fit:
    stem = f"{data.metric}_{data.space.name if data.space else 'networks'}"
    held_out = None
    if choice.values is not None:
        held_out = choice.values.error(choice.protocol, noise_of(folder, data), f"{stem}_held_out.csv")
    macs = data.networks.macs if data.networks is not None and data.count > 1 else None
    return Fit(
        metric=data.metric,
        spaces=(data.space.name,) if data.space else (),
        predictor=stem + choice.suffix,
        fitted_on=_fitted_on(data),
        valid_for=_valid_for(data),
        measured_macs=None if macs is None else (float(macs.min()), float(macs.max())),
        held_out=held_out,
        published=() if held_out else _compared(data, choice),
        **setting,
    )


def _setting(folder: Path, profile: Profile) -> dict[str, Any]:
    """How the rows were measured, by the names of `Fit`."""
    setting: dict[str, Any] = {"source": NOT_STATED}
    if profile.conditions is not None:
        setting |= profile.conditions.model_dump()
    if (folder / BEGUN).is_file():
        setting |= setting_of(folder) | {"source": "measured with nas profile measure"}
    return setting


def _fitted_on(data: MeasuredData) -> str:
    of, unit = f" of {data.space.name}" if data.space else "", BY_METRIC[data.metric].unit
    parts = []
    for table, what in ((data.networks, "network"), (data.blocks, "block")):
        if table is not None:
            values = table.values[data.metric]
            low, high = f"{values.min():.4g}", f"{values.max():.4g}"
            several = f"{len(table)} {what}s{of}, {low} to {high} {unit}"
            parts.append(several if len(table) > 1 else f"1 {what}{of}, {low} {unit}")
    return " and ".join(parts)


def _valid_for(data: MeasuredData) -> str:
    place = f"networks of {data.space.name}" if data.space else "networks like those measured"
    if data.networks is None or data.count < 2:
        return place
    macs = data.networks.macs / 1e6
    return f"{place}; measured were {macs.min():.3g} to {macs.max():.3g} M multiply-adds"


def noise_of(folder: Path, data: MeasuredData) -> str:
    """Return how far measurements themselves can be trusted, in words."""
    if (folder / BEGUN).is_file():
        differ = repeatability(MeasuringLog(folder / MEASUREMENTS).visits)
        if np.isfinite(differ):
            what = "network" if data.blocks is None else "block"
            return f"two visits to the same {what} differ by {differ:.1%} (median)"
    table = data.networks if data.networks is not None else data.blocks
    if table is None:
        return NOT_STATED
    values, std = table.values[data.metric], table.std[data.metric]
    if np.isfinite(std).any():
        return f"repeats of a measurement spread by {np.nanmedian(std / values):.1%} (standard deviation, median)"
    unit = BY_METRIC[data.metric].unit
    return f"values are whole {unit}: ±0.5 {unit}" if (values == np.round(values)).all() else NOT_STATED


def _compared(data: MeasuredData, choice: Choice) -> tuple[PublishedLatency, ...]:
    """The few networks measured beside blocks, and what the predictor says of them.

    Raises:
        NasError: there is none.
    """
    if data.networks is None:
        raise NasError(
            f"{data.blocks.source if data.blocks else ''} has blocks alone, and how these add up is not known; "
            "measure at least one whole network in the same way (a row of kind network)"
        )
    return tuple(
        PublishedLatency(
            network=item,
            published_ms=round(float(value), 4),
            predicted_ms=round(choice.predictor.predict_spec(spec)[0], 4),
            source="measured with the blocks; the predictor knows it",
        )
        for item, value, spec in zip(data.networks.items, data.values, data.specs, strict=True)
    )
