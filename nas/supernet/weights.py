"""The weights that a strategy gives the sites of a supernet, and which operations they make it compute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from nas.errors import NasError

if TYPE_CHECKING:
    from nas.supernet.supernet import Site

#: float[operations] of one site; or as many scalar tensors, each of which says for itself whether it needs a gradient
SiteWeights = Tensor | Sequence[Tensor]


class Term(NamedTuple):
    """An operation that has to be computed.

    Args:
        operation: its position in the site.
        weight: a plain number where it needs no gradient.
        value: the weight as a plain number.
    """

    operation: int
    weight: float | Tensor
    value: float


def dense(weights: Sequence[SiteWeights]) -> list[Tensor]:
    """Return one tensor float[operations] a site, differentiable in whatever was given."""
    return [site if isinstance(site, Tensor) else torch.stack(list(site)) for site in weights]


def terms(weights: Sequence[SiteWeights], sites: Sequence[Site]) -> list[list[Term]]:
    """Return for each site what has to be computed: what has a weight other than 0, or needs a gradient.

    Where gradients are off, nothing needs one. A tensor that needs a gradient needs it for all its entries. A strategy
    that wants that of some paths only (GDAS of the sampled one, ProxylessNAS of two) gives scalars, constants for the
    rest.

    Raises:
        NasError: there are not as many weights as sites and operations.
    """
    if len(weights) != len(sites):
        raise NasError(f"{len(weights)} tensors of weights for {len(sites)} sites")
    for site, given in zip(sites, weights, strict=True):
        if len(given) != len(site.operations):
            raise NasError(f"{site.name} has {len(site.operations)} operations, not {len(given)}")
    learning = torch.is_grad_enabled()
    with torch.no_grad():
        # All at once: on a GPU every look at a value waits for the device.
        values = torch.cat(dense(weights)).tolist()
    found, start = [], 0
    for given in weights:
        entries = list(zip(given, values[start : start + len(given)], strict=True))
        start += len(given)
        found.append([
            Term(i, entry if learning and entry.requires_grad else value, value)
            for i, (entry, value) in enumerate(entries)
            if value != 0 or (learning and entry.requires_grad)
        ])  # fmt: skip
    return found


def one_hot(position: int, count: int) -> Tensor:
    """Return float[count], 1 at a position and 0 elsewhere."""
    weights = torch.zeros(count)
    weights[position] = 1
    return weights
