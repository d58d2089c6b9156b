"""Whole-network regression on measured tables: error, coverage of 90 % intervals, speed and size.

    python benchmarks/latency_predictors.py [accel snapdragon hwnas help ofa speed] [--draws 5] [--fit 100 500 0]

Needs the data sets (NAS_DATA). Networks fitted to are drawn from the authors' training split where there is one, judged
are those of its validation split; elsewhere all others are judged (4,000 at most). Figures are means over the draws.

Noise ceilings. HW-NAS-Bench has every cell for CIFAR-10 and CIFAR-100, networks that differ in their last layer alone;
one table predicts the other as well as a measurement predicts its repeat, once the median ratio is divided out. (Cells
without a path from input to output are left out.) On the Snapdragon cells that differ in dead edges alone repeat one
computation, and how they scatter, as a power of the latency, is the noise: the ceiling is the rank correlation of
predictions of all cells with the same plus noise drawn so, and what is below the 5th percentile of it over repeats
drawn again is below what noise explains.
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
from nas import registry
from nas.hardware.fitting.fit_regression import UNCALIBRATED, fit_regression
from nas.hardware.fitting.fit_roofline import fit_roofline
from nas.hardware.fitting.fit_transfer import fit_transfer
from nas.hardware.fitting.kernel_samples import samples_of
from nas.hardware.predictor import LatencyPredictor
from nas.hardware.predictors.source_basis import Source
from nas.hardware.target import load_target, target_names
from nas.space import SearchSpace, StagedSpace
from search_spaces.cells.nasbench201_cell import EDGES, NODES, OPERATIONS, live_edges
from search_spaces.mbconv_ofa import codes_of
from search_spaces.mbconv_proxyless import SKELETON, STAGES
from search_spaces.tables import accel_nasbench

DATA = Path(os.environ.get("NAS_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
MAX_JUDGED = 4000
#: the part of mbconv-proxyless that the look-up table of pixel1 knows
NARROW = [stage.replace("c{24,32}", "c24") for stage in STAGES]
MEASURED_BY_BLOCK = StagedSpace("mbconv-proxyless", SKELETON, NARROW, layerwise=True)
EVERY = 1_000_000
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
        table = table._replace(train=table.train[live_edges(table.codes[table.train]).any(axis=1)])
        print(f"{table.name:30}{900:6}  {judged(table, 900, draws)}", flush=True)
        both = live_edges(table.codes).any(axis=1) & (table.values > 0) & (other[table.name].to_numpy() > 0)
        ratio = table.values[both] / other[table.name].to_numpy()[both]
        error = np.abs(ratio / np.median(ratio) - 1)
        repeat = pd.Series(table.values[both]).corr(other[table.name][both].reset_index(drop=True), method="spearman")
        print(f"{'  noise ceiling':36}  {repeat:8.4f} {np.mean(error < 0.05):5.3f} {np.mean(error < 0.1):5.3f}  "
              f"{np.median(error):6.2%}", flush=True)  # fmt: skip


def computation(code: Any) -> str:
    """Return a text that is equal for cells that execute the same operations on the same tensors."""
    tensors, executed = ["0"], []
    for edges in NODES:
        terms = []
        for edge in edges:
            operation, source = OPERATIONS[code[edge]], tensors[EDGES[edge][0]]
            if operation not in ("none", "skip_connect"):
                executed.append(source := f"{operation}({source})")
            if operation != "none":
                terms.append(source)
        if len(terms) > 1:
            executed.append(f"[{'+'.join(sorted(terms))}]")
        tensors.append(executed[-1] if len(terms) > 1 else "".join(terms))
    return " ".join([*sorted(executed), "=", tensors[-1]])


def ceiling(table: Table, draws: int = 100) -> str:
    """The rank correlation that noise leaves, with the 5th and 95th percentile of a bootstrap of the repeats."""
    predictor = fit_regression(table.space, table.codes[:500], table.values[:500], calibration=UNCALIBRATED)
    latency = np.log(predictor.predict(table.space, table.codes)[0])
    groups = pd.Series(np.log(table.values)).groupby([computation(code) for code in table.space.live(table.codes)])
    count = groups.transform("count").to_numpy()
    repeated = np.flatnonzero(count > 1)
    noise = (np.log(table.values) - groups.transform("mean"))[repeated] / np.sqrt(1 - 1 / count[repeated])
    group, rng = groups.ngroup().to_numpy()[repeated], np.random.default_rng(0)

    def rank(rows: Any) -> float:
        level, squared = latency[repeated[rows]], noise.to_numpy()[rows] ** 2
        slope = np.polyfit(level, np.log(squared + 1e-8), 1)[0]
        variance = np.exp(slope * latency) * (squared * np.exp(-slope * level)).mean()
        again = pd.Series(latency + rng.normal(0, np.sqrt(variance)))
        return float(again.corr(pd.Series(latency), method="spearman"))

    everything = np.arange(len(repeated))
    middle = np.mean([rank(everything) for _ in range(draws)])
    rows_of = [np.flatnonzero(group == number) for number in np.unique(group)]
    drawn = [rank(np.concatenate([rows_of[at] for at in rng.integers(len(rows_of), size=len(rows_of))]))
             for _ in range(draws)]  # fmt: skip
    low, high = np.percentile(drawn, [5, 95])
    return f"{middle:8.4f}  ({low:.4f} to {high:.4f}; {len(repeated)} cells of {len(rows_of)} computations repeated)"


def snapdragon(counts: tuple[int, ...], draws: int) -> None:
    for table in cells("snapdragon855/nb201_latency_ms.csv.gz", SNAPDRAGON):
        show(iter([table]), counts, draws)
        print(f"{'  noise ceiling':36}  {ceiling(table)}", flush=True)


def shipped() -> Iterator[tuple[str, SearchSpace, LatencyPredictor]]:
    """One shipped predictor of every kind; one transferred from ten networks and one roofline fitted to forty."""
    left = set(registry.names("predictors"))
    sources: list[Source] = []
    for name in target_names():
        for fitted in load_target(name).fitted:
            predictor = fitted.predictor
            space = nas.space(fitted.fit.spaces[0] if fitted.fit.spaces else "mbconv")
            if predictor.kind == "lookup":
                space = MEASURED_BY_BLOCK
            if predictor.kind in left:
                left.remove(predictor.kind)
                yield f"{predictor.kind} ({name}, {fitted.metric})", space, predictor
            if space.name == "nasbench201" and fitted.metric == "latency_ms":
                sources.append((name, predictor))
    space = nas.space("nasbench201")
    codes = space.sample(10, np.random.default_rng(0))
    values, _ = sources[0][1].predict(space, codes)
    roofline = nas.space("mbconv")
    chosen = roofline.sample(40, np.random.default_rng(0))
    zcu102 = load_target("zcu102").on(roofline)["latency_ms"].predictor
    layers = [roofline.spec(code).layers() for code in chosen]
    samples = samples_of(layers, zcu102.predict(roofline, chosen)[0], (), ())
    yield "roofline (40 networks)", roofline, fit_roofline(samples, UNCALIBRATED)
    yield f"transfer ({len(sources) - 1} sources)", space, fit_transfer(space, codes, values, sources[1:])


def speed() -> None:
    with TemporaryDirectory() as folder:
        for name, space, predictor in shipped():
            codes = space.sample(100_000, np.random.default_rng(0))
            predictor.predict(space, codes[:10])
            start, used = time.perf_counter(), time.process_time()
            predictor.predict(space, codes)
            seconds, processor = time.perf_counter() - start, time.process_time() - used
            path = Path(folder) / "predictor"
            predictor.write(path)
            print(f"100,000 codes of {space.name:18} {name:42}{seconds:6.2f} s ({processor:.2f} s of one core)  "
                  f"file {path.stat().st_size / 1000:.0f} kB", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["accel", "snapdragon", "hwnas", "help", "ofa", "speed"])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--fit", type=int, nargs="+", help="how many networks to fit to; 0: all")
    given = parser.parse_args()
    counts = tuple(count or EVERY for count in given.fit or ())
    for part in given.parts:
        print(f"\n{part:30}   fit  {COLUMNS}")
        if part == "accel":
            show(accel(), counts or (100, 500, EVERY), given.draws)
        elif part == "snapdragon":
            snapdragon(counts or (100, 500), given.draws)
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
