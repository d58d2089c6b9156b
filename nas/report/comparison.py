"""One self-contained HTML file with a comparison of networks: accuracy against cost, and every figure as bars."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from nas.report.page import write_page
from nas.search.comparison import Comparison
from nas.search.metrics import METRICS

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: columns drawn as bars, in this order
BARS = ("params", "macs", "peak_activation_bytes", "latency_ms")
_COLOURS = {"published_top1": "#0072b2", "top1": "#d55e00"}


def write_comparison(comparison: Comparison, path: Path) -> Path:
    """Write the plots of a comparison to `path` (about 5 MB, nearly all of it plotly.js) and return it.

    Raises:
        NasError: the file cannot be written.
    """
    title = "nas compare " + " ".join(map(str, comparison.rows.index))
    return write_page(title, figure(comparison), [*comparison.notes, *comparison.sources], path)


def figure(comparison: Comparison) -> go.Figure:
    """Return the plots: top-1 against latency (without a target: MACs) above, one panel of bars a figure below."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    rows, bars = comparison.rows, [name for name in BARS if name in comparison.rows]
    heads = [_head(comparison, name) for name in bars]
    count = len(bars)
    drawn = make_subplots(
        rows=2, cols=count, row_heights=[0.5, 0.5], vertical_spacing=0.14,
        specs=[[{"colspan": count}, *[None] * (count - 1)], [{}] * count],
        subplot_titles=["", *heads],
    )  # fmt: skip
    cost = bars[-1] if bars[-1] == "latency_ms" else "macs"
    for name, label in (("published_top1", "published, own recipe"), ("top1", "predicted, 90 % interval")):
        known = rows[rows[name].notna() & rows[cost].notna()]
        drawn.add_trace(
            go.Scatter(
                x=known[cost] / METRICS[cost].scale, y=known[name], text=list(known.index), name=label,
                mode="markers+text", textposition="top center", marker={"size": 10, "color": _COLOURS[name]},
                error_y=_interval(known, name), error_x=_interval(known, cost),
            ),
            row=1, col=1,
        )  # fmt: skip
    for column, name in enumerate(bars, start=1):
        drawn.add_trace(
            go.Bar(
                x=list(rows.index), y=rows[name] / METRICS[name].scale, marker_color="#009e73", showlegend=False,
                error_y=_interval(rows, name),
            ),
            row=2, col=column,
        )  # fmt: skip
    drawn.update_xaxes(title_text=_head(comparison, cost), row=1, col=1)
    drawn.update_yaxes(title_text="ImageNet top-1 (%)", row=1, col=1)
    return drawn.update_layout(template="plotly_white", height=820, legend={"orientation": "h", "y": 1.08})


def _head(comparison: Comparison, name: str) -> str:
    return f"{METRICS[name].label} ({METRICS[name].unit}, {comparison.origins[name]})"


def _interval(rows: pd.DataFrame, name: str) -> dict[str, object] | None:
    """Error bars from the ends of a 90 % interval; none where a column has no interval."""
    if f"{name}_low" not in rows:
        return None
    scale = METRICS[name].scale
    above, below = rows[f"{name}_high"] - rows[name], rows[name] - rows[f"{name}_low"]
    return {"type": "data", "symmetric": False, "array": above / scale, "arrayminus": below / scale, "thickness": 1}
