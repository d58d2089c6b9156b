"""One self-contained HTML page around plots; it opens offline."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import NasError

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

_STYLE = (
    "body{font-family:sans-serif;max-width:1250px;margin:1em auto;padding:0 1em}"
    "h1{font-size:1.1em}h2{font-size:1em}td,th{text-align:right;padding:.2em .8em;border-bottom:1px solid #ddd}"
    "td:first-child,th:first-child{text-align:left}table{border-collapse:collapse;font-size:.9em}"
)


def write_page(
    title: str,
    plots: go.Figure,
    notes: Sequence[str],
    path: Path,
    tables: Mapping[str, Mapping[str, pd.Series[str]]] | None = None,
) -> Path:
    """Write a page (about 5 MB, nearly all of it plotly.js) with plots, below them tables and notes; returns its path.

    Args:
        tables: by heading, columns of cells written as text, all with the same index, which names the rows.

    Raises:
        NasError: the file cannot be written.
    """
    drawn = plots.to_html(full_html=False, include_plotlyjs=True)
    below = "".join(_table(heading, columns) for heading, columns in (tables or {}).items())
    below += "".join(f"<p>{html.escape(line)}</p>" for line in notes)
    page = (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body><h1>{html.escape(title)}</h1>\n{drawn}\n{below}</body></html>\n"
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise NasError(f"cannot write {path}: {error.strerror or error}") from None
    return path


def _table(heading: str, columns: Mapping[str, pd.Series[str]]) -> str:
    names = next(iter(columns.values())).index
    head = "".join(f"<th>{html.escape(name).replace(chr(10), '<br>')}</th>" for name in ("", *columns))
    rows = "".join(
        f"<tr><td>{html.escape(str(name))}</td>"
        + "".join(f"<td>{html.escape(cells.iloc[i])}</td>" for cells in columns.values())
        + "</tr>"
        for i, name in enumerate(names)
    )
    return f"<h2>{html.escape(heading)}</h2><table><tr>{head}</tr>{rows}</table>"
