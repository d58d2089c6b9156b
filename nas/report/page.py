"""One self-contained HTML page around plots; it opens offline."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import NasError

if TYPE_CHECKING:
    import plotly.graph_objects as go


def write_page(title: str, plots: go.Figure, notes: Sequence[str], path: Path) -> Path:
    """Write a page (about 5 MB, nearly all of it plotly.js) with plots and, below them, notes; returns its path.

    Raises:
        NasError: the file cannot be written.
    """
    drawn = plots.to_html(full_html=False, include_plotlyjs=True)
    below = "".join(f"<p>{html.escape(line)}</p>" for line in notes)
    page = (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title></head>\n'
        f'<body style="font-family: sans-serif"><h1 style="font-size: 1.1em">{html.escape(title)}</h1>\n'
        f"{drawn}\n{below}</body></html>\n"
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise NasError(f"cannot write {path}: {error.strerror or error}") from None
    return path
