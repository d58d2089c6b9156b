"""`nas scale law`"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli.console import console, plain_table, print_json
from nas.errors import NasError

if TYPE_CHECKING:
    from rich.table import Table

    from nas.scaling.laws.facts import LawFacts
    from nas.scaling.laws.law import Forecast, Law

#: more networks than this are not listed on a console
_LISTED = 24


def law(
    results: Annotated[
        Path | None,
        typer.Argument(help="CSV of trained networks: the cost, top1 or accuracy or error in %; name, family, seed."),
    ] = None,
    family: Annotated[str | None, typer.Option(help="Instead of a table: a published family.")] = None,
    cost: Annotated[str, typer.Option(help="Column of the cost: macs, params, latency_ms ...")] = "macs",
    accuracy: Annotated[
        str | None, typer.Option(help="Column of the accuracies (default: top1, accuracy, error or top1_err).")
    ] = None,
    where: Annotated[
        list[str] | None, typer.Option(help="Only rows with COLUMN=VALUE or COLUMN~REGEX; may be given repeatedly.")
    ] = None,
    at: Annotated[
        list[str] | None,
        typer.Option(help="Predict at this cost, such as 80G (default: twice the largest); may be given repeatedly."),
    ] = None,
    level: Annotated[float, typer.Option(help="How probable intervals hold the truth.")] = 0.95,
    epochs: Annotated[
        int | None, typer.Option(help="How long the networks were trained, for nas scale plan.", min=1)
    ] = None,
    recipe: Annotated[str, typer.Option(help="How the networks were trained, in words.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.", min=0)] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the law to this YAML file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a plot to this HTML file, which opens offline.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Fit error = a · cost^-b + c to a family of networks, and predict its next member.

    Intervals come of a bootstrap. As a check, every member is predicted from the cheaper ones alone.

    Examples: nas scale law results.csv --out law.yaml; nas scale law --family efficientnet --at 80G --html law.html
    """
    from nas.scaling.laws.facts import facts_of
    from nas.scaling.laws.file import write_law
    from nas.search.quantities import parse_bounds

    laws, notes = _laws(results, family, cost, accuracy, where or [], seed)
    if out is not None and len(laws) > 1:
        raise NasError(
            f"{results} has the laws of {len(laws)} families, a file holds one: choose it by --where "
            f"family={laws[0].family}"
        )
    laws = [replace(each, epochs=epochs or each.epochs, recipe=recipe or each.recipe) for each in laws]
    costs = [parse_bounds("at", {cost: text})[cost] for text in at or []]
    facts = [facts_of(each, costs, level, notes) for each in laws]
    written = [write_law(laws[0], out)] if out is not None else []
    if html is not None:
        from nas.report.law import write_law_page

        written.append(write_law_page(facts, html))
    if as_json:
        print_json({"laws": [_as_json(each) for each in facts], "files": [str(path) for path in written]})
        return
    for each in facts:
        _print(each)
    for path in written:
        typer.echo(f"Wrote     {path}")


def _laws(
    results: Path | None, family: str | None, cost: str, accuracy: str | None, where: list[str], seed: int
) -> tuple[list[Law], list[str]]:
    """The laws asked for, with notes on what they rest on."""
    from nas.scaling.laws.sources import law_of, laws_of_table, notes_on
    from nas.scaling.released import published_family

    if (results is None) == (family is None):
        raise NasError("give either a table of results, or a published family by --family, such as efficientnet")
    if results is not None:
        return list(laws_of_table(results, cost, where, seed, accuracy).values()), []
    if where or accuracy:
        raise NasError("--where and --accuracy are of a table; a published family has none")
    published = published_family(str(family))
    return [law_of(published, cost, seed)], notes_on(published)


def _print(facts: LawFacts) -> None:
    law, out, percent = facts.law, console(), f"{100 * facts.level:g} %"
    trained = f", {law.epochs} epochs" if law.epochs else ""
    out.print(f"Law       {law.family or law.source}: {law.formula} (top-1 error in %)")
    out.print(f"          least squares on {len(law.costs)} {law.origin} networks{trained}; rmse {law.rmse:.3f} points")
    for name, (low, high) in facts.intervals.items():
        out.print(f"          {name} = {getattr(law, name):.3f}, {percent} interval {low:.3f} to {high:.3f}")
    if len(law.costs) <= _LISTED:
        out.print(_table(facts))
    else:
        out.print(f"          {len(law.costs)} networks, listed by --json and drawn by --html")
    if facts.largest is not None:
        for line in _checked(facts, facts.largest):
            out.print(line)
    for forecast in facts.asked:
        out.print(f"Predicted {_asked(forecast, law, percent)}")
    for note in facts.notes:
        out.print(f"Note      {note}")
    if law.recipe:
        out.print(f"Recipe    {law.recipe}")
    if law.origin == "published":
        out.print(f"Source    {law.source}")


def _table(facts: LawFacts) -> Table:
    law = facts.law
    ahead = {forecast.cost: forecast for forecast in facts.ahead}
    heads = (
        f"{law.origin}\nerror %",
        "fitted",
        "residual",
        f"from cheaper ones alone\n{100 * facts.level:g} % interval",
    )
    table = plain_table("network", _axis(law), *heads)
    table.columns[0].no_wrap, table.columns[0].overflow = False, "fold"
    for i, (cost, error, residual) in enumerate(zip(law.costs, law.errors, law.residuals, strict=True)):
        forecast = ahead.get(cost)
        table.add_row(
            law.names[i] if law.names else str(i + 1), f"{cost / law.unit:.3f}", f"{error:.2f}",
            f"{error - residual:.2f}", f"{residual:+.2f}", _interval(forecast) if forecast else "–",
        )  # fmt: skip
    return table


def _axis(law: Law) -> str:
    from nas.scaling.laws.law import AXES

    return AXES.get(law.cost, law.cost)


def _interval(forecast: Forecast) -> str:
    return f"{forecast.error:.2f} ({forecast.low:.2f} to {forecast.high:.2f})"


def _checked(facts: LawFacts, largest: Forecast) -> list[str]:
    measured, name = largest.measured or 0.0, largest.name or "the largest"
    held = sum(forecast.holds is True for forecast in facts.ahead)
    where = "inside" if largest.holds else "OUTSIDE"
    return [
        f"Check     {name} from all others: {_interval(largest)}, {facts.law.origin} {measured:.2f}",
        f"          off by {abs(largest.error - measured):.2f} points, {where} its interval",
        f"          {held} of {len(facts.ahead)} intervals from cheaper ones hold the {facts.law.origin} error",
    ]


def _asked(forecast: Forecast, law: Law, percent: str) -> str:
    beyond = forecast.cost / law.costs[-1]
    times = f", {beyond:.3g} times the largest" if beyond > 1 else ""
    return (
        f"at {forecast.cost / law.unit:.4g} {_axis(law)}{times}: error {forecast.error:.2f} % "
        f"({percent}: {forecast.low:.2f} to {forecast.high:.2f}), top-1 {100 - forecast.error:.2f} %"
    )


def _as_json(facts: LawFacts) -> dict[str, Any]:
    law = facts.law
    rows = [
        {"name": law.names[i] if law.names else None, law.cost: cost, "error": error, "law": error - residual}
        for i, (cost, error, residual) in enumerate(
            zip(law.costs, law.errors, map(float, law.residuals), strict=True)
        )
    ]  # fmt: skip
    parameters = {
        name: {"value": getattr(law, name), "low": low, "high": high} for name, (low, high) in facts.intervals.items()
    }
    return {
        "family": law.family, "formula": law.formula, "cost": law.cost, "unit": law.unit, "level": facts.level,
        "parameters": parameters, "rmse": law.rmse, "residual_std": law.residual_std, "origin": law.origin,
        "source": law.source, "epochs": law.epochs, "recipe": law.recipe, "seed": law.seed, "observations": rows,
        "predicted_from_cheaper_ones": [vars(forecast) | {"holds": forecast.holds} for forecast in facts.ahead],
        "largest_predicted_from_others": vars(facts.largest) if facts.largest else None,
        "predicted": [vars(forecast) | {"top1": 100 - forecast.error} for forecast in facts.asked],
        "notes": facts.notes,
    }  # fmt: skip
