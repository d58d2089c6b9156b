"""What the kernels of a block ask of a processor: the inputs of kernel-level latency models.

Convolution, batch normalisation and ReLU-like activations run as one kernel in every inference runtime, so they are
not counted apart. Activations that runtimes do not fuse (h-swish, SiLU, sigmoid), other normalisations, pooling,
gating, joining and residual additions pass over memory once more each; their elements are counted as `elementwise`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from nas.space.layer import Layer

FUSED_ACTIVATIONS = frozenset({"relu", "relu6", "none"})
POOLS = frozenset({"pool", "max_pool", "avg_pool"})
PASSES = frozenset({"mul", "add", "concat", "shuffle", "pad", "layer_norm", "simple_norm", "grn", "scale"})


def _pointwise_macs(layer: Layer) -> int:
    return 0 if layer.is_depthwise else layer.macs


def _depthwise_macs(layer: Layer) -> int:
    return layer.macs if layer.is_depthwise else 0


def _weights(layer: Layer) -> int:
    return layer.params if layer.op in ("conv", "linear") else 0


def _elementwise(layer: Layer) -> int:
    if layer.op in POOLS:
        return layer.in_elements
    if layer.op in PASSES or (layer.op == "act" and layer.function not in FUSED_ACTIVATIONS):
        return layer.out_elements
    return 0


def _depthwise_outputs(layer: Layer) -> int:
    return layer.out_elements if layer.is_depthwise else 0


def _kernels(layer: Layer) -> int:
    return int(layer.op in ("conv", "linear") or _elementwise(layer) > 0)


#: feature name -> count for one layer. MACs of dense and depthwise convolutions, weights read, elements passed over,
#: outputs of depthwise convolutions (which are bound by memory), and how many kernels a runtime starts.
LAYER_FEATURES: dict[str, Callable[[Layer], int]] = {
    "pointwise_macs": _pointwise_macs,
    "depthwise_macs": _depthwise_macs,
    "weights": _weights,
    "elementwise": _elementwise,
    "depthwise_outputs": _depthwise_outputs,
    "kernels": _kernels,
}


@lru_cache(2**16)
def _of_layer(layer: Layer, names: tuple[str, ...]) -> tuple[int, ...]:
    """Return the named features of one layer; the blocks of a space share most of theirs."""
    return tuple([LAYER_FEATURES[name](layer) for name in names])


def kernel_features(layers: Iterable[Layer], names: Iterable[str]) -> npt.NDArray[np.float64]:
    """Return float[F], the named features summed over `layers`."""
    names = tuple(names)
    rows = [_of_layer(layer, names) for layer in layers]
    return np.array([sum(column) for column in zip(*rows, strict=True)] or [0] * len(names), dtype=np.float64)
