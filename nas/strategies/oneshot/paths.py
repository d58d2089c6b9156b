"""What strategies share that train a supernet on sampled networks, and leave the choice to a search afterwards."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from nas.space import Codes
from nas.strategies.oneshot.base import Batch, Moment, OneShotStrategy
from nas.strategies.oneshot.settings import OneShotSettings, Share
from nas.supernet.elastic_weights import SharedNorms
from nas.supernet.supernet import Supernet

#: networks of which probabilities are told
SHOWN = 100


class PathSettings(OneShotSettings):
    """Settings of strategies that train sampled networks: no images are held back for the architecture.

    1,000 candidates are the 50 networks in 20 generations of Guo et al. (ECCV 2020, sec. 4).
    """

    architecture_share: Share = 0.0
    candidates: int = Field(default=1000, ge=1)


class Learnt(NamedTuple):
    """What a network gave on a batch: logits float[batch, classes], the loss and the share of right answers."""

    logits: Tensor
    loss: float
    accuracy: float


class SampledPaths(OneShotStrategy):
    """Trains the shared weights on a few networks a step, whose gradients are summed up for one update.

    Nothing is learnt about which network is good: a black-box strategy asks the shared weights afterwards. Images are
    of one size, whatever a decision on the resolution says, on which no weights depend.
    """

    Settings = PathSettings
    settings: PathSettings
    learns_architecture = False
    selection: ClassVar[tuple[str, str]] = ("evolution", "nsga2")

    @abstractmethod
    def gradients(self, train: Batch, at: Moment, rng: torch.Generator) -> dict[str, float]:
        """Add the gradients of a step to those that the weights hold; return what `step` returns."""

    def step(
        self, train: Batch, architecture: Batch | None, at: Moment, rng: torch.Generator
    ) -> dict[str, float]:  # fmt: skip
        self.set_learning_rate(at)
        self.optimizer.zero_grad(set_to_none=True)
        found = self.gradients(train, at, rng)
        self.apply_gradients()
        return found

    def learn(self, batch: Batch, code: Codes, loss_of: Callable[[Tensor], Tensor]) -> Learnt:
        """Add the gradient of a loss of the logits of one network int8[D] to those that the weights hold."""
        logits = self.logits(batch.images, self.supernet.weights_of(code))
        loss = loss_of(logits)
        torch.autograd.backward(loss)
        logits = logits.detach()
        return Learnt(logits, float(loss.detach()), float((logits.argmax(1) == batch.labels).float().mean()))

    def draw(self, n: int, rng: torch.Generator) -> Codes:
        """Return int8[n, D], networks as they are trained now; uniform over all."""
        return self.supernet.space.sample(n, numpy_generator(rng))

    def probabilities(self) -> list[Tensor]:
        """Return float[operations] of each site, how often its operations are in networks that are trained now."""
        return shares(self.supernet, self.draw(SHOWN, torch.Generator().manual_seed(self.seed)))

    def derive(self) -> None:
        """Return None: no network stands out before networks are judged."""

    def propose(self, n: int, rng: torch.Generator) -> Codes:
        """Return n codes int8[n, D] such as the weights are trained on."""
        return self.draw(n, rng)


def cross_entropy(batch: Batch) -> Callable[[Tensor], Tensor]:
    """Return the loss of logits against the labels of a batch."""
    return lambda logits: nn.functional.cross_entropy(logits, batch.labels)


def soft_cross_entropy(soft: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the loss -Σ p log softmax(logits), the mean of a batch, against soft labels p float[batch, classes].

    Its gradient is that of the Kullback-Leibler divergence from p (Hinton et al., 2015, at temperature 1).
    """
    return lambda logits: nn.functional.cross_entropy(logits, soft)


def numpy_generator(rng: torch.Generator) -> np.random.Generator:
    """Return a generator for the operations of spaces, seeded from one of PyTorch."""
    return np.random.default_rng(int(torch.randint(2**62, (), generator=rng)))


def shares(supernet: Supernet, codes: Codes) -> list[Tensor]:
    """Return float[operations] of each site, how often its operations are in networks int8[n, D]; sums are 1.

    Where sites are decisions, those networks count in which the decision matters; equal shares where there are none.
    """
    space = supernet.space
    counts = [len(site.operations) for site in supernet.sites]
    if [site.name for site in supernet.sites] == [decision.name for decision in space.decisions]:
        totals = np.split(space.features(codes).sum(0), np.cumsum(counts)[:-1])
        found = [torch.from_numpy(total) for total in totals]
    else:
        chosen = zip(*(supernet.weights_of(code) for code in codes), strict=True)
        found = [torch.stack(weights).sum(0).cpu() for weights in chosen]
    return [
        total / total.sum() if float(total.sum()) else torch.full((count,), 1 / count)
        for total, count in zip(found, counts, strict=True)
    ]


@contextmanager
def without_dropout(network: nn.Module) -> Iterator[None]:
    """Let everything but batch normalisation of a network in training mode behave as in evaluation.

    Batch normalisation goes on by the statistics of each batch: running ones mix those of all networks.
    """
    norms = (nn.modules.batchnorm._BatchNorm, SharedNorms)
    modules = [module for module in network.modules() if module.training and not isinstance(module, norms)]
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module in modules:
            module.training = True
