"""`nas list`"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from nas.cli.console import console, plain_table, print_json


class Kind(StrEnum):
    """What can be listed."""

    SPACES = "spaces"
    TARGETS = "targets"
    STRATEGIES = "strategies"
    ESTIMATORS = "estimators"
    NETWORKS = "networks"


def list_names(
    kind: Annotated[Kind, typer.Argument(help="What to list.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List what is installed: spaces, targets, strategies, estimators or published networks.

    Example: nas list targets
    """
    rows = _ROWS[kind]()
    if as_json:
        print_json(rows)
        return
    columns = tuple(rows[0]) if rows else ("nothing installed",)
    table = plain_table(*columns, text=tuple(range(len(columns))))
    for column in table.columns:
        column.no_wrap = False
    for row in rows:
        table.add_row(*[f"{value:,}" if isinstance(value, int) else str(value) for value in row.values()])
    console().print(table)


def _spaces() -> list[dict[str, Any]]:
    import numpy as np

    from nas import registry

    rows = []
    for name in registry.names("spaces"):
        space = registry.load("spaces", name)
        rows.append(
            {
                "space": name,
                "networks": space.size,
                "decisions": len(space.decisions),
                "description": space.description,
                "example": space.format(space.sample(1, np.random.default_rng(0)))[0],
            }
        )
    return rows


def _targets() -> list[dict[str, Any]]:
    from nas.hardware import load_target, target_names

    rows = []
    for name in target_names():
        target = load_target(name)
        profile = target.profile
        rows.append(
            {
                "target": name,
                "device": profile.description,
                "runtime": f"{profile.runtime} {profile.runtime_commit}",
                "threads": profile.threads,
                "precision": profile.precision,
                "latency": f"predicted; {target.held_out_text}",
                "valid for": profile.valid_for,
            }
        )
    return rows


def _strategies() -> list[dict[str, Any]]:
    return _described("strategies", "strategy")


def _estimators() -> list[dict[str, Any]]:
    return _described("estimators", "estimator")


def _described(group: str, heading: str) -> list[dict[str, Any]]:
    """Names of a group with the first line of what each says of itself."""
    from nas import registry

    return [
        {heading: name, "description": (registry.load(group, name).__doc__ or "").strip().splitlines()[0]}
        for name in registry.names(group)
    ]


def _networks() -> list[dict[str, Any]]:
    from nas.space.catalogue import load_network, network_names

    rows = []
    for name in network_names():
        spec = load_network(name)
        cost = spec.cost()
        rows.append(
            {
                "network": name,
                "resolution": spec.resolution,
                "params": cost["params"],
                "MACs": cost["macs"],
                "source": spec.source,
            }
        )
    return rows


_ROWS = {
    Kind.SPACES: _spaces,
    Kind.TARGETS: _targets,
    Kind.STRATEGIES: _strategies,
    Kind.ESTIMATORS: _estimators,
    Kind.NETWORKS: _networks,
}
