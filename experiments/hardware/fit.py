"""Fit what ships of tables of whole networks: every predictor of `targets.yaml`, with its error on networks held out.

Usage: python experiments/hardware/fit.py [--only TARGET ...] [--judge] [--data DIR] [--out DIR]
"""

from __future__ import annotations

import argparse
import os
import re
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import yaml
from noise import noise_of
from scipy.stats import spearmanr
from tables import Table, read_table

from nas.cost import cost_model
from nas.hardware.fitting.fit_regression import fit_regression
from nas.hardware.predictor import LatencyPredictor, read_predictor
from nas.hardware.profile import NOT_STATED, Fit, HeldOut, Profile, read_profile, write_profile
from nas.hardware.target import PROFILE

HERE = Path(__file__).parent
SHIPPED = HERE.parents[1] / "hardware_profiles"
DATA = Path(os.environ.get("NAS_DATA", HERE.parents[2] / "shared" / "data"))
#: fields of an entry of `fits` that say where its numbers come from, not how they were measured
WHERE = ("target", "table", "column", "metric")
#: networks kept of each predictor for the plot of `nas show target`
PAIRS = 150

Array = npt.NDArray[np.float64]


class Predicted(NamedTuple):
    """Held-out networks: what was measured and predicted of them, and the ends of the 90 % interval."""

    measured: Array
    predicted: Array
    low: Array
    high: Array


def main() -> None:
    arguments = _arguments()
    declared = yaml.safe_load((HERE / "targets.yaml").read_text(encoding="utf-8"))
    targets = {entry["target"]: [] for entry in declared["fits"]}
    for entry in declared["fits"]:
        targets[entry["target"]].append(entry)
    for name in arguments.only or targets:
        if name not in targets:
            raise SystemExit(f"targets.yaml has no target {name!r}")
        folder = arguments.out / name
        folder.mkdir(parents=True, exist_ok=True)
        fits = [
            fit_one(entry, declared["tables"][entry["table"]], arguments.data, folder, arguments.judge)
            for entry in targets[name]
        ]
        write_profile(_merged(_header(name, declared["devices"]), fits, folder / PROFILE), folder / PROFILE)


def fit_one(entry: dict[str, Any], source: dict[str, Any], data: Path, folder: Path, judge: bool) -> Fit:
    """Fit one predictor, write it and its held-out values to a folder, and return what the profile says of it.

    With `judge`, the predictor that is there is judged as it is.
    """
    started = time.time()
    table, metric = read_table(entry["table"], data), entry.get("metric", "latency_ms")
    values = table.values(entry["column"])
    fitted, held_out = (rows[np.isfinite(values[rows])] for rows in (table.fitted, table.held_out))
    stem = f"{table.space.name}-{metric}"
    path = folder / f"{stem}.npz"
    if not judge:
        fit_regression(table.space, table.codes[fitted], values[fitted], metric).write(path)
    predictor = read_predictor(path)
    found = predict(predictor, table, values, held_out)
    pairs = f"held_out_{stem}.csv"
    _write_pairs(found, folder / pairs)
    known = np.flatnonzero(np.isfinite(values))
    macs = cost_model(table.space).params_and_macs(table.codes[known])[:, 1]
    stated = {key: value for key, value in source.items() if key != "protocol"}
    stated |= {key: value for key, value in entry.items() if key not in WHERE}
    fit = Fit(
        metric=metric,
        spaces=(table.space.name,),
        predictor=path.name,
        fitted_on=f"{len(fitted):,} of {len(known):,} networks",
        measured_macs=(float(macs.min()), float(macs.max())),
        held_out=error(found, source.get("protocol", "random networks"), noise_of(table, entry["column"]), pairs),
        **stated,
    )
    _report(entry["target"], fit, time.time() - started)
    return fit


def predict(predictor: LatencyPredictor, table: Table, values: Array, rows: npt.NDArray[np.int64]) -> Predicted:
    """Return what a predictor says of some rows of a table."""
    mean, std = predictor.predict(table.space, table.codes[rows])
    return Predicted(values[rows], mean, *predictor.interval(mean, std, 0.9))


def error(found: Predicted, protocol: str, noise: str, pairs: str | None) -> HeldOut:
    """Return the error of predictions."""
    relative = np.abs(found.predicted / found.measured - 1)
    inside = (found.low <= found.measured) & (found.measured <= found.high)
    return HeldOut(
        protocol=protocol,
        networks=len(relative),
        mean_absolute_percentage_error=round(100 * float(relative.mean()), 3),
        within_5_percent=round(float((relative <= 0.05).mean()), 4),
        within_10_percent=round(float((relative <= 0.1).mean()), 4),
        spearman=round(float(spearmanr(found.predicted, found.measured).statistic), 4),
        interval_90_coverage=round(float(inside.mean()), 4),
        noise=noise,
        pairs=pairs,
    )


def _write_pairs(found: Predicted, path: Path) -> None:
    """Evenly spread over the measured range by rank, to four digits."""
    order = np.argsort(found.measured, kind="stable")
    some = order[np.unique(np.linspace(0, len(order) - 1, min(PAIRS, len(order))).round().astype(int))]
    columns = {name: [f"{value:.4g}" for value in getattr(found, name)[some]] for name in Predicted._fields}
    pd.DataFrame(columns).to_csv(path, index=False)


def _header(name: str, devices: dict[str, dict[str, str]]) -> Profile:
    """The facts of a device; a suffix such as -b32 says how many images a batch has."""
    batch = re.search(r"-b(\d+)$", name)
    facts = devices[re.sub(r"-(b\d+|latbench)$", "", name)]
    described = facts.get("description", facts["device"])
    if batch:
        described += f", batches of {batch[1]} images"
    elif name.endswith("-latbench"):
        described += ", as measured by LatBench"
    return Profile(name=name, description=described, device=facts["device"], soc=facts.get("soc", NOT_STATED))


def _merged(header: Profile, fits: list[Fit], path: Path) -> Profile:
    """The profile that is there, if any, with these fits in place of those for the same quantity and space."""
    present = read_profile(path) if path.is_file() else header
    replaced = {(fit.metric, space) for fit in fits for space in fit.spaces}
    kept = [f for f in present.fits if not f.spaces or not {(f.metric, space) for space in f.spaces} & replaced]
    general = [fit for fit in kept if not fit.spaces]
    device = present if general else header
    return device.model_copy(update={"fits": (*kept, *fits)})


def _report(target: str, fit: Fit, seconds: float) -> None:
    held = fit.held_out
    assert held is not None
    print(
        f"{target:16s} {fit.metric:15s} {fit.spaces[0]:22s} error {held.mean_absolute_percentage_error:6.2f} %,"
        f" ±5 % {100 * (held.within_5_percent or 0):5.1f}, ±10 % {100 * held.within_10_percent:5.1f},"
        f" Spearman {held.spearman:.4f}, 90 % holds {100 * held.interval_90_coverage:.1f} %, {seconds:.0f} s",
        flush=True,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="TARGET")
    parser.add_argument("--judge", action="store_true", help="fit nothing, judge the predictors that are there")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=SHIPPED)
    return parser.parse_args()


if __name__ == "__main__":
    main()
