"""`nas profile validate`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli.console import console, plain_table, print_json
from nas.cli.profile_fit import error_cells, profile_space
from nas.cli.profile_measure import measuring_bar

if TYPE_CHECKING:
    from nas.hardware.fitting.validation import Validation

#: where two measurements of a network differ by more than this share, an error cannot be judged
NOISY = 0.05


def validate(
    folder: Annotated[Path, typer.Argument(help="Profile folder that was measured and fitted here.")],
    networks: Annotated[int, typer.Option(help="Fresh networks to measure.", min=2)] = 50,
    space: Annotated[str | None, typer.Option(help="Space of the networks (default: the one measured).")] = None,
    seed: Annotated[int, typer.Option(help="Seed of which networks are drawn.", min=0)] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Measure fresh networks, and compare with predictions.

    Nothing was fitted on them. Each is measured twice, as the profile was; the error found replaces the one stated in
    the profile. Whatever ends it, what was measured is kept, and the same command goes on.

    Example: nas profile validate my_laptop --networks 50
    """
    from nas.hardware.fitting.validation import compare, fitted_latency
    from nas.hardware.measuring.measure import measure_fresh

    measured_on = profile_space(folder, space)
    if measured_on is None:
        from nas.errors import NasError

        raise NasError(f"{folder} says nothing of how it was measured; name the space with --space")
    fitted_latency(folder, measured_on)
    with measuring_bar(f"measuring {networks} networks", not as_json) as on_progress:
        measured = measure_fresh(measured_on, folder, networks, seed, on_progress)
    found = compare(folder, measured_on, measured)
    if as_json:
        print_json(_as_json(found))
    else:
        _print(found, folder)


def _print(found: Validation, folder: Path) -> None:
    held_out, values, out = found.fit.held_out, found.values, console()
    assert held_out is not None
    table = plain_table("held out", "networks", "error %", "median %", "in ±10 %", "Spearman", "90 % interval\nholds")
    table.columns[0].no_wrap = False
    rows = [(found.before, "–")] if found.before else []
    for error, median in [*rows, (held_out, f"{values.median_error:.2f}")]:
        mean, *shares = error_cells(error)
        table.add_row(error.protocol, str(error.networks), mean, median, *shares)
    out.print(f"Predicted by {found.kind}, measured with {found.measured.runtime}")
    out.print(table)
    out.print(f"Measured  {values.measured.min():.3g} to {values.measured.max():.3g} ms; {held_out.noise}")
    out.print(f"Drift     calibration network within {found.measured.usual_drift:.1%} in 90 % of its visits")
    if found.measured.repeatability > NOISY:
        out.print(
            "Caution   the machine was busy or throttled: its measurements hardly repeat, so the error says little"
        )
    out.print(f"Wrote     {folder}/: {held_out.pairs}, profile.yaml")
    out.print(f"Plot      nas show target {folder} --out {folder.name}.html")


def _as_json(found: Validation) -> dict[str, Any]:
    values, measured = found.values, found.measured
    held_out = found.fit.held_out
    assert held_out is not None
    columns = zip(found.items, values.measured, values.predicted, values.low, values.high, strict=True)
    return {
        "kind": found.kind,
        "runtime": measured.runtime,
        "error": held_out.model_dump() | {"median_absolute_percentage_error": round(values.median_error, 2)},
        "before": found.before.model_dump() if found.before else None,
        "repeatability": measured.repeatability,
        "drift": measured.usual_drift,
        "networks": [
            {"code": item, "measured": m, "predicted": p, "predicted_low": low, "predicted_high": high}
            for item, m, p, low, high in columns
        ],
    }
