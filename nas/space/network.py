"""NetworkSpec: the small frozen description between a decoded architecture and torch."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from nas.errors import NasError
from nas.space.block import Block
from nas.space.layer import FLOAT_BYTES, Layer
from nas.space.trace import Tensor, Trace

if TYPE_CHECKING:
    from torch import nn

#: the image, as an input of a node
IMAGE = -1


def round_channels(channels: float, divisor: int = 8) -> int:
    """Round to a multiple of `divisor`, never below 90 % of what was asked (Howard et al., MobileNet)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def scaled_depth(count: int, depth: float) -> int:
    """Return a number of layers times `depth`, rounded up, as EfficientNet does (Tan & Le, 2019)."""
    # A product such as 1.1 * 10 must not be rounded up for its last binary digit.
    return max(1, math.ceil(round(depth * count, 9)))


def check_multipliers(depth: float, width: float) -> None:
    """Refuse multipliers of `NetworkSpec.scale` that are no positive numbers."""
    if not all(isinstance(value, int | float) and 0 < value < math.inf for value in (depth, width)):
        raise NasError(f"depth and width multipliers must be positive numbers, not {depth!r} and {width!r}")


@dataclass(frozen=True, slots=True)
class Node:
    """A block in its place.

    Args:
        part: where it belongs: stem, stage1 ..., cell1 ..., head.
        block: the block at its shapes.
        inputs: positions of the nodes it reads, IMAGE for the image.
    """

    part: str
    block: Block
    inputs: tuple[int, ...]


def chain(labelled: list[tuple[str, Block]]) -> tuple[Node, ...]:
    """Return nodes of which each reads the one before it."""
    return tuple(Node(part, block, (i - 1,)) for i, (part, block) in enumerate(labelled))


@dataclass(frozen=True, kw_only=True)
class NetworkSpec(ABC):
    """A network as a graph of blocks at known resolution.

    Two specs are equal when they describe the same network: `name`, `dropout` and `source` do not count.

    Args:
        resolution: input height = width in pixels.
        source: where the description was published, for networks of the literature.

    Attributes:
        resolution_multiple: what every resolution of such a network must be a multiple of.
    """

    resolution_multiple: ClassVar[int] = 1

    resolution: int = 224
    in_channels: int = 3
    num_classes: int = 1000
    dropout: float = field(default=0.0, compare=False)
    name: str = field(default="", compare=False)
    source: str = field(default="", compare=False)

    @property
    @abstractmethod
    def nodes(self) -> tuple[Node, ...]:
        """Every block in order of execution, with what it reads; the last one gives the logits.

        Raises:
            NasError: the network cannot exist (feature map smaller than one pixel, no channels).
        """

    @abstractmethod
    def scale(self, depth: float = 1.0, width: float = 1.0, resolution: int | None = None) -> NetworkSpec:
        """Return a bigger or smaller network of the same kind."""

    @property
    def blocks(self) -> tuple[Block, ...]:
        return tuple(node.block for node in self.nodes)

    @property
    def is_chain(self) -> bool:
        """Whether every block reads the one before it and nothing else."""
        return all(node.inputs == (i - 1,) for i, node in enumerate(self.nodes))

    @cached_property
    def _traced(self) -> tuple[Trace, Tensor]:
        trace = Trace()
        made = {IMAGE: trace.input(self.in_channels, self.resolution)}
        for i, node in enumerate(self.nodes):
            made[i] = node.block.trace(trace, *[made[index] for index in node.inputs])
        return trace, made[len(made) - 2]

    def layers(self) -> tuple[Layer, ...]:
        """Return all primitive operations in order, with shapes and what each reads (-1: the image)."""
        return tuple(self._traced[0].layers)

    def peak_activation_bytes(self, in_place: bool = True) -> int:
        """Return the largest sum of activations alive at one time, see `nas.space.trace.peak_bytes`."""
        trace, output = self._traced
        return trace.peak_bytes(output, in_place)

    def cost(self) -> dict[str, int]:
        """Return exact params, macs, macs_thop (see `nas.space.layer`), peak_activation_bytes and weight_bytes."""
        blocks = self.blocks
        params = sum(block.params for block in blocks)
        return {
            "params": params,
            "macs": sum(block.macs for block in blocks),
            "macs_thop": sum(block.macs_thop for block in blocks),
            "peak_activation_bytes": self.peak_activation_bytes(),
            "weight_bytes": FLOAT_BYTES * params,
        }

    def build(self) -> nn.Module:
        """Build the torch module, randomly initialised; input [batch, in_channels, resolution, resolution]."""
        from torch import nn

        from nas.nn import GraphNetwork

        modules = [block.build() for block in self.blocks]
        if self.is_chain:
            return nn.Sequential(*modules)
        return GraphNetwork(modules, [node.inputs for node in self.nodes])

    def _check_counts(self) -> None:
        for name in ("resolution", "in_channels", "num_classes"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise NasError(f"{name} is {value!r}, must be a whole number of at least 1")
