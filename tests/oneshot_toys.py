"""A supernet in which one operation of each site lets the labels be learnt, and no other does.

As behind a batch normalisation without weights, no operation can make up for its weight in a mixture by larger weights
of its own; but nothing depends on the batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from toy_space import ToySpace

from nas.space import Codes, Decision, NetworkSpec
from nas.strategies.oneshot.base import Batch
from nas.supernet.supernet import Site, Supernet
from nas.supernet.weights import SiteWeights, dense, one_hot, terms

#: edges of a cell with two nodes; the second node has two
NAMES = ("node1.from0", "node2.from0", "node2.from1")
#: operations of each site; where the right one stands differs
OPERATIONS = (
    ("none", "skip_connect", "noise", "signal"),
    ("signal", "none", "skip_connect", "noise"),
    ("none", "signal", "noise", "skip_connect"),
)
RIGHT = np.array([operations.index("signal") for operations in OPERATIONS], dtype=np.int8)
#: a row of an image: features the labels depend on, then as many they do not
FEATURES = 4
CLASSES = 3
#: norm of the matrix of an operation
NORM = 0.8


class ToySupernet(Supernet):
    """Logits are sums over sites of what their operations make of one row of an image each."""

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.space = ToySpace(tuple(Decision(name, chosen) for name, chosen in zip(NAMES, OPERATIONS, strict=True)))
        self.sites = tuple(Site(name, operations) for name, operations in zip(NAMES, OPERATIONS, strict=True))
        self.bias = nn.Parameter(torch.zeros(classes))
        self.linear = nn.ModuleList(
            nn.ModuleDict({name: nn.Linear(FEATURES, classes, bias=False) for name in ("signal", "noise")})
            for _ in self.sites
        )
        #: what was computed, (site, operation) in order
        self.computed: list[tuple[int, str]] = []

    def forward(self, images: Tensor, weights: Sequence[SiteWeights]) -> Tensor:
        total = self.bias.expand(len(images), -1)
        for s, live in enumerate(terms(weights, self.sites)):
            row = images[:, 0, s]
            parts = {"signal": row[:, :FEATURES], "noise": row[:, FEATURES:]}
            for term in live:
                name = self.sites[s].operations[term.operation]
                self.computed.append((s, name))
                if name in parts:
                    matrix = self.linear[s][name].weight  # type: ignore[index]
                    total = total + term.weight * (parts[name] @ (matrix * NORM / matrix.norm()).T)
                elif name == "skip_connect":
                    total = total + term.weight * row[:, FEATURES : FEATURES + 1]
        return total

    def weights_of(self, code: npt.NDArray[np.integer]) -> list[Tensor]:
        return [one_hot(int(c), len(site.operations)) for c, site in zip(code, self.sites, strict=True)]

    def derive(self, weights: Sequence[SiteWeights]) -> Codes:
        code: Codes = self.space.check(np.array([[int(site.argmax()) for site in dense(weights)]]))[0]
        return code

    def network(self, code: npt.NDArray[np.integer]) -> NetworkSpec:
        raise NotImplementedError

    def extract(self, code: npt.NDArray[np.integer]) -> nn.Module:
        raise NotImplementedError

    def expected(self, values: npt.NDArray[np.float64], weights: Sequence[SiteWeights]) -> Tensor:
        raise NotImplementedError


def toy_batch(images: int, rng: torch.Generator) -> Batch:
    """Images float[images, 1, sites, 2 × FEATURES] and labels that a linear map of the signal gives."""
    teacher = torch.randn(len(NAMES), FEATURES, CLASSES, generator=torch.Generator().manual_seed(99))
    x = torch.randn(images, 1, len(NAMES), 2 * FEATURES, generator=rng)
    return Batch(x, torch.einsum("bsf,sfc->bc", x[:, 0, :, :FEATURES], teacher).argmax(1))
