"""Multipliers as built: what rounding makes of those that were asked for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nas.scaling.scaled import scaled_resolution
from nas.space import NetworkSpec

Array = npt.NDArray[np.float64]


def as_built(base: NetworkSpec, multipliers: Array) -> Array:
    """Return multipliers float[n, 3] of a base with depth and resolution as its scaled networks have them.

    Repeats are rounded up in every stage, so a network "1.1 times as deep" may have half as many layers again:
    EfficientNet-B1 has 23 for the 16 of B0. Depth as built counts layers, of those that depth multiplies. Channels are
    rounded to the nearest, which adds nothing on average, and stay as asked for.
    """
    built = np.array(multipliers, dtype=np.float64)
    asked, which = np.unique(built[:, 0], return_inverse=True)
    built[:, 0] = np.array([_depth(base, depth) for depth in asked.tolist()])[which.reshape(-1)]
    built[:, 2] = [scaled_resolution(base, factor) / base.resolution for factor in built[:, 2].tolist()]
    return built


def _depth(base: NetworkSpec, depth: float) -> float:
    """Layers of a base scaled in depth, of those that depth multiplies, in multiples of the base's."""
    # Twice as deep rounds nothing, so what is added then are the layers that depth multiplies.
    layers = len(base.nodes)
    return 1 + (len(base.scale(depth=depth).nodes) - layers) / (len(base.scale(depth=2.0).nodes) - layers)
