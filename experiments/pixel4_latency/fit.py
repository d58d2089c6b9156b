"""Fit the latency predictor of the target `pixel4` and write its profile folder.

    python experiments/pixel4_latency/fit.py [--compare]

Data: the float32 rows of the OVIC 2020 table (ten networks on one big core of a Pixel 4, whole milliseconds).
Model: latency = features · coefficients · (1 + noise), coefficients not negative, a measurement known only to
±0.5 ms. The posterior is sampled with an adaptive Metropolis walk (Haario et al., 2001).
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from scipy.special import ndtr
from scipy.stats import spearmanr
from scipy.stats import t as student_t

from nas.hardware.features import kernel_features
from nas.space import NetworkSpec
from search_spaces.published import NETWORKS

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("NAS_DATA", ROOT.parent / "shared" / "data"))
PROFILE = ROOT / "hardware_profiles" / "pixel4"

#: Scale of the half-normal prior of each coefficient, in ms per unit. 1e-7 ms a multiply-add is 10 GMAC/s, what one
#: A76 core gives dense float32 kernels at 1/4 of its peak; depthwise kernels reach about a quarter of that.
#: A weight is 4 bytes at 8 GB/s. An element passed over once more is 8 bytes at about 27 GB/s (second-level cache).
PRIOR_MS = {"pointwise_macs": 1e-7, "depthwise_macs": 4e-7, "weights": 5e-7, "elementwise": 3e-7}
#: Scale of the half-normal prior of the relative noise.
PRIOR_NOISE = 0.05
ROUNDING_MS = 0.5
CANDIDATES = (
    ("pointwise_macs", "depthwise_macs"),
    ("pointwise_macs", "depthwise_macs", "weights"),
    ("pointwise_macs", "depthwise_macs", "elementwise"),
    ("pointwise_macs", "depthwise_macs", "weights", "elementwise"),
)
FEATURES = CANDIDATES[-1]


def network(model: str, resolution: int, width: float) -> NetworkSpec:
    name = model if width == 1 else f"{model}_{width:g}"
    return replace(NETWORKS[name], resolution=int(resolution))


def sample_posterior(x: np.ndarray, y: np.ndarray, scale: np.ndarray, steps: int = 60_000) -> np.ndarray:
    """Return draws float[n, F + 1] of the coefficients (ms per unit) and the relative noise."""
    rng = np.random.default_rng(0)
    scaled, count = x * scale, x.shape[1]

    def log_density(theta: np.ndarray) -> float:
        coefficients, noise = np.exp(theta[:count]), np.exp(theta[count])
        mean = scaled @ coefficients
        upper, lower = (y + ROUNDING_MS - mean) / (noise * mean), (y - ROUNDING_MS - mean) / (noise * mean)
        likelihood = np.log(np.maximum(ndtr(upper) - ndtr(lower), 1e-300)).sum()
        prior = -(coefficients**2).sum() / 2 - (noise / PRIOR_NOISE) ** 2 / 2
        return float(likelihood + prior + theta.sum())  # theta.sum(): Jacobian of the logarithms

    theta = np.append(np.full(count, -1.0), np.log(PRIOR_NOISE))
    density, factor = log_density(theta), np.linalg.cholesky(0.1 * np.eye(count + 1))
    draws = np.empty((steps, count + 1))
    burn_in = steps // 3
    for i in range(steps):
        if i % 2000 == 0 and 2000 <= i < burn_in:
            spread = np.cov(draws[max(0, i - 6000) : i].T) * 2.38**2 / (count + 1)
            factor = np.linalg.cholesky(spread + 1e-6 * np.eye(count + 1))
        proposal = theta + factor @ rng.normal(size=count + 1)
        proposed = log_density(proposal)
        if np.log(rng.random()) < proposed - density:
            theta, density = proposal, proposed
        draws[i] = theta
    kept = np.exp(draws[burn_in:])
    kept[:, :count] *= scale
    return kept


def predict(draws: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return posterior mean and standard deviation of a new, unrounded measurement."""
    coefficients, noise = draws[:, :-1], draws[:, -1]
    mean = x @ coefficients.mean(axis=0)
    variance = np.einsum("nf,fg,ng->n", x, np.cov(coefficients.T), x) + (noise.mean() * mean) ** 2
    return mean, np.sqrt(variance)


def leave_one_out(rows: pd.DataFrame, features: tuple[str, ...]) -> pd.DataFrame:
    """Predict every network from the other nine."""
    x, y, scale = matrix(rows, features)
    table = []
    for i in range(len(y)):
        others = np.arange(len(y)) != i
        mean, std = predict(sample_posterior(x[others], y[others], scale), x[[i]])
        table.append((mean[0], std[0]))
    result = rows[["model", "resolution", "width", "latency_ms"]].copy()
    result[["predicted_ms", "std_ms"]] = table
    result["error_percent"] = 100 * (result.predicted_ms / result.latency_ms - 1)
    return result


def matrix(rows: pd.DataFrame, features: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    specs = [network(*row) for row in rows[["model", "resolution", "width"]].itertuples(index=False)]
    x = np.array([kernel_features(spec.layers(), features) for spec in specs])
    return x, rows.latency_ms.to_numpy(dtype=float), np.array([PRIOR_MS[name] for name in features])


def held_out(loo: pd.DataFrame, width: float) -> dict[str, object]:
    error = loo.error_percent.abs()
    # A measurement of y whole milliseconds was somewhere in y ± 0.5, so it is covered where that overlaps.
    covered = (loo.predicted_ms - loo.latency_ms).abs() <= width * loo.std_ms + ROUNDING_MS
    return {
        "protocol": "leave-one-out",
        "networks": len(loo),
        "mean_absolute_percentage_error": round(float(error.mean()), 2),
        "within_10_percent": round(float((error <= 10).mean()), 3),
        "spearman": round(float(spearmanr(loo.predicted_ms, loo.latency_ms).statistic), 3),
        "interval_90_coverage": round(float(covered.mean()), 3),
        "noise_floor": "measurements are whole milliseconds: ±0.5 ms, which is 10 % of the fastest network",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compare", action="store_true", help="also report the feature sets not chosen")
    arguments = parser.parse_args()
    table = pd.read_csv(DATA / "pixel4" / "ovic_2020.csv")
    rows = table[table.precision == "float32"].reset_index(drop=True)
    if arguments.compare:
        for candidate in CANDIDATES:
            error = leave_one_out(rows, candidate).error_percent.abs().mean()
            print(f"{' + '.join(candidate):70s} leave-one-out error {error:.2f} %")
    loo = leave_one_out(rows, FEATURES)
    x, y, scale = matrix(rows, FEATURES)
    draws = sample_posterior(x, y, scale)
    width = float(student_t.ppf(0.95, df=len(rows) - len(FEATURES)))
    summary = held_out(loo, width)
    parameters = {
        "kind": "linear-kernels",
        "features": FEATURES,
        "mean": draws[:, :-1].mean(axis=0).tolist(),
        "covariance": np.cov(draws[:, :-1].T).tolist(),
        "relative_noise": float(draws[:, -1].mean()),
        "interval_width": width,
    }
    PROFILE.mkdir(parents=True, exist_ok=True)
    (PROFILE / "predictor.json").write_text(json.dumps(parameters, indent=1) + "\n")
    loo.round(3).to_csv(Path(__file__).parent / "leave_one_out.csv", index=False)
    profile_file = PROFILE / "profile.yaml"
    profile = yaml.safe_load(profile_file.read_text())
    profile["held_out"] = summary
    profile_file.write_text(yaml.safe_dump(profile, sort_keys=False, allow_unicode=True, width=110))
    print(loo.round(2).to_string(index=False))
    print(json.dumps(summary, indent=1), json.dumps(parameters, indent=1))


if __name__ == "__main__":
    main()
