"""Measure strategies on tables of really trained networks, with the true optimum and the true front beside them.

    NAS_DATA=FOLDER python benchmarks/strategies_on_tables.py [--seeds 100] [--first-seed 1000] [--only NAME] \
        [--strategies random,predictor,...]

NAS_DATA holds nasbench_macro/nas-bench-macro_cifar10.json, nasbench201/nb201_accuracy.csv.gz and
accel_nasbench/imagenet_mbconv.csv.gz. Each line is the mean over seeds with its 95 % interval.

accuracy     NAS-Bench-Macro, accuracy of the best network found, mean of three trainings.
front2       NAS-Bench-Macro, error and MACs; front3: and params. Share of the hypervolume of the true front, objectives
             scaled to the range of the whole space, reference (1, ..., 1).
nasbench201  choosing by a validation column alone, of equal values the one evaluated first; the 200-epoch test
             accuracy of the chosen network is reported and seen by nobody before.
accel        the measured networks of Accel-NASBench, error and ZCU102 latency, both told by evaluations alone.
accel-free   the same, the latency known beforehand as if predicted without error.

Free in all: MACs and params. `nsga2+ends` is NSGA-II that begins, as `predictor` does, with the cheapest network of
every free objective.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import pandas as pd

import nas
from nas import registry
from nas.cost import Box, Objective, cost_model, is_on_front
from nas.space import Codes, SearchSpace
from nas.space.listed_space import ListedSpace
from nas.strategies.base import Costs, Strategy
from nas.strategies.nsga2 import NSGA2
from nas.strategies.predictor import cheapest_networks


class NSGA2WithEnds(NSGA2):
    """NSGA-II that begins with the cheapest network of every free objective."""

    def _propose(self, n: int, rng: np.random.Generator) -> Codes:
        ends = [] if self._known else [cheapest_networks(self, rng)]
        return np.concatenate([*ends, super()._propose(n, rng)])


@dataclass(frozen=True)
class Table:
    """Networks of a space with what was measured of them, row by row."""

    space: SearchSpace
    codes: Codes
    metrics: pd.DataFrame

    @cached_property
    def index(self) -> dict[bytes, int]:
        return {row.tobytes(): i for i, row in enumerate(self.codes)}

    def rows(self, codes: Codes) -> np.ndarray:
        return np.array([self.index[row.tobytes()] for row in np.ascontiguousarray(codes)], dtype=np.int64)

    def columns(self, names: Sequence[str]) -> Costs:
        values = self.metrics[list(names)].to_numpy(dtype=np.float64)
        return lambda codes: pd.DataFrame(values[self.rows(codes)], columns=list(names))


def data() -> Path:
    if "NAS_DATA" not in os.environ:
        raise SystemExit("set NAS_DATA to the folder that holds the benchmark tables")
    return Path(os.environ["NAS_DATA"])


@cache
def macro() -> Table:
    space = nas.space("nasbench-macro")
    raw = json.loads((data() / "nasbench_macro/nas-bench-macro_cifar10.json").read_text())
    top1 = np.array([network["mean_acc"] for network in raw.values()])
    macs = [float(network["flops"]) for network in raw.values()]
    params = [float(network["params"]) for network in raw.values()]
    codes = np.array([space.encode(key) for key in raw], dtype=np.int8)
    return Table(space, codes, pd.DataFrame({"top1": top1, "error": 100 - top1, "macs": macs, "params": params}))


@cache
def nasbench201() -> Table:
    space = nas.space("nasbench201")
    raw = pd.read_csv(data() / "nasbench201/nb201_accuracy.csv.gz")
    codes = np.array([space.encode(cell) for cell in raw.arch_str], dtype=np.int8)
    return Table(space, codes, raw.select_dtypes("number").join(cost_model(space)(codes)))


@cache
def accel() -> Table:
    whole = nas.space("mbconv")
    raw = pd.read_csv(data() / "accel_nasbench/imagenet_mbconv.csv.gz").dropna(subset="latency_zcu102_ms")
    stages = {name: [values.split() for values in raw[name]] for name in ("expand", "kernel", "layers", "se")}
    codes = np.array(
        [
            whole.encode({f"stage{i + 1}.{name}": int(rows[row][i]) for name, rows in stages.items() for i in range(7)})
            for row in range(len(raw))
        ]
    )
    space = ListedSpace(whole, codes)
    table = Table(space, codes, raw.assign(error=100 - raw.top1).select_dtypes("number"))
    rows = table.rows(space.listed)
    return Table(space, space.listed, table.metrics.iloc[rows].reset_index(drop=True))


def evaluated(strategy: Strategy, table: Table, budget: int) -> np.ndarray:
    """Return int[budget], the rows of the table in the order in which a strategy evaluates them."""
    seen = np.zeros(0, dtype=np.int64)
    while len(seen) < budget:
        codes = strategy.ask(min(strategy.batch_size, budget - len(seen)))
        if not len(codes):
            break
        rows = table.rows(codes)
        strategy.tell(codes, table.metrics.iloc[rows])
        seen = np.append(seen, rows)
    return seen


@dataclass(frozen=True)
class Experiment:
    """What is told to a strategy, and how the networks it evaluates are judged after each number of `marks`.

    With several objectives the judgement is the share of the true hypervolume; with one it is the metric `report` of
    the network that is best by the objective.
    """

    table: Callable[[], Table]
    objectives: tuple[Objective, ...]
    marks: tuple[int, ...]
    free: tuple[str, ...] = ("params", "macs")
    report: str = ""

    def run(self, make: Callable[..., Strategy], seed: int) -> list[float]:
        table = self.table()
        strategy = make(table.space, self.objectives, (), seed, table.columns(self.free))
        rows = evaluated(strategy, table, self.marks[-1])
        judge = self.hypervolume if len(self.objectives) > 1 else self.chosen
        return [judge(rows[:mark]) for mark in self.marks]

    def chosen(self, rows: np.ndarray) -> float:
        metrics = self.table().metrics
        # argmax gives the first of equal ones: the one evaluated first.
        return float(metrics[self.report].iloc[rows[metrics[self.objectives[0].metric].to_numpy()[rows].argmax()]])

    def hypervolume(self, rows: np.ndarray) -> float:
        points, box, whole = self.truth
        return box.hypervolume(points[rows]) / whole

    @cached_property
    def truth(self) -> tuple[np.ndarray, Box, float]:
        points = self.table().metrics[[objective.metric for objective in self.objectives]].to_numpy(dtype=np.float64)
        box = Box(tuple(points.min(axis=0)), tuple(points.max(axis=0)))
        return points, box, box.hypervolume(points[is_on_front(points)])


def least(*metrics: str) -> tuple[Objective, ...]:
    return tuple(Objective(metric) for metric in metrics)


EXPERIMENTS = {
    "accuracy": Experiment(macro, (Objective("top1", True),), (50, 100), report="top1"),
    "front2": Experiment(macro, least("error", "macs"), (100, 200)),
    "front3": Experiment(macro, least("error", "macs", "params"), (100, 200)),
    "nasbench201-cifar10": Experiment(
        nasbench201, (Objective("ep200_cifar10_val_seed", True),), (50, 100), report="ep200_cifar10_test"
    ),
    "nasbench201-cifar100": Experiment(
        nasbench201, (Objective("ep12_cifar100_val", True),), (50, 100), report="ep200_cifar100_test"
    ),
    "nasbench201-imagenet16": Experiment(
        nasbench201, (Objective("ep12_ImageNet16-120_val", True),), (50, 100), report="ep200_ImageNet16-120_test"
    ),
    "accel": Experiment(accel, least("error", "latency_zcu102_ms"), (100, 300)),
    "accel-free": Experiment(
        accel, least("error", "latency_zcu102_ms"), (100, 300), free=("params", "macs", "latency_zcu102_ms")
    ),
}
SINGLE = ("random", "local", "evolution", "bananas", "npenas", "predictor")
MULTI = ("random", "nsga2", "nsga2+ends", "bananas", "npenas", "predictor")


def strategies(names: Sequence[str]) -> Iterator[tuple[str, Callable[..., Strategy]]]:
    for name in names:
        yield name, NSGA2WithEnds if name == "nsga2+ends" else registry.load("strategies", name)


def interval(values: np.ndarray) -> str:
    digits = 4 if values.max() <= 1 else 3
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return f"{values.mean():.{digits}f} ± {half:.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--only", action="append", choices=EXPERIMENTS)
    parser.add_argument("--strategies", type=lambda text: text.split(","))
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    for name in options.only or EXPERIMENTS:
        experiment = EXPERIMENTS[name]
        print(f"\n| {name}, {len(seeds)} seeds from {seeds[0]} |", end="")
        print("".join(f" {mark} evaluations |" for mark in experiment.marks), "lowest | ms per evaluation |")
        print("|---|" + "---|" * (len(experiment.marks) + 2), flush=True)
        default = MULTI if len(experiment.objectives) > 1 else SINGLE
        for strategy, make in strategies(options.strategies or default):
            start = time.perf_counter()
            results = np.array([experiment.run(make, seed) for seed in seeds])
            cost = 1000 * (time.perf_counter() - start) / len(seeds) / experiment.marks[-1]
            means = "".join(f" {interval(column)} |" for column in results.T)
            print(f"| {strategy} |{means} {results[:, -1].min():.4f} | {cost:.2f} |", flush=True)


if __name__ == "__main__":
    main()
