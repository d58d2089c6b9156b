"""Several blocks at once, each as likely as its share."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from nas.supernet.elastic_anatomy import Piece

_Key = TypeVar("_Key", bound=Hashable)


class Variant(NamedTuple):
    """What some of the blocks do in a step: a piece, or none at all, on so many channels."""

    piece: Piece | None
    channels: int


@dataclass(frozen=True)
class Variants:
    """What blocks do in a step, each once, and which of it each block does (int[blocks])."""

    values: tuple[Variant, ...]
    index: Tensor

    @classmethod
    def of(cls, values: Sequence[Variant]) -> Variants:
        distinct = {value: i for i, value in enumerate(dict.fromkeys(values))}
        return cls(tuple(distinct), torch.tensor([distinct[value] for value in values]))


class Mixture:
    """The variants of a step with their shares, float[variants] on the device and of the type of the features."""

    def __init__(self, variants: Variants, shares: Tensor | None, like: Tensor):
        self.values = variants.values
        self.shares: Tensor | None = None
        if shares is not None and len(self.values) > 1:
            zeros = shares.new_zeros(len(self.values))
            self.shares = zeros.index_add(0, variants.index.to(shares.device), shares).to(like.dtype)

    @property
    def pieces(self) -> list[Piece]:
        return [value.piece for value in self.values if value.piece is not None]

    @property
    def channels(self) -> int:
        """The most channels that any has."""
        return max(value.channels for value in self.values)

    def split(self, key: Callable[[Variant], _Key]) -> dict[_Key, Tensor | None]:
        """Return the distinct keys of the variants, and of each its scalar share; None where that is all there is."""
        keys = [key(value) for value in self.values]
        chosen = {own: [i for i, other in enumerate(keys) if other == own] for own in dict.fromkeys(keys)}
        if self.shares is None or len(chosen) == 1:
            return dict.fromkeys(chosen)
        return {own: self.shares[places].sum() for own, places in chosen.items()}

    def mask(self, width: Callable[[Variant], int]) -> Tensor | None:
        """Return float[channels], how likely each channel exists: sum over variants of share × 1[c < width].

        The masks of FBNetV2 (Wan et al., CVPR 2020, eq. 3). None where all have one width.
        """
        widths = [width(value) for value in self.values]
        if self.shares is None or len(set(widths)) == 1:
            return None
        limits = torch.tensor(widths, device=self.shares.device)[:, None]
        return (self.shares[:, None] * (torch.arange(self.channels, device=self.shares.device) < limits)).sum(0)


def fitted(x: Tensor, channels: int) -> Tensor:
    """Return x with so many channels: its leading ones, or zeros behind them."""
    if x.shape[1] >= channels:
        return x[:, :channels]
    return functional.pad(x, [0, 0] * (x.dim() - 2) + [0, channels - x.shape[1]])


def weighed(x: Tensor, share: Tensor | None) -> Tensor:
    return x if share is None else x * share


def masked(x: Tensor, mixture: Mixture, width: Callable[[Variant], int] = lambda value: value.channels) -> Tensor:
    """Return x with each channel as strong as it is likely to exist, by the widths of the variants."""
    mask = mixture.mask(width)
    return x if mask is None else x * mask.view(-1, *[1] * (x.dim() - 2))


def conditional(probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """Return float[n] shares of the whole and the whole; equal shares where the whole is 0, so gradients stay finite.

    The shares of outcomes that a relaxation has at 0 do not matter to what it computes, but to its gradient: that of
    a choice nobody makes is what the average of its blocks would give.
    """
    whole = probabilities.sum()
    empty = (whole == 0).to(probabilities.dtype).detach()
    return probabilities / (whole + empty) + empty / len(probabilities), whole


def total_of(terms: Sequence[Tensor]) -> Tensor:
    """Sum tensors of one shape, at least one."""
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
