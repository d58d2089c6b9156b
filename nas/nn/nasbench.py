"""The torch modules of the NAS-Bench-101 and NAS-Bench-201 cells. Plain torch: exported source files quote them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas.nn.blocks import ConvNormAct
from nas.nn.cells import PreActivationConv


class WindowPool(nn.Module):
    """Maximum or average over windows, padded so that size / stride is rounded up; padding enters no average."""

    def __init__(self, op: str, kernel: int, stride: int):
        super().__init__()
        padding, even = (kernel - 1) // 2, kernel % 2 == 0
        self.pool: nn.Module
        if op == "max_pool":
            self.pool = nn.MaxPool2d(kernel, stride, padding, ceil_mode=even)
        else:
            self.pool = nn.AvgPool2d(kernel, stride, padding, ceil_mode=even, count_include_pad=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.pool(x)
        return y


class ReductionResidual(nn.Module):
    """Pre-activation basic block with stride 2; the shortcut is a 2x2 average pool and a 1x1 convolution."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.body = nn.Sequential(
            PreActivationConv(in_channels, out_channels, 3, 2), PreActivationConv(out_channels, out_channels, 3)
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(in_channels, out_channels, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.shortcut(x) + self.body(x)
        return y


class NormAct(nn.Sequential):
    """Batch normalisation and ReLU."""

    def __init__(self, channels: int):
        super().__init__(nn.BatchNorm2d(channels), nn.ReLU())


class CellVertex(nn.Module):
    """A NAS-Bench-101 vertex: convolution, normalisation and ReLU, or max pool, of the sum of its inputs.

    With `projects` the first input is the one of the cell and passes a 1x1 convolution, normalisation and ReLU. Of the
    others the first `out_channels` channels count.
    """

    def __init__(self, in_channels: int, out_channels: int, op: str, projects: bool):
        super().__init__()
        self.out_channels = out_channels
        self.projection = ConvNormAct(in_channels, out_channels) if projects else None
        if op == "maxpool3x3":
            self.op: nn.Module = nn.MaxPool2d(3, 1, 1)
        else:
            self.op = ConvNormAct(out_channels, out_channels, 3 if op == "conv3x3" else 1)

    def forward(self, *inputs: Tensor) -> Tensor:
        terms = [x[:, : self.out_channels] for x in (inputs if self.projection is None else inputs[1:])]
        if self.projection is not None:
            terms.append(self.projection(inputs[0]))
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        y: Tensor = self.op(total)
        return y


class CellOutput(nn.Module):
    """The output of a NAS-Bench-101 cell: its inputs concatenated.

    With `projects` the first input is the one of the cell; it passes a 1x1 convolution, normalisation and ReLU and is
    added.
    """

    def __init__(self, in_channels: int, out_channels: int, projects: bool):
        super().__init__()
        self.projection = ConvNormAct(in_channels, out_channels) if projects else None

    def forward(self, *inputs: Tensor) -> Tensor:
        if self.projection is None:
            return torch.cat(inputs, 1)
        projected: Tensor = self.projection(inputs[0])
        return torch.cat(inputs[1:], 1) + projected if len(inputs) > 1 else projected
