"""A block as steps with names, so that blocks of different sizes can be laid over each other.

The steps come from the trace of the block, which every block has; nothing here knows the types of blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

from nas.errors import NasError
from nas.space.block import NORM_EPS, Block
from nas.space.layer import Layer

#: the input of a block, in what a layer of its trace reads
_INPUT = -1


class Place(IntEnum):
    """Where in a block: on the way through, on the way around, or behind the sum of both."""

    BODY = 0
    SHORTCUT = 1
    SUM = 2


class Kind(IntEnum):
    """What a step does, in the order in which steps follow a convolution."""

    CONV = 0
    POOL = 1
    NORM = 2
    ACT = 3
    MAX_POOL = 4
    SHUFFLE = 5
    SE = 6
    GRN = 7
    SCALE = 8


class Step(NamedTuple):
    """The name of a step; sorted as they run.

    Args:
        conv: how many convolutions or linear layers its place has had, itself included.
    """

    place: Place
    conv: int
    kind: Kind

    def __str__(self) -> str:
        prefix = "" if self.place == Place.BODY else f"{self.place.name.lower()}_"
        return f"{prefix}{self.kind.name.lower()}{self.conv}"


class Piece(NamedTuple):
    """What a block does in a step, apart from the size of the feature map.

    Args:
        op: the operation of the layer; "se" for the whole of squeeze-and-excite.
        function: activation of an "act", or between the convolutions of an "se".
        squeeze, gate: bottleneck and gate of an "se".
    """

    op: str
    in_channels: int
    out_channels: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    bias: bool = False
    function: str = "none"
    squeeze: int = 0
    gate: str = "none"

    @property
    def is_depthwise(self) -> bool:
        return self.groups > 1 and self.groups == self.in_channels == self.out_channels

    @property
    def padding(self) -> int:
        """Zeros on each side: half an odd kernel; an even one lies over patches."""
        return self.kernel // 2 if self.kernel % 2 else 0


@dataclass(frozen=True)
class Anatomy:
    """The steps of a block in order.

    Args:
        name: the type of the block.
        identity: whether the input itself is added to what comes out of the body.
        norm_eps, dropout: of its batch normalisations, and before its linear layers.
    """

    name: str
    in_channels: int
    out_channels: int
    steps: tuple[tuple[Step, Piece], ...]
    identity: bool
    norm_eps: float
    dropout: float

    @cached_property
    def signature(self) -> tuple[object, ...]:
        """What blocks have in common that share their weights: which convolutions there are, and how they stride.

        Nothing but the kernel of a grouped convolution is shared: its channels belong to groups, whose borders move
        with the width. A depthwise convolution has one channel a group, so there nothing moves.
        """
        found: list[object] = [self.name, self.norm_eps, self.dropout]
        for step, piece in self.steps:
            if step.kind == Kind.CONV:
                grouped = piece.groups > 1 and not piece.is_depthwise
                widths = (piece.groups, piece.in_channels, piece.out_channels) if grouped else ()
                found.append((step, piece.op, piece.stride, piece.is_depthwise, piece.kernel % 2, *widths))
        return tuple(found)


def anatomy(block: Block) -> Anatomy:
    """Return the steps of a block.

    Raises:
        NasError: it does something of which no part can be shared, or is padded as in TensorFlow, where the place of a
            kernel depends on the resolution.
    """
    if any(getattr(block, field, None) is not None for field in ("padding", "start_padding")):
        raise NasError(
            f'{block.describe()} has TensorFlow\'s padding, which a supernet cannot share; use padding="symmetric"'
        )
    layers = block.layers()
    steps: dict[Step, Piece] = {}
    place, convs, identity = Place.BODY, 0, False
    position = 0
    while position < len(layers):
        layer = layers[position]
        position += 1
        if layer.op == "add":
            identity = _INPUT in layer.inputs
            place, convs = Place.SUM, 0
            continue
        if layer.op in ("conv", "linear"):
            if place == Place.BODY and convs and layer.inputs == (_INPUT,):
                place, convs = Place.SHORTCUT, 0
            convs += 1
        kind, piece, used = _piece(layers[position - 1 :], block)
        position += used - 1
        step = Step(place, convs, kind)
        if steps and step <= max(steps):
            raise NasError(f"{block.describe()}: {layer.op} comes where a supernet does not expect it")
        steps[step] = piece
    return Anatomy(
        type(block).__name__, block.in_channels, block.out_channels, tuple(steps.items()), identity,
        getattr(block, "norm_eps", NORM_EPS), getattr(block, "dropout", 0.0),
    )  # fmt: skip


def _piece(layers: Sequence[Layer], block: Block) -> tuple[Kind, Piece, int]:
    """Return the step that begins with the first of `layers`, and how many of them it takes."""
    layer = layers[0]
    if layer.kernel_width is not None:
        raise NasError(f"{block.describe()}: a supernet cannot share convolutions that are not square")
    piece = Piece(
        layer.op, layer.in_channels, layer.out_channels, layer.kernel, layer.stride, layer.groups, layer.bias,
        layer.function or "none",
    )  # fmt: skip
    match layer.op:
        case "conv" | "linear":
            return Kind.CONV, piece, 1
        case "pool":
            length = _squeeze_excite(layers)
            return (Kind.SE, _gated(layers[:length]), length) if length else (Kind.POOL, piece, 1)
        case "batch_norm" | "layer_norm" | "simple_norm":
            return Kind.NORM, piece, 1
        case "act":
            return Kind.ACT, piece, 1
        case "max_pool":
            return Kind.MAX_POOL, piece, 1
        case "shuffle":
            return Kind.SHUFFLE, piece._replace(groups=getattr(block, "groups", 1)), 1
        case "grn":
            return Kind.GRN, piece, 1
        case "scale":
            return Kind.SCALE, piece, 1
    raise NasError(f"{block.describe()}: no supernet shares {layer.op!r}")


def _squeeze_excite(layers: Sequence[Layer]) -> int:
    """How many layers, from a global pool on, are a squeeze-and-excite: up to where what was pooled is gated."""
    for i, layer in enumerate(layers):
        if layer.op == "mul" and layer.inputs[0] == layers[0].inputs[0]:
            return i + 1
    return 0


def _gated(layers: Sequence[Layer]) -> Piece:
    reduce, expand = (i for i, layer in enumerate(layers) if layer.op == "conv")
    functions = ["".join(layer.function for layer in part) for part in (layers[reduce:expand], layers[expand:])]
    channels = layers[0].in_channels
    return Piece(
        "se", channels, channels, function=functions[0] or "none", squeeze=layers[reduce].out_channels,
        gate=functions[1] or "none",
    )  # fmt: skip
