"""Strategies against the truth: searches on tables in which every network is known, over many seeds.

A strategy is driven by ask and tell in the batches it likes, as a search drives it, and told what a search may see;
test accuracies are looked up afterwards for the network that a search would have chosen.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from nas import registry
from nas.cost import COST_METRICS, Box, Objective, is_on_front, losses
from nas.errors import NasError
from nas.estimators.tabular import TabularEstimator
from nas.search.metrics import objective_of
from nas.search.problem import Problem
from nas.space import Codes
from nas.strategies.base import Strategy

#: every comparison has it beside the others
BASELINE = "random"
#: points of a curve, evenly spaced by ratio, besides the evaluations asked for
CURVE_POINTS = 24
#: seeds that a worker process does at a time
SEEDS_A_TASK = 5
#: half the width of a 95 % interval of a mean, in standard errors
NORMAL_95 = 1.959964

#: columns of the curves by which strategies are compared; see `BenchResult`
QUANTITIES = ("hypervolume_ratio", "best", "regret", "test")

OnTask = Callable[[int, int], None]
#: variables that set how many threads linear algebra takes; one, so that results do not depend on the machine's cores
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class BenchPlan:
    """What to compare on what.

    Args:
        benchmarks: names of tables; see `nas.estimators.tabular`.
        strategies: their names; `BASELINE` is added.
        seeds: seeds 0 to seeds - 1.
        evaluations: budgets at which the strategies are compared.
        objectives: metrics, the one by which a network is chosen first.
        data: folder of the tables; None: the one that NAS_DATA names.

    Raises:
        NasError: an empty list, or a number below 1.
    """

    benchmarks: tuple[str, ...]
    strategies: tuple[str, ...]
    seeds: int
    evaluations: tuple[int, ...]
    objectives: tuple[str, ...] = ("error",)
    data: str | None = None

    def __post_init__(self) -> None:
        for name in ("benchmarks", "strategies", "evaluations", "objectives"):
            if not getattr(self, name):
                raise NasError(f"no {name} given; name at least one")
        if min(self.seeds, *self.evaluations) < 1:
            raise NasError("seeds and evaluations must be at least 1")

    @property
    def all_strategies(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((BASELINE, *self.strategies)))

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """Evaluations after which the curves have a point."""
        last = max(self.evaluations)
        spaced = np.geomspace(min(5, last), last, CURVE_POINTS).round().astype(int).tolist()
        return tuple(sorted({*self.evaluations, *spaced}))


@dataclass(frozen=True, eq=False)
class Arena:
    """A table with its true optimum and its true front.

    Args:
        metrics: n rows, all that a search may see of every network of the table.
        test: float[n], test accuracy in percent; None where the table has none.
    """

    name: str
    problem: Problem
    table_rows: Callable[[Codes], npt.NDArray[np.int64]]
    metrics: pd.DataFrame
    test: npt.NDArray[np.float64] | None

    @classmethod
    def load(cls, name: str, objectives: Sequence[str], data: str | None = None) -> Arena:
        """Read a table and evaluate all of it.

        Raises:
            NasError: an unknown table or objective, or files that are missing or damaged.
        """
        estimator = TabularEstimator(name, None if data is None else Path(data))
        table = estimator.table
        known = [*estimator.metrics, *COST_METRICS]
        chosen = tuple(dict.fromkeys(objective_of(objective, known) for objective in objectives))
        problem = Problem(table.space, chosen, (), estimator)
        tests = table.reported
        test = tests.iloc[:, 0].to_numpy(dtype=np.float64) if len(tests.columns) else None
        return cls(name, problem, table.rows, problem.evaluate(table.codes), test)

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return self.problem.objectives

    @cached_property
    def points(self) -> npt.NDArray[np.float64]:
        """float[n, M], the losses of all networks; not finite where an evaluation fails."""
        return losses(self.metrics, self.objectives)

    def costs(self, codes: Codes) -> pd.DataFrame:
        """Return what `Problem.costs` does, looked up."""
        return self.metrics[list(COST_METRICS)].iloc[self.table_rows(codes)].reset_index(drop=True)

    def history(self, strategy: str, seed: int, budget: int) -> tuple[npt.NDArray[np.int64], float]:
        """Search; return the rows of the table in the order of their evaluation, and the seconds of ask and tell."""
        start = time.perf_counter()
        make: Callable[..., Strategy] = registry.load("strategies", strategy)
        search = make(self.problem.space, self.objectives, (), seed, costs=self.costs)
        rows = np.zeros(0, dtype=np.int64)
        while len(rows) < budget:
            codes = search.ask(min(search.batch_size, budget - len(rows)))
            if not len(codes):
                break
            found = self.table_rows(codes)
            search.tell(codes, self.metrics.iloc[found])
            rows = np.append(rows, found)
        return rows, time.perf_counter() - start

    def truth(self) -> Truth:
        """Find the optimum and the front by looking at every network."""
        points = self.points
        finite = np.isfinite(points).all(axis=1)
        box = Box(tuple(points[finite].min(axis=0)), tuple(points[finite].max(axis=0)))
        front = points[finite][is_on_front(points[finite])]
        best = int(np.nanargmin(points[:, 0]))
        test = None if self.test is None else float(self.test[best])
        return Truth(float(points[best, 0]), test, box, len(front), box.hypervolume(front))


@dataclass(frozen=True)
class Truth:
    """What no search can surpass: the least first loss, the test accuracy there, the front and its hypervolume.

    `box` holds the least and the greatest loss of each objective over the table.
    """

    least_loss: float
    test: float | None
    box: Box
    front_size: int
    hypervolume: float


@dataclass(frozen=True)
class BenchResult:
    """Curves of all searches, and what they are measured by.

    Args:
        curves: one row a benchmark, strategy, seed and number of evaluations, with
            `best`, the first objective of the network chosen, the one that is best in it so far;
            `regret`, by how much the best network of the table is better;
            `hypervolume_ratio`, the share of the hypervolume of the true front, with several objectives;
            `test`, the test accuracy of the network chosen, where the table has one;
            `train_hours`, simulated, one training after the other, where the times are recorded.
        overhead: one row a benchmark and strategy: `ms_per_evaluation`, time in ask and tell.
        truths: of every benchmark.
    """

    plan: BenchPlan
    curves: pd.DataFrame
    overhead: pd.DataFrame
    truths: dict[str, Truth]

    @property
    def quantities(self) -> list[str]:
        """Columns of the curves by which strategies are compared."""
        return [name for name in QUANTITIES if self.curves[name].notna().any()]

    @property
    def chooses_by(self) -> Objective:
        """The first objective."""
        return objective_of(self.plan.objectives[0])

    @property
    def smaller_is_better(self) -> tuple[str, ...]:
        return ("regret",) if self.chooses_by.maximise else ("regret", "best")

    def summary(self) -> pd.DataFrame:
        """Return one row a benchmark, quantity, strategy and budget of the plan.

        Columns: mean and std (of one search) over the seeds, low and high (ends of the 95 % interval of the mean, by
        the normal distribution), rank of the mean among the strategies, 1 the best.
        """
        at = self.curves[self.curves["evaluations"].isin(self.plan.evaluations)]
        groups = ["benchmark", "quantity", "evaluations"]
        long = at.melt(["benchmark", "strategy", "seed", "evaluations"], self.quantities, "quantity").dropna()
        table = long.groupby([*groups, "strategy"], sort=False)["value"].agg(["mean", "std", "count"]).reset_index()
        half = NORMAL_95 * table["std"] / np.sqrt(table["count"])
        table["low"], table["high"] = table["mean"] - half, table["mean"] + half
        signed = table["mean"] * table["quantity"].map(lambda name: 1.0 if name in self.smaller_is_better else -1.0)
        table["rank"] = signed.groupby([table[name] for name in groups]).rank(method="min").astype(int)
        return table.rename(columns={"count": "seeds"})


def bench(plan: BenchPlan, jobs: int = 1, on_task: OnTask | None = None) -> BenchResult:
    """Run every strategy with every seed on every benchmark, in `jobs` processes; the result does not depend on them.

    Raises:
        NasError: unknown names, files that are missing or damaged.
    """
    for strategy in plan.all_strategies:
        registry.load("strategies", strategy)
    truths = {name: _arena(name, plan.objectives, plan.data).truth() for name in plan.benchmarks}
    tasks = [
        (plan, name, strategy, range(start, min(start + SEEDS_A_TASK, plan.seeds)))
        for name in plan.benchmarks
        for strategy in plan.all_strategies
        for start in range(0, plan.seeds, SEEDS_A_TASK)
    ]
    done = _in_processes(tasks, jobs, on_task)
    curves = pd.concat([curve for curve, _ in done], ignore_index=True)
    seconds = pd.DataFrame([row for _, rows in done for row in rows])
    spent = seconds.groupby(["benchmark", "strategy"], sort=False)[["seconds", "evaluations"]].sum()
    overhead = (1000 * spent["seconds"] / spent["evaluations"]).rename("ms_per_evaluation").reset_index()
    return BenchResult(plan, curves, overhead, truths)


Task = tuple[BenchPlan, str, str, range]
Done = tuple[pd.DataFrame, list[dict[str, Any]]]


def run_task(task: Task) -> Done:
    """Return the curves of some seeds of one strategy on one benchmark, and the seconds each took."""
    plan, name, strategy, seeds = task
    arena = _arena(name, plan.objectives, plan.data)
    truth, curves, seconds = arena.truth(), [], []
    for seed in seeds:
        rows, took = arena.history(strategy, seed, max(plan.evaluations))
        curve = curve_of(arena, truth, rows, plan.checkpoints)
        for column, value in (("seed", seed), ("strategy", strategy), ("benchmark", name)):
            curve.insert(0, column, value)
        curves.append(curve)
        seconds.append({"benchmark": name, "strategy": strategy, "seconds": took, "evaluations": len(rows)})
    return pd.concat(curves), seconds


def curve_of(arena: Arena, truth: Truth, rows: npt.NDArray[np.int64], checkpoints: Sequence[int]) -> pd.DataFrame:
    """Return one row a checkpoint with the columns of `BenchResult.curves` from `best` on; NaN where nothing is known.

    The network chosen is the one with the least first loss; of equal ones the one evaluated first.
    """
    points = arena.points[rows]
    timed = "train_seconds" in arena.metrics
    hours = np.cumsum(arena.metrics["train_seconds"].to_numpy()[rows]) / 3600 if timed else None
    sign = -1.0 if arena.objectives[0].maximise else 1.0
    records = []
    for evaluations in checkpoints:
        seen = points[:evaluations]
        record = dict.fromkeys(("best", "regret", "hypervolume_ratio", "test", "train_hours"), float("nan"))
        if not np.isnan(seen[:, 0]).all():
            chosen = int(np.nanargmin(seen[:, 0]))
            record["best"], record["regret"] = sign * seen[chosen, 0], seen[chosen, 0] - truth.least_loss
            if arena.test is not None:
                record["test"] = arena.test[rows[chosen]]
        if seen.shape[1] > 1:
            valid = seen[np.isfinite(seen).all(axis=1)]
            record["hypervolume_ratio"] = truth.box.hypervolume(valid) / truth.hypervolume
        if hours is not None and len(seen):
            record["train_hours"] = hours[len(seen) - 1]
        records.append({"evaluations": evaluations, **record})
    return pd.DataFrame(records)


@lru_cache(maxsize=8)
def _arena(name: str, objectives: tuple[str, ...], data: str | None) -> Arena:
    return Arena.load(name, objectives, data)


def _in_processes(tasks: Sequence[Task], jobs: int, on_task: OnTask | None) -> list[Done]:
    """Do all tasks; the results come in the order of the tasks, whichever is done first."""
    context = multiprocessing.get_context("spawn")
    workers = min(jobs, len(tasks))
    with _one_thread_each(), ProcessPoolExecutor(workers, context, _end_at_ctrl_c) as pool:
        futures: list[Future[Done]] = [pool.submit(_run_there, task) for task in tasks]
        try:
            for count, future in enumerate(as_completed(futures), start=1):
                future.result()
                if on_task is not None:
                    on_task(count, len(tasks))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return [future.result() for future in futures]


def _end_at_ctrl_c() -> None:
    """Let a worker end at once and in silence; what is to be said, the main process says."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _run_there(task: Task) -> Done:
    try:
        return run_task(task)
    except NasError as error:
        # An error with arguments of its own does not survive the way back from another process.
        raise NasError(str(error)) from None


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let the processes started meanwhile compute with one thread each."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
