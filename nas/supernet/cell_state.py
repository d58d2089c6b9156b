"""A state of a mixed cell. What several edges begin with is computed once, not on each of them."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor, nn

from nas.nn.nasbench import WindowPool

#: modules that do the same wherever they stand: they have neither parameters nor statistics, and draw nothing
_SHARED = (nn.Identity, nn.ReLU, nn.MaxPool2d, WindowPool)


class CellState:
    """A feature map, and what was made of it.

    Args:
        x: float[batch, channels, height, width].
        partial: K of PC-DARTS, operations see the first of K parts of the channels.
    """

    def __init__(self, x: Tensor, partial: int = 1):
        self.x = x
        self._channels = x.shape[1] // partial
        self._made: dict[str, Tensor] = {}

    def through(self, module: nn.Module, key: str) -> Tensor:
        """Return what a module gives that does the same on every edge; equal modules have the same key."""
        if key not in self._made:
            self._made[key] = module(self.x)
        return self._made[key]

    @cached_property
    def seen(self) -> CellState:
        """The channels that operations see; a slice lies scattered in memory, so it is copied."""
        return CellState(self.x[:, : self._channels].contiguous(memory_format=layout(self.x)))

    @cached_property
    def rest(self) -> CellState:
        """The channels that pass operations by."""
        return CellState(self.x[:, self._channels :])


class CandidateOperation:
    """An operation, divided into what edges may share and what is its own.

    Args:
        module: the operation.
    """

    def __init__(self, module: nn.Module):
        self.module = module
        plain = type(module).forward is nn.Sequential.forward
        parts = list(module.children()) if plain else [module]
        self._shared = parts.pop(0) if isinstance(parts[0], _SHARED) else None
        self._key = repr(self._shared)
        self._own = parts

    def __call__(self, state: CellState) -> Tensor:
        """Return what the operation makes of a state."""
        x = state.x if self._shared is None else state.through(self._shared, self._key)
        for part in self._own:
            x = part(x)
        return x


def layout(x: Tensor) -> torch.memory_format:
    """Return the memory format of x; what has both, such as a batch of one pixel, counts as contiguous."""
    if x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last):
        return torch.contiguous_format
    return torch.channels_last
