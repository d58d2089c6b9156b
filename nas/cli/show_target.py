"""`nas show target`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from nas.cli.console import console, plain_table, print_json

if TYPE_CHECKING:
    from nas.hardware import Fitted, Target


def show_target(name: str, out: Path | None, as_json: bool) -> None:
    """Print what a target is, what was measured on it and how well it is predicted; plot it to `out`."""
    from nas.hardware import load_target

    target = load_target(name)
    if out is not None:
        from nas.report.target import write_target_plot

        write_target_plot(target, out)
    if as_json:
        print_json(_as_json(target))
        return
    _print(target)
    if out is not None:
        typer.echo(f"Plot      {out}")


def _print(target: Target) -> None:
    from nas.search.metrics import METRICS

    out, profile = console(), target.profile
    out.print(f"{profile.name}  {profile.description}")
    out.print(f"Device    {profile.device}; SoC {profile.soc}; clock {profile.clock}")
    if profile.measuring is not None:
        where = f" on {profile.measuring.host}" if profile.measuring.host else ""
        out.print(f"Measuring {profile.measuring.backend}, {profile.measuring.threads} threads{where}")
    for fitted in target.fitted:
        fit = fitted.fit
        out.print(f"\n{METRICS[fit.metric].label.capitalize()} on {', '.join(fit.spaces) or 'any network'}")
        for label, text in _lines(fitted):
            out.print(f"  {label:12s}{text}")
    if target.fitted:
        out.print(_error_table(target))
    else:
        out.print(f"Nothing is fitted yet; continue with: nas profile fit {target.folder}")


def _lines(fitted: Fitted) -> list[tuple[str, str]]:
    """What is said of one quantity, each line with its label."""
    fit = fitted.fit
    lines = [
        ("measured", f"{fit.measured}, by {fit.measured_by}"),
        ("setting", fit.setting),
        ("source", f"{fit.source}; licence: {fit.licence}"),
        ("predictor", f"{fitted.predictor.kind}; fitted on {fit.fitted_on}"),
        ("valid for", fit.valid_for),
        ("missing", fit.not_measured),
        ("noise", fit.held_out.noise if fit.held_out else ""),
        *(("published", f"{p.network} {p.published_ms:g} ms ({p.source}); predicted {p.predicted_ms:.1f} ms")
          for p in fit.published),
    ]  # fmt: skip
    return [(label, text) for label, text in lines if text]


def _error_table(target: Target) -> Any:
    table = plain_table("metric", "spaces", "held out", "networks", "error %", "in ±5 %", "in ±10 %", "Spearman",
                        "90 % interval\nholds", text=(0, 1, 2))  # fmt: skip
    for column in table.columns[1:3]:
        column.no_wrap = False
    for fitted in target.fitted:
        held = fitted.fit.held_out
        place = ", ".join(fitted.fit.spaces) or "any"
        if held is None:
            table.add_row(fitted.metric, place, "none", *["–"] * 6)
            continue
        five = "–" if held.within_5_percent is None else f"{100 * held.within_5_percent:.1f} %"
        table.add_row(
            fitted.metric, place, held.protocol, str(held.networks), f"{held.mean_absolute_percentage_error:.2f}", five,
            f"{100 * held.within_10_percent:.1f} %", f"{held.spearman:.4f}", f"{100 * held.interval_90_coverage:.1f} %",
        )  # fmt: skip
    return table


def _as_json(target: Target) -> dict[str, Any]:
    fits = [
        fitted.fit.model_dump() | {"kind": fitted.predictor.kind, "origin": "predicted"} for fitted in target.fitted
    ]
    return target.profile.model_dump(exclude={"fits"}) | {"folder": str(target.folder), "fits": fits}
