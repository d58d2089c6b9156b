"""Pages about fitted coefficients: single dimensions against compound scaling, a family on its law, a grid."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nas.report.page import write_page
from nas.scaling.coefficients import DIMENSIONS
from nas.scaling.fitting.advantage import SLACK
from nas.scaling.fitting.grid import GridFit
from nas.scaling.fitting.result import FittedCoefficients
from nas.scaling.fitting.surface import SurfaceFit, UnderCost

if TYPE_CHECKING:
    import plotly.graph_objects as go

Array = npt.NDArray[np.float64]

#: colours that colour-blind people can tell apart (Okabe & Ito, 2008)
_COLOURS = {"depth": "#0072b2", "width": "#009e73", "resolution": "#cc79a7", "compound": "#d55e00", "base": "#5a6472"}
_GREEK = ("alpha (depth)", "beta (width)", "gamma (resolution)")
#: costs along a curve
STEPS = 60


def write_surface_fit(found: SurfaceFit, title: str, path: Path) -> Path:
    """Write curves of accuracy against cost, the residuals, and what is to be known of them; returns the path.

    Raises:
        NasError: the file cannot be written.
    """
    notes = []
    for under in found.by_cost:
        values = ", ".join(f"{n} {i.text()}" for n, i in zip(_GREEK, under.fitted.intervals, strict=True))
        notes.append(f"{found.factor:g} × {under.growth.label} per step of phi: {values} (95 % intervals).")
        notes.append(f"{under.growth}.")
        notes += [
            f"At {ahead.factor:g} × the {under.growth.label}: {ahead.verdict}; over {ahead.best_single} alone "
            f"{ahead.over_best.text(2)} points."
            for ahead in under.advantages
        ]
        notes += [f"{note}." for note in under.fitted.notes]
    notes.append(
        f"Curves and bands (95 %) are those of the fitted surface, points are the observations of "
        f"{found.observations.metric}, in the colour of what they are scaled in; residuals {found.surface.noise:.2f} "
        f"points, networks left out {found.left_out_error:.2f}."
    )
    return write_page(title, surface_figure(found), list(dict.fromkeys(notes)), path)


def surface_figure(found: SurfaceFit) -> go.Figure:
    """Return one panel of accuracy against cost for each kind of cost, and one of residuals."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    heads = [f"accuracy against {under.growth.label}" for under in found.by_cost]
    drawn = make_subplots(rows=1, cols=len(heads) + 1, subplot_titles=[*heads, "residuals"])
    for column, under in enumerate(found.by_cost, start=1):
        _curves(drawn, found, under, column)
        drawn.update_xaxes(title_text=f"{under.growth.label}, base = 1 (by its law)", type="log", row=1, col=column)
        drawn.update_yaxes(title_text="top-1 (%)", row=1, col=column)
    rows = found.by_cost[0].fitted.residuals
    for name in ("residual", "left_out"):
        drawn.add_trace(
            go.Scatter(
                x=rows["fitted"], y=rows[name], text=rows["name"], mode="markers", name=name.replace("_", " "),
                marker={"color": _COLOURS["base"], "symbol": "circle" if name == "residual" else "circle-open"},
            ),
            row=1, col=len(heads) + 1,
        )  # fmt: skip
    drawn.add_hline(y=0, line_width=1, row=1, col=len(heads) + 1)
    drawn.update_xaxes(title_text="fitted top-1 (%)", row=1, col=len(heads) + 1)
    drawn.update_yaxes(title_text="observed minus fitted (points)", row=1, col=len(heads) + 1)
    return drawn.update_layout(template="plotly_white", height=560, margin={"t": 40})


def _curves(drawn: go.Figure, found: SurfaceFit, under: UnderCost, column: int) -> None:
    """Accuracy along each dimension alone and along the compound, with bands, up to the largest cost observed."""
    import plotly.graph_objects as go

    logs, exponents = found.observations.logs, under.growth.exponents
    reached = (logs @ exponents).max()
    sizes = np.linspace(0.0, reached, STEPS)
    best = under.fitted.coefficients
    compound = np.log([best.depth, best.width, best.resolution])
    ways = dict(zip(DIMENSIONS, np.eye(3) / exponents, strict=True)) | {"compound": compound / (compound @ exponents)}
    for name, way in ways.items():
        # A dimension alone is drawn no further than it was observed.
        along = _seen(sizes, way, logs)
        points = along[:, None] * way
        low, high = np.quantile(found.surface.value(points, found.draws), [0.025, 0.975], axis=0)
        cost, colour = np.exp(along), _COLOURS[name]
        shared = {"legendgroup": name, "showlegend": column == 1}
        drawn.add_trace(
            go.Scatter(x=[*cost, *cost[::-1]], y=[*high, *low[::-1]], fill="toself", fillcolor=colour, opacity=0.12,
                       line_width=0, hoverinfo="skip", legendgroup=name, showlegend=False),
            row=1, col=column,
        )  # fmt: skip
        drawn.add_trace(
            go.Scatter(x=cost, y=found.surface.value(points), mode="lines", line={"color": colour, "width": 2.5},
                       name=name if name == "compound" else f"{name} alone", **shared),
            row=1, col=column,
        )  # fmt: skip
    kinds = _kinds(logs)
    for kind in dict.fromkeys(kinds):
        rows = np.flatnonzero(np.array(kinds) == kind)
        drawn.add_trace(
            go.Scatter(
                x=np.exp(logs[rows] @ exponents), y=found.observations.accuracy[rows], mode="markers",
                text=[found.observations.names[i] for i in rows], name=f"observed: {kind}", showlegend=False,
                marker={"color": _COLOURS[kind], "size": 9},
            ),
            row=1, col=column,
        )  # fmt: skip


def _seen(sizes: Array, way: Array, logs: Array) -> Array:
    """The sizes along a way at which no dimension is scaled further than any observation."""
    seen: Array = sizes[(sizes[:, None] * way <= np.log(SLACK) + logs.max(axis=0)).all(axis=1)]
    return seen


def _kinds(logs: Array) -> list[str]:
    """What each network is scaled in: one dimension, none ("base") or several ("compound")."""
    grown = np.abs(logs) > 1e-9
    return ["compound" if row.sum() > 1 else DIMENSIONS[int(np.argmax(row))] if row.any() else "base" for row in grown]


def write_family_fit(fitted: FittedCoefficients, title: str, path: Path) -> Path:
    """Write the multipliers of a family on the lines fitted to them; returns the path.

    Raises:
        NasError: the file cannot be written.
    """
    import plotly.graph_objects as go

    rows, drawn = fitted.residuals, go.Figure()
    phi = np.linspace(0, rows["phi"].max(), STEPS)
    for name, label, each in zip(DIMENSIONS, _GREEK, fitted.intervals, strict=True):
        colour = _COLOURS[name]
        drawn.add_scatter(x=phi, y=each.value**phi, mode="lines", line_color=colour, name=f"{label} {each.text()}")
        drawn.add_scatter(
            x=rows["phi"], y=rows[name], text=rows["name"], mode="markers", marker={"color": colour, "size": 9},
            name=f"{name} as released",
        )  # fmt: skip
    drawn.update_xaxes(title_text="phi")
    drawn.update_yaxes(title_text="multiple of the base", type="log")
    drawn.update_layout(template="plotly_white", height=560)
    growth = [f"Growth of {name} per step of phi: {each.text()} times." for name, each in fitted.growth.items()]
    return write_page(title, drawn, [f"Fitted by {fitted.method}.", *growth, *fitted.notes], path)


def write_grid_fit(found: GridFit, title: str, path: Path) -> Path:
    """Write accuracy against each coefficient over the grid; returns the path.

    Raises:
        NasError: the file cannot be written.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    rows = found.table
    drawn = make_subplots(rows=1, cols=3, shared_yaxes=True, subplot_titles=_GREEK)
    for column, name in enumerate(DIMENSIONS, start=1):
        text = [", ".join(f"{row[key]:.2f}" for key in DIMENSIONS) for _, row in rows.iterrows()]
        drawn.add_trace(
            go.Scatter(x=rows[name], y=rows["accuracy"], text=text, mode="markers", showlegend=False,
                       marker={"color": _COLOURS[name], "size": 9}),
            row=1, col=column,
        )  # fmt: skip
    drawn.update_yaxes(title_text="accuracy (%)", col=1)
    drawn.update_layout(template="plotly_white", height=480)
    notes = [
        f"Every network costs {found.factor:g} times the base.", f"{found.growth}.",
        f"Best network of the grid: {found.best.coefficients}.",
    ]  # fmt: skip
    if found.fitted is not None:
        values = ", ".join(f"{n} {i.text()}" for n, i in zip(_GREEK, found.fitted.intervals, strict=True))
        notes += [f"{found.fitted.method}: {values} (95 % intervals).", *found.fitted.notes]
    return write_page(title, drawn, notes, path)
