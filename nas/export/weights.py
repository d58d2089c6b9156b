"""Trained weights from elsewhere, in our modules: mapped by order and shape, refused where they do not fit."""

from __future__ import annotations

import importlib.util
import os
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import NasError, suggestion
from nas.space import NetworkSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

State = Mapping[str, "Tensor"]

#: what torch calls the tensors of its layers: where both sides use one of these names, it has to be the same
ROLES = ("weight", "bias", "running_mean", "running_var")
SUFFIXES = (".pt", ".pth", ".safetensors")


def import_state(spec: NetworkSpec, state: State) -> nn.Module:
    """Return the module of a network with the weights of a state dict, in evaluation mode.

    A state dict with our keys is loaded by key. Any other is mapped by order: its tensors, counters of batches left
    out, have to have the shapes of ours one after the other.

    Raises:
        NasError: names the first tensor that does not fit, with its key and shape and ours.
    """
    module = spec.build().eval()
    ours = _without_counters(module.state_dict())
    theirs = _without_counters(state)
    if set(theirs) == set(ours):
        theirs = {key: theirs[key] for key in ours}
    _check_fit(spec, ours, theirs)
    module.load_state_dict(dict(zip(ours, theirs.values(), strict=True)), strict=False)
    return module


def read_state(path: Path, key: str | None = None) -> dict[str, Tensor]:
    """Read a state dict from a file of torch (.pt, .pth) or safetensors; nothing in the file is executed.

    Args:
        key: where a checkpoint holds several state dicts, the one to read, e.g. "model_ema".

    Raises:
        NasError: the file cannot be read, holds objects other than tensors, or several state dicts and no `key`.
    """
    import torch

    try:
        if path.suffix == ".safetensors":
            content: Any = _safetensors().load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise NasError(f"cannot read {path}: {error.strerror or error}") from None
    except Exception as error:  # damaged files raise anything, from EOFError to errors of the unpickler
        if "weights_only" in str(error) or "Unsupported" in str(error):
            raise NasError(f"{path} is no file of tensors alone; Python objects are never loaded") from None
        reason = (str(error).splitlines() or ["it is cut off"])[0]
        raise NasError(f"{path} is no file of weights: {reason}") from None
    return _state_of(path, content, key)


def write_state(module: nn.Module, path: Path) -> None:
    """Write the state dict of a module under our keys, as torch or safetensors by the ending of `path`.

    Raises:
        NasError: the ending is neither, a library is missing, or the file cannot be written; then it is left as it was.
    """
    import torch

    check_suffix(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as draft:
            file = Path(draft) / path.name
            if path.suffix == ".safetensors":
                _safetensors().save_file(module.state_dict(), file)
            else:
                torch.save(module.state_dict(), file)
            if path.is_dir():
                raise NasError(f"cannot write {path}: it is a directory")
            os.replace(file, path)
    except OSError as error:
        raise NasError(f"cannot write {path}: {error.strerror or error}") from None


def check_suffix(path: Path) -> None:
    """Refuse a file name whose ending does not say how weights are stored.

    Raises:
        NasError: lists the endings.
    """
    if path.suffix not in SUFFIXES:
        raise NasError(f"{path}: the name of a file of weights ends in {', '.join(SUFFIXES)}")


def _check_fit(spec: NetworkSpec, ours: State, theirs: State) -> None:
    for place, ((our_key, our), (key, tensor)) in enumerate(zip(ours.items(), theirs.items(), strict=False), start=1):
        what = f"tensor {place} is {key!r} {list(tensor.shape)}, ours is {our_key!r} {list(our.shape)}"
        role = key.rpartition(".")[2]
        if tensor.shape != our.shape or (role in ROLES and role != our_key.rpartition(".")[2]):
            # Files of safetensors are sorted by key, which is seldom the order of the layers.
            hint = (
                "; the file sorts its tensors by name, a .pt file keeps them in order"
                if list(theirs) == sorted(theirs)
                else ""
            )
            raise NasError(f"the weights do not fit {spec.name}: {what}{hint}")
        if not tensor.is_floating_point():
            raise NasError(f"the weights do not fit {spec.name}: {what}, but theirs holds {tensor.dtype}")
        if not tensor.isfinite().all():
            raise NasError(f"the weights are damaged: {key!r} holds values that are not finite")
    if len(theirs) != len(ours):
        longer, whose = (theirs, "theirs") if len(theirs) > len(ours) else (ours, "ours")
        key = list(longer)[min(len(ours), len(theirs))]
        raise NasError(
            f"the weights do not fit {spec.name}: they have {len(theirs)} tensors, ours {len(ours)}; the first without "
            f"counterpart is {whose} {key!r} {list(longer[key].shape)}"
        )


def _without_counters(state: State) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")}


def _state_of(path: Path, content: Any, key: str | None) -> dict[str, Tensor]:
    """The state dict in the content of a checkpoint: the content itself, or the entry `key` or the only one."""
    if not isinstance(content, Mapping):
        raise NasError(f"{path} holds {type(content).__name__}, expected a state dict")
    inside = {str(name): value for name, value in content.items() if _is_state(value)}
    if key is not None:
        if key not in inside:
            raise NasError(f"{path} holds no state dict {key!r}{suggestion(key, inside)}")
        return dict(inside[key])
    if _is_state(content):
        return dict(content)
    if len(inside) != 1:
        held = f"several state dicts, choose one with --key: {', '.join(inside)}" if inside else "no state dict"
        raise NasError(f"{path} holds {held}")
    return dict(next(iter(inside.values())))


def _is_state(value: Any) -> bool:
    import torch

    return isinstance(value, Mapping) and bool(value) and all(isinstance(item, torch.Tensor) for item in value.values())


def _safetensors() -> Any:
    if importlib.util.find_spec("safetensors") is None:
        raise NasError("files of safetensors need the package; install it with: pip install safetensors")
    import safetensors.torch

    return safetensors.torch
