"""One self-contained HTML file with a family of scaled networks: accuracy against cost, growth, multipliers, tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nas.report.page import write_page
from nas.scaling.coefficients import DIMENSIONS
from nas.search.family import FamilyFacts
from nas.search.metrics import METRICS

if TYPE_CHECKING:
    import plotly.graph_objects as go

_COLOURS = {"depth": "#0072b2", "width": "#d55e00", "resolution": "#009e73"}
#: columns of accuracy: what they are called, and their colour
_ACCURACIES = {"top1": ("predicted by the law, 90 % interval", "#d55e00"), "published_top1": ("published", "#0072b2")}
_COLUMN = {"depth": "depth", "width": "width", "resolution": "resolution_multiplier"}


def write_family_report(facts: FamilyFacts, path: Path) -> Path:
    """Write plots and tables of a family to `path` (about 5 MB, nearly all of it plotly.js) and return it.

    Raises:
        NasError: the file cannot be written.
    """
    tables = {"Members": {**facts.sizes, **facts.figures}, **{each.heading: each.columns for each in facts.beside}}
    return write_page(facts.title, figure(facts), facts.notes, path, tables)


def figure(facts: FamilyFacts) -> go.Figure:
    """Return panels: accuracy against cost where one is known, cost of each member, multipliers of each member."""
    from plotly.subplots import make_subplots

    cost = facts.fitted.metric if facts.fitted else "macs"
    metric = METRICS[cost]
    label = f"{metric.label} ({metric.unit}, {facts.origins[cost]})"
    known = {name: look for name, look in _ACCURACIES.items() if name in facts.rows and facts.rows[name].notna().any()}
    heads = (*(["accuracy against cost"] if known else []), f"{label} of each member", "multipliers of the base")
    drawn = make_subplots(rows=1, cols=len(heads), subplot_titles=heads)
    if known:
        _accuracy(drawn, facts, cost, known)
        drawn.update_xaxes(title_text=label, type="log", dtick=1, row=1, col=1)
        drawn.update_yaxes(title_text="top-1 (%)", row=1, col=1)
    _growth(drawn, facts, cost, len(heads) - 1)
    _multipliers(drawn, facts, len(heads))
    return drawn.update_layout(template="plotly_white", height=480, legend={"orientation": "h", "y": -0.15})


def _accuracy(drawn: go.Figure, facts: FamilyFacts, cost: str, known: dict[str, tuple[str, str]]) -> None:
    import plotly.graph_objects as go

    rows, scale = facts.rows, METRICS[cost].scale
    for i, (name, (label, colour)) in enumerate(known.items()):
        bars = None
        if f"{name}_low" in rows:
            bars = {"type": "data", "symmetric": False, "array": rows[f"{name}_high"] - rows[name],
                    "arrayminus": rows[name] - rows[f"{name}_low"], "thickness": 1}  # fmt: skip
        # Published values lie on the predicted ones, which are labelled.
        mode = "markers" if i else "markers+text"
        points = go.Scatter(
            x=rows[cost] / scale, y=rows[name], text=list(rows.index), name=label, mode=mode, error_y=bars,
            textposition="top center", marker={"size": 9, "color": colour},
        )  # fmt: skip
        drawn.add_trace(points, row=1, col=1)


def _growth(drawn: go.Figure, facts: FamilyFacts, cost: str, column: int) -> None:
    import plotly.graph_objects as go

    rows, scale, family = facts.rows, METRICS[cost].scale, facts.family
    names = list(rows.index)
    texts = rows[cost].map(METRICS[cost].number)
    bars = go.Bar(x=names, y=rows[cost] / scale, text=texts, marker_color="#56b4e9", name="cost of the member")
    drawn.add_trace(bars, row=1, col=column)
    drawn.update_yaxes(type="log", dtick=1, row=1, col=column)
    asked, label = None, ""
    if family.budget_metric == cost:
        asked, label = rows["budget"], "its budget"
    elif family.coefficients is not None and rows["phi"].notna().all() and not family.budget_metric:
        first = rows[cost].iloc[0] / family.coefficients.growth ** rows["phi"].iloc[0]
        asked, label = first * np.power(family.coefficients.growth, rows["phi"]), "alpha·beta²·gamma² to the phi"
    if asked is not None:
        marker = {"symbol": "line-ew-open", "size": 24, "color": "#000", "line": {"width": 2}}
        drawn.add_trace(
            go.Scatter(x=names, y=asked / scale, mode="markers", marker=marker, name=label), row=1, col=column
        )


def _multipliers(drawn: go.Figure, facts: FamilyFacts, column: int) -> None:
    import plotly.graph_objects as go

    base = facts.family.base_spec.resolution
    for name in DIMENSIONS:
        values = facts.rows[_COLUMN[name]]
        if name == "resolution":
            values = facts.rows["resolution"] / base
        line = go.Scatter(
            x=list(facts.rows.index), y=values, name=f"{name} ×", mode="lines+markers", line={"color": _COLOURS[name]}
        )
        drawn.add_trace(line, row=1, col=column)
