"""`nas bench`"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli.console import console, plain_table, print_json, records
from nas.errors import NasError

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from nas.search.bench import BenchResult, OnTask

app = typer.Typer(help="Compare strategies on tables of trained networks.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """Compare strategies on tables of trained networks."""


@app.command("strategies")
def strategies(
    on: Annotated[str, typer.Option(help="Tables, separated by commas, e.g. nasbench201-cifar10,nasbench-macro.")],
    names: Annotated[
        str, typer.Option("--strategies", help="Strategies, separated by commas; random is always among them.")
    ] = "random",
    seeds: Annotated[int, typer.Option(help="Searches of each strategy on each table.", min=1)] = 100,
    evaluations: Annotated[str, typer.Option(help="Budgets to compare at, separated by commas.")] = "50,100,200",
    objectives: Annotated[str, typer.Option(help="Metrics, the one that chooses first, e.g. error,macs.")] = "error",
    jobs: Annotated[int, typer.Option(help="Processes; the result does not depend on them.", min=1)] = 1,
    data: Annotated[Path | None, typer.Option(help="Folder of the tables (default: $NAS_DATA).")] = None,
    out: Annotated[Path | None, typer.Option(help="Write curves.csv, summary.csv and bench.html here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Run strategies on tables of trained networks and compare them with the true optimum and front.

    Example: nas bench strategies --on nasbench-macro --strategies nsga2 --objectives error,macs --seeds 20
    """
    from nas.search.bench import BenchPlan, bench

    plan = BenchPlan(
        tuple(name.replace(":", "-") for name in _split(on)), _split(names), seeds, _budgets(evaluations),
        _split(objectives), None if data is None else str(data),
    )  # fmt: skip
    with _progress(enabled=not as_json) as on_task:
        result = bench(plan, jobs, on_task)
    if out is not None:
        from nas.report.bench import write_bench

        write_bench(result, out)
    if as_json:
        print_json(records(result.summary()))
        return
    _print(result)
    if out is not None:
        typer.echo(f"Written   {out}  (curves.csv, summary.csv, bench.html)")


def _split(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _budgets(text: str) -> tuple[int, ...]:
    parts = _split(text)
    wrong = [part for part in parts if not part.isdecimal()]
    if wrong:
        raise NasError(f"--evaluations {text!r}: {wrong[0]!r} is no whole number; write it as 50,100,200")
    return tuple(sorted(map(int, parts)))


def _print(result: BenchResult) -> None:
    from nas.report.bench import heading

    out = console()
    for name in result.truths:
        out.print(f"\n{name}")
        for quantity in result.quantities:
            table = _table(result, name, quantity)
            # Regret is the best value seen from the other end.
            if table is not None and quantity != "regret":
                out.print(f"  {heading(result, name, quantity)}")
                out.print(table)
    out.print(f"Mean ± half of its 95 % interval over {result.plan.seeds} seeds; #1 is the best mean.")


def _table(result: BenchResult, benchmark: str, quantity: str) -> Table | None:
    """Return strategies × budgets, the best at the largest budget first; None where the table lacks the quantity."""
    rows = result.summary().query("benchmark == @benchmark and quantity == @quantity")
    if rows.empty:
        return None
    overhead = result.overhead.query("benchmark == @benchmark").set_index("strategy")["ms_per_evaluation"]
    budgets = result.plan.evaluations
    table = plain_table("strategy", *[f"{budget:,} evaluations" for budget in budgets], "std", "ask+tell ms")
    last = rows[rows["evaluations"] == budgets[-1]].sort_values("rank", kind="stable")
    for _, final in last.iterrows():
        strategy = str(final["strategy"])
        cells = [_cell(row) for _, row in rows[rows["strategy"] == strategy].iterrows()]
        spread = f"{final['std']:.4f}" if result.plan.seeds > 1 else "–"
        table.add_row(strategy, *cells, spread, f"{overhead[strategy]:.2f}")
    return table


def _cell(row: pd.Series) -> str:
    half = (row["high"] - row["low"]) / 2
    # One search has no interval.
    interval = f" ± {half:.4f}" if half == half else ""
    return f"{row['mean']:.4f}{interval}  #{row['rank']}"


@contextmanager
def _progress(enabled: bool) -> Iterator[OnTask | None]:
    if not enabled:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    with Progress(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console(stderr=True)) as bar:
        task = bar.add_task("bench", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
