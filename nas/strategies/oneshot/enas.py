"""ENAS: a controller learns by REINFORCE which networks do well with shared weights (Pham et al., ICML 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from nas.space import Codes, Decision
from nas.strategies.controller import Controller
from nas.strategies.oneshot.base import Batch, CostTerm, Moment, OneShotStrategy
from nas.strategies.oneshot.bilevel import Untouched
from nas.strategies.oneshot.paths import SHOWN, shares, without_dropout
from nas.strategies.oneshot.processes import averaged
from nas.strategies.oneshot.settings import NotNegative, OneShotSettings, Positive, Share
from nas.supernet.supernet import Supernet


class ENASSettings(OneShotSettings):
    """Settings of ENAS; 100 networks are judged in the end, as in NAS-Bench-201 (Dong & Yang, ICLR 2020).

    Args:
        controller_width: of the LSTM and its embeddings.
        controller_learning_rate: of Adam on the controller.
        controller_networks: networks of a step whose accuracy trains the controller.
        entropy_weight: of the entropy of the controller along a network, beside the reward.
        baseline_memory: share of the past in the moving average of the rewards.
    """

    architecture_share: Share = 0.1
    candidates: int = Field(default=100, ge=1)
    controller_width: int = Field(default=100, ge=1)
    controller_learning_rate: Positive = 1e-3
    controller_networks: int = Field(default=1, ge=1)
    entropy_weight: NotNegative = 1e-4
    baseline_memory: Share = 0.95


class Policy:
    """A controller trained by REINFORCE (Williams, 1992), the moving average of the rewards as baseline.

    Args:
        decisions: of the space.
        settings: of the controller.
        seed: of its initial weights.
    """

    def __init__(self, decisions: Sequence[Decision], settings: ENASSettings, seed: int):
        self.settings = settings
        self.controller = Controller(decisions, settings.controller_width, seed)
        self.optimizer = torch.optim.Adam(self.controller.parameters(), settings.controller_learning_rate)
        #: None before any reward
        self.baseline: float | None = None
        self._width = len(decisions)

    def draw(self, n: int, rng: torch.Generator) -> Codes:
        """Return int8[n, D], drawn from the distribution of the controller."""
        codes: Codes = self.controller.sample(torch.rand(n, self._width, generator=rng)).numpy().astype(np.int8)
        return codes

    def update(self, codes: Codes, rewards: Tensor) -> None:
        """Do a step along the gradient of the mean reward; the first rewards only set the baseline.

        Args:
            codes: int8[n, D], drawn by `draw` since the last update.
            rewards: float[n].
        """
        mean = float(rewards.mean())
        if self.baseline is None:
            self.baseline = mean
            return
        self.optimizer.zero_grad()
        torch.autograd.backward(self.loss(codes, rewards, self.baseline))
        self.optimizer.step()
        # Afterwards: a baseline that knows the rewards of the step would bias its gradient.
        memory = self.settings.baseline_memory
        self.baseline = memory * self.baseline + (1 - memory) * mean

    def loss(self, codes: Codes, rewards: Tensor, baseline: float) -> Tensor:
        """Return the scalar whose gradient, expected over drawn codes, is minus that of the expected reward.

        -mean((reward - baseline) · log p(code)) - entropy_weight · mean(entropy), the entropy that of each decision
        given the earlier ones of the code.
        """
        log_probability, entropy = self.controller(torch.from_numpy(codes.astype(np.int64)))
        loss: Tensor = -((rewards - baseline) * log_probability).mean() - self.settings.entropy_weight * entropy.mean()
        return loss

    def state_dict(self) -> dict[str, Any]:
        return {
            "controller": self.controller.state_dict(), "optimizer": self.optimizer.state_dict(),
            "baseline": self.baseline,
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.controller.load_state_dict(state["controller"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.baseline = state["baseline"]


class ENAS(OneShotStrategy):
    """ENAS: weights learn on networks that a controller draws, the controller on how these do (ICML 2018, sec. 2.2).

    A step trains the weights on one network of the controller, then the controller on one batch of other images; in the
    paper these take turns by epochs. The reward of a network is its share of right answers, batch normalisation by the
    statistics of the batch, less weight × cost / reference where something has a cost.
    """

    Settings = ENASSettings
    settings: ENASSettings

    def __init__(self, supernet: Supernet, settings: ENASSettings, cost: CostTerm | None = None, seed: int = 0):
        super().__init__(supernet, settings, cost, seed)
        self.policy = Policy(supernet.space.decisions, settings, seed)

    def step(
        self, train: Batch, architecture: Batch | None, at: Moment, rng: torch.Generator
    ) -> dict[str, float]:  # fmt: skip
        assert architecture is not None
        self.set_learning_rate(at)
        (code,) = self.policy.draw(1, rng)
        loss, right = self.loss(train, self.supernet.weights_of(code))
        self.weights_step(loss)
        codes = self.policy.draw(self.settings.controller_networks, rng)
        accuracies = self.accuracies(architecture, codes)
        rewards = accuracies - self.penalties(codes)
        self.policy.update(codes, rewards)
        return {
            "train_loss": float(loss.detach()), "train_accuracy": right,
            "architecture_accuracy": float(accuracies.mean()), "reward": float(rewards.mean()),
        }  # fmt: skip

    def accuracies(self, batch: Batch, codes: Codes) -> Tensor:
        """Return float[n], the share of right answers of networks int8[n, D]; running statistics stay as they are."""
        with Untouched(self.supernet)(), without_dropout(self.supernet), torch.no_grad():
            right = [self.loss(batch, self.supernet.weights_of(code))[1] for code in codes]
        # All processes teach their controllers the same.
        (mean,) = averaged([torch.tensor(right, device=batch.images.device)])
        assert mean is not None
        return mean.cpu()

    def penalties(self, codes: Codes) -> Tensor:
        """Return float[n], what is taken from the rewards of networks int8[n, D] for their cost."""
        if self.cost is None:
            return torch.zeros(len(codes))
        with torch.no_grad():
            costs = [float(self.cost.expected(self.supernet.weights_of(code))) for code in codes]
        return self.cost.weight / self.cost.reference * torch.tensor(costs)

    def probabilities(self) -> list[Tensor]:
        """Return float[operations] of each site, how often its operations are in networks of the controller."""
        return shares(self.supernet, self.policy.draw(SHOWN, torch.Generator().manual_seed(self.seed)))

    def propose(self, n: int, rng: torch.Generator) -> Codes:
        """Return n codes int8[n, D]: that of the most frequent operations, and others drawn by the controller."""
        return np.concatenate([super().propose(1, rng), self.policy.draw(n - 1, rng)])

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"policy": self.policy.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.policy.load_state_dict(state["policy"])
