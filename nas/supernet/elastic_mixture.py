"""Several blocks at once, each as likely as its share."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

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
    """The variants of a step with their shares, float[variants]; what follows from these is computed once.

    Args:
        shares: float[blocks]; None where one block is certain.
    """

    def __init__(self, variants: Variants, shares: Tensor | None):
        self.values = variants.values
        self.shares: Tensor | None = None
        if shares is not None and len(self.values) > 1:
            zeros = shares.new_zeros(len(self.values))
            self.shares = zeros.index_add(0, variants.index.to(shares.device), shares)
        self._splits: dict[object, Any] = {}
        self._masks: dict[object, Tensor | None] = {}

    @property
    def pieces(self) -> list[Piece]:
        return [value.piece for value in self.values if value.piece is not None]

    @property
    def channels(self) -> int:
        """The most channels that any has."""
        return max(value.channels for value in self.values)

    def split(self, key: Callable[[Variant], _Key]) -> dict[_Key, Tensor | None]:
        """Return the distinct keys of the variants, and of each its scalar share; None where that is all there is."""
        if key not in self._splits:
            keys = [key(value) for value in self.values]
            chosen = list(dict.fromkeys(keys))
            if self.shares is None or len(chosen) == 1:
                self._splits[key] = dict.fromkeys(chosen)
            else:
                members = torch.tensor([[own == other for other in keys] for own in chosen])
                self._splits[key] = dict(zip(chosen, (members.to(self.shares) @ self.shares).unbind(), strict=True))
        found: dict[_Key, Tensor | None] = self._splits[key]
        return found

    def mask(self, width: Callable[..., int], *arguments: Hashable) -> Tensor | None:
        """Return float[channels], how likely each channel exists: sum over variants of share × 1[c < width].

        The masks of FBNetV2 (Wan et al., CVPR 2020, eq. 3). None where all have one width.

        Args:
            width: of a variant and `arguments`.
        """
        key = (width, *arguments)
        if key not in self._masks:
            widths = [width(value, *arguments) for value in self.values]
            self._masks[key] = (
                None if self.shares is None or len(set(widths)) == 1 else _mask(widths, self.channels, self.shares)
            )
        return self._masks[key]

    def mask_among(self, key: Callable[[Variant], bool], width: Callable[[Variant], int]) -> Tensor | None:
        """Return float[largest width], the mask among those variants alone that have a key; None for a certain one."""
        if self.shares is None:
            return None
        if key not in self._masks:
            members = [i for i, value in enumerate(self.values) if key(value)]
            widths = [width(self.values[i]) for i in members]
            own, _ = conditional(self.shares[members])
            self._masks[key] = _mask(widths, max(widths), own)
        return self._masks[key]


def channels_of(value: Variant) -> int:
    return value.channels


def _mask(widths: Sequence[int], channels: int, shares: Tensor) -> Tensor:
    """Return float[channels]: sum over `widths` of share × 1[c < width]."""
    exists = torch.arange(channels)[:, None] < torch.tensor(widths)
    return exists.to(shares) @ shares


def fitted(x: Tensor, channels: int) -> Tensor:
    """Return x with so many channels: its leading ones, or zeros behind them."""
    if x.shape[1] == channels:
        return x
    if x.shape[1] > channels:
        return x[:, :channels]
    return functional.pad(x, [0, 0] * (x.dim() - 2) + [0, channels - x.shape[1]])


def weighed(x: Tensor, share: Tensor | None) -> Tensor:
    return x if share is None else x * share


def masked(x: Tensor, mixture: Mixture, width: Callable[..., int] = channels_of, *arguments: Hashable) -> Tensor:
    """Return x with each channel as strong as it is likely to exist, by the widths of the variants."""
    mask = mixture.mask(width, *arguments)
    return x if mask is None else x * mask.to(x.dtype).view(-1, *[1] * (x.dim() - 2))


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
