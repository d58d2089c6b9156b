"""How architecture parameters become the weights of a supernet, and what gradient comes back through them.

Below, θ are the logits of a site, p = softmax(θ), G independent standard Gumbel noise, e_k the one-hot vector of
operation k and L the loss as a function of the weights. Two objectives are worth telling apart:

- discrete: E[L(e_k)] with k drawn from p, the mean loss of the networks that are drawn;
- relaxed: E[L(w)] with w a point inside the simplex, the mean loss of mixtures that no network is.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from nas.errors import NasError
from nas.supernet.weights import SiteWeights, dense


class Relaxation(ABC):
    """A map from logits to weights, random or not, differentiable in the way of its method."""

    def sample(self, logits: Sequence[Tensor], rng: torch.Generator) -> list[SiteWeights]:
        """Return the weights of every site.

        Where a method wants gradients of some operations only, a site gets scalars of which just these carry one, so
        that a supernet leaves out what has weight 0; of a batch it gets a tensor, through which the same gradients
        flow. The noise is float64 from the device of the generator, whatever the logits are: one seed means one draw.

        Args:
            logits: of each site float[operations], or float[..., operations] for a batch of independent draws.
            rng: advanced by methods that draw.

        Raises:
            NasError: a site has no operations, or logits that are no finite floating-point numbers.
        """
        _check(logits)
        drawn: list[SiteWeights] = list(logits)
        for shape in dict.fromkeys(site.shape for site in logits):
            positions = [i for i, site in enumerate(logits) if site.shape == shape]
            weights, live = self._draw(torch.stack([logits[i] for i in positions]), rng)
            for i, site in zip(positions, _separate(weights, live), strict=True):
                drawn[i] = site
        return drawn

    def probabilities(self, logits: Sequence[Tensor]) -> list[Tensor]:
        """Return float[..., operations] of each site, how likely or how strong its operations are; sums are 1."""
        return [site.softmax(-1) for site in logits]

    @abstractmethod
    def _draw(self, logits: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Return weights float[..., operations] and which of them carry a gradient, bool; None for all."""


@dataclass(frozen=True)
class Softmax(Relaxation):
    """w = p, the mixture of DARTS (Liu et al., ICLR 2019, eq. 2). Nothing is drawn; the gradient is that of L(p)."""

    def _draw(self, logits: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor | None]:
        return logits.softmax(-1), None


@dataclass(frozen=True)
class GumbelSoftmax(Relaxation):
    """w = softmax((θ + G) / temperature), the concrete distribution (Maddison et al.; Jang et al., ICLR 2017).

    SNAS (Xie et al., ICLR 2019) and FBNet (Wu et al., CVPR 2019) search with it. The gradient is
    unbiased for the relaxed objective at this temperature, not for the discrete one, which that tends to as the
    temperature goes to 0, while the variance of the gradient grows.

    Args:
        temperature: above 0.

    Raises:
        NasError: it is not.
    """

    temperature: float

    def __post_init__(self) -> None:
        _check_temperature(self.temperature)

    def _draw(self, logits: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor | None]:
        return ((logits + _gumbel(logits, rng)) / self.temperature).softmax(-1), None


@dataclass(frozen=True)
class StraightThroughGumbel(Relaxation):
    """w = e_k forward, the soft sample of `GumbelSoftmax` backward, k its largest entry (Dong & Yang, GDAS, CVPR 2019).

    k is distributed as p; all other weights are exactly 0. The gradient is the mean of ∇L(e_k) · ∂w_soft/∂θ. That is
    no objective's gradient: for a loss linear in the weights it is that of the relaxed objective, for other losses not
    even that, and it is biased for the discrete objective.

    Args:
        temperature: of the soft sample, above 0.
        drawn_only: as in GDAS only operation k is computed, so only ∂L/∂w_k is known, and the others count as 0 in the
            mean above: that is biased for a linear loss too. False computes all operations.

    Raises:
        NasError: the temperature is not above 0.
    """

    temperature: float
    drawn_only: bool = True

    def __post_init__(self) -> None:
        _check_temperature(self.temperature)

    def _draw(self, logits: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor | None]:
        perturbed = logits + _gumbel(logits, rng)
        hard = _largest(perturbed)
        weights = _straight_through(hard, (perturbed / self.temperature).softmax(-1))
        return weights, hard.bool() if self.drawn_only else None


@dataclass(frozen=True)
class Dirichlet(Relaxation):
    """w drawn from a Dirichlet distribution of concentration elu(θ) + 1 (Chen et al., DrNAS, ICLR 2021).

    The gradient is pathwise and unbiased for the relaxed objective under that distribution. Gamma variates are kept as
    logarithms, those of shape c as a variate of shape c + 1 times U^(1/c), so small concentrations underflow in no
    precision. The derivative of a variate by its shape is that of PyTorch, to 1e-3 relative; it has no second one.
    """

    def _draw(self, logits: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor | None]:
        shape = _concentration(logits).to(rng.device, torch.float64)
        exponential = torch.empty_like(shape, requires_grad=False).exponential_(generator=rng)
        variates = torch._standard_gamma(shape + 1, generator=rng).log() - exponential / shape
        return variates.softmax(-1).to(logits), None

    def probabilities(self, logits: Sequence[Tensor]) -> list[Tensor]:
        """Return the mean of the distribution of each site, float[..., operations]."""
        concentrations = [_concentration(site) for site in logits]
        return [site / site.sum(-1, keepdim=True) for site in concentrations]


@dataclass(frozen=True)
class BinaryGates(Relaxation):
    """One-hot gates g with ∂L/∂θ_i = Σ_j ∂L/∂g_j q_j (δ_ij - q_i) (Cai et al., ProxylessNAS, ICLR 2019, eq. 4).

    In pairs (their sec. 3.2), two operations are drawn from p without replacement, q is the softmax of these two
    alone, q says which gate opens, and both carry gradients. Each pair's gradient is that of its own discrete objective
    where the loss is linear in the gates; over all pairs it is no objective's gradient, and a gate opens with a
    probability that is not quite p. Use `keep_other_paths` after the step.

    Without pairs, q = p, one gate opens with probability p and all of them carry gradients, so all operations are
    computed: unbiased for the discrete objective of a loss linear in the gates, biased for others.
    """

    pairs: bool = True

    def _draw(self, logits: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor | None]:
        candidates = torch.ones_like(logits, dtype=torch.bool)
        if self.pairs:
            # The largest of perturbed logits are a draw without replacement (the Gumbel-top-k trick).
            first = (logits + _gumbel(logits, rng)).topk(min(2, logits.shape[-1])).indices
            candidates = torch.zeros_like(candidates).scatter(-1, first, True)
        among = logits.masked_fill(~candidates, -math.inf)
        hard = _largest(among + _gumbel(logits, rng))
        return _straight_through(hard, among.softmax(-1)), candidates


@dataclass(frozen=True)
class Sampled(Relaxation):
    """w = e_k with k drawn from p, no gradient; `score_loss` has one (REINFORCE: Williams, 1992), as in ENAS."""

    def _draw(self, logits: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor | None]:
        hard = _largest((logits + _gumbel(logits, rng)).detach())
        return hard, torch.zeros_like(hard, dtype=torch.bool)

    def log_probability(self, logits: Sequence[Tensor], weights: Sequence[SiteWeights]) -> Tensor:
        """Return float[...], the logarithm of the probability of a sample, over all sites; differentiable."""
        terms = [site.log_softmax(-1) * drawn for site, drawn in zip(logits, dense(weights), strict=True)]
        return sum((term.sum(-1) for term in terms), start=terms[0].new_zeros(()))


def score_loss(log_probability: Tensor, loss: Tensor, baseline: float | Tensor = 0.0) -> Tensor:
    """Return float[...], whose gradient is unbiased for that of the discrete objective (Williams, 1992).

    Args:
        log_probability: float[...], of what was drawn.
        loss: float[...], what that costs.
        baseline: subtracted from the loss; any number that does not depend on this draw, e.g. a mean of past losses.
    """
    return (loss - baseline).detach() * log_probability


@torch.no_grad()
def keep_other_paths(
    logits: Sequence[Tensor], before: Sequence[Tensor], weights: Sequence[SiteWeights]
) -> None:  # fmt: skip
    """Shift logits in place so that the probabilities of the paths not drawn are as before the step.

    That is the end of an update of ProxylessNAS (Cai et al., ICLR 2019, sec. 3.2). The optimiser must not have moved
    the logits of these paths: Adam with beta1 = 0 does not.

    Args:
        logits: float[operations] of each site, after the step.
        before: copies of them from before it.
        weights: the sample; what carries a gradient was drawn.
    """
    for after, old, site in zip(logits, before, weights, strict=True):
        drawn = [i for i, entry in enumerate(site) if entry.requires_grad]
        after[drawn] -= after[drawn].logsumexp(0) - old[drawn].logsumexp(0)


def linear_temperature(progress: float, start: float = 10.0, end: float = 0.1) -> float:
    """Return the temperature after a share of the search, 0 to 1; the defaults are those of GDAS."""
    _check_schedule(progress, start, end)
    return start + (end - start) * progress


def exponential_temperature(progress: float, start: float = 5.0, end: float = 5.0 * math.exp(-0.045 * 90)) -> float:
    """Return the temperature after a share of the search, 0 to 1; the defaults are FBNet's 5 exp(-0.045 epoch), 90."""
    _check_schedule(progress, start, end)
    return float(start * (end / start) ** progress)


def _gumbel(like: Tensor, rng: torch.Generator) -> Tensor:
    exponential = torch.empty(like.shape, dtype=torch.float64, device=rng.device).exponential_(generator=rng)
    return -exponential.clamp_min(torch.finfo(torch.float64).tiny).log().to(like)


def _largest(values: Tensor) -> Tensor:
    """Return the one-hot vector of the largest of float[..., operations]."""
    return one_hot(values.argmax(-1), values.shape[-1]).to(values.dtype)


def _straight_through(hard: Tensor, soft: Tensor) -> Tensor:
    """Return exactly `hard`, as the bracket is exactly 0, with the gradient of `soft`."""
    return hard + (soft - soft.detach())


def _concentration(logits: Tensor) -> Tensor:
    """Return elu(logits) + 1; where they are negative, exp(logits), which does not cancel to 0."""
    return torch.where(logits > 0, logits + 1, logits.clamp(max=0).exp())


def _separate(weights: Tensor, live: Tensor | None) -> Sequence[SiteWeights]:
    """Return weights[sites, ..., operations] site by site, with gradients for those that are live."""
    if live is None:
        return weights.unbind()
    if weights.ndim > 2:
        return torch.where(live, weights, weights.detach()).unbind()
    return [
        tuple(entry if keep else entry.detach() for entry, keep in zip(site.unbind(), kept, strict=True))
        for site, kept in zip(weights.unbind(), live.tolist(), strict=True)
    ]


def _check(logits: Sequence[Tensor]) -> None:
    for i, site in enumerate(logits):
        if site.ndim == 0 or site.shape[-1] == 0 or not site.is_floating_point():
            raise NasError(f"site {i}: logits are {site.dtype}{list(site.shape)}, not floats, one or more a site")
    # All at once: on a GPU every look at a value waits for the device.
    if logits and not torch.cat([site.detach().flatten() for site in logits]).isfinite().all():
        wrong = next(i for i, site in enumerate(logits) if not site.isfinite().all())
        raise NasError(f"site {wrong}: logits {logits[wrong].tolist()} are not finite; the search has diverged")


def _check_temperature(temperature: float) -> None:
    if not 0 < temperature < math.inf:
        raise NasError(f"temperature {temperature:g} is not above 0")


def _check_schedule(progress: float, start: float, end: float) -> None:
    _check_temperature(start)
    _check_temperature(end)
    if not 0 <= progress <= 1:
        raise NasError(f"progress {progress:g} is not between 0 and 1")
