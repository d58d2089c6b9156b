"""The count of operations in the tables of NAS-Bench-Suite-Zero (Krishnakumar et al., 2022)."""

from __future__ import annotations

from collections.abc import Iterable

from nas.space.layer import Layer


def suite_zero_flops(layers: Iterable[Layer]) -> int:
    """Return `flops` of a NAS-Bench-201 network, one image, as the tables of zero-cost proxies print it in millions.

    Multiply-adds of convolutions and linear layers (bias not counted), plus 1 for every element a ReLU reads, 2 for
    every element a batch normalisation reads, k² for every element a k × k average pool writes and, as the global
    average pool over size × size is counted there, (size + 1)² for every channel. Sums and zeros cost nothing.
    Inferred from the tables, whose every row it reproduces.
    """
    return sum(layer.macs + _beside_macs(layer) for layer in layers)


def _beside_macs(layer: Layer) -> int:
    match layer.op:
        case "act":
            return layer.in_elements
        case "batch_norm":
            return 2 * layer.in_elements
        case "avg_pool":
            return layer.kernel**2 * layer.out_elements
        case "pool":
            return (layer.in_size + 1) ** 2 * layer.out_channels
    return 0
