"""`nas import-weights`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli.console import print_json


def import_weights(
    architecture: Annotated[str, typer.Argument(help="A published network, RUN#3, or a code.")],
    file: Annotated[Path, typer.Argument(help="Weights of somebody else: .pt, .pth or .safetensors.")],
    out: Annotated[Path | None, typer.Option(help="File to write; default: the network's name.pt, here.")] = None,
    key: Annotated[str | None, typer.Option(help="Which state dict of a checkpoint, e.g. model_ema.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Write trained weights from elsewhere under our keys, mapped by order and shape.

    Refused where a tensor does not fit. Nothing in the file is executed.

    Example: nas import-weights efficientnet_lite0 efficientnet-lite0.pth
    """
    from nas.errors import NasError
    from nas.export.weights import check_suffix, import_state, read_state, write_state
    from nas.search.resolve import resolve

    found = resolve(architecture)
    target = out if out is not None else Path(f"{found.label}.pt")
    check_suffix(target)
    if target.resolve() == file.resolve():
        raise NasError(f"{target} is the file to read and is not overwritten; choose another --out")
    state = read_state(file, key)
    module = import_state(found.spec, state)
    write_state(module, target)
    params = sum(parameter.numel() for parameter in module.parameters())
    tensors = sum(not name.endswith("num_batches_tracked") for name in module.state_dict())
    if as_json:
        print_json({"network": found.spec.name, "file": str(target), "tensors": tensors, "params": params})
        return
    typer.echo(f"Mapped    {tensors} tensors by order and shape, {params:,} parameters")
    typer.echo(f"Wrote     {target}")
    typer.echo(f"Next      nas export {architecture} --format onnx --weights {target}")
