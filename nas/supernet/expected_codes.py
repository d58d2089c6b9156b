"""The expectation of any function of a code whose decisions are drawn independently: by a table, or by draws.

For a function f of codes and probabilities p_d of the choices of each decision d, the multilinear extension is
F(p) = Σ over codes c of f(c) Π_d p_d[c_d] (Owen, Management Science 1972, for two choices). At one-hot probabilities it
is f; its derivative by p_d[k] is the expectation of f with decision d set to k.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nas.errors import NasError
from nas.space import Codes
from nas.supernet.supernet import Site
from nas.supernet.weights import SiteWeights, dense

Array = npt.NDArray[np.float64]

#: codes int8[n, D] -> float[n]
Metric = Callable[[Codes], Array]


def combinations(sites: Sequence[Site]) -> int:
    """Return how many combinations of operations there are, those that are the same network counted each."""
    return math.prod(len(site.operations) for site in sites)


class EnumeratedMetric:
    """The multilinear extension of a metric from a table of all codes, contracted site by site; exact.

    Args:
        sites: the decisions of a space, in order.
        metric: called once, with all combinations of operations.
    """

    def __init__(self, sites: Sequence[Site], metric: Metric):
        counts = [len(site.operations) for site in sites]
        codes = np.stack(np.unravel_index(np.arange(combinations(sites)), counts), axis=1).astype(np.int8)
        self._table = torch.from_numpy(np.array(metric(codes), dtype=np.float64)).reshape(counts)

    def __call__(self, weights: Sequence[SiteWeights]) -> Tensor:
        """Return the scalar expectation, float64, differentiable."""
        factors = [site.to(torch.float64) for site in dense(weights)]
        table = self._table = self._table.to(factors[0].device)
        for factor in factors:
            table = torch.einsum("i...,i->...", table, factor)
        return table


class SampledMetric:
    """The multilinear extension of a metric, its value and its gradient each estimated from draws without bias.

    The value is the mean of f over n codes; the derivative by p_d[k] is the mean of f over the same codes with decision
    d set to k, minus the value. What is subtracted is the same for all k and so changes nothing where probabilities
    add up to 1. Each decision by itself is drawn from n strata of equal probability, in random order (a Latin
    hypercube: McKay, Beckman and Conover, Technometrics 1979), which leaves nearly only what decisions do together to
    chance. At one-hot weights all draws are the same code, and both are exact.

    The generator is seeded by the probabilities, so the estimate is a function of them: equal ones are estimated
    equally, however often they were before, and a search that is resumed goes on as it would have.

    Args:
        sites: the decisions of a space, in order.
        metric: asked, per call, for at most draws × (1 + operations of all sites) codes.
        draws: n.
        seed: for other draws from the same probabilities.
    """

    def __init__(self, sites: Sequence[Site], metric: Metric, draws: int = 16, seed: int = 0):
        self._sites, self._metric = tuple(sites), metric
        self.draws, self.seed = draws, seed

    def __call__(self, weights: Sequence[SiteWeights]) -> Tensor:
        """Return the scalar estimate, float64, with an estimate of the gradient.

        Args:
            weights: probabilities of each site; where they do not add up to 1, as if they were divided by their sum.

        Raises:
            NasError: they are negative, not finite, or all 0 on a site.
        """
        factors = [site.to(torch.float64) for site in dense(weights)]
        codes = self._draw(_probabilities(self._sites, factors))
        # An entry without a gradient, such as a path that ProxylessNAS has not drawn, needs no alternative.
        asked = [(d, k) for d, site in enumerate(weights) for k in _learning(site)]
        tried = np.tile(codes, (1 + len(asked), 1, 1))
        for row, (d, k) in enumerate(asked, start=1):
            tried[row, :, d] = k
        means = self._metric(tried.reshape(-1, codes.shape[1])).reshape(len(tried), -1).mean(axis=1)
        total = torch.tensor(means[0], dtype=torch.float64, device=factors[0].device)
        slopes = [np.zeros(len(site.operations)) for site in self._sites]
        for (d, k), mean in zip(asked, means[1:], strict=True):
            slopes[d][k] = mean - means[0]
        for d in dict.fromkeys(d for d, _ in asked):
            # The bracket is exactly 0: it carries the gradient alone.
            total = total + (factors[d] - factors[d].detach()) @ torch.from_numpy(slopes[d]).to(total.device)
        return total

    def _draw(self, probabilities: Sequence[Array]) -> Codes:
        """Return int8[draws, D]."""
        digest = hashlib.blake2b(np.concatenate(probabilities).tobytes(), digest_size=16).digest()
        rng = np.random.default_rng([self.seed, int.from_bytes(digest, "little")])
        codes = np.zeros((self.draws, len(probabilities)), dtype=np.int8)
        for d, given in enumerate(probabilities):
            uniform = (rng.permutation(self.draws) + rng.random(self.draws)) / self.draws
            cumulative = given.cumsum() / given.sum()
            # Below 1, so that choices of probability 0 at the end are not drawn either.
            uniform = np.minimum(uniform, np.nextafter(1.0, 0.0))
            cumulative[cumulative == cumulative[-1]] = 1.0
            codes[:, d] = np.searchsorted(cumulative, uniform, side="right")
        return codes


def _learning(site: SiteWeights) -> list[int]:
    """Return the operations whose weights carry a gradient."""
    if not torch.is_grad_enabled():
        return []
    if isinstance(site, Tensor):
        return list(range(len(site))) if site.requires_grad else []
    return [k for k, entry in enumerate(site) if entry.requires_grad]


def _probabilities(sites: Sequence[Site], factors: Sequence[Tensor]) -> list[Array]:
    found = [factor.detach().cpu().numpy() for factor in factors]
    for site, given in zip(sites, found, strict=True):
        if not (np.isfinite(given).all() and (given >= 0).all() and given.sum() > 0):
            raise NasError(f"{site.name}: {given.tolist()} are no probabilities, so no network can be drawn from them")
    return found
