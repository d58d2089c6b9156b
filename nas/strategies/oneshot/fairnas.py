"""FairNAS: every operation is trained equally often (Chu et al., ICCV 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from nas.space import Codes, Decision
from nas.space.decision import DecisionTree
from nas.strategies.oneshot.base import Batch, CostTerm, Moment
from nas.strategies.oneshot.paths import PathSettings, SampledPaths, cross_entropy
from nas.supernet.supernet import Supernet

#: a decision on which no weights depend
RESOLUTION = "resolution"


class Dealer:
    """Deals the choices of decisions like cards: all of a shuffled pack before any comes again.

    Each decision has a pack, and one for every choice of the decision that it depends on. A card is taken where the
    decision matters, so how often two choices of a pack were dealt differs by one at most, at any time.

    Args:
        decisions: of a space.
    """

    def __init__(self, decisions: Sequence[Decision]):
        self._tree = DecisionTree(decisions)
        #: "decision" or "decision.choice of its parent", by position -> the cards left, the next one last
        self.packs: dict[str, list[int]] = {}

    def deal(self, n: int, rng: torch.Generator) -> Codes:
        """Return int8[n, D], canonical."""
        tree = self._tree
        codes = np.zeros((n, len(tree.decisions)), dtype=np.int8)
        matters = np.ones(codes.shape, dtype=bool)
        for d, (decision, parent) in enumerate(zip(tree.decisions, tree.parent, strict=True)):
            if parent >= 0:
                activated = np.isin(codes[:, parent], sorted(tree.activating[d]))
                matters[:, d] = matters[:, parent] & activated
            for row in np.flatnonzero(matters[:, d]):
                name = f"{d}.{codes[row, parent]}" if parent >= 0 else f"{d}"
                pack = self.packs.setdefault(name, [])
                if not pack:
                    pack.extend(torch.randperm(len(decision.choices), generator=rng).tolist())
                codes[row, d] = pack.pop()
        return codes


class FairNAS(SampledPaths):
    """FairNAS: strict fairness (Chu et al., ICCV 2021, algorithm 1).

    A step trains as many networks as a site of the supernet has operations at most, one after the other on the same
    images, and updates the weights once, by the sum of the gradients. With m operations everywhere and decisions that
    always matter (NAS-Bench-201) every operation of every site is in one network of each step, exactly as in the
    paper. Choices of a decision that has fewer take turns, see `Dealer`: they are trained equally often over steps,
    within one. Where a decision depends on another (operations of a node on the states that it reads, layers on the
    depth) its choices are equally frequent among the networks of each choice of that other, as frequent as these are;
    so all operations of an edge are trained equally often, but for one a set of inputs.
    """

    def __init__(self, supernet: Supernet, settings: PathSettings, cost: CostTerm | None = None, seed: int = 0):
        super().__init__(supernet, settings, cost, seed)
        self.paths = max(len(site.operations) for site in supernet.sites if site.name != RESOLUTION)
        self.dealer = Dealer(supernet.space.decisions)

    def gradients(self, train: Batch, at: Moment, rng: torch.Generator) -> dict[str, float]:
        learnt = [self.learn(train, code, cross_entropy(train)) for code in self.dealer.deal(self.paths, rng)]
        return {
            "train_loss": sum(each.loss for each in learnt) / len(learnt),
            "train_accuracy": sum(each.accuracy for each in learnt) / len(learnt),
        }

    def draw(self, n: int, rng: torch.Generator) -> Codes:
        """Return int8[n, D], dealt as in training, from packs of their own."""
        return Dealer(self.supernet.space.decisions).deal(n, rng)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"packs": {name: list(pack) for name, pack in self.dealer.packs.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.dealer.packs = {name: list(pack) for name, pack in state["packs"].items()}
