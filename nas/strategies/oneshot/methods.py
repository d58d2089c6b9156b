"""The differentiable methods of the literature, as settings and relaxations of `Differentiable`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from nas.strategies.oneshot.base import Batch, CostTerm, Moment
from nas.strategies.oneshot.differentiable import INITIAL, Differentiable
from nas.strategies.oneshot.processes import average_gradients
from nas.strategies.oneshot.settings import DifferentiableSettings, KeptShare, NotNegative, Positive, Share
from nas.supernet.relaxations import (
    BinaryGates,
    Dirichlet,
    GumbelSoftmax,
    Relaxation,
    StraightThroughGumbel,
    exponential_temperature,
    keep_other_paths,
    linear_temperature,
)
from nas.supernet.supernet import Supernet
from nas.supernet.weights import SiteWeights

#: the logarithm of 20 ms in microseconds, the unit in which FBNet's exponent of 0.6 is at home
LOG_REFERENCE = math.log(20_000)


class DARTS(Differentiable):
    """DARTS: a softmax over operations, trained on images of its own; `order` 1 or 2 (Liu et al., ICLR 2019)."""


class TemperatureSettings(DifferentiableSettings):
    """Settings of methods that draw with Gumbel noise.

    Args:
        temperature, temperature_end: at the first and the last step; high ones mix operations evenly.
    """

    temperature: Positive = 10.0
    temperature_end: Positive = 0.1


class GDAS(Differentiable):
    """GDAS: one operation drawn a site, its gradient that of the soft draw (Dong & Yang, CVPR 2019)."""

    Settings = TemperatureSettings
    settings: TemperatureSettings

    def relaxation(self, at: Moment) -> Relaxation:
        s = self.settings
        return StraightThroughGumbel(linear_temperature(at.progress, s.temperature, s.temperature_end))


class SNASSettings(TemperatureSettings):
    """Settings of SNAS; images train weights and architecture alike."""

    temperature: Positive = 1.0
    temperature_end: Positive = 0.03
    architecture_share: Share = 0.0


class SNAS(Differentiable):
    """SNAS: a soft Gumbel draw; one backward pass trains weights and architecture (Xie et al., ICLR 2019)."""

    Settings = SNASSettings
    settings: SNASSettings
    learns_architecture = False
    cost_of = "weights"

    def relaxation(self, at: Moment) -> Relaxation:
        s = self.settings
        return GumbelSoftmax(exponential_temperature(at.progress, s.temperature, s.temperature_end))

    def step(
        self, train: Batch, architecture: Batch | None, at: Moment, rng: torch.Generator
    ) -> dict[str, float]:  # fmt: skip
        self.set_learning_rate(at)
        self.prune(at)
        weights = self.sample(at, rng)
        loss, right = self.loss(train, weights)
        self.optimizer.zero_grad(set_to_none=True)
        self.architecture_optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(self.with_cost(loss, weights))
        if not self.warming_up(at.epoch):
            average_gradients(self.architecture_parameters())
            self.architecture_optimizer.step()
        self.apply_gradients()
        return {"train_loss": float(loss.detach()), "train_accuracy": right}


class PCDARTSSettings(DifferentiableSettings):
    """Settings of PC-DARTS."""

    architecture_learning_rate: Positive = 6e-4
    partial: int = Field(default=4, ge=1)
    warmup: Share = 0.3


class PCDARTS(Differentiable):
    """PC-DARTS: operations see a part of the channels, edges have weights of their own (Xu et al., ICLR 2020).

    The weight of an operation is softmax(α) of its edge times softmax(β) over the edges into the same node (their
    eq. 3). Spaces without cells have neither: there it is DARTS after a warm-up.
    """

    Settings = PCDARTSSettings
    settings: PCDARTSSettings

    def __init__(
        self, supernet: Supernet, settings: PCDARTSSettings, cost: CostTerm | None = None, seed: int = 0
    ):  # fmt: skip
        #: positions of the sites that lead into each node
        self.nodes = sites_by_node([site.name for site in supernet.sites])
        device = next(supernet.parameters()).device
        rng = torch.Generator().manual_seed(seed + 1)
        self.betas_of_edges = [
            (INITIAL * torch.randn(len(sites), generator=rng)).to(device).requires_grad_() for sites in self.nodes
        ]
        super().__init__(supernet, settings, cost, seed)

    def architecture_parameters(self) -> list[Tensor]:
        return [*self.alphas, *self.betas_of_edges]

    def sample(self, at: Moment, rng: torch.Generator, relaxation: Relaxation | None = None) -> list[SiteWeights]:
        return self._on_edges(super().sample(at, rng, relaxation))

    def mixture(self) -> list[SiteWeights]:
        return self._on_edges(super().mixture())

    def _on_edges(self, weights: Sequence[SiteWeights]) -> list[SiteWeights]:
        weighted = list(weights)
        for sites, beta in zip(self.nodes, self.betas_of_edges, strict=True):
            for position, share in zip(sites, beta.softmax(0), strict=True):
                given, active = weights[position], self.active[position]
                weighted[position] = (
                    given * share
                    if isinstance(given, Tensor)
                    else [entry * share if i in active else entry for i, entry in enumerate(given)]
                )
        return weighted


class DrNAS(Differentiable):
    """DrNAS: weights drawn from a Dirichlet distribution whose concentrations are trained (Chen et al., ICLR 2021).

    Concentrations are elu(α) + 1; the weight decay of α draws them to 1, the l2 regulariser of the paper.
    Its progressive search, with `partial` and `keep` here, is left to the settings.
    """

    def relaxation(self, at: Moment) -> Relaxation:
        return Dirichlet()


class PDARTSSettings(DifferentiableSettings):
    """Settings of P-DARTS: of eight operations five stay after a third of the search, three after two thirds."""

    architecture_learning_rate: Positive = 6e-4
    warmup: Share = 0.4
    keep: tuple[KeptShare, ...] = (5 / 8, 3 / 8)
    skip_dropout: Share = 0.3
    max_skips: int | None = Field(default=2, ge=0)


class PDARTS(Differentiable):
    """P-DARTS: DARTS with fewer operations as it goes on, skips dropped at random and limited (Chen et al., ICCV 2019).

    The search goes on with the weights it has; in the paper each stretch starts anew, on a deeper supernet.
    """

    Settings = PDARTSSettings
    settings: PDARTSSettings


class FBNetSettings(TemperatureSettings):
    """Settings of FBNet, whose search takes 90 epochs, ten of them for warm-up."""

    architecture_share: Share = 0.2
    architecture_learning_rate: Positive = 0.01
    architecture_weight_decay: NotNegative = 5e-4
    warmup: Share = 1 / 9
    temperature: Positive = 5.0
    temperature_end: Positive = 0.0872
    affine: bool = True


class FBNet(Differentiable):
    """FBNet: a soft Gumbel draw a place, loss × (log latency)^β (Wu et al., CVPR 2019, eq. 2).

    The weight of the cost is β. The logarithm is taken as if the reference were 20 ms in microseconds, whatever the
    metric and its unit, and divided by that of the reference, so that the factor is 1 there; the paper's α says the
    same.
    """

    Settings = FBNetSettings
    settings: FBNetSettings
    betas = (0.9, 0.999)
    cost_of = "weights"
    default_cost_weight = 0.6

    def relaxation(self, at: Moment) -> Relaxation:
        s = self.settings
        return GumbelSoftmax(exponential_temperature(at.progress, s.temperature, s.temperature_end))

    def with_cost(self, loss: Tensor, weights: Sequence[SiteWeights]) -> Tensor:
        if self.cost is None:
            return loss
        relative = self.expected_cost(weights) / self.cost.reference
        # Below 1/1000 of the reference the gradient is 0, long before the base of the power is.
        factor = 1 + relative.clamp_min(1e-3).log() / LOG_REFERENCE
        return loss * (factor**self.cost.weight).to(loss)


class ProxylessSettings(DifferentiableSettings):
    """Settings of ProxylessNAS."""

    architecture_share: Share = 0.1
    architecture_learning_rate: Positive = 1e-3
    #: would move paths that are not drawn
    architecture_weight_decay: float = Field(default=0.0, ge=0, le=0)
    warmup: Share = 0.2
    affine: bool = True


class Proxyless(Differentiable):
    """ProxylessNAS: binary gates, two paths at a time for the architecture, one for weights (Cai et al., ICLR 2019)."""

    Settings = ProxylessSettings
    settings: ProxylessSettings
    betas: ClassVar[tuple[float, float]] = (0.0, 0.999)
    cost_of = "weights"
    default_cost_weight = 0.1

    def relaxation(self, at: Moment) -> Relaxation:
        return BinaryGates()

    def relaxation_for_weights(self, at: Moment) -> Relaxation:
        # One path by the probabilities themselves (their eq. 2); pairs are for gradients of the architecture.
        return BinaryGates(pairs=False)

    def architecture_step(
        self, train: Batch, architecture: Batch, at: Moment, rng: torch.Generator
    ) -> dict[str, float]:  # fmt: skip
        before = [alpha.detach().clone() for alpha in self.alphas]
        state = rng.get_state()
        # The very paths of the step, which draws the same.
        drawn = self.sample(at, rng)
        rng.set_state(state)
        found = super().architecture_step(train, architecture, at, rng)
        keep_other_paths(self.alphas, before, drawn)
        return found


def sites_by_node(names: Sequence[str]) -> list[list[int]]:
    """Return the positions of the sites that lead into one node, for each node with several."""
    numbered = [(name.rpartition(".from")[0], i) for i, name in enumerate(names)]
    grouped = [[i for _, i in group] for node, group in itertools.groupby(numbered, key=lambda entry: entry[0]) if node]
    return [sites for sites in grouped if len(sites) > 1]
