"""The exact network that multipliers of a base give."""

from __future__ import annotations

import math
from collections.abc import Iterable

from nas.errors import NasError
from nas.scaling.coefficients import DIMENSIONS, Multipliers
from nas.space import NetworkSpec

#: images of at least so many pixels are scaled to a multiple of 4, as those of EfficientNet are
LARGE_IMAGE = 128
LARGE_IMAGE_STEP = 4


def scaled(base: NetworkSpec, by: Multipliers) -> NetworkSpec:
    """Return a network `by` times as deep (repeats rounded up), wide (channels to 8) and finely resolved as the base.

    Raises:
        NasError: the network cannot exist, e.g. its feature maps would be smaller than a pixel.
    """
    network = base.scale(by.depth, by.width, scaled_resolution(base, by.resolution))
    # Specs check themselves; that all blocks fit is found out when they are made.
    _ = network.blocks
    return network


def scaled_resolution(base: NetworkSpec, factor: float) -> int:
    """Return the resolution of the base times `factor`, rounded to the nearest multiple of `resolution_step`."""
    if factor == 1:
        return base.resolution
    step = resolution_step(base)
    return max(step, step * round(base.resolution * factor / step))


def resolution_step(base: NetworkSpec) -> int:
    """Return what the resolutions of a family are multiples of, in pixels.

    It is 4 for images of 128 pixels and more, as in the released EfficientNets, else what the kind of network needs.
    """
    return math.lcm(base.resolution_multiple, LARGE_IMAGE_STEP if base.resolution >= LARGE_IMAGE else 1)


def check_scalable(base: NetworkSpec, dimensions: Iterable[str] = DIMENSIONS) -> None:
    """Refuse a base that stays what it is when it is scaled in one of the dimensions.

    Raises:
        NasError: names the dimension, and why it cannot be scaled.
    """
    for dimension in dimensions:
        try:
            larger = scaled(base, Multipliers(**{dimension: 2.0}))
        except NasError as error:
            raise NasError(f"{base.name or 'the base'} cannot be scaled in {dimension}: {error}") from None
        if larger == base:
            raise NasError(f"{base.name or 'the base'} cannot be scaled in {dimension}: it stays the same network")
