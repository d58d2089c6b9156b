"""Counting a built network with forward hooks: the outside truth of every closed form."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas.space import NetworkSpec


def counted(spec: NetworkSpec) -> tuple[int, int]:
    """Parameters and multiply-adds of the built network, by hooks; on the meta device nothing is computed."""
    macs = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs
        if isinstance(module, nn.Conv2d):
            kernel = module.kernel_size[0] * module.kernel_size[1]
            macs += output.numel() * module.in_channels // module.groups * kernel
        elif isinstance(module, nn.Linear):
            macs += output.numel() * module.in_features

    with torch.device("meta"):
        network = spec.build().eval()
        for module in network.modules():
            module.register_forward_hook(count)
        logits = network(torch.empty(1, spec.in_channels, spec.resolution, spec.resolution))
    assert logits.shape == (1, spec.num_classes)
    return sum(parameter.numel() for parameter in network.parameters()), macs
