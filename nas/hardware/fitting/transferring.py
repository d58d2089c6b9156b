"""A profile for a new device: what to measure on it, and the transfer from known targets to what was measured."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.errors import NasError
from nas.hardware.fitting.fit_kinds import MeasuredData
from nas.hardware.fitting.fit_profile import noise_of, store_fits
from nas.hardware.fitting.fit_transfer import choose_samples, fit_transfer
from nas.hardware.fitting.held_out import HeldOutValues
from nas.hardware.fitting.transfer_posterior import LEAST_SAMPLES
from nas.hardware.predictor import LatencyPredictor
from nas.hardware.predictor_file import write_whole
from nas.hardware.predictors.source_basis import Source, reference_codes
from nas.hardware.predictors.transfer import TransferPredictor
from nas.hardware.profile import NOT_STATED, Fit, Profile, read_profile, write_profile
from nas.hardware.tables.measurements import Measurements, read_measurements, write_measurements
from nas.hardware.tables.units import quantity_of
from nas.hardware.target import PROFILE, Target, load_target, target_names
from nas.space import Codes, SearchSpace

TO_MEASURE = "to_measure"
#: networks that a target must be able to predict to serve as a source
_TRIED = 64
#: quantities that do not add up over the parts of a network; their reciprocals do
_RATES = ("throughput",)


@dataclass(frozen=True)
class Transfer:
    """What a transfer needs and gives.

    Args:
        sources: names of the targets it is from.
        to_measure: int8[n, D], the networks to measure next.
        file: a table of them, to be filled in.
        measured: the samples; None before any.
        fit: the record in the profile; None before any sample.
        values: every sample beside what the others predict of it.
    """

    sources: tuple[str, ...]
    to_measure: Codes
    file: Path
    measured: Measurements | None = None
    fit: Fit | None = None
    values: HeldOutValues | None = None


def transfer_profile(
    folder: Path,
    space: SearchSpace,
    samples: int = 10,
    measurements: Sequence[Path] = (),
    metric: str = "latency_ms",
    targets: Sequence[str] = (),
    device: str = "",
    seed: int = 0,
) -> Transfer:
    """Write which networks to measure; with measurements also the profile fitted to them.

    Measurements of earlier transfers to the same folder are kept and used. A table of networks to measure is never
    written over: it may have been filled in.

    Args:
        folder: of the profile; its name is that of the new target.
        samples: how many networks to measure next.
        measurements: tables of what was measured.
        targets: known targets to transfer from; default: all that have a predictor of the metric fitted on the space.
        device: what was measured on, in words.

    Raises:
        NasError: no target to transfer from, a fault in the measurements, or too few.
    """
    if quantity_of(metric).name in _RATES:
        raise NasError(f"a transfer needs a quantity that adds up over the parts of a network; {metric} is a rate")
    sources = sources_on(space, metric, targets, folder)
    names = tuple(name for name, _ in sources)
    if not measurements:
        codes = choose_samples(space, sources, samples, seed)
        return Transfer(names, codes, _write_table(folder, space, codes, metric))
    kept = folder / f"{metric}_{space.name}_samples.csv"
    files = [*measurements, *([kept] if kept.is_file() and kept not in measurements else [])]
    measured = read_measurements(files, space, metric).of(metric).require(LEAST_SAMPLES, "a transfer")
    predictor = fit_transfer(space, measured.codes, measured.values[metric], sources, seed)
    values = _leave_one_out(predictor)
    codes = choose_samples(space, sources, samples, seed, measured.codes)
    fit = _store(folder, measured, metric, predictor, values, device)
    write_measurements(kept, [measured])
    return Transfer(names, codes, _write_table(folder, space, codes, metric), measured, fit, values)


def sources_on(space: SearchSpace, metric: str, names: Sequence[str], folder: Path) -> list[Source]:
    """Return the predictors of a metric that known targets have for a space, those of `folder` left out.

    Raises:
        NasError: there is none, or a target that was named has none.
    """
    known = map(load_target, names or target_names())
    others = [target for target in known if target.folder.resolve() != folder.resolve()]
    predictors = [(target.name, _predictor(target, space, metric, bool(names))) for target in others]
    found = [(name, predictor) for name, predictor in predictors if predictor is not None]
    if not found:
        raise NasError(
            f"no installed target has {metric} fitted on {space.name}, so there is nothing to transfer from; "
            "measure 50 networks or more and fit them: nas profile fit"
        )
    return found


def _predictor(target: Target, space: SearchSpace, metric: str, named: bool) -> LatencyPredictor | None:
    """The predictor of a target, None where it has none for these networks; a target that was named must have one."""
    fits = [each for each in target.fitted if each.metric == metric and space.name in each.fit.spaces]
    if named:
        known = target.on(space)
        if metric not in known:
            raise NasError(f"the target {target.name} has no {metric} on {space.name}; {target.abilities}")
        fits = [known[metric]]
    if not fits:
        return None
    try:
        fits[0].predictor.predict(space, reference_codes(space)[:_TRIED])
    except NasError:
        if named:
            raise
        return None
    return fits[0].predictor


def _leave_one_out(predictor: TransferPredictor) -> HeldOutValues:
    mean, std = predictor.posterior.leave_one_out()
    return HeldOutValues(predictor.posterior.values, mean, *predictor.interval(mean, std))


def _store(
    folder: Path, measured: Measurements, metric: str, predictor: TransferPredictor, values: HeldOutValues, device: str
) -> Fit:
    """Write predictor, profile and held-out values."""
    assert measured.space is not None
    folder.mkdir(parents=True, exist_ok=True)
    stem, unit = f"{metric}_{measured.space.name}", quantity_of(metric).unit
    sources = ", ".join(name for name, _ in predictor.sources)
    path = folder / PROFILE
    profile = read_profile(path) if path.is_file() else _new_profile(folder, device)
    macs, sampled = measured.macs, measured.values[metric]
    stated = profile.conditions.model_dump() if profile.conditions else {"source": NOT_STATED}
    fit = Fit(
        metric=metric,
        spaces=(measured.space.name,),
        predictor=f"{stem}.npz",
        fitted_on=f"{len(measured)} networks of {measured.space.name}, {sampled.min():.3g} to {sampled.max():.3g} "
        f"{unit}, and the predictors of {sources}",
        valid_for=f"networks of {measured.space.name}",
        measured_macs=(float(macs.min()), float(macs.max())),
        held_out=values.error("leave-one-out", noise_of(folder, _data(measured, metric)), f"{stem}_held_out.csv"),
        **stated,
    )
    predictor.write(folder / fit.predictor)
    values.write(folder / f"{stem}_held_out.csv")
    if not path.is_file():
        write_profile(profile, path)
    store_fits(folder, profile, [fit])
    return fit


def _data(measured: Measurements, metric: str) -> MeasuredData:
    return MeasuredData(metric, measured.space, measured, None)


def _new_profile(folder: Path, device: str) -> Profile:
    name = folder.resolve().name
    return Profile(name=name, description=device or name, device=device or NOT_STATED)


def _write_table(folder: Path, space: SearchSpace, codes: Codes, metric: str) -> Path:
    """Write the networks to measure into a new table with an empty column for what is measured."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NasError(f"cannot make {folder}: {error.strerror}") from None
    number = 1
    while (path := folder / (f"{TO_MEASURE}_{number}.csv" if number > 1 else f"{TO_MEASURE}.csv")).exists():
        number += 1
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["space", "code", metric])
    writer.writerows([space.name, code, ""] for code in space.format(codes))
    write_whole(path, text.getvalue().encode())
    return path
