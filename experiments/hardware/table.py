"""The error table of every shipped target, from its profile.

Usage: python experiments/hardware/table.py [--write]    print it, or put it into README.md
"""

from __future__ import annotations

import argparse
from pathlib import Path

from nas.hardware import Fitted, read_target
from nas.hardware.target import PROFILE

HERE = Path(__file__).parent
SHIPPED = HERE.parents[1] / "hardware_profiles"
README = HERE / "README.md"
#: what is between these lines of the README is written by this program
START, END = "<!-- table: start -->", "<!-- table: end -->"
#: intervals of 90 % should hold so many of at least so many networks held out
COVERED, ENOUGH = (0.87, 0.93), 300

COLUMNS = ("target", "metric", "space", "kind", "fitted on", "held out", "error", "±5 %", "±10 %", "Spearman",
           "90 % holds", "noise of the measurements")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--profiles", type=Path, default=SHIPPED)
    arguments = parser.parse_args()
    folders = sorted(path.parent for path in arguments.profiles.glob(f"*/{PROFILE}"))
    text = markdown([fitted for folder in folders for fitted in read_target(folder).fitted])
    if arguments.write:
        before, rest = README.read_text(encoding="utf-8").split(START)
        README.write_text(f"{before}{START}\n\n{text}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")
    else:
        print(text)


def markdown(fits: list[Fitted]) -> str:
    """Return the table, and below it which intervals are too narrow or too wide."""
    rows = [COLUMNS, ("---",) * len(COLUMNS), *map(_row, fits)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    judged = [f for f in fits if f.fit.held_out is not None and f.fit.held_out.networks >= ENOUGH]
    wrong = [_coverage(fitted) for fitted in judged if not COVERED[0] <= _covered(fitted) <= COVERED[1]]
    said = ", ".join(wrong) or "none"
    low, high = (f"{100 * share:.0f}" for share in COVERED)
    return (
        f"{table}\n\nPredictors with at least {ENOUGH} networks held out: {len(judged)}."
        f" Those whose 90 % interval holds less than {low} or more than {high} %: {said}."
    )


def _row(fitted: Fitted) -> tuple[str, ...]:
    fit, held = fitted.fit, fitted.fit.held_out
    place = ", ".join(fit.spaces) or "any network"
    known = (fitted.target, fit.metric, place, fitted.predictor.kind, fit.fitted_on.replace("|", "/"))
    if held is None:
        return (*known, "none", *[""] * 5, "")
    five = "" if held.within_5_percent is None else f"{100 * held.within_5_percent:.1f} %"
    return (
        *known, f"{held.networks:,}, {held.protocol}", f"{held.mean_absolute_percentage_error:.2f} %", five,
        f"{100 * held.within_10_percent:.1f} %", f"{held.spearman:.4f}", f"{100 * held.interval_90_coverage:.1f} %",
        held.noise,
    )  # fmt: skip


def _covered(fitted: Fitted) -> float:
    held = fitted.fit.held_out
    return 0.0 if held is None else held.interval_90_coverage


def _coverage(fitted: Fitted) -> str:
    return f"{fitted.target} {fitted.metric} on {', '.join(fitted.fit.spaces)} ({100 * _covered(fitted):.1f} %)"


if __name__ == "__main__":
    main()
