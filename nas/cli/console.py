"""What commands share to print: one console, tables of metrics, progress."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console
    from rich.table import Table

    from nas.search.loop import OnProgress
    from nas.search.loop import Progress as SearchProgress
    from nas.search.problem import Problem
    from nas.search.run import Run

#: width of output that goes to a file or a pipe
PLAIN_WIDTH = 130
#: what a column of codes needs to be read
CODE_WIDTH = 24
#: wider than any table
UNBOUNDED = 10_000


def console(stderr: bool = False) -> Console:
    """Return a console on standard output or error, without markup or guessed highlighting."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, markup=False, highlight=False, width=None if stream.isatty() else PLAIN_WIDTH)


def plain_table(*columns: str, text: tuple[int, ...] = (0,)) -> Table:
    """Return an empty table; the columns at the positions `text` are set to the left, numbers to the right."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i in text else "right", no_wrap=True)
    return table


def fits(shown: Console, table: Table) -> bool:
    """Whether no column of a table has to be made narrower on a console."""
    return shown.measure(table, options=shown.options.update(width=UNBOUNDED)).maximum <= shown.width


def print_json(value: Any) -> None:
    """Print a JSON document, NaN as null."""
    typer.echo(json.dumps(_without_nan(value), indent=1, ensure_ascii=False))


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a frame as dictionaries, a named index included."""
    plain = frame.reset_index() if frame.index.name else frame
    return [{str(key): value for key, value in row.items()} for row in plain.to_dict(orient="records")]


def front_table(run: Run, rows: int, shown: Console) -> Table:
    """Return the front as a table of at most `rows` points, evenly spread, both ends included.

    A star marks what was known before the search and is not evaluated in it. Costs that nobody asked for are left out
    where codes would not have the room to be read.
    """
    from nas.cost import COST_METRICS

    problem = run.problem
    asked = {objective.metric for objective in problem.objectives} | {c.metric for c in problem.constraints}
    names = [name for name in problem.metrics if name != "peak_activation_bytes" or name in asked]
    unasked = [name for name in names if name in COST_METRICS and name not in asked]
    while True:
        table = _front_table(run, rows, names)
        if not unasked or shown.measure(table).minimum <= shown.width:
            return table
        names.remove(unasked.pop())


def _front_table(run: Run, rows: int, names: list[str]) -> Table:
    from nas.search.metrics import METRICS

    problem, points = run.problem, run.front
    # What a bound holds on with confidence is told by the odds beside it.
    metrics = [METRICS[name] for name in names if not METRICS[name].confidence]
    headings = [_heading(problem, metric.name, f"{metric.label} {metric.unit}") for metric in metrics]
    table = plain_table("point", "code", *headings, text=(0, 1))
    # Where space is short a long code goes on in the next line; figures are never cut.
    table.columns[1].no_wrap, table.columns[1].overflow = False, "fold"
    table.columns[1].min_width = min(CODE_WIDTH, points["code"].str.len().max())
    step = max(1.0, (len(points) - 1) / max(1, rows - 1))
    shown = sorted({round(i * step) for i in range(min(rows, len(points)))})
    for position in shown:
        row = points.iloc[position]
        point = f"#{points.index[position]}{'*' if row.get('learned_from') else ''}"
        table.add_row(point, row["code"], *[metric.with_interval(row) for metric in metrics])
    return table


def _heading(problem: Problem, metric: str, label: str) -> str:
    return f"{label}\n{problem.origin(metric)}"


@contextmanager
def progress_bar(run: Run, enabled: bool) -> Iterator[OnProgress | None]:
    """Show a progress bar on standard error; yields the function to be called after every batch."""
    if not enabled:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from nas.search.metrics import METRICS

    metric = METRICS[run.problem.objectives[0].metric]
    within = " within budget" if run.problem.constraints else ""
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[state]}"), console=console(stderr=True),
    )  # fmt: skip
    with bar:
        task = bar.add_task(run.config.strategy, total=run.config.budget, state="")

        def update(progress: SearchProgress) -> None:
            state = f"hypervolume {progress.hypervolume:.4f} · best {metric.label}{within} {metric.text(progress.best)}"
            bar.update(task, completed=progress.spent, state=state)

        yield update


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and (value != value or value in (float("inf"), -float("inf"))) else value
