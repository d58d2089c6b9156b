"""Where a supernet is trained, and how it is laid out and compiled there."""

from __future__ import annotations

import os

import torch
from torch import nn

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
    supernet.to(memory_format=memory_format(supernet, settings))  # type: ignore[call-overload]
    if settings.compile:
        supernet.compile(dynamic=False)
    return supernet


def memory_format(network: nn.Module, settings: OneShotSettings) -> torch.memory_format:
    """Return how weights, and images that the network gets, lie in memory.

    That is channels last where the settings want it, but for networks with a strided 1 x 1 convolution on fewer than 8
    channels: on processors with AVX2, oneDNN's backward pass of these writes past its workspace
    (github.com/uxlfoundation/oneDNN/issues/6035).
    """
    convolutions = (module for module in network.modules() if isinstance(module, nn.Conv2d))
    broken = any(
        conv.kernel_size == (1, 1) and max(conv.stride) > 1 and conv.in_channels // conv.groups < 8
        for conv in convolutions
    )
    return torch.channels_last if settings.channels_last and not broken else torch.contiguous_format
