"""`nas scale emit`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli.console import console, fits, plain_table, print_json, records
from nas.errors import NasError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from nas.search.family import Columns, FamilyFacts


def emit(
    base: Annotated[str, typer.Option(help="Network to scale: a published one, RUN#3, FAMILY#b0 or a code.")],
    coefficients: Annotated[
        str | None,
        typer.Option(
            help="alpha,beta,gamma for depth, width, resolution: 1.2,1.1,1.15 (default: as published with the base)."
        ),
    ] = None,
    phi: Annotated[
        str | None, typer.Option(help="Compound coefficients: 0..7, or a list such as 0,0.5,1 (default: 0..7).")
    ] = None,
    budgets: Annotated[
        str | None, typer.Option(help="Instead of phi: what members may cost, such as 5ms,10ms,20ms or 400M,800M MACs.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="Predict latency on this target.")] = None,
    paper: Annotated[
        bool, typer.Option("--paper", help="The family as it was released, beside what the coefficients give.")
    ] = False,
    law: Annotated[
        str | None, typer.Option(help="Scaling law for accuracy: a file of nas scale law, or a published family.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write family.yaml and report.html to.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Scale a network to a family: exact members by compound coefficient, or by what each may cost.

    Members build, export and compare like any network: nas show FAMILY#b4.

    Examples: nas scale emit --base efficientnet_b0 --coefficients 1.2,1.1,1.15 --phi 0..7 --out b-family;
    nas scale emit --base mobilenetv3_small --coefficients 1.2,1.1,1.15 --target pixel4 --budgets 10ms,20ms,40ms
    """
    from nas.hardware import load_target
    from nas.scaling.coefficients import Coefficients
    from nas.search.family import family_facts
    from nas.search.quantities import parse_phis

    if phi is not None and budgets is not None:
        raise NasError("--phi and --budgets both say how large the members are; give one of them")
    if paper and (phi is not None or budgets is not None):
        raise NasError("--paper gives the members that were released; leave --phi and --budgets out")
    facts = family_facts(
        base,
        coefficients=None if coefficients is None else Coefficients.parse(coefficients),
        phis=None if phi is None else parse_phis(phi),
        budgets=None if budgets is None else budgets.split(","),
        target=None if target is None else load_target(target),
        law=law,
        paper=paper,
    )
    written = _write(facts, out) if out is not None else []
    if as_json:
        print_json(_as_json(facts) | {"files": [str(path) for path in written]})
        return
    _print(facts)
    for path in written:
        typer.echo(f"Wrote     {path}")
    if out is not None:
        typer.echo(f"Next      nas show {out}#{facts.family.members[-1].name}")


def _write(facts: FamilyFacts, folder: Path) -> list[Path]:
    from nas.report.family import write_family_report
    from nas.scaling.family import FAMILY_FILE, write_family

    return [write_family(facts.family, folder / FAMILY_FILE), write_family_report(facts, folder / "report.html")]


def _print(facts: FamilyFacts) -> None:
    out = console()
    out.print(f"Family    {facts.title}")
    whole = {**facts.sizes, **facts.figures}
    for columns in [whole] if fits(out, _table(whole, list(whole))) else [facts.sizes, facts.figures]:
        _print_columns(out, columns)
    for each in facts.beside:
        out.print(each.heading)
        _print_columns(out, each.columns)
    for line in facts.notes:
        out.print(line)


def _print_columns(out: Console, columns: Columns) -> None:
    """Print as few tables below one another as have room for all columns."""
    heads = list(columns)
    while heads:
        count = next((n for n in range(len(heads), 1, -1) if fits(out, _table(columns, heads[:n]))), 1)
        out.print(_table(columns, heads[:count]))
        heads = heads[count:]


def _table(columns: Columns, heads: Sequence[str]) -> Table:
    """A table of some of the columns; their index names the rows."""
    table = plain_table("member", *heads)
    for i, name in enumerate(columns[heads[0]].index):
        table.add_row(str(name), *[columns[head].iloc[i] for head in heads])
    return table


def _as_json(facts: FamilyFacts) -> dict[str, Any]:
    family = facts.family
    return {
        "base": family.base,
        "coefficients": vars(family.coefficients) if family.coefficients else None,
        "target": facts.target.name if facts.target else None,
        "members": [
            row | {"recipe": vars(member.recipe) if member.recipe else None, "network": member.network}
            for row, member in zip(records(facts.rows), family.members, strict=True)
        ],
        "beside": {each.heading: records(each.rows) for each in facts.beside},
        "origins": facts.origins,
        "notes": facts.notes,
    }
