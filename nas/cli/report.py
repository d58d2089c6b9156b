"""`nas report`"""

from __future__ import annotations

from typing import Annotated

import typer


def report(run: Annotated[str, typer.Argument(help="Run directory, or its name under runs/.")]) -> None:
    """Write report.html of a run again, from what the run has recorded.

    Example: nas report runs/mbconv-pixel4-nsga2-seed0
    """
    from nas.report.from_run import write_report
    from nas.search.run import Run

    found = Run.open(run)
    typer.echo(str(write_report(found)))
