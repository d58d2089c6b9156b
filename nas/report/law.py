"""One self-contained HTML file with scaling laws: error against cost, the intervals, and what was predicted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nas.report.page import write_page
from nas.scaling.laws.facts import LawFacts
from nas.scaling.laws.law import AXES

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from nas.scaling.laws.law import Forecast

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_POINTS = 120
#: more names than this cover one another; they are told where the pointer rests
_NAMED = 15


def write_law_page(facts: Sequence[LawFacts], path: Path) -> Path:
    """Write the plot of one or several laws of the same cost to `path` (about 5 MB, nearly all plotly.js); returns it.

    Raises:
        NasError: the file cannot be written.
    """
    title = "Scaling laws: " + ", ".join(each.law.family or each.law.source for each in facts)
    notes = [line for each in facts for line in _lines(each)]
    return write_page(title, figure(facts), notes, path)


def figure(facts: Sequence[LawFacts]) -> go.Figure:
    """Return top-1 error against cost, a colour a law: observations, law with its band, predictions with intervals."""
    import plotly.graph_objects as go

    drawn = go.Figure()
    for i, each in enumerate(facts):
        _draw(drawn, each, _COLOURS[i % len(_COLOURS)], named=len(facts) == 1)
    cost = facts[0].law.cost
    drawn.update_xaxes(type="log", title_text=AXES.get(cost, cost), dtick="D2")
    drawn.update_yaxes(title_text="top-1 error (%)")
    return drawn.update_layout(template="plotly_white", height=760, legend={"orientation": "h", "y": -0.12})


def _draw(drawn: go.Figure, facts: LawFacts, colour: str, named: bool) -> None:
    import plotly.graph_objects as go

    law, percent = facts.law, f"{100 * facts.level:g} %"
    label = law.family or law.source or "law"
    ends = [*law.costs, *(forecast.cost for forecast in facts.asked)]
    costs = np.geomspace(min(ends), max(ends), _POINTS)
    mean, low, high = law.predict(costs, facts.level)
    x = costs / law.unit
    drawn.add_trace(
        go.Scatter(
            x=[*x, *x[::-1]], y=[*high, *low[::-1]], fill="toself", fillcolor=colour, opacity=0.15, line={"width": 0},
            name=f"{label}: {percent} of new members", hoverinfo="skip", legendgroup=label,
        )
    )  # fmt: skip
    drawn.add_trace(go.Scatter(x=x, y=mean, mode="lines", line={"color": colour}, name=law.formula, legendgroup=label))
    drawn.add_trace(
        go.Scatter(
            x=np.asarray(law.costs) / law.unit, y=law.errors, text=law.names or None,
            mode="markers+text" if named and len(law.names) <= _NAMED else "markers",
            textposition="bottom left", marker={"size": 9, "color": colour}, name=f"{label}: {law.origin}",
            legendgroup=label,
        )
    )  # fmt: skip
    largest = [facts.largest] if facts.largest else []
    _predictions(drawn, largest, law.unit, colour, f"{label}: largest, predicted from the others, {percent}", "x-open")
    _predictions(drawn, facts.asked, law.unit, colour, f"{label}: predicted, {percent}", "diamond-open")


def _predictions(
    drawn: go.Figure, forecasts: Sequence[Forecast], unit: float, colour: str, name: str, symbol: str
) -> None:
    import plotly.graph_objects as go

    if not forecasts:
        return
    above = [forecast.high - forecast.error for forecast in forecasts]
    below = [forecast.error - forecast.low for forecast in forecasts]
    drawn.add_trace(
        go.Scatter(
            x=[forecast.cost / unit for forecast in forecasts], y=[forecast.error for forecast in forecasts],
            mode="markers", marker={"size": 11, "color": colour, "symbol": symbol}, name=name,
            error_y={"type": "data", "symmetric": False, "array": above, "arrayminus": below, "color": colour},
        )
    )  # fmt: skip


def _lines(facts: LawFacts) -> list[str]:
    law = facts.law
    intervals = ", ".join(f"{name} {low:.3f} to {high:.3f}" for name, (low, high) in facts.intervals.items())
    lines = [f"{law.family or law.source}: {law.text}; {100 * facts.level:g} % intervals: {intervals}."]
    if law.source:
        lines.append(f"Errors {law.origin}: {law.source}.")
    return [*lines, *(f"Note: {note}." for note in facts.notes)]
