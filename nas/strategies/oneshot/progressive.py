"""What P-DARTS does against collapse (Chen et al., ICCV 2019): fewer operations as the search goes on, fewer skips."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nas.strategies.oneshot.base import SKIPS
from nas.supernet.supernet import Site
from nas.supernet.weights import SiteWeights


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
