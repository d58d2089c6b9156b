"""Schedulers that train shortly first, against full training, on NAS-Bench-201.

    NAS_DATA=DIR python benchmarks/multi_fidelity.py [--seeds 100] [--tune]

Every search has a budget of epochs; a training of 12 epochs and one of 200 are two trainings, so a network that goes on
costs 212. Validation accuracy after 200 epochs chooses among the networks trained so long, and its 200-epoch test
accuracy is reported. `--tune` prints the check of the reduction factor and the warm-up on other data: the 9,445 cells
of ImageNet16-120 that have a validation accuracy after 200 epochs. They were first tried in a prototype on CIFAR-10.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from nas.cost import COST_METRICS, Box, Objective, cost_model, is_on_front, losses
from nas.estimators.tabular import TabularEstimator
from nas.schedulers.asha import ASHA, ParetoASHA
from nas.schedulers.base import FullFidelity, Scheduler
from nas.schedulers.hyperband import Hyperband
from nas.space import Codes, ListedSpace
from nas.strategies.base import Strategy
from nas.strategies.evolution import RegularizedEvolution
from nas.strategies.nsga2 import NSGA2
from nas.strategies.random import RandomSearch

SHORT, FULL = 12, 200
BUDGETS = (5_000, 10_000, 20_000)
#: nothing was tried with the first; the second are for `--tune`
SEEDS, TUNING_SEEDS = range(5000, 6000), range(1000, 2000)

ERROR, MACS = Objective("top1", maximise=True), Objective("macs")


class Arena:
    """A table with trainings of 12 and of 200 epochs, restricted to the networks that have both."""

    def __init__(self, benchmark: str):
        table = TabularEstimator(benchmark).table
        both = np.isfinite(table.top1[SHORT]) & np.isfinite(table.top1[FULL])
        codes = table.codes[both]
        self.space = table.space if both.all() else ListedSpace(table.space, codes)
        self._rows = {code.tobytes(): row for row, code in enumerate(codes)}
        costs = cost_model(table.space)(codes)
        self.metrics = {epochs: costs.assign(top1=table.top1[epochs][both]) for epochs in (SHORT, FULL)}
        self.test = table.reported["test_top1"].to_numpy()[both]

    def rows(self, codes: Codes) -> list[int]:
        return [self._rows[code.tobytes()] for code in codes]

    def costs(self, codes: Codes) -> pd.DataFrame:
        return self.metrics[FULL][list(COST_METRICS)].iloc[self.rows(codes)]

    def search(
        self, scheduler: Callable[..., Scheduler], strategy: type[Strategy], objectives: Sequence[Objective],
        seed: int, budget: int,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:  # fmt: skip
        """Return the networks that were fully trained, in order, and the epochs spent by then."""

        def proposing(seed: int) -> Strategy:
            return strategy(self.space, objectives, (), seed, self.costs)

        search = scheduler(proposing, (SHORT, FULL), seed)
        spent, trained, epochs = 0, [], []
        while True:
            codes, fidelity = search.ask(search.batch_size)
            cost = fidelity or FULL
            rows = self.rows(codes[: (budget - spent) // cost])
            if not rows:
                return np.array(trained, dtype=np.int64), np.array(epochs, dtype=np.int64)
            search.tell(codes[: len(rows)], fidelity, self.metrics[cost].iloc[rows])
            if fidelity is None:
                trained += rows
                epochs += [spent + cost * (i + 1) for i in range(len(rows))]
            spent += cost * len(rows)


@dataclass(frozen=True)
class Contender:
    name: str
    scheduler: Callable[..., Scheduler]
    strategy: type[Strategy]


ONE_OBJECTIVE = (
    Contender("random, full training", FullFidelity, RandomSearch),
    Contender("evolution, full training", FullFidelity, RegularizedEvolution),
    Contender("random, asha", ASHA, RandomSearch),
    Contender("evolution, asha", ASHA, RegularizedEvolution),
    Contender("random, hyperband", Hyperband, RandomSearch),
    Contender("evolution, hyperband", Hyperband, RegularizedEvolution),
)
TWO_OBJECTIVES = (
    Contender("random, full training", FullFidelity, RandomSearch),
    Contender("nsga2, full training", FullFidelity, NSGA2),
    Contender("random, pareto-asha", ParetoASHA, RandomSearch),
    Contender("nsga2, pareto-asha", ParetoASHA, NSGA2),
)


class Uncapped(ASHA):
    """Algorithm 2 to the letter: whoever is among the best 1 / eta goes on, however many there are already."""

    def _due(self, rung: int) -> list[bytes]:
        if len(self.rungs[0]) < self.warm_up:
            return []
        best = self.rungs[rung].best_first()[: len(self.rungs[rung]) // self.eta]
        return [key for key in best if key not in self.rungs[rung + 1]]


def accuracies(
    arena: Arena, contender: Contender, seeds: Sequence[int], budgets: Sequence[int] = BUDGETS
) -> pd.DataFrame:
    """Return one row a seed and budget: validation and test accuracy of the network that validation chooses."""
    top1 = arena.metrics[FULL]["top1"].to_numpy()
    records = []
    for seed in seeds:
        rows, epochs = arena.search(contender.scheduler, contender.strategy, (ERROR,), seed, max(budgets))
        for budget in budgets:
            within = rows[epochs <= budget]
            chosen = within[top1[within].argmax()]
            records.append({"budget": budget, "validation": top1[chosen], "test": arena.test[chosen]})
    return pd.DataFrame(records)


def hypervolumes(arena: Arena, contender: Contender, seeds: Sequence[int]) -> pd.DataFrame:
    """Return one row a seed and budget: the share of the true front's hypervolume, validation error and MACs."""
    points = losses(arena.metrics[FULL], (ERROR, MACS))
    box = Box(tuple(points.min(axis=0)), tuple(points.max(axis=0)))
    truth = box.hypervolume(points[is_on_front(points)])
    records = []
    for seed in seeds:
        rows, epochs = arena.search(contender.scheduler, contender.strategy, (ERROR, MACS), seed, max(BUDGETS))
        for budget in BUDGETS:
            found = box.hypervolume(points[rows[epochs <= budget]])
            records.append({"budget": budget, "hypervolume": found / truth})
    return pd.DataFrame(records)


def summary(name: str, frame: pd.DataFrame, value: str) -> str:
    """Return a line of a table: the mean at each budget, with its standard error."""
    groups = frame.groupby("budget")[value]
    cells = zip(groups.mean(), groups.sem(), strict=True)
    digits = 4 if value == "hypervolume" else 3
    return f"| {name} | " + " | ".join(f"{mean:.{digits}f} ± {error:.{digits}f}" for mean, error in cells) + " |"


def heading(title: str, budgets: Sequence[int] = BUDGETS) -> None:
    print(f"\n| {title} | " + " | ".join(f"{budget:,} epochs" for budget in budgets) + " |")
    print("|---" * (len(budgets) + 1) + "|", flush=True)


def tune(seeds: Sequence[int]) -> None:
    arena, budgets = Arena("nasbench201-imagenet16-120"), BUDGETS[:2]
    variants: list[tuple[str, Callable[..., Scheduler]]] = [("full training", FullFidelity)]
    for rule, warm_up, eta in (
        *((ASHA, 4, eta) for eta in (2, 3, 4, 6)), *((ASHA, 20, eta) for eta in (3, 4, 6, 8)), (ASHA, 40, 4),
        (Uncapped, 4, 4), (Uncapped, 20, 4), (Uncapped, 20, 8),
    ):  # fmt: skip
        kind = type(rule.__name__, (rule,), {"warm_up": warm_up})
        variants.append((f"{rule.__name__} eta {eta}, warm-up {warm_up}", partial(kind, eta=eta)))
    variants += [(f"Hyperband eta {eta}", partial(Hyperband, eta=eta)) for eta in (2, 3, 4, 8, 16)]
    heading(f"ImageNet16-120, {arena.space.size:,} cells: validation top-1, evolution, {len(seeds)} seeds", budgets)
    for name, scheduler in variants:
        contender = Contender(name, scheduler, RegularizedEvolution)
        print(summary(name, accuracies(arena, contender, seeds, budgets), "validation"), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--tune", action="store_true")
    options: Any = parser.parse_args()
    if options.tune:
        tune(TUNING_SEEDS[: options.seeds])
        return
    arena, seeds = Arena("nasbench201-cifar10"), SEEDS[: options.seeds]
    heading(f"CIFAR-10: test top-1, chosen by validation, {options.seeds} seeds")
    for contender in ONE_OBJECTIVE:
        print(summary(contender.name, accuracies(arena, contender, seeds), "test"), flush=True)
    heading(f"CIFAR-10: hypervolume ratio of validation error and MACs, {options.seeds} seeds")
    for contender in TWO_OBJECTIVES:
        print(summary(contender.name, hypervolumes(arena, contender, seeds), "hypervolume"), flush=True)


if __name__ == "__main__":
    main()
