"""How well a target predicts: predicted against measured values of networks that were held out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from nas.errors import NasError
from nas.hardware import Fitted, Target
from nas.report.page import write_page
from nas.search.metrics import METRICS

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: columns of the CSV file that a profile keeps held-out values in
PAIRS = ("measured", "predicted", "low", "high")


def write_target_plot(target: Target, path: Path) -> Path:
    """Write predicted against measured values of every predictor of a target, one panel each, and return the path.

    Raises:
        NasError: no predictor keeps held-out values, one of their files is damaged, or the page cannot be written.
    """
    kept = {fitted: pairs for fitted in target.fitted if (pairs := held_out_pairs(fitted)) is not None}
    if not kept:
        raise NasError(f"the target {target.name} keeps no held-out measurements to plot")
    notes = [f"{_title(fitted)}: {fitted.held_out_text}; source: {fitted.fit.source}" for fitted in kept]
    return write_page(f"nas show target {target.name}", figure(kept), notes, path)


def held_out_pairs(fitted: Fitted) -> pd.DataFrame | None:
    """Return measured and predicted values of held-out networks with the ends of 90 % intervals, None if none are kept.

    Raises:
        NasError: the file is missing or has other columns.
    """
    held_out = fitted.fit.held_out
    if held_out is None or held_out.pairs is None:
        return None
    path = fitted.path.with_name(held_out.pairs)
    try:
        return pd.read_csv(path, dtype=float)[list(PAIRS)]
    except (OSError, ValueError, KeyError) as error:
        raise NasError(f"cannot read {path}: {error}") from None


def figure(kept: dict[Fitted, pd.DataFrame]) -> go.Figure:
    """Return one panel a predictor, with the line on which predictions are right."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    columns = min(2, len(kept))
    rows = math.ceil(len(kept) / columns)
    drawn = make_subplots(rows=rows, cols=columns, subplot_titles=[_title(fitted) for fitted in kept])
    for i, (fitted, pairs) in enumerate(kept.items()):
        row, column = divmod(i, columns)
        place = {"row": row + 1, "col": column + 1}
        ends = [min(pairs["measured"].min(), pairs["predicted"].min()), pairs[["measured", "predicted"]].max().max()]
        bars = {
            "type": "data", "symmetric": False, "array": pairs["high"] - pairs["predicted"],
            "arrayminus": pairs["predicted"] - pairs["low"], "thickness": 0.6, "width": 0,
        }  # fmt: skip
        drawn.add_trace(
            go.Scatter(
                x=pairs["measured"], y=pairs["predicted"], error_y=bars, mode="markers",
                name="predicted, 90 % interval", marker={"size": 5, "color": "#0072b2"}, showlegend=i == 0,
            ), **place,
        )  # fmt: skip
        drawn.add_trace(
            go.Scatter(x=ends, y=ends, mode="lines", line={"color": "#888", "dash": "dot"}, name="equal",
                       showlegend=i == 0), **place,
        )  # fmt: skip
        unit = METRICS[fitted.metric].unit
        drawn.update_xaxes(title_text=f"measured, {unit}", **place)
        drawn.update_yaxes(title_text=f"predicted, {unit}", **place)
    # Above the titles of the panels, which stand just above them.
    legend = {"orientation": "h", "x": 1, "xanchor": "right", "y": 1 + 30 / (480 * rows), "yanchor": "bottom"}
    return drawn.update_layout(template="plotly_white", height=120 + 480 * rows, legend=legend)


def _title(fitted: Fitted) -> str:
    return f"{METRICS[fitted.metric].label} on {', '.join(fitted.fit.spaces) or 'any network'}"
