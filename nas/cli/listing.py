"""`nas list`"""

from __future__ import annotations

import textwrap
from enum import StrEnum
from typing import Annotated, Any

import typer

from nas.cli.console import console, plain_table, print_json
from nas.cli.networks import check_networks, list_networks
from nas.cli.show_space import size_text
from nas.cli.targets import print_targets, target_rows
from nas.errors import NasError


class Kind(StrEnum):
    """What can be listed."""

    SPACES = "spaces"
    TARGETS = "targets"
    STRATEGIES = "strategies"
    SCHEDULERS = "schedulers"
    ESTIMATORS = "estimators"
    BENCHMARKS = "benchmarks"
    NETWORKS = "networks"
    FAMILIES = "families"


def list_names(
    kind: Annotated[Kind, typer.Argument(help="What to list.")],
    pattern: Annotated[str | None, typer.Argument(help="Networks only: part of a name, or e.g. 'resnet*'.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Networks only: published counts beside ours.")] = False,
    space: Annotated[str | None, typer.Option(help="Targets only: those that predict for this space.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List what is installed: spaces, targets, strategies, schedulers, estimators, benchmarks, networks or families.

    With --check the exit code is 1 where a published count is missed.

    Example: nas list networks 'efficientnet*'
    """
    if kind is Kind.NETWORKS:
        (check_networks if check else list_networks)(pattern, as_json)
        return
    if check or pattern is not None:
        raise NasError(f"{'--check' if check else pattern!r} goes with `nas list networks` only")
    if space is not None and kind is not Kind.TARGETS:
        raise NasError("--space goes with `nas list targets` only")
    rows = target_rows(space) if kind is Kind.TARGETS else _ROWS[kind]()
    if as_json:
        print_json(rows)
    elif kind is Kind.SPACES:
        _print_spaces(rows)
    elif kind is Kind.TARGETS:
        print_targets(rows)
    else:
        _print_table(rows)


def _print_table(rows: list[dict[str, Any]]) -> None:
    columns = tuple(rows[0]) if rows else ("nothing installed",)
    table = plain_table(*columns, text=tuple(range(len(columns))))
    for column in table.columns:
        column.no_wrap = False
    for row in rows:
        table.add_row(*[f"{value:,}" if isinstance(value, int) else str(value) for value in row.values()])
    console().print(table)


def _print_spaces(rows: list[dict[str, Any]]) -> None:
    """A paragraph a space: codes can be as long as a line."""
    width = max(len(row["space"]) for row in rows) + 2
    out = console()
    for row in rows:
        accuracy = f"accuracy: {', '.join(row['accuracy'])}" if row["accuracy"] else "no accuracy estimate"
        lines = [
            f"{size_text(row['size'])} networks, {row['decisions']} decisions; {accuracy}",
            row["description"], f"e.g. {row['example']}",
        ]  # fmt: skip
        first, *rest = [
            line for text in lines for line in textwrap.wrap(text, max(20, out.width - width), break_on_hyphens=False)
        ]
        out.print(
            "\n".join([f"{row['space']:{width}s}{first}", *[" " * width + line for line in rest]]), soft_wrap=True
        )


def _spaces() -> list[dict[str, Any]]:
    """What a space says of itself; nothing here builds its blocks, which can take seconds."""
    import numpy as np

    from nas import registry

    rows = []
    for name in registry.names("spaces"):
        space = registry.load("spaces", name)
        rows.append(
            {
                "space": name,
                "size": space.size,
                "decisions": len(space.decisions),
                "description": space.description,
                "accuracy": ["surrogate"] if space.surrogate is not None else [],
                "example": space.format(space.sample(1, np.random.default_rng(0)))[0],
            }
        )
    return rows


def _strategies() -> list[dict[str, Any]]:
    one_shot = [
        {"strategy": row["strategy"], "description": f"one-shot: {row['description']}"}
        for row in _described("oneshot_strategies", "strategy")
    ]
    return [*_described("strategies", "strategy"), *one_shot]


def _estimators() -> list[dict[str, Any]]:
    return _described("estimators", "estimator")


def _schedulers() -> list[dict[str, Any]]:
    return _described("schedulers", "scheduler")


def _benchmarks() -> list[dict[str, Any]]:
    """What the tables say of themselves; none is read."""
    from nas.estimators.tabular import benchmark_names, load_benchmark

    tables = [load_benchmark(name) for name in benchmark_names()]
    return [
        {"benchmark": table.name, "space": table.spaces[0], "accuracy": table.note, "source": table.source}
        for table in tables
    ]


def _families() -> list[dict[str, Any]]:
    """Published families: their members from the smallest to the largest, and the coefficients that are stated."""
    from nas.scaling.released import published_families

    return [
        {
            "family": family.name,
            "members": ", ".join(member.name for member in family.members),
            "base": family.base,
            "alpha, beta, gamma": str(family.coefficients) if family.coefficients else "",
            "source": family.source,
        }
        for family in published_families().values()
    ]


def _described(group: str, heading: str) -> list[dict[str, Any]]:
    """Names of a group with the first line of what each says of itself."""
    from nas import registry

    return [
        {heading: name, "description": (registry.load(group, name).__doc__ or "").strip().splitlines()[0]}
        for name in registry.names(group)
    ]


_ROWS = {
    Kind.SPACES: _spaces,
    Kind.STRATEGIES: _strategies,
    Kind.SCHEDULERS: _schedulers,
    Kind.ESTIMATORS: _estimators,
    Kind.BENCHMARKS: _benchmarks,
    Kind.FAMILIES: _families,
}
