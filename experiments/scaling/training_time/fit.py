"""Fit the time of training on a V100 to what pycls measured, and write it into the target's folder.

    python experiments/scaling/training_time/fit.py [--compare]

Writes hardware_profiles/v100/training.yaml, and here residuals.csv. `--compare` prints the error of other models of
time as well, and how often the intervals hold.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import other_gpus
import pandas as pd
import pycls_zoo

from nas.hardware import Calibration
from nas.scaling.planning.training_time import TrainingTime, write_training_time
from nas.scaling.planning.training_time_fit import (
    Coefficients,
    fit_coefficients,
    left_out,
    mean_error_percent,
    pair_residuals,
    symmetric_quantiles,
)

HERE = Path(__file__).resolve().parent
Array = npt.NDArray[np.float64]
#: returns predicted log seconds of all networks, fitted on those of a mask
Model = Callable[[npt.NDArray[np.bool_]], Array]


def fit(table: pd.DataFrame) -> tuple[TrainingTime, pd.DataFrame]:
    """Return the fitted times, and every network beside what the others say of it."""
    macs, acts, seconds, families = columns(table)
    fitted = fit_coefficients(macs, acts, seconds)
    residuals = left_out(macs, acts, seconds, families)
    ratios = np.concatenate([ratio_residuals(fitted, gpu) for gpu in other_gpus.FILES])
    quantiles = {"new_family": symmetric_quantiles(residuals.family), "other_gpu_ratio": symmetric_quantiles(ratios)}
    times = TrainingTime(
        device="NVIDIA V100 16 GB",
        conditions="float32, PyTorch, 8 GPUs with all-reduce of gradients, 8 to 128 images a GPU; data loading, the "
        "optimizer's step and evaluation are not included",
        source="pycls, facebookresearch/pycls: train_fw_bw_time of model_timing.json, batch sizes of MODEL_ZOO.md",
        licence="MIT",
        seconds_per_gmac=float(f"{fitted.per_mac * 1e9:.5g}"),
        seconds_per_mega_activation=float(f"{fitted.per_activation * 1e6:.5g}"),
        networks=len(table),
        families=len(np.unique(families)),
        gmacs=ends(macs / 1e9),
        mega_activations=ends(acts / 1e6),
        activations_per_mac=ends(acts / macs),
        error_percent=round(mean_error_percent(residuals.network), 2),
        new_family_error_percent=round(mean_error_percent(residuals.family), 2),
        other_gpus=f"inference under automatic mixed precision on {' and '.join(other_gpus.FILES)}, timm",
        **{name: tuple(round(value, 4) for value in values) for name, values in quantiles.items()},
    )
    shown = table.assign(
        seconds=table["seconds"].round(7),
        from_others=(seconds / np.exp(residuals.network)).round(7),
        from_other_families=(seconds / np.exp(residuals.family)).round(7),
    )
    return times, shown


def columns(table: pd.DataFrame) -> tuple[Array, Array, Array, npt.NDArray[np.str_]]:
    """Return multiply-adds, activations, seconds and families, each [n]."""
    macs, acts, seconds = (table[name].to_numpy(np.float64) for name in ("flops", "acts", "seconds"))
    return macs, acts, seconds, table["family"].to_numpy(str)


def ratio_residuals(fitted: Coefficients, gpu: str) -> Array:
    """Return log(measured / predicted) of the ratios of times on another GPU, of all pairs of networks."""
    macs, acts, seconds, _ = columns(other_gpus.measured(gpu))
    residuals = np.log(seconds / (fitted.per_mac * macs + fitted.per_activation * acts))
    return pair_residuals(residuals)


def ends(values: Array) -> tuple[float, float]:
    # Two per cent of room: a network that was measured must not be outside for another way of counting.
    return float(f"{values.min() * 0.98:.4g}"), float(f"{values.max() * 1.02:.4g}")


def compare(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row a model of time: mean error in percent and root mean square of the log, by what is left out."""
    macs, acts, seconds, families = columns(table)
    y, one = np.log(seconds), np.ones(len(seconds))
    models: dict[str, Model] = {
        "c · MACs": linear(y - np.log(macs), one, offset=np.log(macs)),
        "c · MACs^p": linear(y, one, np.log(macs)),
        "c · activations": linear(y - np.log(acts), one, offset=np.log(acts)),
        "c · activations^p": linear(y, one, np.log(acts)),
        "c · MACs^p · activations^q": linear(y, one, np.log(macs), np.log(acts)),
        "a · MACs + b · activations": lambda kept: additive(macs, acts, seconds, kept),
    }
    rows = {}
    for name, model in models.items():
        single = np.concatenate([(y - model(np.arange(len(y)) != i))[[i]] for i in range(len(y))])
        family = np.empty(len(y))
        for kind in np.unique(families):
            family[families == kind] = (y - model(families != kind))[families == kind]
        rows[name] = {
            "network left out, error %": mean_error_percent(single),
            "rms of log": np.sqrt(np.mean(single**2)),
            "family left out, error %": mean_error_percent(family),
            "rms of log ": np.sqrt(np.mean(family**2)),
        }
    return pd.DataFrame(rows).T


def linear(y: Array, *features: Array, offset: Array | float = 0.0) -> Model:
    x = np.stack(features, axis=1)
    return lambda kept: np.asarray(x @ np.linalg.lstsq(x[kept], y[kept], rcond=None)[0] + offset)


def additive(macs: Array, acts: Array, seconds: Array, kept: npt.NDArray[np.bool_]) -> Array:
    a, b = fit_coefficients(macs[kept], acts[kept], seconds[kept])
    return np.asarray(np.log(a * macs + b * acts))


def coverage(table: pd.DataFrame) -> pd.DataFrame:
    """Return the share of networks of each family in the 90 % interval that the other families give, all made anew."""
    macs, acts, seconds, families = columns(table)
    rows = {}
    for kind in np.unique(families):
        others = families != kind
        a, b = fit_coefficients(macs[others], acts[others], seconds[others])
        inner = left_out(macs[others], acts[others], seconds[others], families[others]).family
        residuals = np.log(seconds / (a * macs + b * acts))[~others]
        reach = Calibration(symmetric_quantiles(inner)).quantile(0.95)
        held = (np.abs(residuals) <= reach).mean()
        rows[kind] = {"networks": len(residuals), "interval + %": 100 * np.expm1(reach), "held": held}
    return pd.DataFrame(rows).T


def ratio_coverage(table: pd.DataFrame) -> pd.DataFrame:
    """Return how far ratios of times are off on each other GPU, and the share in the interval that the other one gives.

    Beside them what multiply-adds alone would give.
    """
    macs, acts, seconds, _ = columns(table)
    fitted = fit_coefficients(macs, acts, seconds)
    only_macs = Coefficients(fitted.per_mac, 0.0)
    rows = {}
    for gpu in other_gpus.FILES:
        others = np.concatenate([ratio_residuals(fitted, other) for other in other_gpus.FILES if other != gpu])
        reach = Calibration(symmetric_quantiles(others)).quantile(0.95)
        ratios = np.abs(ratio_residuals(fitted, gpu))
        rows[gpu] = {
            "networks": len(other_gpus.measured(gpu)),
            "median error %": 100 * np.expm1(np.median(ratios)),
            "by MACs alone %": 100 * np.expm1(np.median(np.abs(ratio_residuals(only_macs, gpu)))),
            "interval + %": 100 * np.expm1(reach),
            "held": (ratios <= reach).mean(),
        }
    return pd.DataFrame(rows).T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compare", action="store_true")
    arguments = parser.parse_args()
    table = pycls_zoo.measured()
    times, shown = fit(table)
    write_training_time(times, pycls_zoo.ROOT / "hardware_profiles" / "v100")
    shown.to_csv(HERE / "residuals.csv", index=False, lineterminator="\n")
    print(times.model_dump_json(indent=1))
    if arguments.compare:
        for frame in (compare(table), coverage(table), ratio_coverage(table)):
            print(frame.round(3).to_string(), end="\n\n")


if __name__ == "__main__":
    main()
