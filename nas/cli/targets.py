"""What `nas list targets` prints: every target, and what it predicts where, with its held-out error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nas.cli.console import console
from nas.errors import NasError, suggestion

if TYPE_CHECKING:
    from nas.hardware import Fitted

#: a predictor that is not bound to spaces
ANY = "any"


def target_rows(space: str | None) -> list[dict[str, Any]]:
    """Return one row for each quantity that a target predicts; with `space` only what it predicts of its networks.

    Raises:
        NasError: there is no such space.
    """
    from nas import registry
    from nas.hardware import load_target, target_names

    if space is not None and space not in (known := registry.names("spaces")):
        raise NasError(f"unknown space {space!r}{suggestion(space, known)}")
    return [
        _row(fitted, target.profile.description)
        for target in map(load_target, target_names())
        for fitted in target.fitted
        if space is None or not fitted.fit.spaces or space in fitted.fit.spaces
    ]


def _row(fitted: Fitted, description: str) -> dict[str, Any]:
    from nas.hardware.predictor_file import kind_of

    held_out = fitted.fit.held_out
    return {
        "target": fitted.target,
        "device": description,
        "metric": fitted.metric,
        "spaces": list(fitted.fit.spaces) or [ANY],
        "predictor": kind_of(fitted.path),
        "error_percent": held_out.mean_absolute_percentage_error if held_out else None,
        "within_10_percent": held_out.within_10_percent if held_out else None,
        "spearman": held_out.spearman if held_out else None,
        "held_out_networks": held_out.networks if held_out else 0,
    }


def print_targets(rows: list[dict[str, Any]]) -> None:
    """Print a line a target and, below it, a line for each quantity it predicts."""
    out = console()
    if not rows:
        out.print("No target predicts anything of these networks.")
        return
    metric = max(len(row["metric"]) for row in rows)
    place = max(len(", ".join(row["spaces"])) for row in rows)
    lines = [f"  {'':{metric}s}  {'':{place}s}  {'error':>8s}  {'±10 %':>6s}  {'Spearman':>8s}  {'held out':>8s}"]
    for i, row in enumerate(rows):
        if i == 0 or row["target"] != rows[i - 1]["target"]:
            lines.append(f"{row['target']}  {row['device']}")
        lines.append(f"  {row['metric']:{metric}s}  {', '.join(row['spaces']):{place}s}  {_error(row)}")
    lines.append("error: mean absolute percentage error on networks held out; more: nas show target NAME")
    out.print("\n".join(lines), soft_wrap=True)


def _error(row: dict[str, Any]) -> str:
    if not row["held_out_networks"]:
        return f"{'–':>8s}  {'–':>6s}  {'–':>8s}  {'none':>8s}"
    within = f"{100 * row['within_10_percent']:.0f} %"
    return f"{row['error_percent']:6.1f} %  {within:>6s}  {row['spearman']:8.3f}  {row['held_out_networks']:8,d}"
