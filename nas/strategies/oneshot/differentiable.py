"""One-shot search by gradient: DARTS, GDAS, SNAS, PC-DARTS, DrNAS, P-DARTS, FBNet and ProxylessNAS.

They differ in how architecture weights become weights of operations (`Relaxation`), in what an update of the
architecture weights follows, and in their settings; the rest is one strategy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from nas.errors import NasError
from nas.space import Codes
from nas.strategies.oneshot.base import SKIPS, Batch, CostTerm, Moment, OneShotStrategy
from nas.strategies.oneshot.bilevel import Untouched, architecture_gradient, dominant_eigenvalue, has_sharpened
from nas.strategies.oneshot.progressive import kept_operations, without_some_skips
from nas.strategies.oneshot.settings import DifferentiableSettings
from nas.supernet.cell_edge import CandidateOptions
from nas.supernet.relaxations import Relaxation, Softmax
from nas.supernet.supernet import Supernet
from nas.supernet.weights import SiteWeights, dense

#: standard deviation of the initial architecture weights, as in the code of DARTS
INITIAL = 1e-3
#: most products with the Hessian for an eigenvalue
HESSIAN_PRODUCTS = 12


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

    # --- weights of operations ------------------------------------------------------------------------------------

    def logits_of_sites(self) -> list[Tensor]:
        """Return float[active operations] of each site."""
        return [
            alpha if len(active) == len(alpha) else alpha[active]
            for alpha, active in zip(self.alphas, self.active, strict=True)
        ]

    def sample(self, at: Moment, rng: torch.Generator) -> list[SiteWeights]:
        """Return the weights of a step; gradients lead back to the architecture weights."""
        drawn = self.relaxation(at).sample(self.logits_of_sites(), rng)
        drawn = self.spread(drawn)
        if self.settings.skip_dropout:
            rate = self.settings.skip_dropout * (1 - at.progress)
            drawn = without_some_skips(drawn, self.supernet.sites, rate, rng)
        return drawn

    def probabilities(self) -> list[Tensor]:
        with torch.no_grad():
            return dense(self.spread(list(self.last_relaxation.probabilities(self.logits_of_sites()))))

    @property
    def last_relaxation(self) -> Relaxation:
        """The relaxation of the end of the search, whose probabilities say what is derived."""
        return self.relaxation(Moment(self.settings.epochs - 1, 0, self.settings.epochs, 1))

    def spread(self, weights: Sequence[SiteWeights]) -> list[SiteWeights]:
        """Return weights of active operations as weights of all, 0 for the others."""
        whole: list[SiteWeights] = []
        for given, active, alpha in zip(weights, self.active, self.alphas, strict=True):
            if len(active) == len(alpha):
                whole.append(given)
            elif isinstance(given, Tensor):
                index = torch.tensor(active, device=given.device)
                whole.append(given.new_zeros(len(alpha)).index_put((index,), given))
            else:
                zero = alpha.new_zeros(())
                whole.append([given[active.index(i)] if i in active else zero for i in range(len(alpha))])
        return whole

    # --- a step ---------------------------------------------------------------------------------------------------

    def step(
        self, train: Batch, architecture: Batch | None, at: Moment, rng: torch.Generator
    ) -> dict[str, float]:  # fmt: skip
        self.set_learning_rate(at)
        self._prune(at)
        found: dict[str, float] = {}
        if at.epoch >= self.settings.warmup * at.epochs:
            found |= self.architecture_step(train, architecture or train, at, rng)
        with torch.no_grad():
            weights = self.sample(at, rng)
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

        gradients = architecture_gradient(
            lambda: self.loss(train, self.sample(at, rng))[0], validation_loss, list(self.supernet.parameters()),
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
        return self.cost.expected(self.spread(self.last_relaxation.probabilities(self.logits_of_sites())))

    def _prune(self, at: Moment) -> None:
        """Drop the weakest operations where a stretch of a progressive search begins (P-DARTS)."""
        if not self.settings.keep or at.step:
            return
        stretches = len(self.settings.keep) + 1
        begun = math.floor(at.epoch * stretches / at.epochs)
        for stretch, share in enumerate(self.settings.keep, start=1):
            if stretch <= begun:
                self.active = kept_operations(self.probabilities(), self.active, share)

    # --- what comes of it -----------------------------------------------------------------------------------------

    def end_epoch(self, batch: Batch | None, at: Moment, rng: torch.Generator) -> dict[str, float]:
        every = self.settings.eigenvalue_every
        if batch is None or not every or (at.epoch + 1) % every:
            return {}

        def loss() -> Tensor:
            # Of the mixture by probability, whatever a step draws: comparable, and twice differentiable.
            mixture = self.spread(self.last_relaxation.probabilities(self.logits_of_sites()))
            return self.loss(batch, mixture)[0]

        found = dominant_eigenvalue(
            loss, self.alphas, Untouched(self.supernet, (rng,)), torch.Generator().manual_seed(self.seed),
            iterations=HESSIAN_PRODUCTS, tolerance=0.05,
        )  # fmt: skip
        return {"eigenvalue": found.value, "eigenvalue_error": found.error}

    def stop_reason(self, records: Sequence[dict[str, Any]]) -> str:
        eigenvalues = [record["eigenvalue"] for record in records if record.get("eigenvalue") is not None]
        if self.settings.stop_sharpening and has_sharpened(eigenvalues):
            return "the dominant eigenvalue has grown as before a collapse"
        return ""

    def derive(self) -> Codes:
        probabilities = self.probabilities()
        limit = self.settings.max_skips
        code = self.supernet.derive(probabilities)
        while limit is not None:
            chosen = self.supernet.weights_of(code)
            skips = [
                (float(site_probabilities[i]), s, i)
                for s, (site, site_probabilities, weights) in enumerate(
                    zip(self.supernet.sites, probabilities, chosen, strict=True)
                )
                for i in (int(weights.argmax()),)
                if site.operations[i] in SKIPS
            ]
            by_cell: dict[str, list[tuple[float, int, int]]] = {}
            for skip in skips:
                by_cell.setdefault(cell_of(self.supernet.sites[skip[1]].name), []).append(skip)
            surplus = [min(found) for found in by_cell.values() if len(found) > limit]
            if not surplus:
                break
            for _, s, i in surplus:
                probabilities[s][i] = 0
            code = self.supernet.derive(probabilities)
        return code

    def propose(self, n: int, rng: torch.Generator) -> Codes:
        """Return the derived code, and codes derived from weights drawn around it."""
        found = [self.derive()]
        for _ in range(n - 1):
            noise = [-torch.empty(len(p), dtype=torch.float64).exponential_(generator=rng).log().to(p)
                     for p in self.probabilities()]  # fmt: skip
            drawn = [(p.log() + g).softmax(0) for p, g in zip(self.probabilities(), noise, strict=True)]
            found.append(self.supernet.derive(drawn))
        return torch.stack([torch.from_numpy(code) for code in found]).numpy()

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {
            "architecture": [parameter.detach() for parameter in self.architecture_parameters()],
            "architecture_optimizer": self.architecture_optimizer.state_dict(),
            "active": self.active,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        with torch.no_grad():
            for parameter, value in zip(self.architecture_parameters(), state["architecture"], strict=True):
                parameter.copy_(value)
        self.architecture_optimizer.load_state_dict(state["architecture_optimizer"])
        self.active = [list(active) for active in state["active"]]


def cell_of(site: str) -> str:
    """Return the cell that a site of a cell space lies in: "normal.node2.from1" lies in "normal"."""
    first, _, _ = site.partition(".")
    return first if first in ("normal", "reduction") else ""
