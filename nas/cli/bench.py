"""`nas bench`"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli.console import console, plain_table, print_json, records
from nas.errors import InterruptedSearchError, NasError

if TYPE_CHECKING:
    from rich.table import Table

    from nas.search.bench import BenchPlan, BenchResult, OnSearch

app = typer.Typer(help="Compare strategies on tables of trained networks.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """Compare strategies on tables of trained networks."""


@app.command("strategies")
def strategies(
    on: Annotated[
        str, typer.Option(help="Tables, separated by commas, e.g. nasbench201:cifar10,nasbench-macro,accel.")
    ],
    names: Annotated[
        str,
        typer.Option(
            "--strategies",
            help="Strategies, separated by commas, or all; random is always among them. Default: local, evolution and "
            "predictor; with several objectives pareto-local, nsga2 and predictor.",
        ),
    ] = "",
    seeds: Annotated[int, typer.Option(help="Searches of each strategy on each table.", min=1)] = 100,
    first_seed: Annotated[int, typer.Option(help="The first seed; the others follow.", min=0)] = 0,
    evaluations: Annotated[str, typer.Option(help="Budgets to compare at, separated by commas.")] = "50,100,200",
    objectives: Annotated[str, typer.Option(help="Metrics, the one that chooses first, e.g. error,macs.")] = "error",
    free: Annotated[
        str, typer.Option(help="Metrics known before an evaluation, besides params, macs and peak_activation_bytes.")
    ] = "",
    epochs: Annotated[
        int | None, typer.Option(help="Choose by the accuracy after so many epochs (default: what the table names).")
    ] = None,
    jobs: Annotated[int, typer.Option(help="Processes; the result does not depend on them.", min=1)] = 1,
    data: Annotated[Path | None, typer.Option(help="Folder of the tables (default: $NAS_DATA).")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Keep finished searches here, to go on after an interruption, and write CSV and bench.html."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Run strategies on tables of trained networks and compare them with the true optimum and front.

    Example: nas bench strategies --on nasbench-macro --objectives error,macs --seeds 20 --out bench
    """
    from nas.search.bench import DEFAULT_STRATEGIES, BenchPlan

    goals = _split(objectives)
    plan = BenchPlan(
        _split(on), _split(names) or DEFAULT_STRATEGIES[len(goals) > 1], seeds, _budgets(evaluations), goals,
        first_seed, _split(free), epochs, None if data is None else str(data),
    )  # fmt: skip
    result = _run(plan, jobs, out, quiet=as_json)
    if out is not None:
        from nas.report.bench import write_bench

        write_bench(result, out)
    if as_json:
        print_json(_document(result))
        return
    _print(result)
    if out is not None:
        typer.echo(f"Written   {out / 'bench.html'}, CSV files beside it")


def _split(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _budgets(text: str) -> tuple[int, ...]:
    parts = _split(text)
    wrong = [part for part in parts if not part.isdecimal()]
    if wrong:
        raise NasError(f"--evaluations {text!r}: {wrong[0]!r} is no whole number; write it as 50,100,200")
    return tuple(sorted(map(int, parts)))


def _run(plan: BenchPlan, jobs: int, out: Path | None, quiet: bool) -> BenchResult:
    """Do the searches of a plan; Ctrl-C ends with what is kept and how to go on."""
    from nas.search.bench import bench
    from nas.search.bench_store import BenchStore

    store = None if out is None else BenchStore(out)
    try:
        with _progress(enabled=not quiet) as on_search:
            return bench(plan, jobs, on_search, store)
    except KeyboardInterrupt:
        where = "nothing is kept without --out" if out is None else f"finished searches are in {out}"
        go_on = "" if out is None else "; the same command goes on from there"
        raise InterruptedSearchError(f"interrupted; {where}{go_on}") from None


def _document(result: BenchResult) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "plan": asdict(result.plan),
        "best_possible": {name: asdict(truth) for name, truth in result.truths.items()},
        "summary": records(result.summary()),
        "overhead": records(result.overhead),
    }


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
    seeds = result.plan.seed_range
    counted = "1 seed" if len(seeds) == 1 else f"{len(seeds)} seeds"
    out.print(f"{counted} from {seeds[0]} on: mean, half of its 95 % interval, std of one search.")
    out.print("Budget in evaluations; ask+tell is for one evaluation.")
    out.print("Measured: ask+tell, and the accuracies, which are looked up in the table.")


def _table(result: BenchResult, benchmark: str, quantity: str) -> Table | None:
    """Return one row a budget and strategy, the best strategy first; None where the table lacks the quantity."""
    rows = result.summary().query("benchmark == @benchmark and quantity == @quantity")
    if rows.empty:
        return None
    overhead = result.overhead.query("benchmark == @benchmark").set_index("strategy")["ms_per_evaluation"]
    table = plain_table("budget", "rank", "strategy", "mean", "± 95 %", "std", "ask+tell ms", text=(2,))
    for budget, group in rows.groupby("evaluations"):
        table.add_section()
        for i, (_, row) in enumerate(group.sort_values("rank", kind="stable").iterrows()):
            # One search has neither spread nor interval.
            spread, half = (f"{v:.4f}" if v == v else "–" for v in (row["std"], (row["high"] - row["low"]) / 2))
            strategy = str(row["strategy"])
            table.add_row(
                "" if i else f"{budget:,}", str(row["rank"]), strategy, f"{row['mean']:.4f}", half, spread,
                f"{overhead[strategy]:.2f}",
            )  # fmt: skip
    return table


@contextmanager
def _progress(enabled: bool) -> Iterator[OnSearch | None]:
    """A bar on a terminal, which goes when all is done."""
    shown = console(stderr=True)
    if not enabled or not shown.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = BarColumn(), MofNCompleteColumn(), TextColumn("searches"), TimeRemainingColumn()
    with Progress(*columns, console=shown, transient=True) as bar:
        task = bar.add_task("bench", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
