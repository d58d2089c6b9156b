"""The conformance suite in full: every strategy, space, number of objectives and bound.

    python benchmarks/conformance.py [--strategies a,b] [--spaces a,b] [--out conformance.csv] [--jobs 2]

What is known without an evaluation (all costs, one, none) takes turns. A strategy with a model is told fewer networks.
Every finished pair of a strategy and a space is a line in the file; started again, those that are in it are not run
again. A strategy that refuses a space with a clear error, as grid search does where there is too much to list, is
counted as refusing it.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import pandas as pd

from nas import registry
from nas.errors import NasError
from nas.space import SearchSpace
from nas.testing import BOUNDS, KNOWN, MadeUpProblem, check_bound, check_failures, check_search

SETTINGS = list(itertools.product((1, 2, 3), BOUNDS))
#: strategies that take milliseconds or more for each network
SLOW = ("auto", "bananas", "npenas", "optuna", "ppo", "predictor", "reinforce")
COLUMNS = ("strategy", "space", "passed", "refused", "failed", "seconds", "first_failure")


def check_pair(strategy: str, name: str) -> dict[str, object]:
    """Run all settings of a strategy on a space."""
    space: SearchSpace = registry.load("spaces", name)
    factory = registry.load("strategies", strategy)
    slow = strategy.startswith(SLOW)
    counts, first_failure, start = dict.fromkeys(("passed", "refused", "failed"), 0), "", time.process_time()
    for turn, (count, bound) in enumerate(SETTINGS):
        problem = MadeUpProblem(space, count, bound, KNOWN[turn % 3])
        try:
            check_search(factory, problem, (20, 1, 8) if slow else (64, 1, 16))
            check_failures(factory, problem, (6, 1, 2) if slow else (16, 1, 8))
            check_bound(factory, problem)
            counts["passed"] += 1
        except NasError as error:
            counts["refused"] += 1
            first_failure = first_failure or f"refused: {error}"
        except Exception as error:  # whatever goes wrong is what is looked for
            counts["failed"] += 1
            first_failure = f"{type(error).__name__}: {error}"
    seconds = round(time.process_time() - start, 1)
    return {"strategy": strategy, "space": name, **counts, "seconds": seconds, "first_failure": first_failure}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    # "optunahub" is nothing without the name of a package.
    names = [*(name for name in registry.names("strategies") if name != "optunahub"), "optuna:NSGAIISampler"]
    parser.add_argument("--strategies", default=",".join(names))
    parser.add_argument("--spaces", default=",".join(registry.names("spaces")))
    parser.add_argument("--out", type=Path, default=Path("conformance.csv"))
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    if not options.out.exists():
        options.out.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    table = pd.read_csv(options.out)
    done = set(zip(table["strategy"], table["space"], strict=True))
    # Spaces first, so that what is finished of an interrupted run has seen all strategies.
    wanted = itertools.product(options.spaces.split(","), options.strategies.split(","))
    pairs = [(strategy, space) for space, strategy in wanted if (strategy, space) not in done]
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as pool:
        for future in as_completed([pool.submit(check_pair, *pair) for pair in pairs]):
            row = future.result()
            with options.out.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, COLUMNS).writerow(row)
            print(" ".join(str(value) for value in row.values()), flush=True)
    show(pd.read_csv(options.out, keep_default_na=False))


def show(table: pd.DataFrame) -> None:
    """Print how many of the settings each strategy passes on each space."""
    passed = table["passed"].astype(str) + "/" + (table["passed"] + table["failed"]).astype(str)
    table["result"] = passed.where(table["refused"] == 0, "refused")
    print(table.pivot(index="strategy", columns="space", values="result").to_string())
    print(f"{table['passed'].sum()} passed, {table['failed'].sum()} failed, {table['refused'].sum()} refused")


if __name__ == "__main__":
    main()
