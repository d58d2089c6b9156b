"""What P-DARTS does against collapse (Chen et al., ICCV 2019): fewer operations as the search goes on, fewer skips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nas.space import Codes
from nas.strategies.oneshot.base import SKIPS
from nas.supernet.supernet import Site, Supernet
from nas.supernet.weights import SiteWeights


class Stretch(NamedTuple):
    """One of several equal stretches of a search: its number, its first epoch, and that of the next; all from 0."""

    number: int
    first: int
    end: int


def stretch_of(epoch: int, epochs: int, stretches: int) -> Stretch:
    """Return the stretch that an epoch lies in."""
    number = epoch * stretches // epochs
    first, end = (-(-n * epochs // stretches) for n in (number, number + 1))
    return Stretch(number, first, end)


def kept_operations(probabilities: Sequence[Tensor], active: Sequence[list[int]], share: float) -> list[list[int]]:
    """Return the operations of each site that are searched on: the likeliest of those that still are (sec. 3.2).

    Args:
        probabilities: float[operations] of each site.
        active: positions of the operations searched so far.
        share: of all operations of a site, rounded up; two at least stay.
    """
    kept = []
    for site, searched in zip(probabilities, active, strict=True):
        count = max(2, math.ceil(share * len(site)))
        likeliest = sorted(searched, key=lambda i, site=site: -float(site[i]))  # type: ignore[misc]
        kept.append(sorted(likeliest[:count]))
    return kept


def without_some_skips(
    weights: Sequence[SiteWeights], sites: Sequence[Site], rate: float, rng: torch.Generator
) -> list[SiteWeights]:
    """Return weights with each skip connection left out with a probability, else strengthened to make up for it.

    P-DARTS (sec. 3.3) leaves out single values of what a skip connection passes on; here it is the whole of it.

    Args:
        rate: that probability.
    """
    left = list(weights)
    for s, site in enumerate(sites):
        factors = torch.ones(len(site.operations))
        for i, name in enumerate(site.operations):
            if name in SKIPS:
                factors[i] = float(torch.rand((), generator=rng) >= rate) / (1 - rate)
        given = left[s]
        if isinstance(given, Tensor):
            left[s] = given * factors.to(given)
        else:
            left[s] = [entry * factor.to(entry) for entry, factor in zip(given, factors, strict=True)]
    return left


def derived_with_few_skips(supernet: Supernet, strengths: Sequence[Tensor], most: int | None) -> Codes:
    """Return int8[D], the derived network with at most so many skip connections in its normal cell (sec. 3.3).

    The weakest of them is given weight 0 and the network is derived again, until they are few enough, or there is
    nothing else to choose. Spaces without cells have no such limit.

    Args:
        strengths: float[operations] of each site.
        most: None for any number.
    """
    left = [site.clone() for site in strengths]
    while True:
        code = supernet.derive(left)
        chosen = [int(weights.argmax()) for weights in supernet.weights_of(code)]
        skips = [
            (float(left[s][i]), s, i)
            for s, (site, i) in enumerate(zip(supernet.sites, chosen, strict=True))
            if site.operations[i] in SKIPS and in_normal_cell(site)
        ]
        removable = [skip for skip in skips if skip[0] > 0]
        if most is None or len(skips) <= most or not removable:
            return code
        _, s, i = min(removable)
        left[s][i] = 0


def in_normal_cell(site: Site) -> bool:
    """Whether a site is an edge of a cell that keeps the resolution: "normal.node2.from1", "node3.from0"."""
    return ".from" in site.name and not site.name.startswith("reduction.")
