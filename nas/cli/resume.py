"""`nas resume`"""

from __future__ import annotations

from typing import Annotated

import typer

from nas.cli.results import finish


def resume(
    run: Annotated[str, typer.Argument(help="Run directory, or its name under runs/.")],
    rows: Annotated[int, typer.Option(help="Points of the front to print.", min=2)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")] = False,
) -> None:
    """Continue an interrupted run to its budget; the result is as if it had never stopped.

    Example: nas resume runs/mbconv-pixel4-nsga2-seed0
    """
    from nas.search.run import Run
    from nas.search.spending import spent_text

    found = Run.open(run)
    if not as_json:
        typer.echo(f"Resuming  {found.path}: {spent_text(found)}")
    finish(found, as_json, rows)
