"""What every weight-sharing network can do, whatever its space and whichever strategy trains it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nas.space import BlockVocabulary, Codes, NetworkSpec, SearchSpace
from nas.supernet.weights import SiteWeights


@dataclass(frozen=True)
class Site:
    """A place where a supernet mixes operations.

    Args:
        name: e.g. "stage1.kernel", "node3.from0", "normal.node2.from1".
        operations: what is mixed there; `weights` of the site has one entry for each.
    """

    name: str
    operations: tuple[str, ...]


#: for each site of a supernet the weights of its operations, on its device; entries may carry gradients
Weights = Sequence[SiteWeights]


class Supernet(nn.Module, ABC):
    """Shared weights for all architectures of a space.

    One forward pass serves the whole one-shot family, because a choice is a list of weights, a vector a site: a
    softmax (DARTS, PC-DARTS), a Gumbel sample (GDAS, SNAS, FBNet), a Dirichlet draw (DrNAS), a pair of paths
    (ProxylessNAS), or the one-hot vectors of a code (SPOS, ENAS, OFA, BigNAS). What has weight exactly 0 and needs no
    gradient is not computed.

    Attributes:
        space: the space of the architectures.
        sites: where operations are mixed, in the order of the weights.
    """

    space: SearchSpace
    sites: tuple[Site, ...]

    @abstractmethod
    def forward(self, images: Tensor, weights: Weights) -> Tensor:
        """Return logits float[batch, classes] of images float[batch, channels, height, width]."""

    @abstractmethod
    def weights_of(self, code: npt.NDArray[np.integer]) -> list[Tensor]:
        """Return the one-hot weights that make `forward` the network of a code int[D]."""

    @abstractmethod
    def derive(self, weights: Weights) -> Codes:
        """Return int8[D], the code of the architecture that weights stand for, by the rule of the literature."""

    @abstractmethod
    def network(self, code: npt.NDArray[np.integer]) -> NetworkSpec:
        """Return the network of a code int[D] as it is here: perhaps narrower than in the space, with other images."""

    @abstractmethod
    def extract(self, code: npt.NDArray[np.integer]) -> nn.Module:
        """Return the network of a code alone, `network(code).build()` with the weights copied: same outputs.

        Its BatchNorms carry the statistics that they have here; see `recalibrate`.
        """

    @abstractmethod
    def expected(self, values: npt.NDArray[np.float64], weights: Weights) -> Tensor:
        """Return the scalar expectation of an additive cost, differentiable in the weights; exact for a code.

        Args:
            values: float[V], what each block of `space.vocabulary.blocks` costs: MACs, milliseconds ...
        """

    @property
    def vocabulary(self) -> BlockVocabulary:
        return self.space.vocabulary

    def forward_code(self, images: Tensor, code: npt.NDArray[np.integer]) -> Tensor:
        """Return the logits of the network of a code int[D]."""
        logits: Tensor = self(images, self.weights_of(code))
        return logits


def recalibrate(
    network: nn.Module, batches: Iterable[Tensor], forward: Callable[[Tensor], object] | None = None
) -> None:  # fmt: skip
    """Set the running statistics of every BatchNorm to those of some batches: cumulative averages, in training mode.

    A sub-network's statistics are not those of the supernet (Yu & Huang, US-Nets, ICCV 2019, sec. 3.2). The network is
    left in evaluation mode.

    Args:
        batches: images float[batch, channels, height, width], at least one.
        forward: runs what the statistics are to be of, where that is a part of the network: a path of a supernet.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    network.train()
    with torch.no_grad():
        for images in batches:
            (forward or network)(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()
