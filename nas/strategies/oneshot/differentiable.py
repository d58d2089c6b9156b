"""One-shot search by gradient: DARTS, GDAS, SNAS, PC-DARTS, DrNAS, P-DARTS, FBNet and ProxylessNAS.

They differ in how architecture weights become weights of operations (`Relaxation`), in what an update of the
architecture weights follows, and in their settings; the rest is one strategy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from nas.errors import NasError
from nas.space import Codes
from nas.strategies.oneshot.base import Batch, CostTerm, Moment, OneShotStrategy
from nas.strategies.oneshot.bilevel import Untouched, architecture_gradient, dominant_eigenvalue, has_sharpened
from nas.strategies.oneshot.progressive import (
    Stretch,
    derived_with_few_skips,
    kept_operations,
    stretch_of,
    without_some_skips,
)
from nas.strategies.oneshot.settings import DifferentiableSettings
from nas.supernet.cell_edge import CandidateOptions
from nas.supernet.relaxations import Relaxation, Softmax
from nas.supernet.supernet import Supernet
from nas.supernet.weights import SiteWeights, dense

#: standard deviation of the initial architecture weights, as in the code of DARTS
INITIAL = 1e-3
#: most products with the Hessian for an eigenvalue
HESSIAN_PRODUCTS = 12
#: eigenvalues that a search goes back when they have grown, as in DARTS-ES
WINDOW = 5


class Differentiable(OneShotStrategy):
    """Architecture weights trained by gradient on images that the weights of the supernet do not see.

    Each step updates the architecture weights by Adam, then the weights by SGD (Liu et al., DARTS, ICLR 2019,
    algorithm 1). The cost is added to the loss as weight × expectation / reference.

    Attributes:
        bilevel: whether architecture weights have images of their own.
    """

    Settings = DifferentiableSettings
    settings: DifferentiableSettings
    betas: ClassVar[tuple[float, float]] = (0.5, 0.999)
    #: what the expected cost is of: the weights of this step, or the probabilities they are drawn with
    cost_of: ClassVar[Literal["weights", "probabilities"]] = "probabilities"

    def __init__(
        self, supernet: Supernet, settings: DifferentiableSettings, cost: CostTerm | None = None, seed: int = 0
    ):  # fmt: skip
        super().__init__(supernet, settings, cost, seed)
        device = next(supernet.parameters()).device
        rng = torch.Generator().manual_seed(seed)
        #: float[operations] of each site
        self.alphas = [
            (INITIAL * torch.randn(len(site.operations), generator=rng)).to(device).requires_grad_()
            for site in supernet.sites
        ]
        #: which operations of each site are still searched; the others have weight 0
        self.active = [list(range(len(site.operations))) for site in supernet.sites]
        #: architecture parameters at the latest eigenvalues, the oldest first, where sharpening ends the search
        self.earlier: list[list[Tensor]] = []
        self.architecture_optimizer = torch.optim.Adam(
            self.architecture_parameters(), settings.architecture_learning_rate, self.betas,
            weight_decay=settings.architecture_weight_decay,
        )  # fmt: skip
        if settings.order == 2 and not self.learns_architecture:
            raise NasError("order 2 looks ahead from images of the weights to others; this method has one kind only")

    @classmethod
    def candidate_options(cls, settings: Any) -> CandidateOptions:
        return CandidateOptions(affine=settings.affine, partial=settings.partial, pool_norm=True)

    def architecture_parameters(self) -> list[Tensor]:
        """Return what is trained to choose: `alphas`, and what else a method has."""
        return self.alphas

    def relaxation(self, at: Moment) -> Relaxation:
        """Return how logits become weights at this moment."""
        return Softmax()

    def relaxation_for_weights(self, at: Moment) -> Relaxation:
        """Return the same for the step of the weights of the supernet."""
        return self.relaxation(at)

    # --- weights of operations ------------------------------------------------------------------------------------

    def logits_of_sites(self) -> list[Tensor]:
        """Return float[active operations] of each site."""
        return [
            alpha if len(active) == len(alpha) else alpha[active]
            for alpha, active in zip(self.alphas, self.active, strict=True)
        ]

    def sample(self, at: Moment, rng: torch.Generator, relaxation: Relaxation | None = None) -> list[SiteWeights]:
        """Return the weights of a step; gradients lead back to the architecture weights.

        Args:
            relaxation: None for that of the moment.
        """
        drawn = self.spread((relaxation or self.relaxation(at)).sample(self.logits_of_sites(), rng))
        if self.settings.skip_dropout:
            _, first, end = self._stretch(at.epoch)
            rate = self.settings.skip_dropout * (1 - (at.epoch - first) / (end - first))
            drawn = without_some_skips(drawn, self.supernet.sites, rate, rng)
        return drawn

    def mixture(self) -> list[SiteWeights]:
        """Return the weights of the mixture of all operations by their probability; differentiable, nothing drawn."""
        return self.spread(self.last_relaxation.probabilities(self.logits_of_sites()))

    def strengths(self) -> list[Tensor]:
        """Return float[operations] of each site, by which a network is derived."""
        with torch.no_grad():
            return dense(self.mixture())

    def probabilities(self) -> list[Tensor]:
        return [site / site.sum() for site in self.strengths()]

    @property
    def last_relaxation(self) -> Relaxation:
        """The relaxation of the end of the search, whose probabilities say what is derived."""
        return self.relaxation(Moment(self.settings.epochs - 1, 0, self.settings.epochs, 1))

    def spread(self, weights: Sequence[SiteWeights]) -> list[SiteWeights]:
        """Return weights of active operations as weights of all, constants 0, not computed, for the others."""
        whole: list[SiteWeights] = []
        for given, active, alpha in zip(weights, self.active, self.alphas, strict=True):
            if len(active) == len(alpha):
                whole.append(given)
            else:
                zero = alpha.new_zeros(())
                whole.append([given[active.index(i)] if i in active else zero for i in range(len(alpha))])
        return whole

    # --- a step ---------------------------------------------------------------------------------------------------

    def step(
        self, train: Batch, architecture: Batch | None, at: Moment, rng: torch.Generator
    ) -> dict[str, float]:  # fmt: skip
        self.set_learning_rate(at)
        self.prune(at)
        found: dict[str, float] = {}
        if not self.warming_up(at.epoch):
            assert architecture is not None
            found |= self.architecture_step(train, architecture, at, rng)
        with torch.no_grad():
            weights = self.sample(at, rng, self.relaxation_for_weights(at))
        loss, right = self.loss(train, weights)
        self.weights_step(loss)
        return found | {"train_loss": float(loss.detach()), "train_accuracy": right}

    def architecture_step(
        self, train: Batch, architecture: Batch, at: Moment, rng: torch.Generator
    ) -> dict[str, float]:  # fmt: skip
        """Update the architecture weights."""
        parameters = self.architecture_parameters()
        found: dict[str, float] = {}

        def validation_loss() -> Tensor:
            weights = self.sample(at, rng)
            loss, found["architecture_accuracy"] = self.loss(architecture, weights)
            found["architecture_loss"] = float(loss.detach())
            return self.with_cost(loss, weights)

        twice = self.settings.order == 2 and self.settings.exact
        with self._not_compiled() if twice else nullcontext():
            gradients = architecture_gradient(
                lambda: self.loss(train, self.sample(at, rng))[0], validation_loss, self.weights,
                parameters, self.optimizer, Untouched(self.supernet, (rng,)), 2 if self.settings.order == 2 else 1,
                "exact" if self.settings.exact else "finite",
            )  # fmt: skip
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        self.architecture_optimizer.step()
        return found

    def with_cost(self, loss: Tensor, weights: Sequence[SiteWeights]) -> Tensor:
        """Return the loss that the architecture weights follow."""
        if self.cost is None:
            return loss
        return loss + (self.cost.weight / self.cost.reference * self.expected_cost(weights)).to(loss)

    def expected_cost(self, weights: Sequence[SiteWeights]) -> Tensor:
        """Return the expectation of the cost, in its unit."""
        assert self.cost is not None
        if self.cost_of == "weights":
            return self.cost.expected(weights)
        return self.cost.expected([site / site.sum() for site in dense(self.mixture())])

    def warming_up(self, epoch: int) -> bool:
        """Whether an epoch trains weights alone: the first of the search, and of each stretch where it has several."""
        _, first, end = self._stretch(epoch)
        return epoch - first < math.floor(self.settings.warmup * (end - first) + 1e-9)

    def prune(self, at: Moment) -> None:
        """Drop the weakest operations where a stretch of a progressive search begins (P-DARTS)."""
        if at.step == 0:
            # Shares of stretches that began before drop nothing more.
            for share in self.settings.keep[: self._stretch(at.epoch).number]:
                self.active = kept_operations(self.probabilities(), self.active, share)

    def _stretch(self, epoch: int) -> Stretch:
        return stretch_of(epoch, self.settings.epochs, len(self.settings.keep) + 1)

    def _not_compiled(self) -> AbstractContextManager[None]:
        """Run a compiled supernet as it was written: what is compiled can be differentiated once."""
        return torch.compiler.set_stance("force_eager") if self.settings.compile else nullcontext()

    # --- what comes of it -----------------------------------------------------------------------------------------

    def end_epoch(self, batch: Batch | None, at: Moment, rng: torch.Generator) -> dict[str, float]:
        every = self.settings.eigenvalue_every
        if batch is None or not every or (at.epoch + 1) % every:
            return {}

        few = Batch(*(part[: self.settings.eigenvalue_images] for part in batch))

        def loss() -> Tensor:
            # Of the mixture, whatever a step draws: comparable, and twice differentiable.
            return self.loss(few, self.mixture())[0]

        with self._not_compiled():
            found = dominant_eigenvalue(
                loss, self.alphas, Untouched(self.supernet, (rng,)), torch.Generator().manual_seed(self.seed),
                iterations=HESSIAN_PRODUCTS, tolerance=0.05,
            )  # fmt: skip
        if self.settings.stop_sharpening and not self.warming_up(at.epoch):
            now = [parameter.detach().clone() for parameter in self.architecture_parameters()]
            self.earlier = [*self.earlier, now][-WINDOW - 1 :]
        return {"eigenvalue": found.value, "eigenvalue_error": found.error}

    def stop_reason(self, records: Sequence[dict[str, Any]]) -> str:
        """Say why the search is to end; where the eigenvalue has grown, go back to the architecture before that."""
        searched = [record for record in records if not self.warming_up(record["epoch"])]
        if not searched:
            # What would be derived is nothing but the initial values.
            return ""
        eigenvalues = [record["eigenvalue"] for record in searched if record.get("eigenvalue") is not None]
        if self.settings.stop_sharpening and has_sharpened(eigenvalues, WINDOW):
            self._set_architecture(self.earlier[0])
            return f"the dominant eigenvalue has grown; the architecture is that of {WINDOW} eigenvalues before"
        return super().stop_reason(searched)

    def derive(self) -> Codes:
        return self._derived(self.strengths())

    def propose(self, n: int, rng: torch.Generator) -> Codes:
        """Return the derived code, and codes derived from weights drawn around it, repeats included.

        To draw is to perturb logarithms by Gumbel noise: the strongest operation of a site is then each with its
        probability.
        """
        strengths, found = self.strengths(), [self.derive()]
        for _ in range(n - 1):
            noise = [torch.empty(len(site), dtype=torch.float64).exponential_(generator=rng) for site in strengths]
            drawn = [
                (site.log() - e.clamp_min(torch.finfo(e.dtype).tiny).log().to(site)).softmax(0) * site.sum()
                for site, e in zip(strengths, noise, strict=True)
            ]
            found.append(self._derived(drawn))
        return np.stack(found)

    def _derived(self, strengths: Sequence[Tensor]) -> Codes:
        return derived_with_few_skips(self.supernet, strengths, self.settings.max_skips)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {
            "architecture": [parameter.detach() for parameter in self.architecture_parameters()],
            "architecture_optimizer": self.architecture_optimizer.state_dict(),
            "active": self.active,
            "earlier": self.earlier,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._set_architecture(state["architecture"])
        self.architecture_optimizer.load_state_dict(state["architecture_optimizer"])
        self.active = [list(active) for active in state["active"]]
        self.earlier = [list(parameters) for parameters in state["earlier"]]

    @torch.no_grad()
    def _set_architecture(self, values: Sequence[Tensor]) -> None:
        for parameter, value in zip(self.architecture_parameters(), values, strict=True):
            parameter.copy_(value)
