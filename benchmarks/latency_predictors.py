"""Whole-network regression on measured tables: error, coverage of 90 % intervals, speed and size.

    python benchmarks/latency_predictors.py [accel snapdragon hwnas help ofa speed] [--draws 3]

Needs the data sets (NAS_DATA). Networks fitted to are drawn from the authors' training split where there is one, judged
are those of its validation split; elsewhere all others are judged (4,000 at most). Noise ceilings: HW-NAS-Bench has
every cell for CIFAR-10 and CIFAR-100, networks that differ in their last layer alone; one table predicts the other as
well as a measurement predicts its repeat, once the median ratio is divided out.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

import nas
from nas.hardware.fit_regression import fit_regression
from nas.space import SearchSpace
from search_spaces.mbconv_ofa import codes_of
from search_spaces.tables import accel_nasbench

DATA = Path(os.environ.get("NAS_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
MAX_JUDGED = 4000
SNAPDRAGON = ("latbench_sd855_kryo485_cpu", "latbench_sd855_adreno640_gpu", "latbench_sd855_hexagon690_dsp")
COLUMNS = "spearman  5 %  10 %  median  90 % interval  fit s"


class Table(NamedTuple):
    """One measured column: the networks of a space, and the rows that may be fitted to and are judged."""

    name: str
    space: SearchSpace
    codes: Any
    values: Any
    metric: str
    train: Any
    judged: Any = None


def cells(path: str, columns: tuple[str, ...]) -> Iterator[Table]:
    space, frame = nas.space("nasbench201"), pd.read_csv(DATA / path)
    codes = np.array([space.encode(cell) for cell in frame["arch_str"]])
    for column in columns or [name for name in frame if name not in ("idx", "arch_str")]:
        values = frame[column].to_numpy(dtype=np.float64)
        yield Table(column, space, codes, values, "latency_ms", np.flatnonzero(values > 0))


def accel() -> Iterator[Table]:
    path = DATA / "accel_nasbench" / "imagenet_mbconv.csv.gz"
    frame = pd.read_csv(path)
    codes, train = accel_nasbench._codes(frame, path), (frame["split"] == "train").to_numpy()
    for column in accel_nasbench.MEASURED:
        values = frame[column].to_numpy()
        rows = np.isfinite(values)
        yield Table(
            column, nas.space("mbconv"), codes, values, column, np.flatnonzero(rows & train),
            np.flatnonzero(rows & ~train),
        )  # fmt: skip


def ofa() -> Iterator[Table]:
    frame = pd.read_csv(DATA / "ofa_mbv3" / "latency_ms.csv.gz")
    parts = [np.array([list(map(int, row.split())) for row in frame[name]]) for name in ("ks", "e", "d")]
    codes = codes_of(*parts, frame["r"].to_numpy())
    for column in frame.columns[5:]:
        values = frame[column].to_numpy(dtype=np.float64)
        yield Table(column, nas.space("mbconv-ofa"), codes, values, "latency_ms", np.flatnonzero(values > 0))


def judged(table: Table, count: int, draws: int) -> str:
    """Fit on `count` networks drawn at random, predict the judged ones; means over the draws."""
    rows = []
    for seed in range(draws):
        order = np.random.default_rng(seed).permutation(table.train)
        test = table.judged if table.judged is not None else order[count:][:MAX_JUDGED]
        start = time.perf_counter()
        predictor = fit_regression(table.space, table.codes[order[:count]], table.values[order[:count]], table.metric)
        seconds = time.perf_counter() - start
        mean, std = predictor.predict(table.space, table.codes[test])
        low, high = predictor.interval(mean, std)
        measured = table.values[test]
        error = np.abs(mean / measured - 1)
        rho = pd.Series(mean).corr(pd.Series(measured), method="spearman")
        covered = np.mean((low <= measured) & (measured <= high))
        rows.append([rho, np.mean(error < 0.05), np.mean(error < 0.1), np.median(error), covered, seconds])
    rho, five, ten, median, covered, seconds = np.mean(rows, axis=0)
    return f"{rho:8.4f} {five:5.3f} {ten:5.3f}  {median:6.2%}  {covered:13.3f}  {seconds:5.1f}"


def show(tables: Iterator[Table], counts: tuple[int, ...], draws: int) -> None:
    for table in tables:
        for count in counts:
            fitted = min(count, len(table.train))
            times = draws if fitted < len(table.train) else 1
            print(f"{table.name:30}{fitted:6}  {judged(table, fitted, times)}", flush=True)


def hwnas(draws: int) -> None:
    other = pd.read_csv(DATA / "nasbench201" / "hwnasbench_cifar100.csv.gz")
    for table in cells("nasbench201/hwnasbench_cifar10.csv.gz", ()):
        if "intensity" in table.name:
            continue
        print(f"{table.name:30}{900:6}  {judged(table, 900, draws)}", flush=True)
        both = (table.values > 0) & (other[table.name].to_numpy() > 0)
        ratio = table.values[both] / other[table.name].to_numpy()[both]
        error = np.abs(ratio / np.median(ratio) - 1)
        repeat = pd.Series(table.values[both]).corr(other[table.name][both].reset_index(drop=True), method="spearman")
        print(f"{'  noise ceiling':36}  {repeat:8.4f} {np.mean(error < 0.05):5.3f} {np.mean(error < 0.1):5.3f}  "
              f"{np.median(error):6.2%}", flush=True)  # fmt: skip


def speed() -> None:
    table = next(accel())
    predictor = fit_regression(table.space, table.codes[table.train], table.values[table.train], table.metric)
    codes = table.space.sample(100_000, np.random.default_rng(0))
    predictor.predict(table.space, codes[:10])
    start = time.perf_counter()
    predictor.predict(table.space, codes)
    print(f"100,000 codes of mbconv, fitted on {len(table.train)}: {time.perf_counter() - start:.2f} s")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "predictor.npz"
        predictor.write(path)
        print(f"its file: {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["accel", "snapdragon", "hwnas", "help", "ofa", "speed"])
    parser.add_argument("--draws", type=int, default=3)
    given = parser.parse_args()
    for part in given.parts:
        print(f"\n{part:30}   fit  {COLUMNS}")
        if part == "accel":
            show(accel(), (100, 500, 10_000), given.draws)
        elif part == "snapdragon":
            show(cells("snapdragon855/nb201_latency_ms.csv.gz", SNAPDRAGON), (100, 500), given.draws)
        elif part == "hwnas":
            hwnas(given.draws)
        elif part == "help":
            show(cells("help_latency/nb201_latency_ms.csv.gz", ()), (900,), given.draws)
        elif part == "ofa":
            show(ofa(), (900,), given.draws)
        elif part == "speed":
            speed()
        else:
            parser.error(f"unknown part {part!r}")


if __name__ == "__main__":
    main()
