"""`nas profile transfer`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli.console import print_json

if TYPE_CHECKING:
    from nas.hardware.fitting.transferring import Transfer
    from nas.space import SearchSpace


def transfer(
    to: Annotated[Path, typer.Option(help="Profile folder of the new device; its name is the target's.")],
    space: Annotated[str, typer.Option(help="Space of the networks.")],
    samples: Annotated[int, typer.Option(help="How many networks to measure next.", min=1)] = 10,
    measurements: Annotated[
        list[Path] | None, typer.Option(help="Table of what was measured, CSV or JSON; repeatable.")
    ] = None,
    metric: Annotated[str, typer.Option(help="What was measured.")] = "latency_ms",
    known: Annotated[
        str, typer.Option("--from", help="Targets to transfer from, with commas; default: all that know the space.")
    ] = "",
    device: Annotated[str, typer.Option(help="What was measured on, e.g. 'Google Pixel 6'.")] = "",
    seed: Annotated[int, typer.Option(help="Draws the networks to choose among.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Predict a new device from about ten measurements on it and the targets that are known.

    Without --measurements: writes which networks to measure. With them: fits, writes the profile, and says which
    networks to measure next.

    Example: nas profile transfer --to my_phone --space nasbench201 --measurements my_phone/to_measure.csv
    """
    from nas.hardware.fitting.transferring import transfer_profile
    from nas.search.spaces import find_space

    found_space = find_space(space)
    targets = [name.strip() for name in known.split(",") if name.strip()]
    found = transfer_profile(to, found_space, samples, measurements or (), metric, targets, device, seed)
    if as_json:
        print_json(_as_json(found, found_space))
        return
    for label, text in _lines(found, to, metric, space):
        typer.echo(f"{label:10s}{text}")
    typer.echo()
    for code in found_space.format(found.to_measure):
        typer.echo(f"  {code}")


def _lines(found: Transfer, folder: Path, metric: str, space: str) -> list[tuple[str, str]]:
    lines = [("From", f"{len(found.sources)} targets: {', '.join(found.sources)}")]
    if found.fit is not None and found.fit.held_out is not None and found.measured is not None:
        error = found.fit.held_out
        lines += [
            ("Measured", f"{len(found.measured)} networks ({found.measured.source})"),
            (
                "Error",
                f"{error.mean_absolute_percentage_error:.1f} % (leave-one-out, mean), Spearman {error.spearman:.3f}, "
                f"90 % interval holds {error.interval_90_coverage:.0%}",
            ),
            ("Wrote", f"{folder}/profile.yaml, {found.fit.predictor}"),
        ]
    more = "more " if found.fit is not None else ""
    lines.append(("Measure", f"{len(found.to_measure)} {more}networks, most informative first: {found.file}"))
    with_file = f"nas profile transfer --to {folder} --space {space} --measurements {found.file}"
    if found.fit is None:
        lines.append(("Next", f"fill in {metric}, then {with_file}"))
    else:
        lines.append(("Next", f"nas search --target {folder}, or measure more for a smaller error"))
    return lines


def _as_json(found: Transfer, space: SearchSpace) -> dict[str, Any]:
    return {
        "sources": list(found.sources),
        "to_measure": space.format(found.to_measure),
        "file": str(found.file),
        "fit": found.fit.model_dump(mode="json", exclude_defaults=True) if found.fit else None,
    }
