"""Is a latency budget kept? Networks chosen under a budget, looked up in tables of measurements.

    NAS_DATA=DIR python benchmarks/budget_kept.py [--fits 10] [--budgets 20] [--only zcu102] [--search]

For each device a predictor is fitted to a few hundred random networks. Then the most accurate network within a budget
is chosen among all networks that the predictor was not fitted to, once by the prediction alone and once with confidence
0.9, for budgets at even quantiles of the measured latency from 10 to 90 %. What is chosen is looked up in the table:
the share that exceeds its budget, and what accuracy the confidence costs. By default the choice is the best of all
networks, what a perfect search finds; it falls for every prediction that is too low. With `--search` it is what NSGA-II
finds in 1,000 evaluations.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from nas.cost import Constraint, Objective, violation
from nas.estimators.tabular import TabularEstimator
from nas.hardware import Fit, Target, read_target
from nas.hardware.fitting.fit_regression import fit_regression
from nas.hardware.profile import Profile, PublishedLatency, write_profile
from nas.search.device import device_metrics, sure_constraints
from nas.search.factories import make_strategy
from nas.search.problem import Problem
from nas.space import Codes, ListedSpace, SearchSpace

#: device -> table, measured column, networks fitted to
DEVICES = {
    "zcu102": ("accel-nasbench", "latency_zcu102_ms", 500),
    "vck190": ("accel-nasbench", "latency_vck190_ms", 500),
    "edgegpu": ("nasbench201-cifar10", "latency_edgegpu_ms", 900),
    "raspi4": ("nasbench201-cifar10", "latency_raspi4_ms", 900),
    "pixel3": ("nasbench201-cifar10", "latency_pixel3_ms", 900),
}
CONFIDENCE = 0.9
EVALUATIONS = 1_000
OBJECTIVES = (Objective("top1", maximise=True), Objective("latency_ms"))


def fitted_target(device: str, space: SearchSpace, codes: Codes, values: np.ndarray, seed: int, folder: Path) -> Target:
    fit_regression(space, codes, values, seed=seed).write(folder / "predictor.npz")
    nothing = PublishedLatency(network="none", published_ms=0, predicted_ms=0, source="")
    fit = Fit(
        spaces=(space.name,), predictor="predictor.npz", source="", fitted_on="", valid_for="", published=(nothing,)
    )
    write_profile(Profile(name=device, description="", device=device, fits=(fit,)), folder / "profile.yaml")
    return read_target(folder)


def searched(problem: Problem, seed: int) -> pd.DataFrame:
    """Return the networks that NSGA-II evaluates, with their metrics and rows of the table."""
    strategy = make_strategy("nsga2", problem, seed, EVALUATIONS)
    seen: list[pd.DataFrame] = []
    while (left := EVALUATIONS - sum(map(len, seen))) > 0:
        codes = strategy.ask(min(strategy.batch_size, left))
        if not len(codes):
            break
        metrics = problem.evaluate(codes)
        strategy.tell(codes, metrics)
        seen.append(metrics.assign(row=problem.estimator.table.rows(codes)))
    return pd.concat(seen, ignore_index=True)


def judge(device: str, fits: int, budgets: int, by_search: bool) -> pd.DataFrame:
    """Return one row a choice: whether it is over its budget, by how much, its accuracy and the odds it was given."""
    benchmark, column, count = DEVICES[device]
    estimator = TabularEstimator(benchmark)
    table = estimator.table
    measured = table.measured[column].to_numpy()
    usable = np.flatnonzero(np.isfinite(measured) & (measured > 0) & np.isfinite(table.top1[None]))
    space = table.space.base if isinstance(table.space, ListedSpace) else table.space
    rows = []
    for fit in range(fits):
        order = np.random.default_rng(fit).permutation(usable)
        known, others = order[:count], order[count:]
        with tempfile.TemporaryDirectory() as folder:
            target = fitted_target(device, space, table.codes[known], measured[known], fit, Path(folder))
            devices = device_metrics((target,), space)
            listed = ListedSpace(space, table.codes[others])
            for i, level in enumerate(np.linspace(0.1, 0.9, budgets)):
                budget = float(np.quantile(measured[others], level))
                for confidence in (None, CONFIDENCE):
                    bounds = sure_constraints([Constraint("latency_ms", upper=budget)], devices, confidence)
                    if by_search:
                        seen = searched(Problem(listed, OBJECTIVES, bounds, estimator, (target,)), 1000 * fit + i)
                    else:
                        predicted = devices[0].columns(space, table.codes[others], bounds)
                        seen = pd.DataFrame(predicted).assign(top1=table.top1[None][others], row=others)
                    within = seen[violation(seen, bounds) == 0]
                    if len(within):
                        best = within.loc[within["top1"].idxmax()]
                        real = measured[int(best["row"])]
                        rows.append((confidence or 0.0, real > budget, real / budget - 1, best["top1"],
                                     best["latency_ms_p"]))  # fmt: skip
    return pd.DataFrame(rows, columns=["confidence", "over", "excess", "top1", "promised"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fits", type=int, default=10, help="predictors fitted a device, each to other networks")
    parser.add_argument("--budgets", type=int, default=20, help="budgets a predictor")
    parser.add_argument("--only", choices=DEVICES, action="append")
    parser.add_argument("--search", action="store_true", help="choose by NSGA-II instead of among all networks")
    options = parser.parse_args()
    print("device   confidence  chosen  over budget ± std   odds promised   excess of those   mean top-1")
    for device in options.only or DEVICES:
        choices = judge(device, options.fits, options.budgets, options.search)
        for confidence, group in choices.groupby("confidence"):
            share, n = group["over"].mean(), len(group)
            deviation = (share * (1 - share) / n) ** 0.5
            excess = group.loc[group["over"], "excess"].mean() if group["over"].any() else 0.0
            print(
                f"{device:8s} {confidence or 'none':>10}  {n:6d}  {share:8.1%} ± {deviation:5.1%}"
                f"  {1 - group['promised'].mean():14.1%}  {excess:16.2%}  {group['top1'].mean():11.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
