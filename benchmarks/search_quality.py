"""Compare default searches with a reference front.

    python benchmarks/search_quality.py [--rebuild]

Reference front of `mbconv` on `pixel4`: the union of NSGA-II runs of 300,000 evaluations with a population of 500
(seeds 1000 to 1003, none of them scored), improved exhaustively: all networks one decision away from any point are
evaluated, the front is taken again, and so on until nothing changes. It is kept in reference_front.csv and made
again when a fitted model has changed.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import nas
from nas.cost import front, losses
from nas.search.config import make_config
from nas.search.problem import Problem
from nas.search.run import model_digests
from nas.strategies.nsga2 import NSGA2

REFERENCE = Path(__file__).with_name("reference_front.csv")
SETTINGS = {"space": "mbconv", "target": "pixel4"}
SEEDS = range(5)


class LongRun(NSGA2):
    population_sizes = (500, 500)


def evaluated(problem: Problem, codes: np.ndarray) -> pd.DataFrame:
    return problem.evaluate(codes).assign(code=problem.space.format(codes))


def long_run(problem: Problem, seed: int, budget: int = 300_000) -> pd.DataFrame:
    strategy = LongRun(problem.space, problem.objectives, problem.constraints, seed)
    best = pd.DataFrame()
    for _ in range(0, budget, strategy.batch_size):
        codes = strategy.ask(strategy.batch_size)
        metrics = evaluated(problem, codes)
        strategy.tell(codes, metrics)
        best = front(pd.concat([best, metrics]), problem.objectives, ())
    return best


def improve(problem: Problem, best: pd.DataFrame) -> pd.DataFrame:
    space = problem.space
    while True:
        near = np.unique(np.concatenate([space.neighbours(space.encode(code)) for code in best.code]), axis=0)
        both = pd.concat([best, evaluated(problem, near)]).drop_duplicates("code")
        better = front(both, problem.objectives, ())
        if set(better.code) == set(best.code):
            return best
        best = better


def reference_front(problem: Problem, rebuild: bool) -> pd.DataFrame:
    digest = "/".join(model_digests(problem).values())
    if REFERENCE.exists() and not rebuild:
        stored = pd.read_csv(REFERENCE, comment="#")
        if REFERENCE.read_text().splitlines()[0] == f"# {digest}":
            return stored
    runs = pd.concat([long_run(problem, seed) for seed in range(1000, 1004)]).drop_duplicates("code")
    union = front(runs, problem.objectives, ())
    best = improve(problem, union).sort_values("latency_ms")[["code", "top1", "latency_ms"]]
    print(f"reference front made: {len(union)} points from long runs, {len(best)} after exhaustive improvement")
    REFERENCE.write_text(f"# {digest}\n{best.to_csv(index=False)}")
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rebuild", action="store_true", help="make the reference front again")
    problem = Problem.from_config(make_config(SETTINGS))
    reference = reference_front(problem, parser.parse_args().rebuild)
    whole = problem.box().hypervolume(losses(reference, problem.objectives))
    print(f"reference: {len(reference)} points, hypervolume {whole:.5f}\nseed  nsga2   random  (share of it)")
    for seed in SEEDS:
        shares = []
        for strategy in ("nsga2", "random"):
            with tempfile.TemporaryDirectory() as folder:
                run = nas.search(**SETTINGS, strategy=strategy, seed=seed, out=Path(folder) / "run")
                shares.append(run.hypervolume / whole)
        print(f"{seed:4d}  {shares[0]:.4f}  {shares[1]:.4f}", flush=True)


if __name__ == "__main__":
    main()
