"""`nas list networks`: published networks, and their published counts beside ours."""

from __future__ import annotations

from fnmatch import fnmatchcase
from itertools import groupby
from typing import TYPE_CHECKING, Any

import typer

from nas.cli.console import console, plain_table, print_json
from nas.errors import NasError, suggestion

if TYPE_CHECKING:
    from nas.space.catalogue import PublishedCount

#: what a comparison with a published figure can come to; "differs": for a reason that is recorded with the figure
EQUAL, ROUNDED, DIFFERS, MISS = "equal", "equal as printed", "differs", "MISS"


def list_networks(pattern: str | None, as_json: bool) -> None:
    """Print the networks whose name matches `pattern`, under the publications they come from."""
    rows = network_rows(_matching(pattern))
    if as_json:
        print_json(rows)
        return
    width = max(len(row["network"]) for row in rows)
    typer.echo(f"{'':{width}s}   input         params             MACs    top-1 %")
    typer.echo(f"{'network':{width}s}  pixels       computed         computed  published")
    rows.sort(key=lambda row: row["source"])
    for source, group in groupby(rows, key=lambda row: row["source"]):
        typer.echo(f"\n{source}")
        for row in group:
            top1 = "" if row["published_top1"] is None else f"{row['published_top1']:.1f}"
            counts = f"{row['resolution']:6d}  {row['params']:13,d}  {row['macs']:15,d}  {top1:>9s}"
            typer.echo(f"{row['network']:{width}s}  {counts}".rstrip())
    typer.echo(f"\n{len(rows)} networks; `nas list networks --check` compares with published counts")


def network_rows(names: list[str]) -> list[dict[str, Any]]:
    """Return one row a network: input resolution, params, macs, published top-1, source."""
    from nas.space.catalogue import load_network, published_top1

    rows = []
    for name in names:
        spec, figure = load_network(name), published_top1(name)
        blocks = spec.blocks
        rows.append(
            {
                "network": name,
                "resolution": spec.resolution,
                "params": sum(block.params for block in blocks),
                "macs": sum(block.macs for block in blocks),
                "published_top1": figure.value if figure else None,
                "source": spec.source,
                "origins": {
                    "params": "computed",
                    "macs": "computed",
                    "published_top1": figure.source if figure else "",
                },
            }
        )
    return rows


def check_networks(pattern: str | None, as_json: bool) -> None:
    """Print every published count beside ours, then how many agree.

    Raises:
        typer.Exit: with code 1 where a count is missed and no reason is known.
    """
    from nas.space.catalogue import published_counts

    names = set(_matching(pattern))
    counts = [count for count in published_counts() if count.network in names]
    if not counts:
        raise NasError(f"no published counts are recorded for {pattern or 'any network'}")
    verdicts = [_verdict(count) for count in counts]
    totals = {verdict: verdicts.count(verdict) for verdict in (EQUAL, ROUNDED, DIFFERS, MISS)}
    exact = len({count.network for count, verdict in zip(counts, verdicts, strict=True) if verdict == EQUAL})
    if as_json:
        fields = ("network", "quantity", "value", "unit", "source", "ours", "note")
        rows = [{name: getattr(count, name) for name in fields} | {"verdict": verdict}
                for count, verdict in zip(counts, verdicts, strict=True)]  # fmt: skip
        print_json({"counts": rows, "totals": totals, "networks": len(names), "networks_equal_as_integers": exact})
    else:
        _print_check(counts, verdicts)
        for verdict in (DIFFERS, MISS):
            for count in (count for count, each in zip(counts, verdicts, strict=True) if each == verdict):
                figures = f"published {printed_count(count)}, ours {count.ours:,}"
                reason = f"; {count.note}" if count.note else ""
                typer.echo(f"{verdict:7s} {count.network} {count.quantity}: {figures} ({count.source}{reason})")
        typer.echo(f"{exact} of {len(names)} networks agree with a published count as integers")
        typer.echo(f"{len(counts)} counts: {', '.join(f'{number} {verdict}' for verdict, number in totals.items())}")
    if totals[MISS]:
        raise typer.Exit(1)


def _print_check(counts: list[PublishedCount], verdicts: list[str]) -> None:
    table = plain_table("network", "quantity", "published", "ours", "verdict", "source", text=(0, 1, 4, 5))
    for column in table.columns[:2] + table.columns[4:]:
        column.no_wrap = False
    for count, verdict in zip(counts, verdicts, strict=True):
        table.add_row(count.network, count.quantity, printed_count(count), f"{count.ours:,}", verdict, count.source)
    console().print(table)


def printed_count(count: PublishedCount) -> str:
    """Return a published count with the digits of its source, e.g. "5.29 M"."""
    unit = {1: "", 10**3: " k", 10**6: " M", 10**9: " G"}.get(count.unit, f" × {count.unit}")
    return f"{int(count.value):,}" if count.unit == 1 else f"{count.value}{unit}"


def _verdict(count: PublishedCount) -> str:
    if count.agree:
        return EQUAL if count.integer else ROUNDED
    return DIFFERS if count.note else MISS


def _matching(pattern: str | None) -> list[str]:
    """Names of the published networks that match a pattern such as "convnext*"; without * a part of the name is enough.

    Raises:
        NasError: none does.
    """
    from nas.space.catalogue import network_names

    names = network_names()
    if pattern is None:
        return names
    wanted = pattern.lower() if any(sign in pattern for sign in "*?[") else f"*{pattern.lower()}*"
    found = [name for name in names if fnmatchcase(name, wanted)]
    if not found:
        raise NasError(f"no published network matches {pattern!r}{suggestion(pattern, names)}")
    return found
