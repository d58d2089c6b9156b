"""`nas profile fit`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli.console import console, plain_table, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from nas.hardware.fitting.fit_profile import Fitting
    from nas.hardware.profile import HeldOut
    from nas.space import SearchSpace


def fit(
    folder: Annotated[Path, typer.Argument(help="Profile folder with measurements.csv.")],
    space: Annotated[
        str | None, typer.Option(help="Space of the networks (default: the one that the measurements name).")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="Fit this quantity only, e.g. energy_mj (default: all that were measured).")
    ] = None,
    kind: Annotated[
        str,
        typer.Option(
            help="lookup (measured blocks), roofline (kernels: blocks or networks), regression (whole networks), "
            "linear-kernels (few networks), or auto: the one of least cross-validated error."
        ),
    ] = "auto",
    seed: Annotated[int, typer.Option(help="Seed of the folds.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Fit predictors to what was measured.

    Of the kinds that the measurements allow, the one of least cross-validated error is kept. Fitting again replaces
    what was fitted before.

    Example: nas profile fit my_laptop
    """
    from nas.hardware.fitting.fit_profile import fit_profile

    fitted = fit_profile(folder, profile_space(folder, space), metric, kind, seed)
    if as_json:
        print_json({"folder": str(folder), "fits": [_as_json(each) for each in fitted]})
        return
    for each in fitted:
        _print(each)
    names = sorted({each.fit.predictor for each in fitted})
    typer.echo(f"Wrote     {folder}/: {', '.join(names)}, profile.yaml")
    for line in _next(folder, fitted):
        typer.echo(line)


def profile_space(folder: Path, name: str | None) -> SearchSpace | None:
    """Return the space that a user names, else the one that a folder was measured for; None: as its table says."""
    from nas.hardware.fitting.fit_profile import space_measured
    from nas.search.spaces import find_space

    name = name or space_measured(folder)
    return None if name is None else find_space(name)


def error_cells(error: HeldOut) -> list[str]:
    """Return cells of a table: error in %, share within ±10 %, Spearman, coverage of the 90 % interval."""
    return [
        f"{error.mean_absolute_percentage_error:.2f}", f"{100 * error.within_10_percent:.1f} %",
        f"{error.spearman:.4f}", f"{100 * error.interval_90_coverage:.1f} %",
    ]  # fmt: skip


def _print(fitting: Fitting) -> None:
    from nas.hardware.fitting.choosing import NOT_ASKED
    from nas.search.metrics import METRICS

    out, record, choice = console(), fitting.fit, fitting.choice
    place = ", ".join(record.spaces) or "networks like those measured"
    out.print(f"{METRICS[record.metric].label.capitalize()} on {place}, from {record.fitted_on}")
    out.print(_table(fitting))
    for candidate in choice.candidates:
        if candidate.lacks and candidate.lacks != NOT_ASKED:
            out.print(f"Left out  {candidate.name}: {candidate.lacks}")
    out.print(f"Chosen    {choice.kind}: {choice.reason}")
    if record.held_out is not None:
        out.print(
            f"Error     predicted against measured, {record.held_out.protocol}, {record.held_out.networks} in all"
        )
        out.print(f"Noise     {record.held_out.noise}")
    for each in record.published:
        out.print(f"Compared  {each.network}: measured {each.published_ms:g}, predicted {each.predicted_ms:g}")


def _table(fitting: Fitting) -> Table:
    """One row a kind that could be fitted."""
    table = plain_table("", "predictor", "error %", "in ±10 %", "Spearman", "90 % interval\nholds", text=(0, 1))
    table.columns[1].no_wrap = False
    for candidate in fitting.choice.candidates:
        if not candidate.lacks:
            mark = "*" if candidate.name == fitting.choice.kind else ""
            held_out = fitting.fit.held_out if mark else candidate.values and candidate.values.error("", "")
            cells = error_cells(held_out) if held_out else ["–"] * 4
            table.add_row(mark, f"{candidate.name}: {candidate.title}", *cells)
    return table


def _next(folder: Path, fitted: list[Fitting]) -> list[str]:
    """What can be done now, as commands."""
    from nas.hardware.profile import read_profile

    lines = []
    latency = any(each.fit.metric == "latency_ms" and each.fit.spaces for each in fitted)
    if latency and read_profile(folder / "profile.yaml").measuring is not None:
        lines.append(f"Next      nas profile validate {folder}")
    spaces = [space for each in fitted for space in each.fit.spaces]
    lines.append(f"Then      nas search --space {spaces[0] if spaces else 'SPACE'} --target {folder}")
    return lines


def _as_json(fitting: Fitting) -> dict[str, Any]:
    choice = fitting.choice
    candidates = [
        {"kind": each.name, "chosen": each.name == choice.kind, "not_fitted_because": each.lacks or None}
        | ({"cross_validated": each.values.error(choice.protocol, "").model_dump(exclude={"noise", "pairs"})}
           if each.values is not None else {})
        for each in choice.candidates
    ]  # fmt: skip
    return {"kind": choice.kind, "reason": choice.reason, "candidates": candidates} | fitting.fit.model_dump()
