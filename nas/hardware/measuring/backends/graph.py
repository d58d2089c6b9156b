"""The operations a runtime executes for a list of layers: batch normalisation folded, weights drawn.

Exporters of torch modules find the same by tracing, which takes seconds to tens of seconds a network; layers already
are the graph. What is written from here is tested against those exporters, operation by operation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nas.space.layer import Layer

Floats = npt.NDArray[np.float32]
#: position of a layer and shape of its weights -> weights
Draw = Callable[[int, tuple[int, ...]], Floats]

#: random numbers that weights are cut from. They repeat, so that models compress well on their way to a device
_POOL = 4096


@dataclass(frozen=True)
class Operation:
    """One layer as a runtime runs it.

    Args:
        output: the tensor it makes, i for layer i of the list.
        inputs: tensors it reads; -1, -2 ... come from outside.
        weights: of a convolution (out, in / groups, height, width) or linear layer (out, in); None elsewhere.
        bias: (out,), where there are weights.
    """

    layer: Layer
    output: int
    inputs: tuple[int, ...]
    weights: Floats | None = None
    bias: Floats | None = None


def operations(layers: Sequence[Layer], draw: Draw | None = None) -> Iterator[Operation]:
    """Yield what a runtime executes; a batch normalisation after a convolution or linear layer is part of that.

    Args:
        draw: gives weights (also biases, as shape (out,)); None: random ones of a fixed seed.
    """
    draw = draw or random_weights()
    readers = Counter(index for layer in layers for index in layer.inputs)
    stands_for: dict[int, int] = {}
    for i, layer in enumerate(layers):
        inputs = tuple(stands_for.get(index, index) for index in layer.inputs)
        if layer.op == "batch_norm" and _weighted(layers, layer.inputs[0]) and readers[layer.inputs[0]] == 1:
            stands_for[i] = inputs[0]
        elif layer.op in ("conv", "linear"):
            yield Operation(layer, i, inputs, draw(i, weight_shape(layer)), draw(i, (layer.out_channels,)))
        else:
            yield Operation(layer, i, inputs)


def _weighted(layers: Sequence[Layer], index: int) -> bool:
    return index >= 0 and layers[index].op in ("conv", "linear")


def weight_shape(layer: Layer) -> tuple[int, ...]:
    """Return (out, in / groups, height, width) of a convolution, (out, in) of a linear layer."""
    if layer.op == "linear":
        return layer.out_channels, layer.in_channels
    return layer.out_channels, layer.in_channels // layer.groups, layer.kernel, layer.kernel_width or layer.kernel


def random_weights(seed: int = 0) -> Draw:
    """Return a source of weights that keep the size of what passes through them (He et al., 2015)."""
    pool = np.random.default_rng(seed).standard_normal(_POOL).astype(np.float32)

    def draw(position: int, shape: tuple[int, ...]) -> Floats:
        count = int(np.prod(shape))
        inputs = int(np.prod(shape[1:])) if len(shape) > 1 else 10_000
        # Starts elsewhere for every layer: equal tensors could be shared by a runtime.
        return np.resize(np.roll(pool, 97 * position), count).reshape(shape) * np.float32(np.sqrt(2 / inputs))

    return draw


def padding(layer: Layer) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return (top, bottom) and (left, right) padding of a convolution or pool: half the kernel where that gives the
    size of the output, as little as does elsewhere, the odd pixel after (TensorFlow's "same")."""
    width = layer.in_width or layer.in_size
    out_width = layer.out_width or layer.out_size
    vertical = _padding(layer.in_size, layer.out_size, layer.kernel, strides(layer)[0])
    return vertical, _padding(width, out_width, layer.kernel_width or layer.kernel, strides(layer)[1])


def strides(layer: Layer) -> tuple[int, int]:
    """Return the vertical and horizontal stride; each convolution of a 1×k, k×1 pair strides one way only."""
    horizontal = (layer.out_width or layer.out_size) < (layer.in_width or layer.in_size)
    vertical = layer.out_size < layer.in_size
    return (layer.stride if vertical else 1), (layer.stride if horizontal else 1)


def _padding(size: int, out_size: int, kernel: int, stride: int) -> tuple[int, int]:
    half = kernel // 2
    if (size + 2 * half - kernel) // stride + 1 == out_size:
        return half, half
    total = max((out_size - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2
