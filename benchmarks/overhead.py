r"""What a strategy itself costs: seconds of ask and tell, evaluations excluded.

    python benchmarks/overhead.py strategies [--evaluations 10000]
    python benchmarks/overhead.py frameworks [--evaluations 10000] [--seeds 5] [--against pymoo,optuna-50] \
        [--space mbconv]

`strategies`: milliseconds an evaluation of each of our own on `mbconv`, without a bound, with a bound on predicted
latency that one network in a hundred meets and that is known beforehand, and with the same bound learned.

`frameworks`: NSGA-II of this package, of pymoo and of Optuna on the same problem, top-1 accuracy and latency of
`mbconv` on `pixel4`, both predicted, a hundred evaluations of each in turn. Hypervolume is the share of the problem's
box that all networks evaluated so far dominate. pymoo has the operators its documentation names for integers, the
population of 100 that is its default (ours grows to 200), no duplicates, and the canonical form of a network in place
of repetitions of it; Optuna has every decision as a categorical parameter, since its NSGA-II does not cross over
conditional ones. Seeds are from 100 on by default: on lower ones the rates of variation of ours were chosen, on
`mbconv`; nothing was chosen on `--space mbconv-ofa`.

Times are of the processor, on one thread, so that what else runs on the machine counts little.
"""

from __future__ import annotations

import argparse
import os

os.environ["OMP_NUM_THREADS"] = "1"

import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
import pandas as pd
from pymoo.algorithms.moo.nsga2 import NSGA2 as PYMOO_NSGA2
from pymoo.core.problem import Problem as PymooProblem
from pymoo.core.repair import Repair
from pymoo.operators.crossover.sbx import SBX
from pymoo.operators.mutation.pm import PM
from pymoo.operators.sampling.rnd import IntegerRandomSampling

from nas import registry
from nas.cost import Constraint, losses
from nas.search.config import make_config
from nas.search.problem import Problem
from nas.space import Codes

STRATEGIES = ("nsga2", "nsga3", "evolution", "local", "local-best", "pareto-local")
#: share of the networks that meets the bound
FEASIBLE = 0.01
TURN = 100


class Contestant(ABC):
    """Searches batch by batch; keeps the points it found and the time that it took itself."""

    name: str

    def __init__(self, problem: Problem, seed: int):
        self.problem, self.seed = problem, seed
        self.points: list[np.ndarray] = []
        self.evaluations = 0
        self.seconds = 0.0

    @abstractmethod
    def ask(self, n: int) -> Codes:
        """Return up to `n` codes to evaluate."""

    @abstractmethod
    def tell(self, codes: Codes, metrics: pd.DataFrame) -> None: ...

    def step(self, n: int) -> int:
        start = time.process_time()
        codes = self.ask(n)
        asked = time.process_time()
        metrics = self.problem.evaluate(codes)
        told = time.process_time()
        self.tell(codes, metrics)
        self.seconds += time.process_time() - told + asked - start
        self.points.append(losses(metrics, self.problem.objectives))
        self.evaluations += len(codes)
        return len(codes)

    @property
    def milliseconds(self) -> float:
        """Of ask and tell, for each evaluation."""
        return 1e3 * self.seconds / self.evaluations

    @property
    def hypervolume(self) -> float:
        return self.problem.box().hypervolume(np.concatenate(self.points))


class Ours(Contestant):
    def __init__(self, problem: Problem, seed: int, name: str = "nsga2", known: bool = False):
        super().__init__(problem, seed)
        costs = problem.costs if known else None
        self.search = registry.load("strategies", name)(
            problem.space, problem.objectives, problem.constraints, seed, costs
        )

    def ask(self, n: int) -> Codes:
        codes: Codes = self.search.ask(min(n, self.search.batch_size))
        return codes

    def tell(self, codes: Codes, metrics: pd.DataFrame) -> None:
        self.search.tell(codes, metrics)


class Pymoo(Contestant):
    def __init__(self, problem: Problem, seed: int):
        super().__init__(problem, seed)
        space = problem.space
        last = np.array([len(decision.choices) for decision in space.decisions]) - 1

        class Canonical(Repair):  # type: ignore[misc]
            def _do(self, problem: Any, X: Any, **kwargs: Any) -> Any:  # noqa: N803 - pymoo's name
                return space.canonical(np.around(X).astype(np.int8)).astype(int)

        repair = Canonical()
        self.algorithm = PYMOO_NSGA2(
            pop_size=100,
            sampling=IntegerRandomSampling(),
            crossover=SBX(prob=1.0, eta=3.0, vtype=float, repair=repair),
            mutation=PM(prob=1.0, eta=3.0, vtype=float, repair=repair),
            repair=repair,
            eliminate_duplicates=True,
        )
        declared = PymooProblem(n_var=len(last), n_obj=len(problem.objectives), xl=0, xu=last, vtype=int)
        self.algorithm.setup(declared, termination=("n_gen", 10**9), seed=seed, verbose=False)

    def ask(self, n: int) -> Codes:
        self.population = self.algorithm.ask()
        codes: Codes = self.population.get("X").astype(np.int8)
        return codes

    def tell(self, codes: Codes, metrics: pd.DataFrame) -> None:
        self.population.set("F", losses(metrics, self.problem.objectives))
        self.algorithm.tell(infills=self.population)


class Optuna(Contestant):
    population = 50

    def __init__(self, problem: Problem, seed: int):
        super().__init__(problem, seed)
        sampler = optuna.samplers.NSGAIISampler(population_size=self.population, seed=seed)
        self.study = optuna.create_study(directions=["minimize"] * len(problem.objectives), sampler=sampler)
        self.choices = {decision.name: list(range(len(decision.choices))) for decision in problem.space.decisions}

    def ask(self, n: int) -> Codes:
        self.trial = self.study.ask()
        code = [self.trial.suggest_categorical(name, choices) for name, choices in self.choices.items()]
        return self.problem.space.canonical(np.array([code], dtype=np.int8))

    def tell(self, codes: Codes, metrics: pd.DataFrame) -> None:
        self.study.tell(self.trial, losses(metrics, self.problem.objectives)[0].tolist())


class OptunaOf100(Optuna):
    population = 100


def bounded(problem: Problem) -> Problem:
    """The problem with the bound on latency that one network in a hundred meets."""
    drawn = problem.costs(problem.space.sample(20_000, np.random.default_rng(1)))
    bound = Constraint("latency_ms", float(drawn["latency_ms"].quantile(FEASIBLE)))
    return Problem(problem.space, problem.objectives, (bound,), problem.estimator, problem.target)


def compare_strategies(problem: Problem, evaluations: int) -> None:
    print(f"milliseconds of ask and tell an evaluation, mean of {evaluations:,} on {problem.space.name}")
    print(f"{'strategy':14} {'no bound':>10} {'known bound':>12} {'learned bound':>14}")
    tight = bounded(problem)
    for name in STRATEGIES:
        row = []
        for of, known in ((problem, True), (tight, True), (tight, False)):
            search = Ours(of, 0, name, known)
            while search.evaluations < evaluations:
                search.step(evaluations - search.evaluations)
            row.append(search.milliseconds)
        print(f"{name:14} {row[0]:10.3f} {row[1]:12.3f} {row[2]:14.3f}", flush=True)


MAKERS: dict[str, Callable[[Problem, int], Contestant]] = {
    "nas": Ours,
    "pymoo": Pymoo,
    "optuna-50": Optuna,
    "optuna-100": OptunaOf100,
}


def compare_frameworks(problem: Problem, names: Sequence[str], evaluations: int, seeds: Sequence[int]) -> None:
    results: dict[str, list[Contestant]] = {name: [] for name in names}
    for seed in seeds:
        race = {name: MAKERS[name](problem, seed) for name in names}
        for turn in range(TURN, evaluations + TURN, TURN):
            for contestant in race.values():
                while contestant.evaluations < min(turn, evaluations):
                    contestant.step(min(turn, evaluations) - contestant.evaluations)
        for name, contestant in race.items():
            results[name].append(contestant)
        print(f"seed {seed}: {_seed_line(race)}", flush=True)
    ours = np.mean([search.milliseconds for search in results["nas"]])
    print(f"NSGA-II, {evaluations:,} evaluations, means of {len(seeds)} seeds")
    print(f"{'':12} {'ms':>8} {'times ours':>11} {'hypervolume':>12} {'std':>8}")
    for name, searches in results.items():
        spent = np.mean([search.milliseconds for search in searches])
        volumes = [search.hypervolume for search in searches]
        print(f"{name:12} {spent:8.3f} {spent / ours:11.1f} {np.mean(volumes):12.5f} {np.std(volumes):8.5f}")


def _seed_line(race: dict[str, Contestant]) -> str:
    return "; ".join(f"{name} {search.milliseconds:.3f} ms, {search.hypervolume:.5f}" for name, search in race.items())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("strategies", "frameworks"))
    parser.add_argument("--evaluations", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--space", default="mbconv")
    parser.add_argument("--against", default="pymoo,optuna-50,optuna-100")
    given = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    problem = Problem.from_config(make_config({"space": given.space, "target": "pixel4"}))
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    if given.what == "strategies":
        compare_strategies(problem, given.evaluations)
    else:
        compare_frameworks(problem, ["nas", *given.against.split(",")], given.evaluations, seeds)


if __name__ == "__main__":
    main()
