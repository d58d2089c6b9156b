"""The kernels an inference runtime starts for a network: what each computes, moves, and looks like.

Convolution, batch normalisation and ReLU-like activation are one kernel. Every other operation is one of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from math import log2
from typing import NamedTuple

from nas.hardware.predictors.features import FUSED_ACTIVATIONS, POOLS
from nas.space.layer import Layer

#: operations that the same code of a runtime computes, about as fast for each multiply-add and each element moved
CLASSES = ("dense", "depthwise", "linear", "pool", "activation", "elementwise")
#: what `shape` of a kernel holds
SHAPE = ("log2 in_channels", "log2 out_channels", "log2 in_size", "log2 kernel", "log2 stride")
#: Nothing is computed: a tensor of zeros is a constant.
_FREE = frozenset({"zeros"})


class Kernel(NamedTuple):
    """One kernel.

    Args:
        kind: position in CLASSES.
        macs: millions of multiply-adds.
        elements: millions of numbers that it reads and writes, weights included.
        shape: in the order of SHAPE.
    """

    kind: int
    macs: float
    elements: float
    shape: tuple[float, ...]


def fused_kernels(layers: Iterable[Layer]) -> list[Kernel]:
    """Return the kernels of some layers, in order."""
    return [kernel for layer in layers if (kernel := _kernel(layer)) is not None]


@lru_cache(2**16)
def _kernel(layer: Layer) -> Kernel | None:
    if layer.op == "batch_norm" or layer.op in _FREE or (layer.op == "act" and layer.function in FUSED_ACTIVATIONS):
        return None
    read = layer.in_elements * max(1, len(layer.inputs) if layer.op in ("add", "concat") else 1)
    area = layer.kernel * (layer.kernel_width or layer.kernel)
    shape = (layer.in_channels, layer.out_channels, layer.in_size, area**0.5, layer.stride)
    return Kernel(
        CLASSES.index(_class(layer)),
        layer.macs / 1e6,
        (read + layer.out_elements + layer.params) / 1e6,
        tuple(log2(max(1, extent)) for extent in shape),
    )


def _class(layer: Layer) -> str:
    if layer.op == "conv":
        return "depthwise" if layer.is_depthwise else "dense"
    if layer.op in POOLS:
        return "pool"
    return {"linear": "linear", "act": "activation"}.get(layer.op, "elementwise")
