"""Say what the study found: `python experiments/scaling/cifar10/summary.py [results.csv]`, tables in Markdown.

A mean has the standard error of its runs, from the spread of the seeds pooled over all networks: two or three seeds of
one network say little about it. At each cost validation picks the best single dimension and the best mix; their
difference on the test images, which nothing was chosen by, has a 95 % Student interval.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import t as student

HERE = Path(__file__).resolve().parent
SINGLE = ("depth", "width", "resolution")
MIXED = ("pair", "compound")


def pooled(runs: pd.DataFrame, column: str) -> tuple[float, int]:
    """Return the standard deviation between seeds of one network, and its degrees of freedom."""
    groups = runs.groupby("name")[column]
    freedom = int((groups.count() - 1).sum())
    if not freedom:
        raise SystemExit("every network has one seed: there is no spread to judge differences by")
    return float(np.sqrt((runs[column] - groups.transform("mean")).pow(2).sum() / freedom)), freedom


def networks(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row a network: what it is, mean accuracies, number of seeds, cost relative to the base."""
    table = runs.groupby("name", sort=False).agg(
        kind=("kind", "first"), depth=("depth", "first"), width=("width", "first"), pixels=("resolution", "first"),
        params=("params", "first"), macs=("macs", "first"), val=("val_top1", "mean"), test=("test_top1", "mean"),
        seeds=("seed", "nunique"),
    )  # fmt: skip
    table["cost"] = table["macs"] / table.loc["base", "macs"]
    return table


def difference(table: pd.DataFrame, runs: pd.DataFrame, ahead: str, behind: str, column: str) -> str:
    """Return how far one network is ahead of another, with its 95 % interval."""
    deviation, freedom = pooled(runs, f"{column}_top1")
    error = deviation * float(np.sqrt(1 / table.at[ahead, "seeds"] + 1 / table.at[behind, "seeds"]))
    half = float(student.ppf(0.975, freedom)) * error
    mean = table.at[ahead, column] - table.at[behind, column]
    return f"{mean:+.2f} [{mean - half:+.2f}, {mean + half:+.2f}]"


def main() -> None:
    runs = pd.read_csv(sys.argv[1] if len(sys.argv) > 1 else HERE / "results.csv")
    table = networks(runs)
    deviations = {column: pooled(runs, f"{column}_top1")[0] for column in ("val", "test")}
    print("| network | depth | width | pixels | params | MACs | × base | seeds | validation | test |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, row in table.iterrows():
        scores = (f"{row[column]:.2f} ± {deviations[column] / np.sqrt(row['seeds']):.2f}" for column in deviations)
        print(
            f"| {name} | {row['depth']:g} | {row['width']:g} | {row['pixels']} | {row['params'] / 1e3:.0f}k "
            f"| {row['macs'] / 1e6:.2f}M | {row['cost']:.2f} | {row['seeds']} | {' | '.join(scores)} |"
        )
    print("\nBetween seeds of one network: {val:.2f} points in validation, {test:.2f} in test.".format(**deviations))
    print("\n| cost | compared (chosen by validation) | validation | test |\n|---|---|---|---|")
    for label, group in table[table["cost"] > 1].groupby(table["cost"].round().astype(int)):
        single = group[group["kind"].isin(SINGLE)]["val"].idxmax()
        mixes = [group[group["kind"].isin(MIXED)]["val"].idxmax(), *group.index[group["kind"] == "compound"]]
        for mix in dict.fromkeys(mixes):
            gaps = " | ".join(difference(table, runs, mix, single, column) for column in ("val", "test"))
            print(f"| {label} × | {mix} over {single} | {gaps} |")


if __name__ == "__main__":
    main()
