"""Published networks that lie in a space, beside what a search found."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nas.cost import losses, violation
from nas.search.metrics import METRICS
from nas.search.problem import Problem
from nas.search.run import Run
from nas.space.catalogue import networks_in, published_top1


def published_beside(problem: Problem, front: pd.DataFrame) -> pd.DataFrame:
    """Return one row a published network of the space, evaluated like every other.

    Besides its metrics: `published_top1` and its `source` (None where nothing is recorded), `dominated_by` (numbers
    of the points of `front` that dominate it), `feasible` (whether it meets the constraints).
    """
    rows = []
    for name, code in networks_in(problem.space).items():
        metrics = problem.evaluate(code)
        figure = published_top1(name)
        rows.append(
            {
                "name": name,
                "code": problem.space.format(code)[0],
                **metrics.iloc[0],
                "published_top1": figure.value if figure else None,
                "source": figure.source if figure else "",
                "dominated_by": _dominated_by(problem, metrics, front),
                "feasible": bool(violation(metrics, problem.constraints)[0] == 0),
            }
        )
    return pd.DataFrame(rows)


def _dominated_by(problem: Problem, metrics: pd.DataFrame, front: pd.DataFrame) -> list[int]:
    if front.empty:
        return []
    point, points = losses(metrics, problem.objectives), losses(front, problem.objectives)
    dominating = (points <= point).all(axis=1) & (points < point).any(axis=1)
    return [int(number) for number in np.asarray(front.index)[dominating]]


def figures_text(problem: Problem, row: pd.Series) -> str:
    """Return the objectives of a published network, and its accuracy as published."""
    parts = []
    for objective in problem.objectives:
        metric = METRICS[objective.metric]
        parts.append(f"{metric.label} {metric.with_interval(row)} {metric.unit} ({problem.origin(metric.name)})")
    if not pd.isna(row["published_top1"]):
        parts.append(f"top-1 {row['published_top1']:.1f} % (published under its own recipe: {row['source']})")
    return ", ".join(parts)


def standing_text(run: Run, row: pd.Series) -> str:
    """Say where a published network stands against the front: dominated by how many points, by how much."""
    if not row["feasible"]:
        return "does not meet the bounds of this search"
    if not row["dominated_by"]:
        return "not dominated by any point of the front"
    dominating, objectives = run.front.loc[row["dominated_by"]], run.problem.objectives
    examples = []
    for objective in objectives:
        values = dominating[objective.metric]
        point = values.idxmax() if objective.maximise else values.idxmin()
        gains = [METRICS[o.metric].difference(dominating.loc[point, o.metric] - row[o.metric]) for o in objectives]
        examples.append(f"#{point} ({', '.join(gains)})")
    return f"dominated by {len(dominating)} points of the front, e.g. {' and '.join(dict.fromkeys(examples))}"
