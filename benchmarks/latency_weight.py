"""Does the latency term of a differentiable search do what its weight says?

    python benchmarks/latency_weight.py [--targets edgegpu pixel3-cpu4] [--seeds 5]

For DARTS, FBNet and ProxylessNAS on NAS-Bench-201, and five weights of the latency term: the latency predicted of the
derived network, its mean over seeds, and the expected latency of the distribution it is derived from. Digits of 8 × 8,
a supernet of four channels and one cell a stage, 200 steps of training with an architecture learning rate of 0.05;
nothing else differs from the defaults of the methods. The whole search is run, as `nas search` does.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
from pathlib import Path

import torch

import nas
from nas.supernet.checkpoint import RECORDS, read_records
from nas.supernet.record import FOLDER

METHODS = ("darts", "fbnet", "proxyless")
WEIGHTS = (0.0, 0.1, 0.3, 1.0, 3.0)
SETTINGS = {
    "epochs": 10, "batch_size": 32, "architecture_learning_rate": 0.05, "image_size": 8, "eigenvalue_every": 0,
    "network": {"channels": 4, "cells": 1}, "warmup": 0.0, "architecture_share": 0.5, "validation_images": 32,
    "recalibration_images": 32,
}  # fmt: skip


def searched(method: str, target: str, weight: float, seed: int, folder: Path) -> tuple[float, float]:
    """Return the predicted latency of the derived network and the expected one of the distribution, in ms."""
    # At weight 0 there is no term to record; one of no effect is recorded instead.
    settings = SETTINGS | {"cost_weight": weight or 1e-12}
    run = nas.search(
        space="nasbench201", target=target, strategy=method, seed=seed, oneshot=settings, objectives=("latency_ms",),
        out=folder / f"{target}-{method}-{weight}-{seed}",
    )  # fmt: skip
    last = read_records(run.path / FOLDER / RECORDS)[-1]
    return float(run.trials["latency_ms"].iloc[0]), float(last["expected_latency_ms"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--targets", nargs="+", default=["edgegpu", "pixel3-cpu4"])
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for target in arguments.targets:
            for method in METHODS:
                found = [
                    [searched(method, target, weight, seed, Path(folder)) for seed in range(arguments.seeds)]
                    for weight in WEIGHTS
                ]
                derived, expected = ([statistics.mean(pair[i] for pair in row) for row in found] for i in (0, 1))
                falls = all(later <= earlier for earlier, later in itertools.pairwise(derived))
                print(f"{target} {method}: {'never rises' if falls else 'RISES somewhere'}")
                print("  weight            ", *(f"{weight:8g}" for weight in WEIGHTS))
                print("  derived latency ms", *(f"{value:8.3f}" for value in derived))
                print("  expected latency  ", *(f"{value:8.3f}" for value in expected), flush=True)


if __name__ == "__main__":
    main()
