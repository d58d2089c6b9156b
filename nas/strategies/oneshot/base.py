"""The contract of strategies that train a supernet and choose an architecture of it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from nas.errors import NasError
from nas.space import Codes
from nas.strategies.oneshot.processes import average_gradients
from nas.strategies.oneshot.settings import OneShotSettings
from nas.supernet.cell_edge import PLAIN, CandidateOptions
from nas.supernet.supernet import Supernet
from nas.supernet.weights import SiteWeights

#: operations that pass on what they are given
SKIPS = frozenset({"skip_connect", "skip", "identity"})

#: weights of the sites -> the scalar expectation of a cost, float64, differentiable
Expected = Callable[[Sequence[SiteWeights]], Tensor]


class Batch(NamedTuple):
    """Normalised images float[batch, channels, height, width] and labels int[batch], on the device."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Moment:
    """When in the search a step is.

    Args:
        epoch, step: both from 0.
        epochs, steps: of the search, and of an epoch.
    """

    epoch: int
    step: int
    epochs: int
    steps: int

    @property
    def progress(self) -> float:
        """Share of the search that is over, from 0 to below 1."""
        return (self.epoch + self.step / self.steps) / self.epochs


@dataclass(frozen=True)
class CostTerm:
    """What an architecture costs, as a differentiable expectation.

    Args:
        metric: e.g. "latency_ms".
        expected: see `Expected`; in the unit of the metric.
        reference: the expectation where all operations are as likely; costs are taken relative to it.
        weight: of the relative cost, beside the loss.
    """

    metric: str
    expected: Expected
    reference: float
    weight: float


class OneShotStrategy(ABC):
    """Trains the weights of a supernet, and with most methods something that chooses an architecture.

    It is a deterministic function of the seed and the batches: a step draws from the generator it is given alone,
    which depends on epoch and step, so a search resumed from `state_dict` goes on as if it had never stopped.

    Args:
        supernet: on the device of the batches.
        settings: of the class `Settings`.
        cost: what is weighed against the loss; None where nothing is.
        seed: of initial values.

    Attributes:
        Settings: what can be set, with the defaults of the method.
        learns_architecture: whether `step` needs a batch of images that the weights are not trained on.
        selection: who proposes the networks that are judged in the end: "derived" is `propose`; or the name of a
            black-box strategy that searches the shared weights, by accuracy alone and with several objectives.
    """

    Settings: ClassVar[type[OneShotSettings]] = OneShotSettings
    learns_architecture: ClassVar[bool] = True
    selection: ClassVar[tuple[str, str]] = ("derived", "derived")
    #: of the cost, where there is a target and the settings name no other
    default_cost_weight: ClassVar[float] = 0.2

    def __init__(self, supernet: Supernet, settings: OneShotSettings, cost: CostTerm | None = None, seed: int = 0):
        self.supernet = supernet
        self.settings = settings
        self.cost = cost if cost is not None and cost.weight > 0 else None
        self.seed = seed
        self.weights = list(supernet.parameters())
        self.optimizer = torch.optim.SGD(
            self.weights, settings.learning_rate, settings.momentum, weight_decay=settings.weight_decay
        )

    @classmethod
    def candidate_options(cls, settings: OneShotSettings) -> CandidateOptions:
        """Return how the operations of a supernet of cells are to differ from those of its networks."""
        return PLAIN

    # --- training -------------------------------------------------------------------------------------------------

    @abstractmethod
    def step(
        self, train: Batch, architecture: Batch | None, at: Moment, rng: torch.Generator
    ) -> dict[str, float]:  # fmt: skip
        """Do one step of training.

        Args:
            train: trains weights.
            architecture: trains what chooses; None where `learns_architecture` is False.
            rng: on the CPU; the only source of randomness.

        Returns:
            losses and shares of right answers by name, e.g. train_loss, train_accuracy, architecture_loss.
        """

    def end_epoch(self, batch: Batch | None, at: Moment, rng: torch.Generator) -> dict[str, float]:
        """Return what is measured after an epoch, on a batch of the images for the architecture."""
        return {}

    def stop_reason(self, records: Sequence[dict[str, Any]]) -> str:
        """Say why the search is to end before its epochs are over, "" where it is not; called after each epoch.

        Args:
            records: what was recorded of each epoch so far, the latest last.
        """
        share, limit = records[-1]["skip_share"], self.settings.stop_skip_share
        if share is not None and limit is not None and share >= limit:
            return f"{share:.0%} of the derived network is skip connections"
        return ""

    # --- what comes of it -----------------------------------------------------------------------------------------

    @abstractmethod
    def probabilities(self) -> list[Tensor]:
        """Return float[operations] of each site, how likely or strong its operations are now; sums are 1."""

    def derive(self) -> Codes | None:
        """Return int8[D], the network that the method stands for now; None where it chooses none itself."""
        return self.supernet.derive(self.probabilities())

    def propose(self, n: int, rng: torch.Generator) -> Codes:
        """Return up to n codes int8[n, D], the derived one first, then such as the method would draw."""
        derived = self.derive()
        assert derived is not None, "a method that chooses no network has to say which it proposes"
        return derived[None]

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to go on: tensors, numbers, lists and dictionaries of them."""
        return {"supernet": self.supernet.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.supernet.load_state_dict(state["supernet"])
        self.optimizer.load_state_dict(state["optimizer"])

    # --- for strategies -------------------------------------------------------------------------------------------

    def set_learning_rate(self, at: Moment) -> None:
        """Set the learning rate of the weights for an epoch: a cosine (Loshchilov & Hutter, ICLR 2017)."""
        start, end = self.settings.learning_rate, self.settings.learning_rate_end
        rate = end + (start - end) * (1 + math.cos(math.pi * at.epoch / at.epochs)) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def logits(self, images: Tensor, weights: Sequence[SiteWeights]) -> Tensor:
        """Return float[batch, classes], in mixed precision where the settings say so."""
        # bfloat16 has the range of float32: gradients need no scaling.
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.settings.amp and images.is_cuda):
            found: Tensor = self.supernet(images, weights)
        return found.float() if found.dtype == torch.bfloat16 else found

    def loss(self, batch: Batch, weights: Sequence[SiteWeights]) -> tuple[Tensor, float]:
        """Return the cross-entropy of a batch, and the share of right answers."""
        logits = self.logits(batch.images, weights)
        right = float((logits.detach().argmax(1) == batch.labels).float().mean())
        return nn.functional.cross_entropy(logits, batch.labels), right

    def weights_step(self, loss: Tensor) -> None:
        """Do a step on the weights along the gradient of a loss."""
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.apply_gradients()

    def apply_gradients(self) -> None:
        """Do a step on the weights along the gradients that they hold; those without one stay as they are.

        Raises:
            NasError: the gradients are not finite, nor would the weights be.
        """
        average_gradients(self.weights)
        norm = nn.utils.clip_grad_norm_(self.weights, self.settings.gradient_clip)
        if not norm.isfinite():
            raise NasError(
                f"the norm of the gradient of the weights is {float(norm)}: the training diverged; lower the learning "
                f"rate ({self.settings.learning_rate:g})"
            )
        self.optimizer.step()


def skip_share(strategy: OneShotStrategy) -> float | None:
    """Return the share of the sites of the derived network that are skip connections, of those that are anything.

    None for spaces whose sites have no skip connection to choose, and methods that derive no network.
    """
    supernet, derived = strategy.supernet, strategy.derive()
    if derived is None or not any(name in SKIPS for site in supernet.sites for name in site.operations):
        return None
    chosen = [
        site.operations[int(weights.argmax())]
        for site, weights in zip(supernet.sites, supernet.weights_of(derived), strict=True)
    ]
    present = [name for name in chosen if name != "none"]
    return sum(name in SKIPS for name in present) / max(len(present), 1)


def entropy(probabilities: Sequence[Tensor]) -> float:
    """Return the mean entropy of the sites, as a share of that of equal probabilities; 0 is certainty."""
    shares = []
    for site in probabilities:
        if len(site) > 1:
            p = site.detach().double().cpu()
            shares.append(float(torch.special.entr(p).sum()) / math.log(len(site)))
    return sum(shares) / max(len(shares), 1)
