"""Strategies against the truth: searches on tables in which every network is known, over many seeds.

A strategy is told what a search may see; test accuracies are looked up afterwards for the network that a search would
have chosen.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from nas import registry
from nas.cost import Objective
from nas.errors import NasError
from nas.estimators.tabular import load_benchmark
from nas.search.arena import Arena, Truth
from nas.search.bench_store import BenchStore, FinishedSearch, SearchKey
from nas.search.code_digest import made_with
from nas.search.metrics import objective_of

#: every comparison has it beside the others
BASELINE = "random"
#: what is compared where nothing else is asked for, by whether there are several objectives
DEFAULT_STRATEGIES = {False: ("local", "evolution", "predictor"), True: ("pareto-local", "nsga2", "predictor")}
#: points of a curve, evenly spaced by ratio: over evaluations besides those asked for, and over the clock
CURVE_POINTS, CLOCK_POINTS = 24, 40
#: half the width of a 95 % interval of a mean, in standard errors
NORMAL_95 = 1.959964

#: columns of the curves by which strategies are compared; see `Arena.trajectory`
QUANTITIES = ("hypervolume_ratio", "best", "regret", "test")

#: strategies that a comparison of all leaves out: one of the others, and a walk through a list
NOT_COMPARED = ("auto", "grid")

OnSearch = Callable[[int, int], None]
Searches = dict[SearchKey, FinishedSearch]
#: variables that set how many threads linear algebra takes; one, so that results do not depend on the machine's cores
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class BenchPlan:
    """What to compare on what.

    Args:
        benchmarks: names of tables, short ones too; see `nas.estimators.tabular.load_benchmark`.
        strategies: their names, or ("all",), see `all_strategies`; `BASELINE` is added.
        seeds: how many, from `first_seed` on.
        evaluations: budgets at which the strategies are compared.
        objectives: metrics, the one by which a network is chosen first.
        free: metrics known before an evaluation, besides the counts that always are.
        epochs: training by whose accuracy networks are chosen; None: the one each table names.
        data: folder of the tables; None: the one that NAS_DATA names.

    Raises:
        NasError: an empty list, or a number that is too small.
    """

    benchmarks: tuple[str, ...]
    strategies: tuple[str, ...]
    seeds: int
    evaluations: tuple[int, ...]
    objectives: tuple[str, ...] = ("error",)
    first_seed: int = 0
    free: tuple[str, ...] = ()
    epochs: int | None = None
    data: str | None = None

    def __post_init__(self) -> None:
        for name in ("benchmarks", "strategies", "evaluations", "objectives"):
            if not getattr(self, name):
                raise NasError(f"no {name} given; name at least one")
        if min(self.seeds, *self.evaluations) < 1:
            raise NasError("seeds and evaluations must be at least 1")
        if self.first_seed < 0:
            raise NasError(f"the first seed must be at least 0, not {self.first_seed}")

    @property
    def all_strategies(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((BASELINE, *self.strategies)))

    @property
    def seed_range(self) -> range:
        return range(self.first_seed, self.first_seed + self.seeds)

    @property
    def searches(self) -> list[SearchKey]:
        """All searches of the plan, in order."""
        return [
            SearchKey(benchmark, strategy, seed)
            for benchmark in self.benchmarks
            for strategy in self.all_strategies
            for seed in self.seed_range
        ]

    @property
    def checkpoints(self) -> npt.NDArray[np.int64]:
        """Numbers of evaluations after which the curves have a point."""
        last = max(self.evaluations)
        spaced = np.geomspace(min(5, last), last, CURVE_POINTS).round().astype(np.int64)
        return np.unique(np.append(spaced, self.evaluations))

    def arena(self, benchmark: str) -> Arena:
        """Return a table as this plan sees it, read once a process.

        Raises:
            NasError: unknown names, files that are missing or damaged.
        """
        return _arena(benchmark, self.objectives, self.data, self.free, self.epochs)


@dataclass(frozen=True, eq=False)
class BenchResult:
    """Curves of all searches, and what they are measured by.

    Args:
        curves: one row a benchmark, strategy, seed and number of `evaluations`, with the columns of
            `Arena.trajectory`.
        clock: the same over `hours` on a grid that the strategies of a benchmark share: what is known after so many
            hours when one network is trained after the other. A strategy has the hours from when each of its seeds has
            trained as many networks as the curves begin with, until one has spent its budget. Empty without recorded
            times.
        overhead: one row a benchmark and strategy: `ms_per_evaluation`, processor time in ask and tell.
        truths: of every benchmark.
    """

    plan: BenchPlan
    curves: pd.DataFrame
    clock: pd.DataFrame
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


def all_strategies() -> tuple[str, ...]:
    """Return the strategies that a comparison of all has, `BASELINE` first: those of two names once, no `NOT_COMPARED`.

    Those that take an argument, such as `optuna:SAMPLER`, are many; they are to be named.
    """
    found = {BASELINE: registry.load("strategies", BASELINE)}
    for name in registry.names("strategies"):
        strategy = registry.load("strategies", name)
        one = name not in NOT_COMPARED and not hasattr(strategy, "with_argument")
        if one and strategy not in found.values():
            found[name] = strategy
    return tuple(found)


def bench(
    plan: BenchPlan, jobs: int = 1, on_search: OnSearch | None = None, store: BenchStore | None = None
) -> BenchResult:
    """Run every strategy with every seed on every benchmark, in `jobs` processes; the result does not depend on them.

    Args:
        on_search: called with the number of searches done and of all searches whenever one is done.
        store: keeps every search as it finishes; those that it holds already are not done again.

    Raises:
        NasError: unknown names, files that are missing or damaged, a store of another plan, a process that died.
    """
    plan = replace(
        plan,
        benchmarks=tuple(dict.fromkeys(load_benchmark(name).name for name in plan.benchmarks)),
        strategies=all_strategies() if plan.strategies == ("all",) else plan.strategies,
    )
    for strategy in plan.all_strategies:
        registry.load("strategies", strategy)
    truths = {name: plan.arena(name).truth for name in plan.benchmarks}
    done: Searches = {}
    if store is not None:
        store.open(made_with(plan, {name: plan.arena(name).digest for name in plan.benchmarks}))
        done = store.searches()
    missing = [key for key in plan.searches if key not in done]
    kept = len(plan.searches) - len(missing)
    for key, search in _in_processes(plan, missing, jobs):
        done[key] = search
        if store is not None:
            store.add(key, search)
        kept += 1
        if on_search is not None:
            on_search(kept, len(plan.searches))
    return _result(plan, truths, {key: done[key] for key in plan.searches})


def run_search_of(plan: BenchPlan, key: SearchKey) -> FinishedSearch:
    """Do one search of a plan, in this process."""
    return FinishedSearch(*plan.arena(key.benchmark).search(key.strategy, key.seed, max(plan.evaluations)))


def _result(plan: BenchPlan, truths: dict[str, Truth], searches: Searches) -> BenchResult:
    known = {key: plan.arena(key.benchmark).trajectory(search.rows) for key, search in searches.items()}
    curves = [_labelled(key, _over_evaluations(table, plan.checkpoints)) for key, table in known.items()]
    clock = [
        _labelled(key, curve)
        for name in plan.benchmarks
        for key, curve in _over_the_clock(
            {key: table for key, table in known.items() if key.benchmark == name}, int(plan.checkpoints[0])
        )
    ]
    spent = pd.DataFrame(
        [(key.benchmark, key.strategy, search.seconds, len(search.rows)) for key, search in searches.items()],
        columns=["benchmark", "strategy", "seconds", "evaluations"],
    )
    spent = spent.groupby(["benchmark", "strategy"], sort=False).sum()
    overhead = (1000 * spent["seconds"] / spent["evaluations"]).rename("ms_per_evaluation").reset_index()
    return BenchResult(
        plan, pd.concat(curves, ignore_index=True), pd.concat(clock, ignore_index=True) if clock else pd.DataFrame(),
        overhead, truths,
    )  # fmt: skip


def _labelled(key: SearchKey, curve: pd.DataFrame) -> pd.DataFrame:
    labels = pd.DataFrame(dict(zip(key._fields, key, strict=True)), index=curve.index)
    return pd.concat([labels, curve], axis=1)


def _over_evaluations(known: pd.DataFrame, checkpoints: npt.NDArray[np.int64]) -> pd.DataFrame:
    """What is known after so many evaluations; a search that found nothing more to evaluate keeps what it knows."""
    at = known.reindex(np.minimum(checkpoints, len(known)) - 1).reset_index(drop=True)
    at.insert(0, "evaluations", checkpoints)
    return at


def _over_the_clock(known: Mapping[SearchKey, pd.DataFrame], begin: int) -> Iterator[tuple[SearchKey, pd.DataFrame]]:
    """What is known after so many hours, for searches on one benchmark; nothing without recorded times.

    Args:
        begin: evaluations that each seed has done at the first hour.
    """
    hours = {key: table["train_hours"].to_numpy() for key, table in known.items() if len(table)}
    if not hours or any(np.isnan(times).any() for times in hours.values()):
        return
    ends: dict[str, tuple[float, float]] = {}
    for key, times in hours.items():
        first, last = ends.get(key.strategy, (0.0, np.inf))
        ends[key.strategy] = max(first, times[:begin][-1]), min(last, times[-1])
    earliest, latest = min(first for first, _ in ends.values()), max(last for _, last in ends.values())
    grid = np.geomspace(earliest, latest, CLOCK_POINTS)
    for key, times in hours.items():
        first, last = ends[key.strategy]
        own = grid[(grid >= first) & (grid <= last)]
        at = known[key].iloc[np.searchsorted(times, own, side="right") - 1].drop(columns="train_hours")
        at.insert(0, "hours", own)
        yield key, at.reset_index(drop=True)


@lru_cache(maxsize=8)
def _arena(
    name: str, objectives: tuple[str, ...], data: str | None, free: tuple[str, ...], epochs: int | None
) -> Arena:
    return Arena.load(name, objectives, data, free, epochs)


def _in_processes(plan: BenchPlan, keys: Sequence[SearchKey], jobs: int) -> Iterator[tuple[SearchKey, FinishedSearch]]:
    """Do searches; yields each as it finishes."""
    if not keys:
        return
    context = multiprocessing.get_context("spawn")
    with _one_thread_each(), ProcessPoolExecutor(min(jobs, len(keys)), context, _end_with_parent) as pool:
        futures = {pool.submit(_run_there, plan, key): key for key in keys}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool:
            raise NasError("a process of the comparison died: killed, out of memory, or it could not start") from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _end_with_parent() -> None:
    """Let a worker end with the main process, however that ends; what is to be said, the main process says."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_outlast_parent, daemon=True).start()


def _outlast_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run_there(plan: BenchPlan, key: SearchKey) -> FinishedSearch:
    try:
        return run_search_of(plan, key)
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
