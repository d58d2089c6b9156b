"""`nas compare`"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli.console import console, fits, plain_table, print_json, records

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from nas.search.comparison import Comparison

#: columns of the table: those that are counted, then those that are told or predicted; two tables where one is too wide
COUNTED = ("resolution", "params", "macs", "peak_activation_bytes", "weight_bytes")
TOLD = ("published_top1", "top1", "latency_ms")


def compare(
    architectures: Annotated[list[str], typer.Argument(help="Published networks, RUN#3, or codes.")],
    target: Annotated[str | None, typer.Option(help="Predict latency on this target.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write plots to this HTML file, which opens offline.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Put networks side by side: counts, predicted latency, published and predicted accuracy.

    Example: nas compare efficientnet_b0 mobilenetv2 --target pixel4 --out compare.html
    """
    from nas.hardware import load_target
    from nas.search.comparison import compare as put_side_by_side
    from nas.search.resolve import resolve

    device = load_target(target) if target is not None else None
    found = put_side_by_side([resolve(text) for text in architectures], device)
    if out is not None:
        from nas.report.comparison import write_comparison

        write_comparison(found, out)
    if as_json:
        print_json(_as_json(found))
        return
    _print(found)
    if out is not None:
        typer.echo(f"Plots     {out}")


def _print(found: Comparison) -> None:
    shown = console()
    told = [name for name in TOLD if name in found.rows and (name == "latency_ms" or found.rows[name].notna().any())]
    whole = _table(found, [*COUNTED, *told])
    if not told or fits(shown, whole):
        shown.print(whole)
    else:
        shown.print(_table(found, COUNTED))
        shown.print(_table(found, told))
    for line in [*found.notes, *found.sources]:
        shown.print(line)


def _table(found: Comparison, columns: Sequence[str]) -> Table:
    heads = [_head(found, name) for name in columns]
    table = plain_table("network", *heads)
    table.columns[0].no_wrap = False
    table.columns[0].overflow = "fold"
    for name, row in found.rows.iterrows():
        table.add_row(str(name), *[_cell(row, column) for column in columns])
    return table


def _head(found: Comparison, name: str) -> str:
    from nas.search.metrics import METRICS

    if name == "resolution":
        return "input\npixels"
    metric = METRICS[name.removeprefix("published_")]
    label = found.target.name if name == "latency_ms" and found.target else metric.label.replace(" ", "\n")
    return f"{label} {metric.unit}\n{found.origins[name]}"


def _cell(row: pd.Series, name: str) -> str:
    from nas.search.metrics import METRICS

    if name == "resolution":
        return f"{row[name]}"
    if name == "published_top1":
        return METRICS["top1"].number(row[name])
    if name == "latency_ms" and row["latency_note"]:
        text = METRICS[name].with_interval(row)
        return "not covered" if text == "–" else f"{text} *"
    return METRICS[name].with_interval(row)


def _as_json(found: Comparison) -> dict[str, Any]:
    return {
        "target": found.target.name if found.target else None,
        "origins": found.origins,
        "notes": [*found.notes, *found.sources],
        "networks": records(found.rows),
    }
