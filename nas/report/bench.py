"""A comparison of strategies as CSV and as one self-contained HTML file."""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from nas.errors import NasError
from nas.search.bench import NORMAL_95, BenchResult
from nas.search.metrics import METRICS

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: colours that colour-blind people can tell apart (Okabe & Ito, 2008), then dashes
_COLOURS = ("#000000", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_DASHES = ("solid", "dash", "dot")
_COLUMNS = 2
#: column of the curves -> what is written below the axis
AXES = {"evaluations": "evaluations", "train_hours": "simulated hours of training"}


def write_bench(result: BenchResult, folder: Path) -> Path:
    """Write curves.csv (every search), summary.csv (means) and bench.html to a folder; return the last.

    Raises:
        NasError: the folder cannot be written.
    """
    path = folder / "bench.html"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        result.curves.to_csv(folder / "curves.csv", index=False)
        result.summary().to_csv(folder / "summary.csv", index=False)
        path.write_text(_page(result), encoding="utf-8")
    except OSError as error:
        raise NasError(f"cannot write {folder}: {error.strerror or error}") from None
    return path


def heading(result: BenchResult, benchmark: str, quantity: str) -> str:
    """Say what a quantity is, and what the best possible value of it is on a benchmark."""
    truth, first = result.truths[benchmark], result.chooses_by
    metric = METRICS[first.metric]
    best = -truth.least_loss if first.maximise else truth.least_loss
    if quantity == "hypervolume_ratio":
        front = f"{truth.front_size} points, {truth.hypervolume:.5f} of the box"
        return f"hypervolume as a share of the true front's ({front})"
    if quantity == "best":
        return f"best {metric.label} found; the best of the table has {best:.4f}"
    if quantity == "regret":
        return f"regret in {metric.label}: how much better the best of the table is"
    at_best = "" if truth.test is None else f"; the best of the table by that has {truth.test:.4f}"
    return f"test accuracy (%) of the network with the best {metric.label}{at_best}"


def _page(result: BenchResult) -> str:
    plan = result.plan
    title = f"nas bench strategies: {', '.join(plan.all_strategies)}"
    parts = [
        f"<p>{plan.seeds} searches of each strategy on each table, seeds 0 to {plan.seeds - 1}; objectives: "
        f"{html.escape(', '.join(plan.objectives))}. Lines are means over the seeds, bands their 95 % intervals. "
        "Simulated hours are the recorded training times of the networks, one after the other; a point is the mean of "
        "the hours and the mean of the value after the same number of evaluations.</p>"
    ]
    for i, benchmark in enumerate(result.truths):
        parts.append(f"<h2>{html.escape(benchmark)}</h2>")
        parts.append(figure(result, benchmark).to_html(full_html=False, include_plotlyjs=i == 0))
        parts += list(_tables(result, benchmark))
    style = "body{font-family:sans-serif;margin:2em} td,th{padding:.2em 1em;text-align:right}"
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{style}</style></head>\n<body><h1>{html.escape(title)}</h1>\n{chr(10).join(parts)}</body></html>\n"
    )


def _tables(result: BenchResult, benchmark: str) -> Iterator[str]:
    """One table a quantity: strategies × budgets."""
    rows = result.summary().query("benchmark == @benchmark")
    for quantity in result.quantities:
        own = rows[rows["quantity"] == quantity]
        if own.empty:
            continue
        # One search has no interval.
        half = ((own["high"] - own["low"]) / 2).fillna(0.0)
        text = own["mean"].map("{:.4f}".format) + half.map(" ± {:.4f}".format) + own["rank"].map(" (#{})".format)
        cells = own.assign(text=text).pivot_table("text", "strategy", "evaluations", aggfunc="first", sort=False)
        cells.index.name = cells.columns.name = None
        yield f"<h3>{html.escape(heading(result, benchmark, quantity))}</h3>\n{cells.to_html(border=0)}"


def figure(result: BenchResult, benchmark: str) -> go.Figure:
    """Return the curves of one benchmark: each quantity over evaluations and, where recorded, simulated hours."""
    from plotly.subplots import make_subplots

    own = result.curves[result.curves["benchmark"] == benchmark]
    panels = [
        (quantity, axis)
        for quantity in ("hypervolume_ratio", "regret", "test")
        for axis in AXES
        if own[[quantity, axis]].notna().any().all()
    ]
    places = [{"row": p // _COLUMNS + 1, "col": p % _COLUMNS + 1} for p in range(len(panels))]
    rows = places[-1]["row"]
    titles = [quantity.replace("_", " ") for quantity, _ in panels]
    drawn = make_subplots(rows=rows, cols=_COLUMNS, vertical_spacing=0.3 / rows, subplot_titles=titles)
    for i, strategy in enumerate(result.plan.all_strategies):
        line = {"color": _COLOURS[i % len(_COLOURS)], "dash": _DASHES[i // len(_COLOURS) % len(_DASHES)]}
        searches = own[own["strategy"] == strategy]
        for p, (quantity, axis) in enumerate(panels):
            for trace in _curve(searches, quantity, axis, strategy, line, in_legend=p == 0):
                drawn.add_trace(trace, **places[p])
    for (_, axis), place in zip(panels, places, strict=True):
        drawn.update_xaxes(title_text=AXES[axis], **place)
    return drawn.update_layout(template="plotly_white", height=60 + 340 * rows)


def _curve(
    searches: pd.DataFrame, quantity: str, axis: str, name: str, line: dict[str, str], in_legend: bool
) -> Iterator[go.Scatter]:
    """The mean over the seeds and the band of its 95 % interval."""
    import plotly.graph_objects as go

    budgets, values = _by_seed(searches, quantity)
    mean, half = values.mean(axis=1), np.zeros(len(values))
    if values.shape[1] > 1:
        half = NORMAL_95 * values.std(axis=1, ddof=1) / np.sqrt(values.shape[1])
    x = budgets if axis == "evaluations" else _by_seed(searches, axis)[1].mean(axis=1).tolist()
    yield go.Scatter(
        x=x + x[::-1], y=[*(mean + half), *(mean - half)[::-1]], fill="toself", fillcolor=line["color"], opacity=0.15,
        line={"width": 0}, hoverinfo="skip", showlegend=False, legendgroup=name,
    )  # fmt: skip
    yield go.Scatter(x=x, y=mean, name=name, line=line, showlegend=in_legend, legendgroup=name)


def _by_seed(searches: pd.DataFrame, column: str) -> tuple[list[int], npt.NDArray[np.float64]]:
    """Return the numbers of evaluations, and float[evaluations, seeds], the values of a column."""
    table = searches.pivot(index="evaluations", columns="seed", values=column)
    return [int(n) for n in table.index], table.to_numpy(dtype=np.float64)
