"""One step of several blocks at once, each as likely as its share: the algebra of the relaxation.

Shares are probabilities that add up to 1. Where all blocks agree on a step it is that step of any of them, with the
leading channels of the weights; so one block alone computes what its own module does, operation by operation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import functional

from nas.supernet.elastic_anatomy import Anatomy, Kind, Piece, Place, Step
from nas.supernet.elastic_mixture import (
    Mixture,
    Variant,
    Variants,
    fitted,
    masked,
    total_of,
    weighed,
)
from nas.supernet.elastic_weights import (
    Shared,
    SharedConvolution,
    SharedNorms,
    SharedScale,
    SharedSqueezeExcite,
    activate,
)

#: normalisations over the channels of a pixel
ACROSS = ("layer_norm", "simple_norm")


def convolve(shared: SharedConvolution, x: Tensor, mixture: Mixture) -> Tensor:
    """Convolve once, with the expected kernel: sum over sizes of share × kernel, smaller ones inside zeros.

    Convolution is linear in its kernel, so this is the sum of the convolutions (Stamoulis et al., Single-Path NAS,
    2019, eq. 5). A bias counts with the share of the blocks that have one.
    """
    pieces = mixture.pieces
    outputs = max(piece.out_channels for piece in pieces)
    inputs = max(piece.in_channels // piece.groups for piece in pieces)
    largest = max(pieces, key=_kernel_of)
    size, padding = largest.kernel, largest.padding
    if mixture.shares is not None and padding and x.dim() == 4:
        # Of a kernel that reaches beyond the feature map from everywhere, the rim sees nothing but zeros.
        padding = min(padding, max(x.shape[2:]) - 1)
        size = 2 * padding + 1
    kernels = []
    for kernel, share in mixture.split(_kernel).items():
        weight, around = shared.weight(outputs, inputs, kernel), (size - kernel) // 2
        # A negative padding cuts off.
        kernels.append(weighed(functional.pad(weight, [around] * 4) if around else weight, share))
    biased = mixture.split(_bias)
    bias = weighed(shared.bias(outputs), biased[True]) if True in biased else None
    if x.dim() == 2:
        return functional.linear(x, kernels[0].flatten(1), bias)
    groups = outputs if largest.is_depthwise else largest.groups
    return functional.conv2d(x, total_of(kernels), bias, largest.stride, padding, groups=groups)


def normalize(shared: SharedNorms, x: Tensor, mixture: Mixture) -> Tensor:
    """Normalise in every way that some block does, and mix the results.

    What is normalised over the channels differs with their number, so it is computed for every width; then what comes
    out is masked.
    """
    across = normalizes_across(mixture)
    terms = []
    for (op, channels), share in mixture.split(_norm_and_width).items():
        if op in ACROSS:
            terms.append(weighed(fitted(shared.apply_to(fitted(x, channels), op), x.shape[1]), share))
            continue
        normed = shared.apply_to(x, op) if op else x
        terms.append(masked(normed, mixture, _width_under, op) if across else weighed(normed, share))
    return total_of(terms)


def normalizes_across(mixture: Mixture) -> bool:
    return any(piece.op in ACROSS for piece in mixture.pieces)


def _norm_and_width(value: Variant) -> tuple[str, int]:
    """What is normalised in one go."""
    op = _op(value)
    return op, value.channels if op in ACROSS else 0


def _width_under(value: Variant, op: str) -> int:
    """The channels of a variant that has a normalisation."""
    return value.channels if _op(value) == op else 0


def activated(x: Tensor, mixture: Mixture) -> Tensor:
    """Mix what the activation functions give; every one of them is 0 at 0, so it keeps masks."""
    functions = mixture.split(_function)
    return total_of([weighed(activate(x, function), share) for function, share in functions.items()])


def gated(shared: SharedSqueezeExcite, x: Tensor, mixture: Mixture) -> Tensor:
    """Squeeze and excite in proportion: share × SE(x) + (1 - share) × x."""
    shares = mixture.split(_has)
    if True not in shares:
        return x
    # The bottleneck is as wide as those blocks have it that have one.
    mask = mixture.mask_among(_has, _squeeze)
    if mask is not None:
        mask = mask.to(x.dtype)[:, None, None]
    gates = shared.gate(x, max(piece.squeeze for piece in mixture.pieces), mask)
    share = shares[True]
    return x * gates if share is None else x * (share * gates + (1 - share))


def scaled(shared: SharedScale, x: Tensor, mixture: Mixture) -> Tensor:
    """Scale the channels in proportion: share × scale × x + (1 - share) × x."""
    shares = mixture.split(_has)
    terms = [weighed(shared.apply_to(x), shares[True])] if True in shares else []
    return total_of(terms + ([weighed(x, shares[False])] if False in shares else []))


def responded(shared: SharedScale, x: Tensor, mixture: Mixture) -> Tensor:
    """Normalise the global response for every width, and mix the results with x itself; masked."""
    terms = [
        weighed(fitted(shared.apply_to(fitted(x, channels)), x.shape[1]), share)
        for channels, share in mixture.split(_width_of_having).items()
        if channels is not None
    ]
    if not all(map(_has, mixture.values)):
        terms.append(masked(x, mixture, _width_of_lacking))
    return total_of(terms)


def _has(value: Variant) -> bool:
    return value.piece is not None


def _op(value: Variant) -> str:
    return value.piece.op if value.piece else ""


def _piece(value: Variant) -> Piece:
    assert value.piece is not None
    return value.piece


# What variants are told apart by; functions with names, as mixtures remember the shares by them.


def _kernel(value: Variant) -> int:
    return _piece(value).kernel


def _kernel_of(piece: Piece) -> int:
    return piece.kernel


def _bias(value: Variant) -> bool:
    return _piece(value).bias


def _squeeze(value: Variant) -> int:
    return _piece(value).squeeze


def _function(value: Variant) -> str:
    return value.piece.function if value.piece else "none"


def _width_of_having(value: Variant) -> int | None:
    return value.channels if _has(value) else None


def _width_of_lacking(value: Variant) -> int:
    return 0 if _has(value) else value.channels


def _adds_input(value: Variant) -> bool:
    return value.channels == 1


class Mixed(NamedTuple):
    """A plan with the shares of its blocks; see there."""

    steps: tuple[tuple[Step, Mixture], ...]
    outputs: Mixture
    identity: dict[bool, Tensor | None]
    inputs: int
    dropout: float

    def has(self, place: Place) -> bool:
        return any(step.place == place for step, _ in self.steps)


@dataclass(frozen=True)
class Plan:
    """What some blocks of one signature do, step by step.

    Args:
        outputs: the channels that leave the blocks.
        identity: 0 or 1 channels for blocks that add their input or do not: only which is which counts.
    """

    steps: tuple[tuple[Step, Variants], ...]
    outputs: Variants
    identity: Variants
    inputs: int
    dropout: float

    @classmethod
    def of(cls, anatomies: Sequence[Anatomy]) -> Plan:
        had = [dict(anatomy.steps) for anatomy in anatomies]
        steps: list[tuple[Step, Variants]] = []
        place, channels = Place.BODY, [anatomy.in_channels for anatomy in anatomies]
        for step in sorted(set().union(*had)):
            if step.place != place:
                entered = step.place == Place.SHORTCUT
                channels = [a.in_channels if entered else a.out_channels for a in anatomies]
                place = step.place
            pieces = [pieces.get(step) for pieces in had]
            steps.append((step, Variants.of([Variant(*pair) for pair in zip(pieces, channels, strict=True)])))
            channels = [piece.out_channels if piece else n for piece, n in zip(pieces, channels, strict=True)]
        return cls(
            tuple(steps),
            Variants.of([Variant(None, anatomy.out_channels) for anatomy in anatomies]),
            Variants.of([Variant(None, int(anatomy.identity)) for anatomy in anatomies]),
            max(anatomy.in_channels for anatomy in anatomies),
            anatomies[0].dropout,
        )

    def mixed(self, shares: Tensor | None) -> Mixed:
        """Return it with the shares float[blocks]; None for a single block."""
        return Mixed(
            tuple((step, Mixture(variants, shares)) for step, variants in self.steps),
            Mixture(self.outputs, shares),
            Mixture(self.identity, shares).split(_adds_input),
            self.inputs,
            self.dropout,
        )


def run(plan: Mixed, shared: Mapping[Step, Shared], place: Place, x: Tensor, training: bool) -> Tensor:
    """Run the steps of one place; channels that few blocks have come out as strong as their share."""
    clean = True
    for step, mixture in plan.steps:
        if step.place != place:
            continue
        kind = step.kind
        mixes = kind == Kind.SE or (kind == Kind.CONV and not mixture.pieces[0].is_depthwise)
        if mixes and not clean:
            x, clean = masked(x, mixture), True
        match kind:
            case Kind.CONV:
                x = functional.dropout(x, plan.dropout, training) if mixture.pieces[0].op == "linear" else x
                x, clean = convolve(cast(SharedConvolution, shared[step]), x, mixture), False
            case Kind.NORM:
                x, clean = normalize(cast(SharedNorms, shared[step]), x, mixture), normalizes_across(mixture)
            case Kind.ACT:
                x = activated(x, mixture)
            case Kind.SE:
                x = gated(cast(SharedSqueezeExcite, shared[step]), x, mixture)
            case Kind.GRN:
                x, clean = responded(cast(SharedScale, shared[step]), x, mixture), True
            case Kind.SCALE:
                x = scaled(cast(SharedScale, shared[step]), x, mixture)
            case Kind.POOL:
                x = torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1)
            case Kind.MAX_POOL:
                piece = mixture.pieces[0]
                x = functional.max_pool2d(x, piece.kernel, piece.stride, piece.kernel // 2)
            case Kind.SHUFFLE:
                x = functional.channel_shuffle(x, mixture.pieces[0].groups)
    return x if clean else masked(x, plan.outputs)
