"""A new device from a few measurements: rank correlation and coverage, samples chosen by the tool and at random.

    NAS_DATA=... python benchmarks/few_shot.py [nasbench201|fbnet|sources] [--draws 20] [--samples 10,20,50]

Data: the latency files of HELP (Lee et al., NeurIPS 2021). Every source device is a `RegressionPredictor`, on
`nasbench201` fitted to 900 of its measured networks, on FBNet that of the shipped target; the new device is seen
through its samples alone. A draw is a set of 1,000 candidates, of which the tool chooses or the first n are taken; all
networks that were not measured judge.

`nasbench201`: HELP's six test devices; sources are the other devices of the file, without the same graphics card at
other batch sizes. `fbnet`: the columns that were really measured, each with all devices but its own kind as sources;
those networks of the file that are points of `mbconv-fbnet-cifar100` (there, layers that change the shape cannot be
skipped).
`sources`: the source devices of `nasbench201` among themselves, which is what every choice in the method was made by.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

import nas
from nas.hardware import target_names
from nas.hardware.fitting.fit_regression import fit_regression
from nas.hardware.fitting.fit_transfer import choose_samples, fit_transfer
from nas.hardware.predictor import LatencyPredictor
from nas.hardware.predictors.source_basis import Source
from nas.space import NetworkSpec, SearchSpace

DATA = Path(os.environ.get("NAS_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")) / "help_latency"
SOURCE_NETWORKS, CANDIDATES = 900, 1000
HELP_TESTS = ("titan_rtx_256", "gold_6226", "pixel2", "raspi4", "eyeriss", "fpga")
#: sums of a table of blocks, not measurements
SUMMED = ("pixel3", "raspi4", "fpga", "eyeriss")
#: first positions of the stages of FBNet, where a skipped layer is no identity, and the last layer
SHAPE_CHANGES = (1, 5, 9, 13, 17, 21)


class Remembered(LatencyPredictor):
    """A source that looks up what it has predicted before: the same networks come again in every draw."""

    kind = "remembered"

    def __init__(self, space: SearchSpace, predictor: LatencyPredictor, codes: np.ndarray):
        self.predictor, self.calibration = predictor, predictor.calibration
        keys = _keys(codes)
        self._order = np.argsort(keys)
        self._sorted = keys[self._order]
        self._mean, self._std = predictor.predict(space, codes)

    def predict(self, space: SearchSpace, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        keys = _keys(codes)
        at = np.minimum(np.searchsorted(self._sorted, keys), len(self._sorted) - 1)
        rows = self._order[at]
        mean, std = self._mean[rows], self._std[rows]
        new = self._sorted[at] != keys
        if new.any():
            mean[new], std[new] = self.predictor.predict(space, codes[new])
        return mean, std

    def predict_spec(self, spec: NetworkSpec) -> tuple[float, float]:
        return self.predictor.predict_spec(spec)

    def write(self, path: Path) -> None:
        self.predictor.write(path)

    @classmethod
    def read(cls, path: Path) -> Remembered:
        raise NotImplementedError


def _keys(codes: np.ndarray) -> np.ndarray:
    factors = np.random.default_rng(7).integers(1, 2**62, codes.shape[1])
    return codes.astype(np.int64) @ factors


def nasbench201() -> tuple[SearchSpace, np.ndarray, pd.DataFrame]:
    frame = pd.read_csv(DATA / "nb201_latency_ms.csv.gz")
    space = nas.space("nasbench201")
    codes = np.array([space.encode(cell) for cell in frame.pop("arch_str")])
    return space, codes, frame.drop(columns="idx")


def fbnet() -> tuple[SearchSpace, np.ndarray, pd.DataFrame]:
    frame = pd.read_csv(DATA / "fbnet_latency_ms.csv.gz")
    layers = np.array([text.split("|") for text in frame.pop("arch")])
    inside = (layers[:, SHAPE_CHANGES] != "skip").all(axis=1)
    space = nas.space("mbconv-fbnet-cifar100")
    codes = np.array([space.encode(_fbnet_decisions(row)) for row in layers[inside]])
    return space, codes, frame.drop(columns=["idx", "op_idx"])[inside].reset_index(drop=True)


def _fbnet_decisions(layers: Sequence[str]) -> dict[str, int | str]:
    found: dict[str, int | str] = {"stage1.layer1.block": "id" if layers[0] == "skip" else "ir"}
    stages = [layers[:1], *(layers[first : first + 4] for first in range(1, 21, 4)), layers[21:]]
    for number, stage in enumerate(stages, start=1):
        kept = [layer for layer in stage if layer != "skip"]
        if 1 < number < 7:
            found[f"stage{number}.depth"] = len(kept)
        for position, layer in enumerate(kept, start=1):
            kernel, expand, *groups = layer.split("_")
            place = f"stage{number}.layer{position}"
            found |= {f"{place}.kernel": int(kernel[1:]), f"{place}.expand": int(expand[1:])}
            if expand == "e1":
                found[f"{place}.groups"] = int(groups[0][1:]) if groups else 1
    return found


def kind_of(device: str) -> str:
    """The device without its batch size."""
    name, _, batch = device.rpartition("_")
    return name if batch.isdigit() and len(batch) < 4 else device


def fitted(space: SearchSpace, codes: np.ndarray, frame: pd.DataFrame, devices: Iterable[str]) -> dict[str, Remembered]:
    rng = np.random.default_rng(0)
    found = {}
    for device in devices:
        rows = rng.choice(len(codes), SOURCE_NETWORKS, replace=False)
        predictor = fit_regression(space, codes[rows], frame[device].to_numpy()[rows])
        found[device] = Remembered(space, predictor, codes)
    return found


def shipped(space: SearchSpace, codes: np.ndarray, devices: Iterable[str]) -> dict[str, Remembered]:
    """The predictors of the shipped targets, each fitted to 60 % of the measurements of its own device."""
    found = {}
    for device in devices:
        name, _, batch = device.rpartition("_")
        target = device if device in target_names() else name if batch == "1" else f"{name}-b{batch}"
        predictor = nas.target(target).on(space)["latency_ms"].predictor
        found[device] = Remembered(space, predictor, codes)
    return found


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(pd.Series(a).corr(pd.Series(b), method="spearman"))


def draw(
    space: SearchSpace,
    codes: np.ndarray,
    measured: np.ndarray,
    sources: Sequence[Source],
    n: int,
    seed: int,
    chosen: bool,
) -> tuple[float, float]:
    """Return Spearman and the share of the networks not measured that the 90 % interval holds."""
    candidates = np.random.default_rng(seed).choice(len(codes), CANDIDATES, replace=False)
    rows = candidates[:n]
    if chosen:
        keys = _keys(codes[candidates])
        picked = choose_samples(space, sources, n, candidates=codes[candidates])
        rows = candidates[[int(np.flatnonzero(keys == key)[0]) for key in _keys(picked)]]
    predictor = fit_transfer(space, codes[rows], measured[rows], sources, seed)
    rest = np.setdiff1d(np.arange(len(codes)), rows)
    mean, std = predictor.predict(space, codes[rest])
    low, high = predictor.interval(mean, std)
    return rank_correlation(mean, measured[rest]), float(((low <= measured[rest]) & (measured[rest] <= high)).mean())


def run(
    space: SearchSpace, codes: np.ndarray, frame: pd.DataFrame, tests: Sequence[str],
    others: Callable[[str], list[str]], samples: Sequence[int], draws: int,
) -> None:  # fmt: skip
    wanted = sorted({source for test in tests for source in others(test)})
    on_file = space.name == "nasbench201"
    predictors = fitted(space, codes, frame, wanted) if on_file else shipped(space, codes, wanted)
    for n in samples:
        print(f"\n{n} samples, {draws} draws, {len(codes)} networks: Spearman (90 % interval holds)")
        print(f"{'device':16s} {'sources':>7s} {'random':>14s} {'chosen':>14s}")
        totals = []
        for test in tests:
            sources = [(name, predictors[name]) for name in others(test)]
            measured = frame[test].to_numpy(dtype=float)
            scores = [
                np.mean([draw(space, codes, measured, sources, n, seed, chosen) for seed in range(draws)], axis=0)
                for chosen in (False, True)
            ]
            totals.append(scores)
            print(f"{test:16s} {len(sources):7d} " + " ".join(f"{r:.4f} ({c:.3f})" for r, c in scores), flush=True)
        print(f"{'mean':24s} " + " ".join(f"{r:.4f} ({c:.3f})" for r, c in np.mean(totals, axis=0)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["nasbench201", "fbnet"])
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--samples", default="")
    options = parser.parse_args()
    start = time.perf_counter()
    for what in options.what:
        space, codes, frame = fbnet() if what == "fbnet" else nasbench201()
        columns = list(frame.columns)
        known = [d for d in columns if d not in HELP_TESTS and kind_of(d) not in map(kind_of, HELP_TESTS)]
        tests: Sequence[str] = HELP_TESTS
        pool, samples = known, "10,20,50"
        if what == "fbnet":
            tests, pool, samples = [d for d in columns if d not in SUMMED], columns, "10"
        elif what == "sources":
            tests, samples = known, "10,50"
        print(f"\n== {what}")
        run(
            space, codes, frame, tests,
            lambda test, pool=pool: [name for name in pool if kind_of(name) != kind_of(test)],
            [int(n) for n in (options.samples or samples).split(",")], options.draws,
        )  # fmt: skip
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
