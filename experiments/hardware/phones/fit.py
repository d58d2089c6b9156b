"""Fit the targets of phones from whole networks that others measured and published, and write their profiles.

    python experiments/hardware/phones/fit.py [--only NAME] [--compare]

Writes the predictor and the held-out pairs of each target of targets.yaml beside its profile, its part of profile.yaml,
and errors.csv and leave_one_out.csv here.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from rows import DATA, ROOT, families, measured, specs

import nas
from nas.hardware import Fit, HeldOut, LinearPredictor, Profile
from nas.hardware.fitting.fit_kernels import FEATURES, KernelFit
from nas.hardware.profile import PublishedLatency, read_profile, write_profile

HERE = Path(__file__).resolve().parent
PROFILES = ROOT / "hardware_profiles"
#: sets of features that were looked at
CANDIDATES = (FEATURES[:4], FEATURES, (*FEATURES[:4], "kernels"), (*FEATURES, "kernels"))
#: nn-Meter's names of networks that the package has as well
NN_METER = {
    "mobilenetv2_0.pb": "mobilenetv2",
    "mobilenetv3large_0.pb": "mobilenetv3_large",
    "mobilenetv3small_0.pb": "mobilenetv3_small",
    "proxylessnas_0.pb": "proxylessnas_mobile",
}


def kernel_fit(target: dict[str, Any], table: pd.DataFrame, **changed: Any) -> KernelFit:
    """Return the fit of a target to its rows, with the options it names or those changed."""
    options = {name: target[name] for name in ("features", "scales") if name in target}
    if "source" in target:
        options["source"] = predictor_of(target["source"])
    return KernelFit(specs(table), table.latency_ms, rounding=table.step_ms, **options | changed)


def predictor_of(name: str) -> LinearPredictor:
    file = next(target.get("predictor", "kernels.json") for target in targets() if target["name"] == name)
    return LinearPredictor.read(PROFILES / name / file)


def targets() -> list[dict[str, Any]]:
    return yaml.safe_load((HERE / "targets.yaml").read_text(encoding="utf-8"))["targets"]


def pairs_of(table: pd.DataFrame, mean: np.ndarray, low: np.ndarray, high: np.ndarray) -> pd.DataFrame:
    """Return measured and predicted milliseconds of each row with the ends of the 90 % interval, to the microsecond."""
    return pd.DataFrame({"measured": table.latency_ms, "predicted": mean, "low": low, "high": high}).round(3)


def held_out_pairs(table: pd.DataFrame, fitted: KernelFit) -> pd.DataFrame:
    return pairs_of(table, fitted.held_out.mean, fitted.held_out.low, fitted.held_out.high)


def errors(table: pd.DataFrame, pairs: pd.DataFrame) -> dict[str, float]:
    """Return the error of predictions in the words of `HeldOut`."""
    error = 100 * (pairs.predicted / pairs.measured - 1).abs()
    # A value rounded to a step was somewhere within half of it, so it is covered where that overlaps.
    outside = np.maximum(pairs.low - pairs.measured, pairs.measured - pairs.high)
    return {
        "networks": len(pairs),
        "mean_absolute_percentage_error": round(float(error.mean()), 2),
        "within_5_percent": round(float((error <= 5).mean()), 3),
        "within_10_percent": round(float((error <= 10).mean()), 3),
        "spearman": round(float(pairs.predicted.corr(pairs.measured, method="spearman")), 3),
        "interval_90_coverage": round(float((outside <= table.step_ms / 2).mean()), 3),
    }


def rounding_floor(table: pd.DataFrame) -> float:
    """Mean error in % that rounding alone leaves to a perfect predictor: a uniform error is off by a quarter step."""
    return round(float((25 * table.step_ms / table.latency_ms).mean()), 2)


def write_target(target: dict[str, Any]) -> tuple[dict[str, Any], pd.DataFrame]:
    """Fit one target, write its files, and return its row of errors.csv and its rows of leave_one_out.csv."""
    table = measured(target["rows"])
    fitted = kernel_fit(target, table)
    pairs = held_out_pairs(table, fitted)
    found, floor = errors(table, pairs), rounding_floor(table)
    folder = PROFILES / target["name"]
    folder.mkdir(exist_ok=True)
    predictor = Path(target.get("predictor", "kernels.json"))
    fitted.predictor.write(folder / predictor)
    pairs.to_csv(folder / f"{predictor.stem}_held_out.csv", index=False)
    steps = "whole milliseconds" if (table.step_ms == 1).all() else "tenths of milliseconds or whole ones"
    noise = f"measurements are {steps}, which alone is {floor:.1f} % in the mean"
    macs = [float(spec.cost()["macs"]) for spec in specs(table)]
    held_out = HeldOut(protocol="leave-one-out", noise=noise, pairs=f"{predictor.stem}_held_out.csv", **found)
    fit = Fit(
        predictor=predictor.name, measured_macs=(min(macs), max(macs)), held_out=held_out, **target["fit"],
        published=tuple(published(each, fitted.predictor) for each in target.get("published", ())),
    )  # fmt: skip
    add_fit(folder / "profile.yaml", target, fit)
    row = {"target": target["name"], **found, "rounding_percent": floor}
    row["family_out_percent"] = family_out(target, table)
    rows = table[["network", "width", "resolution"]].join(pairs)
    rows["std"] = fitted.held_out.std.round(3)
    rows["error_percent"] = (100 * (rows.predicted / rows.measured - 1)).round(2)
    return row, rows.assign(target=target["name"])


def published(latency: dict[str, Any], predictor: LinearPredictor) -> PublishedLatency:
    """Return a latency that was not fitted, beside what is predicted."""
    predicted, _ = predictor.predict_spec(nas.network(latency["network"]))
    return PublishedLatency(**latency, predicted_ms=round(predicted, 2))


def add_fit(path: Path, target: dict[str, Any], fit: Fit) -> None:
    """Write the fit into a profile in place of the one with the same file; others stay as they are."""
    if path.is_file():
        profile = read_profile(path)
        fits = [fit if other.predictor == fit.predictor else other for other in profile.fits]
        fits += [fit] if fit not in fits else []
        profile = Profile.model_validate(profile.model_dump() | {"fits": [each.model_dump() for each in fits]})
    else:
        profile = Profile(fits=(fit,), **{name: target[name] for name in ("name", "description", "device", "soc")})
    write_profile(profile, path)


def family_out(target: dict[str, Any], table: pd.DataFrame) -> float | None:
    """Mean error in % where all networks of a family are predicted from the other families."""
    groups = families(table)
    if len(set(groups)) == 1 or len(table) < 10:
        return None
    pairs = held_out_pairs(table, kernel_fit(target, table, groups=groups))
    return errors(table, pairs)["mean_absolute_percentage_error"]


def compare(target: dict[str, Any]) -> None:
    """Print the leave-one-out error of other features; the scales are those of the target where it has the feature."""
    table = measured(target["rows"])
    for features in CANDIDATES:
        scales = {name: scale for name, scale in target.get("scales", {}).items() if name in features}
        found = errors(table, held_out_pairs(table, kernel_fit(target, table, features=features, scales=scales)))
        print(f"{target['name']:18s}{', '.join(features):80s}{found['mean_absolute_percentage_error']:6.2f} %")


def outside_checks() -> None:
    """Print what the fits say of measurements that had no part in them."""
    rows = {"file": "published/phone_latency.csv", "device": "Pixel 1", "processor": "CPU", "precision": "fp32"}
    table = measured(rows)
    mean, std = np.array([predictor_of("pixel1").predict_spec(spec) for spec in specs(table)]).T
    low, high = predictor_of("pixel1").interval(mean, std)
    print("MnasNet-A1 on a Pixel 1, threads not stated, predicted by pixel1:")
    print(
        errors(table, pairs_of(table, mean, low, high)),
        f"measured / predicted {np.median(table.latency_ms / mean):.2f}",
    )
    print("nn-Meter's predictions for a Pixel 4 (TFLite 2.1, 2.4 GHz) and ours (OVIC's runtime):")
    table = pd.read_csv(DATA / "nn_meter" / "reference_result.csv", skipinitialspace=True)
    table = table[table.predictor == "cortexA76cpu_tflite21"].set_index("model_name")
    for model, name in NN_METER.items():
        ours = predictor_of("pixel4").predict_spec(nas.network(name))[0]
        print(f"  {name:22s} {table.latency[model]:6.1f} ms {ours:6.1f} ms  {table.latency[model] / ours:.2f} times")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="fit this target alone and print its errors")
    parser.add_argument("--compare", action="store_true", help="also report the feature sets not chosen")
    arguments = parser.parse_args()
    chosen = [target for target in targets() if arguments.only in (None, target["name"])]
    if arguments.compare:
        for target in chosen:
            compare(target)
    written = [write_target(target) for target in chosen]
    table = pd.DataFrame([row for row, _ in written])
    print(table.to_string(index=False))
    if arguments.only is None:
        table.to_csv(HERE / "errors.csv", index=False)
        pd.concat([rows for _, rows in written]).to_csv(HERE / "leave_one_out.csv", index=False)
        outside_checks()


if __name__ == "__main__":
    main()
