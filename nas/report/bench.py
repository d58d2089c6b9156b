"""A comparison of strategies as CSV and as one self-contained HTML file."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from nas.errors import NasError
from nas.search.bench import NORMAL_95, BenchResult
from nas.search.metrics import METRICS

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: grey for the baseline, then colours that colour-blind people can tell apart (Okabe & Ito, 2008), then dashes
_COLOURS = ("#5a6472", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_DASHES = ("solid", "dash", "dot")
_SVG_DASHES = {"solid": "none", "dash": "6 3", "dot": "2 3"}
#: what is drawn over what; hypervolume and regret as what is missing, by ratio, so that the last per mille are seen
DRAWN = ("hypervolume_ratio", "regret", "test")
AXES = {"evaluations": "evaluations", "hours": "simulated hours of training, one network after the other"}


def write_bench(result: BenchResult, folder: Path) -> Path:
    """Write curves.csv and, with recorded times, clock.csv (every search), summary.csv (means) and bench.html.

    Returns:
        The path of the last.

    Raises:
        NasError: the folder cannot be written.
    """
    path = folder / "bench.html"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        result.curves.to_csv(folder / "curves.csv", index=False)
        if len(result.clock):
            result.clock.to_csv(folder / "clock.csv", index=False)
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
    found = " or ".join(f"{value:.4f}" for value in dict.fromkeys(truth.test or ()))
    at_best = f"; the best of the table by that has {found}" if found else ""
    return f"test accuracy (%) of the network with the best {metric.label}{at_best}"


def _page(result: BenchResult) -> str:
    from plotly.offline import get_plotlyjs

    here, plan = Path(__file__).parent, result.plan
    seeds = plan.seed_range
    about = (
        f"{plan.seeds} searches of each strategy on each table, seeds {seeds[0]} to {seeds[-1]}; objectives: "
        f"{', '.join(plan.objectives)}. Lines are means over the seeds, bands their 95 % intervals. Hypervolume and "
        "regret are drawn by how much is still missing, on logarithmic axes."
    )
    if len(result.clock):
        about += (
            " The clock runs as if networks were trained one after the other, for the recorded times: after so many "
            "hours a seed knows the best of what is trained by then. A line over hours begins where each seed has "
            f"trained {plan.checkpoints[0]} networks, and ends where the first has spent its budget."
        )
    parts = [f"<p>{html.escape(about)}</p>", _legend(result)]
    for benchmark in result.truths:
        parts.append(f"<h2>{html.escape(benchmark)}</h2>")
        parts.append(f'<div class="panels">{"".join(_figures(result, benchmark))}</div>')
        parts += list(_tables(result, benchmark))
    title = html.escape(f"nas bench strategies: {', '.join(plan.all_strategies)}")
    style, script = ((here / f"bench.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{style}</style><script>{get_plotlyjs()}</script></head>\n"
        f"<body><h1>{title}</h1>\n{chr(10).join(parts)}\n<script>{script}</script></body></html>\n"
    )


def _line(position: int) -> dict[str, str]:
    return {"color": _COLOURS[position % len(_COLOURS)], "dash": _DASHES[position // len(_COLOURS) % len(_DASHES)]}


def _legend(result: BenchResult) -> str:
    """A button a strategy, with its line; it shows and hides the curves."""
    buttons = []
    for i, name in enumerate(map(html.escape, result.plan.all_strategies)):
        line = _line(i)
        sample = (
            f'<svg width="28" height="8" aria-hidden="true"><path d="M0 4H28" stroke="{line["color"]}" '
            f'stroke-width="2.5" stroke-dasharray="{_SVG_DASHES[line["dash"]]}"/></svg>'
        )
        buttons.append(f'<button type="button" aria-pressed="true" value="{name}">{sample}{name}</button>')
    return f'<nav aria-label="strategies shown">{"".join(buttons)}</nav>'


def _tables(result: BenchResult, benchmark: str) -> Iterator[str]:
    """One table a quantity: strategies × budgets."""
    rows = result.summary().query("benchmark == @benchmark")
    for quantity in result.quantities:
        own = rows[rows["quantity"] == quantity]
        # Regret is the best value seen from the other end.
        if own.empty or quantity == "regret":
            continue
        # One search has no interval.
        half = ((own["high"] - own["low"]) / 2).fillna(0.0)
        text = own["mean"].map("{:.4f}".format) + half.map(" ± {:.4f}".format) + own["rank"].map(" (#{})".format)
        cells = own.assign(text=text).pivot_table("text", "strategy", "evaluations", aggfunc="first", sort=False)
        cells.index.name = cells.columns.name = None
        table = cells.rename(columns="{:,} evaluations".format).to_html(border=0)
        yield f'<h3>{html.escape(heading(result, benchmark, quantity))}</h3>\n<div class="scroll">{table}</div>'


@dataclass(frozen=True)
class Scale:
    """How a quantity is drawn: as it is, or on a logarithmic axis as what is missing to the best possible value.

    Args:
        title: of the axis.
        missing: whether the axis is logarithmic; values below `floor` are drawn there.
        best: the value of which the axis shows how much is missing; None: the values are that already.
    """

    title: str
    missing: bool
    best: float | None = None
    floor: float = 0.0

    def drawn(self, values: pd.Series) -> pd.Series:
        if not self.missing:
            return values
        return (values if self.best is None else self.best - values).clip(lower=self.floor)


def _scale(result: BenchResult, quantity: str, means: pd.Series) -> Scale:
    metric = METRICS[result.chooses_by.metric]
    unit = "points" if metric.unit == "%" else metric.unit
    if quantity == "test":
        return Scale("test accuracy (%)", missing=False)
    best = 1.0 if quantity == "hypervolume_ratio" else None
    title = "share of the true hypervolume" if best else f"regret in {metric.label} ({unit})"
    missing = means if best is None else best - means
    # Far below the rounding of any table; what a search lacks less of, it has found.
    positive = missing[missing > 1e-9]
    return Scale(title, True, best, 0.7 * positive.min() if len(positive) else 1e-4)


def _figures(result: BenchResult, benchmark: str) -> Iterator[str]:
    """Each quantity over evaluations and, where recorded, over simulated hours; as parts of a page."""
    for quantity in DRAWN:
        for axis, searches in (("evaluations", result.curves), ("hours", result.clock)):
            own = searches[searches["benchmark"] == benchmark] if len(searches) else searches
            if not len(own) or own[quantity].isna().all():
                continue
            plot = panel(result, own, quantity, axis).to_html(
                full_html=False, include_plotlyjs=False, config={"responsive": True, "displayModeBar": False}
            )
            yield f"<figure><figcaption>{html.escape(heading(result, benchmark, quantity))}</figcaption>{plot}</figure>"


def panel(result: BenchResult, searches: pd.DataFrame, quantity: str, axis: str) -> go.Figure:
    """Return the curves of one quantity on one benchmark, a mean and a band of its 95 % interval a strategy.

    Args:
        searches: rows of `BenchResult.curves` or `BenchResult.clock` of the benchmark.
        axis: "evaluations" or "hours".
    """
    import plotly.graph_objects as go

    groups = searches.groupby(["strategy", axis], sort=False)[quantity]
    table = groups.agg(["mean", "std", "count"]).reset_index()
    table["half"] = (NORMAL_95 * table["std"] / np.sqrt(table["count"])).fillna(0.0)
    scale = _scale(result, quantity, table["mean"])
    figure = go.Figure()
    for i, strategy in enumerate(result.plan.all_strategies):
        own, line = table[table["strategy"] == strategy], _line(i)
        ends = [scale.drawn(own["mean"] + sign * own["half"]) for sign in (1, -1)]
        figure.add_scatter(
            x=[*own[axis], *own[axis][::-1]], y=[*ends[0], *ends[1][::-1]], fill="toself", fillcolor=line["color"],
            opacity=0.15, line={"width": 0}, hoverinfo="skip", legendgroup=strategy, mode="lines",
        )  # fmt: skip
        figure.add_scatter(
            x=own[axis], y=scale.drawn(own["mean"]), customdata=own[["mean", "half"]], name=strategy, mode="lines",
            line=line, legendgroup=strategy, hovertemplate="%{x:.4~g}: %{customdata[0]:.4f} ± %{customdata[1]:.4f}",
        )  # fmt: skip
    drawn = pd.concat([scale.drawn(table["mean"] + sign * table["half"]) for sign in (1, -1)])
    figure.update_xaxes(title_text=AXES[axis], **_log_axis(table[axis].min(), table[axis].max()))
    figure.update_yaxes(title_text=scale.title, **(_log_axis(drawn.min(), drawn.max()) if scale.missing else {}))
    if scale.best is not None:
        ticks = figure.layout.yaxis.tickvals
        figure.update_yaxes(ticktext=[f"{scale.best - tick:.6g}" for tick in ticks], autorange="reversed", range=None)
    return figure.update_layout(
        template="plotly_white", height=380, margin={"l": 70, "r": 16, "t": 12, "b": 48}, showlegend=False
    )


def _log_axis(low: float, high: float) -> dict[str, object]:
    """A logarithmic axis with ticks at 1, 2, 5, 10 ..., over more than three decades at powers of ten."""
    first, last = np.floor(np.log10(low)), np.ceil(np.log10(high))
    steps = (1.0, 2.0, 5.0) if np.log10(high / low) <= 3 else (1.0,)
    ticks = [step * 10.0**power for power in np.arange(first, last + 1) for step in steps]
    ticks = [tick for tick in ticks if 0.99 * low <= tick <= 1.01 * high]
    edge = 0.02 * np.log10(high / low) or 0.1
    ends = [np.log10(low) - edge, np.log10(high) + edge]
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks], "range": ends}
