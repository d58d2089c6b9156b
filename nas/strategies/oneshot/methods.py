"""The differentiable methods of the literature, as settings and relaxations of `Differentiable`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from nas.strategies.oneshot.base import Batch, CostTerm, Moment
from nas.strategies.oneshot.differentiable import INITIAL, Differentiable
from nas.strategies.oneshot.settings import DifferentiableSettings, Positive
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
from nas.supernet.weights import SiteWeights, dense


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
    architecture_share: float = 0.0


class SNAS(Differentiable):
    """SNAS: a soft Gumbel draw, weights and architecture trained on the same images (Xie et al., ICLR 2019)."""

    Settings = SNASSettings
    settings: SNASSettings
    learns_architecture = False
    cost_of = "weights"

    def relaxation(self, at: Moment) -> Relaxation:
        s = self.settings
        return GumbelSoftmax(exponential_temperature(at.progress, s.temperature, s.temperature_end))


class PCDARTSSettings(DifferentiableSettings):
    """Settings of PC-DARTS."""

    partial: int = 4
    warmup: float = 0.3


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

    def sample(self, at: Moment, rng: torch.Generator) -> list[SiteWeights]:
        return self._on_edges(super().sample(at, rng))

    def probabilities(self) -> list[Tensor]:
        with torch.no_grad():
            weighted = dense(self._on_edges(super().probabilities()))
            return [site / site.sum() for site in weighted]

    def derive(self) -> Any:
        with torch.no_grad():
            return self.supernet.derive(self._on_edges(super().probabilities()))

    def _on_edges(self, weights: Sequence[SiteWeights]) -> list[SiteWeights]:
        weighted = list(weights)
        for sites, beta in zip(self.nodes, self.betas_of_edges, strict=True):
            for position, share in zip(sites, beta.softmax(0), strict=True):
                given = weights[position]
                weighted[position] = given * share if isinstance(given, Tensor) else [e * share for e in given]
        return weighted


class DrNAS(Differentiable):
    """DrNAS: weights drawn from a Dirichlet distribution whose concentrations are trained (Chen et al., ICLR 2021)."""

    def relaxation(self, at: Moment) -> Relaxation:
        return Dirichlet()


class PDARTSSettings(DifferentiableSettings):
    """Settings of P-DARTS: of eight operations five stay after a third of the search, three after two thirds."""

    keep: tuple[float, ...] = (5 / 8, 3 / 8)
    skip_dropout: float = 0.3
    max_skips: int | None = 2


class PDARTS(Differentiable):
    """P-DARTS: DARTS with fewer operations as it goes on, skips dropped at random and limited (Chen et al., ICCV 2019).

    The depth of the supernet stays as it is; in the paper it grows as operations are dropped.
    """

    Settings = PDARTSSettings
    settings: PDARTSSettings


class FBNetSettings(TemperatureSettings):
    """Settings of FBNet."""

    architecture_share: float = 0.2
    architecture_learning_rate: float = 0.01
    architecture_weight_decay: float = 5e-4
    warmup: float = 0.1
    temperature: Positive = 5.0
    temperature_end: Positive = 0.0872
    affine: bool = True


class FBNet(Differentiable):
    """FBNet: a soft Gumbel draw a place, loss × (log latency)^β (Wu et al., CVPR 2019, eq. 2).

    The weight of the cost is β. The logarithm is that of microseconds (of multiply-adds without target), divided by
    the one of the reference, so that the factor is about 1 at first.
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
        unit = 1000.0 if self.cost.metric.endswith(("_ms", "_mj")) else 1.0
        logarithm = (unit * self.expected_cost(weights)).clamp_min(1.0).log()
        at_first = max(torch.tensor(unit * self.cost.reference).log().item(), 1e-3)
        return loss * ((logarithm / at_first) ** self.cost.weight).to(loss)


class ProxylessSettings(DifferentiableSettings):
    """Settings of ProxylessNAS."""

    architecture_share: float = 0.1
    architecture_learning_rate: float = 1e-3
    architecture_weight_decay: float = 0.0
    warmup: float = 0.2
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

    def architecture_step(
        self, train: Batch, architecture: Batch, at: Moment, rng: torch.Generator
    ) -> dict[str, float]:  # fmt: skip
        before = [alpha.detach().clone() for alpha in self.alphas]
        state = rng.get_state()
        found = super().architecture_step(train, architecture, at, rng)
        # The very paths of the step: it leaves the generator where it was.
        rng.set_state(state)
        drawn = self.relaxation(at).sample([alpha.clone().requires_grad_() for alpha in before], rng)
        keep_other_paths([alpha.data for alpha in self.alphas], before, drawn)
        return found


def sites_by_node(names: Sequence[str]) -> list[list[int]]:
    """Return the positions of the sites that lead into one node, for each node with several."""
    numbered = [(name.rpartition(".from")[0], i) for i, name in enumerate(names)]
    grouped = [[i for _, i in group] for node, group in itertools.groupby(numbered, key=lambda entry: entry[0]) if node]
    return [sites for sites in grouped if len(sites) > 1]
