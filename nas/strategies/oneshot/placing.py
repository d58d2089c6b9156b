"""Where a supernet is trained, and how it is laid out and compiled there."""

from __future__ import annotations

import os

import torch

from nas.errors import NasError
from nas.strategies.oneshot.settings import OneShotSettings
from nas.supernet.supernet import Supernet


def device_of(name: str) -> torch.device:
    """Return the device that `OneShotSettings.device` names.

    "auto" is a GPU where CUDA has one, else the CPU. Of several processes (torchrun) each has a GPU of its own, which
    "auto" and "cuda" stand for.

    Raises:
        NasError: it is no device, or there is no such GPU.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    kind, _, number = name.partition(":")
    if name == "cpu" or (name == "auto" and not count):
        return torch.device("cpu")
    if name not in ("auto", "cuda") and not (kind == "cuda" and number.isdecimal()):
        raise NasError(f"device is {name!r}; it can be auto, cpu, cuda, or one GPU such as cuda:0")
    index = int(number or os.environ.get("LOCAL_RANK", "0"))
    if index >= count:
        have = f"{count} GPUs, cuda:0 to cuda:{count - 1}" if count > 1 else f"{count or 'no'} GPU"
        raise NasError(f"device is {name!r}, and CUDA has {have} here; device=auto takes what there is")
    return torch.device("cuda", index)


def prepared(supernet: Supernet, settings: OneShotSettings, device: torch.device) -> Supernet:
    """Return the supernet itself: on the device, in the memory format of the settings, compiled where they say so.

    Parameters keep their names and are the same objects to optimisers made afterwards. Compiled is what `forward` does
    when it is called as `supernet(...)`, to run at the next call, whatever path that takes.
    """
    supernet.to(device)
    if settings.channels_last:
        supernet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if settings.compile:
        supernet.compile(dynamic=False)
    return supernet
