"""Networks that are graphs of blocks rather than chains. Plain torch, nothing of `nas`: exported files quote it."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Add(nn.Module):
    """Sum of tensors of one shape."""

    def forward(self, *tensors: Tensor) -> Tensor:
        total = tensors[0]
        for tensor in tensors[1:]:
            total = total + tensor
        return total


class Concat(nn.Module):
    """Channels of several tensors, one after the other."""

    def forward(self, *tensors: Tensor) -> Tensor:
        return torch.cat(tensors, 1)


class GraphNetwork(nn.Module):
    """Blocks in order of execution; `inputs[i]` are the positions of those that block i reads, -1 for the image.

    What nobody reads any more is let go at once.
    """

    def __init__(self, blocks: list[nn.Module], inputs: list[tuple[int, ...]]):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.inputs = inputs
        last_read = {source: i for i, sources in enumerate(inputs) for source in sources}
        self.finished = [
            [source for source in set(sources) if last_read[source] == i] for i, sources in enumerate(inputs)
        ]

    def forward(self, x: Tensor) -> Tensor:
        made = {-1: x}
        for i, block in enumerate(self.blocks):
            made[i] = block(*[made[source] for source in self.inputs[i]])
            for source in self.finished[i]:
                del made[source]
        return made[len(self.blocks) - 1]
