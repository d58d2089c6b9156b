"""`nas scale design`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli.console import console, plain_table, print_json, records

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table


def design(
    base: Annotated[str, typer.Option(help="The network to scale: a published one, RUN#3 or a code.")],
    out: Annotated[Path, typer.Option(help="CSV to write: train its networks and fill in the accuracies.")],
    points: Annotated[int, typer.Option(help="Networks to train, 9 to 21; from 14 interactions are fitted.")] = 15,
    factor: Annotated[float, typer.Option(help="Networks cost this many times the base's MACs, and its square.")] = 2.0,
    target: Annotated[str | None, typer.Option(help="Predict latency on this target.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Propose the networks to train for nas scale fit: each dimension alone and mixed, at two costs.

    Example: nas scale design --base efficientnet_b0 --points 15 --out points.csv
    """
    from nas.hardware import load_target
    from nas.scaling.fitting.design import check_new, design_table, latency_note, write_design
    from nas.scaling.fitting.design import design as propose
    from nas.search.resolve import resolve

    check_new(out)
    spec = resolve(base).spec
    device = load_target(target) if target is not None else None
    note = latency_note(spec, device) if device is not None else ""
    table = design_table(propose(spec, points, factor), device)
    write_design(table, out)
    if as_json:
        print_json({"base": base, "file": str(out), "networks": records(table.drop(columns="accuracy"))})
        return
    console().print(_table(table))
    total = table["macs"].sum() / table["macs"].iloc[0]
    console().print(f"Counts    exact; training all costs {total:.0f} times the MACs of the base, an epoch of each")
    if note:
        console().print(f"Latency   {note}")
    typer.echo(f"Wrote     {out}: fill in the column accuracy (percent, validation); add rows for further seeds")
    typer.echo(f"Then      nas scale fit --base {base} --observations {out}")


def _table(table: pd.DataFrame) -> Table:
    latency = "latency_ms" in table
    heads = [
        "depth",
        "width",
        "pixels",
        "params\nM",
        "MACs\nM",
        "× base",
        *(["latency\nms"] if latency else []),
    ]
    shown = plain_table("network", *heads)
    for row in records(table):
        cells = [f"{row['depth']:.3f}", f"{row['width']:.3f}", f"{row['resolution']}", f"{row['params'] / 1e6:.2f}"]
        cells += [f"{row['macs'] / 1e6:.1f}", f"{row['macs_factor']:.2f}"]
        shown.add_row(row["name"], *cells, *([f"{row['latency_ms']:.2f}"] if latency else []))
    return shown
