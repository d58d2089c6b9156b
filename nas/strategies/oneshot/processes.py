"""Training by several processes, each on its share of every batch: the sums that make them one.

All of them hold the same weights and draw the same numbers; gradients are averaged before they are used, so they stay
the same. One process, started without torchrun, does nothing here. With equal shares of a batch the steps are those of
one process on the whole, but for batch normalisation, whose statistics are of the share.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, distributed, nn

from nas.errors import NasError


def join_processes(device: torch.device) -> tuple[int, int]:
    """Join the others that torchrun has started, if it has; return what `shard` does."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not _joined():
        if device.type == "cuda":
            torch.cuda.set_device(device)
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return shard()


def shard() -> tuple[int, int]:
    """Return the number of this process and how many there are, as `Batches` takes them; (0, 1) where it is alone."""
    return (distributed.get_rank(), distributed.get_world_size()) if _joined() else (0, 1)


def check_shares(batch_size: int) -> None:
    """Refuse a batch that the processes cannot share equally, or the mean of their gradients is not its gradient.

    Raises:
        NasError: it is one.
    """
    _, count = shard()
    if batch_size % count:
        near = max(count, round(batch_size / count) * count)
        raise NasError(f"a batch of {batch_size} images cannot be shared equally by {count} processes; {near} can")


def averaged(gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Return the mean over the processes of each gradient; None, the same everywhere, for what has none."""
    if not _joined():
        return list(gradients)
    there = [gradient for gradient in gradients if gradient is not None]
    if not there:
        return list(gradients)
    # One exchange for all: many small ones wait for each other.
    flat = torch.cat([gradient.flatten() for gradient in there])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    parts = iter(torch.split(flat, [gradient.numel() for gradient in there]))
    return [None if gradient is None else next(parts).view_as(gradient).to(gradient.dtype) for gradient in gradients]


def average_gradients(parameters: Sequence[Tensor]) -> None:
    """Set the `.grad` of each parameter to its mean over the processes."""
    if _joined():
        for parameter, mean in zip(parameters, averaged([p.grad for p in parameters]), strict=True):
            parameter.grad = mean


def averaged_values(values: Mapping[str, float], device: torch.device) -> dict[str, float]:
    """Return the mean over the processes of each value; what is not finite in one is finite in none."""
    if not _joined():
        return dict(values)
    total = torch.tensor(list(values.values()), dtype=torch.float64, device=device)
    distributed.all_reduce(total)
    return dict(zip(values, (total / distributed.get_world_size()).tolist(), strict=True))


def share_buffers(model: nn.Module) -> None:
    """Give every process the buffers of the first: the statistics of batch normalisation."""
    if _joined():
        for buffer in model.buffers():
            distributed.broadcast(buffer, 0)


def _joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()
