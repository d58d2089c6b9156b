"""Check the bars of black-box strategies on tables of trained networks; each is a `nas bench strategies` command.

    NAS_DATA=FOLDER python benchmarks/strategies_on_tables.py [--seeds 100] [--first-seed 0] [--jobs 2] [--only NAME] \
        [--out FOLDER]

Prints the command of each plan and, for each bar, the mean with its 95 % interval beside the figure asked for. Which
strategy is held to the bar of "the best strategy" is named here, before it is measured: `predictor`. With --out,
finished searches are kept there, and the same command goes on after an interruption. Exit code 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import shlex
from dataclasses import dataclass
from pathlib import Path

from nas.search.bench import BenchPlan, BenchResult, bench
from nas.search.bench_store import BenchStore


@dataclass(frozen=True)
class Bar:
    """The least mean of a strategy at a budget; a number, or the name of the strategy whose mean it must exceed."""

    strategy: str
    evaluations: int
    quantity: str
    least: float | str


@dataclass(frozen=True)
class Study:
    """Options of one `nas bench strategies` command and the bars that its result is held to."""

    on: str
    strategies: tuple[str, ...]
    evaluations: tuple[int, ...]
    bars: tuple[Bar, ...]
    objectives: str = "error"
    free: tuple[str, ...] = ()

    def plan(self, seeds: int, first_seed: int) -> BenchPlan:
        goals = tuple(self.objectives.split(","))
        return BenchPlan((self.on,), self.strategies, seeds, self.evaluations, goals, first_seed, self.free)

    def command(self, seeds: int, first_seed: int) -> str:
        words = ["nas", "bench", "strategies", "--on", self.on, "--strategies", ",".join(self.strategies)]
        words += ["--evaluations", ",".join(map(str, self.evaluations)), "--objectives", self.objectives]
        words += ["--free", ",".join(self.free)] if self.free else []
        return shlex.join([*words, "--seeds", str(seeds), "--first-seed", str(first_seed)])


def test_accuracy(least: float) -> tuple[Bar, ...]:
    return (Bar("predictor", 100, "test", least),)


STUDIES = {
    "accuracy": Study(
        "nasbench-macro", ("local", "evolution", "predictor"), (50, 100),
        (
            Bar("evolution", 100, "best", 93.11), Bar("predictor", 50, "best", 93.10),
            Bar("predictor", 100, "best", 93.125),
        ),
    ),
    "policy": Study(
        "nasbench-macro", ("reinforce", "ppo"), (300,),
        (Bar("reinforce", 300, "best", "random"), Bar("ppo", 300, "best", "random")),
    ),
    "front2": Study(
        "nasbench-macro", ("nsga2",), (200, 500),
        (Bar("nsga2", 200, "hypervolume_ratio", 0.960), Bar("nsga2", 500, "hypervolume_ratio", 0.994)),
        "error,macs",
    ),
    "front2-best": Study(
        "nasbench-macro", ("nsga2", "predictor"), (100, 200), (Bar("predictor", 200, "hypervolume_ratio", 0.985),),
        "error,macs",
    ),
    "front3": Study(
        "nasbench-macro", ("nsga2", "predictor"), (100, 200), (Bar("predictor", 200, "hypervolume_ratio", 0.975),),
        "error,macs,params",
    ),
    "nasbench201-cifar10": Study("nasbench201:cifar10", ("all",), (50, 100), test_accuracy(94.15)),
    "nasbench201-cifar100": Study("nasbench201:cifar100", ("all",), (50, 100), test_accuracy(72.0)),
    "nasbench201-imagenet16-120": Study("nasbench201:imagenet16-120", ("all",), (50, 100), test_accuracy(46.2)),
    "accel": Study(
        "accel", ("nsga2", "predictor"), (100, 300),
        (
            Bar("predictor", 300, "hypervolume_ratio", "nsga2"), Bar("predictor", 300, "hypervolume_ratio", "random"),
        ),
        "error,latency_zcu102_ms",
    ),
    "accel-free": Study(
        "accel", ("nsga2", "predictor"), (100, 300), (Bar("predictor", 300, "hypervolume_ratio", "nsga2"),),
        "error,latency_zcu102_ms", ("latency_zcu102_ms",),
    ),
}  # fmt: skip


def report(study: Study, result: BenchResult) -> bool:
    """Print all means, then each bar; return whether all are reached."""
    rows = result.summary().set_index(["quantity", "evaluations", "strategy"])
    shown = {bar.quantity for bar in study.bars}
    overhead = result.overhead.set_index("strategy")["ms_per_evaluation"]
    for (quantity, evaluations, strategy), row in (
        rows.sort_values("rank", kind="stable").sort_index(level=1).iterrows()
    ):
        if quantity in shown:
            half = (row["high"] - row["low"]) / 2
            mean, ms = f"{row['mean']:.4f} ± {half:.4f}  #{row['rank']}", overhead[strategy]
            print(f"{evaluations:5} evaluations  {strategy:12} {quantity} {mean}  {ms:.1f} ms an evaluation")
    reached = True
    for bar in study.bars:
        mean = rows["mean"][bar.quantity, bar.evaluations, bar.strategy]
        asked = rows["mean"][bar.quantity, bar.evaluations, bar.least] if isinstance(bar.least, str) else bar.least
        passed = mean > asked if isinstance(bar.least, str) else mean >= asked
        than = f"above {bar.least}'s {asked:.4f}" if isinstance(bar.least, str) else f"at least {asked}"
        verdict = "pass" if passed else "FAIL"
        print(f"{verdict}: {bar.strategy} {bar.quantity} {mean:.4f} at {bar.evaluations} evaluations; asked: {than}")
        reached &= bool(passed)
    return reached


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", action="append", choices=STUDIES)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    reached = True
    for name in options.only or STUDIES:
        study = STUDIES[name]
        print(f"\n{name}\n$ {study.command(options.seeds, options.first_seed)}", flush=True)
        store = None if options.out is None else BenchStore(options.out / name)
        reached &= report(study, bench(study.plan(options.seeds, options.first_seed), options.jobs, None, store))
    return 0 if reached else 1


if __name__ == "__main__":
    raise SystemExit(main())
