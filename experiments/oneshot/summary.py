"""Say what the study found: `python experiments/oneshot/summary.py [--write]`, tables in Markdown and a figure.

Test accuracies are those of the NAS-Bench-201 table (CIFAR-10, 200 epochs, mean of its trainings), found in the folder
NAS_DATA; they report what a run has chosen, after it has.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from figure import svg
from scipy.stats import kendalltau

from nas import registry
from nas.estimators.tabular import TabularEstimator
from nas.plain_yaml import load_yaml
from nas.space import SearchSpace

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("NAS_DATA", HERE.parents[1].parent / "shared" / "data"))
START, END = "<!-- tables -->", "<!-- end of tables -->"
METRIC = "oneshot_top1"
RESAMPLES = 2000

Floats = npt.NDArray[np.float64]


class Cells:
    """What is known of cells, written as in the files of the study.

    Args:
        space: NAS-Bench-201.
        data: folder of the tables.
    """

    def __init__(self, space: SearchSpace, data: Path):
        self.space = space
        codes = space.all_codes()
        self._row = {cell: i for i, cell in enumerate(space.format(codes))}
        self._codes = codes
        reported = TabularEstimator("nasbench201-cifar10", data).report(codes)
        self.test_top1 = reported["test_top1"].to_numpy(dtype=np.float64)

    def test(self, cells: pd.Series) -> Floats:
        """Return float[n], test accuracies in percent."""
        return self.test_top1[[self._row[cell] for cell in cells]]

    def costs(self, cells: pd.Series) -> pd.DataFrame:
        """Return params and macs of the networks of the benchmark, one row a cell."""
        return pd.DataFrame([self.space.spec(self._codes[self._row[cell]]).cost() for cell in cells])


def found_table(runs: pd.DataFrame, study: dict[str, Any], cells: Cells) -> str:
    """Return what each method found, in Markdown."""
    rows = [
        "| method | test accuracy | of each seed | better than, of all cells | skips | shared weights | published "
        "| steps | CPU minutes |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in study["methods"]:
        of = runs[runs["method"] == name].sort_values("seed")
        if of.empty:
            continue
        test = of["test"].to_numpy()
        beaten = 100 * np.mean([np.mean(cells.test_top1 < value) for value in test])
        published = study["published"].get(name)
        known = f"{published['top1']} ({published['source']})" if published else ""
        seconds = of["cpu_seconds"].dropna()  # of runs that were never interrupted
        minutes = f"{seconds.mean() / 60:.1f}" if len(seconds) else "interrupted"
        rows.append(
            f"| {name} | {plus_minus(test)} | {', '.join(f'{value:.2f}' for value in test)} | {beaten:.0f} % "
            f"| {100 * of['cell'].map(skip_share).mean():.0f} % | {of[METRIC].mean():.1f} "
            f"| {known} | {of['steps'].iloc[0]:,} | {minutes} |"
        )
    return "\n".join(rows)


def distribution(name: str, test: Floats) -> str:
    low, first, median, third, high = np.percentile(test, [5, 25, 50, 75, 95])
    return (
        f"| {name} | {len(test):,} | {test.mean():.2f} ± {test.std(ddof=1):.2f} | {median:.2f} "
        f"| {first:.2f} to {third:.2f} | {low:.2f} to {high:.2f} | {test.max():.2f} |"
    )


def ranking_table(rankings: pd.DataFrame, drawn: pd.Series, cells: Cells) -> str:
    """Return how shared weights rank the random cells, beside what parameters and multiply-adds alone say."""
    rows = [
        "| ranked by | Kendall τ with the table | of each seed | between seeds | mean accuracy |",
        "|---|---|---|---|---|",
    ]
    truth = cells.test(drawn)
    for name, of in rankings.groupby("method", sort=False):
        accuracies = of.pivot(index="seed", columns="cell", values=METRIC)[list(dict.fromkeys(drawn))]
        scores = [accuracies.loc[seed, drawn].to_numpy() for seed in accuracies.index]
        taus = np.array([tau(score, truth) for score in scores])
        pairs = [tau(a, b) for i, a in enumerate(scores) for b in scores[:i]]
        rows.append(
            f"| {name} | {taus.mean():.2f} {interval(scores, truth)} | {', '.join(f'{t:.2f}' for t in taus)} "
            f"| {f'{np.mean(pairs):.2f}' if pairs else ''} | {np.mean(scores):.1f} |"
        )
    costs = cells.costs(drawn)
    for metric, words in (("params", "parameters"), ("macs", "multiply-adds")):
        score = costs[metric].to_numpy(dtype=np.float64)
        rows.append(f"| {words} | {tau(score, truth):.2f} {interval([score], truth)} | | | |")
    return "\n".join(rows)


def tau(score: Floats, truth: Floats) -> float:
    return float(kendalltau(score, truth).statistic)


def interval(scores: list[Floats], truth: Floats) -> str:
    """Return the 95 % interval of the mean tau over seeds, for another draw of cells: a bootstrap of the cells."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(truth), size=(RESAMPLES, len(truth)))
    taus = [np.mean([tau(score[rows], truth[rows]) for score in scores]) for rows in drawn]
    low, high = np.percentile(taus, [2.5, 97.5])
    return f"[{low:.2f}, {high:.2f}]"


def plus_minus(values: Floats) -> str:
    return f"{values.mean():.2f}" + (f" ± {values.std(ddof=1):.2f}" if len(values) > 1 else "")


def skip_share(cell: str) -> float:
    """Return the share of skip connections among the edges of a cell that bring something."""
    present = [operation for operation in cell.replace(",", "-").split("-") if operation != "none"]
    return present.count("skip_connect") / max(len(present), 1)


def tables(study: dict[str, Any], folder: Path, cells: Cells) -> tuple[str, str]:
    """Return the tables in Markdown, and the figure as SVG."""
    runs = pd.read_csv(folder / "results.csv")
    runs["test"] = cells.test(runs["cell"])
    random = study["random_cells"]
    codes = cells.space.sample(random["number"], np.random.default_rng(random["seed"]))
    drawn = pd.Series(cells.space.format(codes))
    parts = [
        found_table(runs, study, cells),
        "| cells | number | test accuracy | median | quartiles | 5 to 95 % | best |\n|---|---|---|---|---|---|---|\n"
        + "\n".join([distribution("random", cells.test(drawn)), distribution("all", cells.test_top1)]),
    ]
    path = folder / "rankings.csv"
    rankings = pd.read_csv(path) if path.exists() else pd.DataFrame()
    if len(rankings):
        parts.append(ranking_table(rankings, drawn, cells))
    groups = {name: of["test"].tolist() for name, of in runs.groupby("method", sort=False)}
    return "\n\n".join(parts), svg({"random cells": cells.test(drawn).tolist()} | groups)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=HERE, help="folder of results.csv and rankings.csv")
    parser.add_argument("--study", type=Path, default=HERE / "study.yaml")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the tables")
    parser.add_argument("--write", action="store_true", help="into README.md and figure.svg, instead of printing")
    options = parser.parse_args()
    study = load_yaml(options.study.read_text(encoding="utf-8"))
    text, drawing = tables(study, options.results, Cells(registry.load("spaces", "nasbench201"), options.data))
    if not options.write:
        print(text)
        return
    readme = HERE / "README.md"
    before, rest = readme.read_text(encoding="utf-8").split(START)
    readme.write_text(f"{before}{START}\n\n{text}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")
    (HERE / "figure.svg").write_text(drawing, encoding="utf-8")


if __name__ == "__main__":
    main()
