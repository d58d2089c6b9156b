"""Scaling laws of published families, and how often their intervals hold what they should.

python experiments/scaling/laws/laws.py published --data ../shared/data   # seconds
python experiments/scaling/laws/laws.py coverage                           # some minutes
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from nas.errors import NasError
from nas.scaling.laws import law as scaling_law
from nas.scaling.laws.law import Law, fit_law
from nas.scaling.laws.sources import law_of
from nas.scaling.released import published_families, published_family
from nas.space.catalogue import load_network

CONVNEXT = ("atto.d2", "femto.d1", "pico.d1", "nano.d1h", "tiny.fb", "small.fb", "base.fb", "large.fb")
#: coverage: costs and standard deviation of the noise; the law is that of EfficientNet
TRUTH = {"a": 4.8, "b": 0.53, "c": 15.0}
CASES = {
    "8 networks, 100 times in cost": (np.geomspace(0.4, 40, 8), 0.08),
    "8 networks, noisy": (np.geomspace(0.4, 40, 8), 0.2),
    "12 networks, 160 times in cost": (np.geomspace(0.2, 32, 12), 0.08),
    "6 networks, 25 times in cost": (np.geomspace(0.4, 10, 6), 0.08),
    "5 networks, 25 times in cost": (np.geomspace(0.4, 10, 5), 0.08),
}
REPETITIONS = 1000
#: samples of the bootstrap here, a quarter of the usual to save time
DRAWS = 1000


def measured_families(data: Path) -> Iterator[tuple[str, Law]]:
    """Families with the accuracies of the checkpoints themselves, where those are known to three decimals."""
    yield "EfficientNet B0-B7, paper v5", law_of(published_family("efficientnet"))
    timm = pd.read_csv(data / "published" / "timm-results-imagenet.csv").query("img_size == 224").set_index("model")
    names = [f"convnext_{name}_in1k" for name in CONVNEXT]
    costs = [load_network(name.split(".")[0]).cost()["macs"] for name in names]
    yield "ConvNeXt atto-L, timm at 224", fit_law(costs, timm.loc[names, "top1_err"], names)
    zoo = pd.read_csv(data / "published" / "pycls_zoo.csv")
    for letter in "XY":
        rows = zoo[zoo["model"].str.startswith(f"RegNet{letter}")]
        yield f"RegNet{letter}, checkpoints of pycls", fit_law(rows["flops"], rows["top1_err"], rows["model"].tolist())


def catalogue_families() -> Iterator[tuple[str, Law]]:
    """Families of the catalogue of which enough accuracies are published."""
    for name, family in published_families().items():
        try:
            yield name, law_of(family)
        except NasError:
            continue


def table(families: Iterator[tuple[str, Law]]) -> None:
    """Print a law a line, and how well its members are predicted from the cheaper ones."""
    print(
        "| family | n | a | b | c | rmse | largest from the others: 95 % (90 %) | published | held at 95 % | at 90 % |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, law in families:
        ahead = {level: law.ahead(level) for level in (0.95, 0.9)}
        checks = "– | – | – | –"
        if ahead[0.95]:
            wide, narrow = ahead[0.95][-1], ahead[0.9][-1]
            held = [f"{sum(each.holds is True for each in found)} of {len(found)}" for found in ahead.values()]
            checks = (
                f"{wide.error:.2f}: {wide.low:.2f} to {wide.high:.2f} ({narrow.low:.2f} to {narrow.high:.2f}) "
                f"| {wide.measured:.2f} | {held[0]} | {held[1]}"
            )
        print(f"| {name} | {len(law.costs)} | {law.a:.2f} | {law.b:.3f} | {law.c:.2f} | {law.rmse:.3f} | {checks} |")


def coverage() -> None:
    """Print how often intervals hold the next member, at twice the cost of the largest, and the true parameters."""
    scaling_law.DRAWS = DRAWS
    print("| observed | noise | next member, 90 % | next member, 95 % | a, 95 % | b, 95 % | c, 95 % |")
    print("|---|---|---|---|---|---|---|")
    for name, (x, noise) in CASES.items():
        rng = np.random.default_rng(0)
        held = np.array([_held(x, noise, rng, seed) for seed in range(REPETITIONS)]).mean(axis=0)
        print(f"| {name} | {noise} | " + " | ".join(f"{100 * share:.1f}" for share in held) + " |", flush=True)


def _held(x: np.ndarray, noise: float, rng: np.random.Generator, seed: int) -> list[bool]:
    a, b, c = TRUTH.values()
    points = np.append(x, 2 * x[-1])
    errors = a * points**-b + c + noise * rng.standard_normal(len(points))
    law = fit_law(1e9 * x, errors[:-1], seed=seed)
    nexts = [law.forecast(1e9 * points[-1], level) for level in (0.9, 0.95)]
    intervals = law.intervals(0.95)
    return [each.low <= errors[-1] <= each.high for each in nexts] + [
        low <= TRUTH[name] <= high for name, (low, high) in intervals.items()
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["published", "coverage"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    given = parser.parse_args()
    if given.what == "coverage":
        coverage()
    else:
        table(measured_families(given.data))
        print()
        table(catalogue_families())
