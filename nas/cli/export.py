"""`nas export`"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from nas.cli.console import print_json

#: what --weights says for those of a supernet
SHARED = Path("shared")


def export(
    architecture: Annotated[str, typer.Argument(help="RUN#3, a published network, or a code.")],
    format: Annotated[str, typer.Option(help="onnx, or torch (a source file and a state dict).")],
    out: Annotated[Path | None, typer.Option(help="Folder to write to; default: the run's exports/, or here.")] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="File of trained weights, or `shared` for those of a one-shot run; default: random."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random weights.", min=0, max=2**63 - 1)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Write a network for other tools, and check what was written against torch.

    Example: nas export runs/mbconv-pixel4-nsga2-seed0#3 --format onnx
    """
    from nas.errors import UnknownNameError
    from nas.export.export import FORMATS
    from nas.export.export import export as write
    from nas.search.resolve import resolve
    from nas.search.shared import shared_network

    if format not in FORMATS:
        raise UnknownNameError("format", format, FORMATS)
    found = resolve(architecture)
    folder = out if out is not None else found.run.path / "exports" if found.run else Path()
    if weights == SHARED and not SHARED.exists():
        spec, state = shared_network(found)
        written = write(spec, format, folder / f"{found.label}-shared", seed, state)
    else:
        written = write(found.spec, format, folder / found.label, seed, weights)
    if as_json:
        files = [str(file) for file in written.files]
        print_json(asdict(written) | {"files": files, "weights": str(weights) if weights else "untrained"})
        return
    for file in written.files:
        typer.echo(f"Wrote     {file}")
    compared = f"maximum difference {written.max_difference:.2e} of outputs up to {written.max_output:.2g}"
    typer.echo(f"Checked   against torch with {written.checked_with}: {compared}")
    typer.echo(f"Weights   {_weights_text(weights)}")


def _weights_text(weights: Path | None) -> str:
    if weights == SHARED:
        return "shared with all networks of the supernet, in its width; fine-tune before use"
    return str(weights or "untrained (random initialisation); train before use")
