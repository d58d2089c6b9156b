"""REINFORCE (Williams, 1992; Zoph & Le, 2017) and PPO (Schulman et al., 2017; MnasNet: Tan et al., 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from nas.space import Codes
from nas.strategies.base import Strategy
from nas.strategies.controller import Controller

Array = npt.NDArray[np.float64]

#: exponents of MnasNet: soft, w = -0.07 on both sides of the target; hard, -1 beyond it
SOFT, HARD = -0.07, -1.0
#: how far from its target a cost can still change the reward
FARTHEST = 1e3


@dataclass(frozen=True)
class CostFactor:
    """(value / target)^w of MnasNet, where w is `below` up to the target and `above` beyond it.

    Args:
        metric: what costs.
        target: in the unit of the metric; None for the median of the networks so far.
        gain: whether more of the metric is better, e.g. a throughput: then the ratio is turned over.
    """

    metric: str
    target: float | None
    below: float
    above: float
    gain: bool = False

    def __call__(self, values: Array) -> Array:
        """Return float[n], the factor for the values of the metric."""
        finite = values[np.isfinite(values)]
        target = self.target if self.target is not None else float(np.median(finite)) if len(finite) else 0.0
        if target <= 0:
            return np.ones(len(values))
        ratio = np.clip(np.where(np.isfinite(values), values, np.inf) / target, 1 / FARTHEST, FARTHEST)
        ratio = 1 / ratio if self.gain else ratio
        return np.asarray(ratio ** np.where(ratio > 1, self.above, self.below))


class Reinforce(Strategy):
    """REINFORCE: policy gradient on an LSTM controller, moving average as baseline (Zoph & Le, 2017).

    The reward is MnasNet's, first objective · (cost / target)^w for each further objective and each bound. A bound is
    the target of its metric: a bound that is no objective gives nothing below it and w = -1 beyond. The gradient sees
    the rank of that reward among all networks so far, 1 for the best and -1 for the worst, so no scale has to be set.

    Unlike in the paper a network is evaluated once: one that the controller draws again gives way to a new one, so the
    gradient is that of the new networks alone. The entropy is that of each decision, given the earlier ones.
    """

    hidden = 32
    learning_rate = 0.01
    entropy_weight = 0.02
    #: networks between two updates
    batch = 10
    #: gradient steps on a batch, and how far the policy may move in them (PPO)
    epochs = 1
    clip: float | None = None
    #: share of the past in the moving average of the rewards
    memory = 0.9

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._policy = Controller(self.space.decisions, self.hidden, self.seed)
        self._optimiser = torch.optim.Adam(self._policy.parameters(), lr=self.learning_rate)
        bounds = {constraint.metric: constraint for constraint in self.constraints}
        further = {objective.metric: objective.maximise for objective in self.objectives[1:]}
        self._factors = [
            CostFactor(metric, bounds[metric].bound, SOFT, HARD, gain)
            if metric in bounds
            else CostFactor(metric, None, SOFT, SOFT, gain)
            for metric, gain in further.items()
        ]
        self._factors += [
            CostFactor(metric, constraint.bound, 0.0, HARD, gain=constraint.sign < 0)
            for metric, constraint in bounds.items()
            if metric not in further
        ]
        #: of all networks told: first loss (inf: failed), and the metrics of the factors
        self._told = np.zeros((0, 1 + len(self._factors)))
        self._baseline = 0.0

    @property
    def batch_size(self) -> int:
        return self.batch

    def _propose(self, n: int, rng: np.random.Generator) -> Codes:
        uniform = rng.random((max(n, 4 * self.batch), len(self.space.decisions)), dtype=np.float32)
        codes = self._policy.sample(torch.from_numpy(uniform)).numpy().astype(np.int8)
        return self.members(codes)

    def _learn(self, codes: Codes, metrics: pd.DataFrame) -> None:
        points, excess = self.judge(metrics)
        first = np.where(np.isfinite(excess), points[:, 0], np.inf)
        costs = [metrics[factor.metric].to_numpy(dtype=np.float64) for factor in self._factors]
        self._told = np.concatenate([self._told, np.column_stack([first, *costs])])
        reward = ranks(self._rewards())[-len(codes) :]
        advantage = torch.from_numpy((reward - self._baseline).astype(np.float32))
        self._baseline = self.memory * self._baseline + (1 - self.memory) * float(reward.mean())
        self._update(torch.from_numpy(codes.astype(np.int64)), advantage)

    def _rewards(self) -> Array:
        """MnasNet's reward of all networks told; minus infinity for a failed one."""
        value = -self._told[:, 0]
        factor = np.ones(len(value))
        for m, cost in enumerate(self._factors, start=1):
            factor *= cost(self._told[:, m])
        # value · factor where value is positive, as an accuracy is; a loss grows by what an accuracy would fall.
        finite = np.isfinite(value)
        return np.where(finite, value + np.abs(value, where=finite, out=np.zeros(len(value))) * (factor - 1.0), -np.inf)

    def _update(self, codes: torch.Tensor, advantage: torch.Tensor) -> None:
        before: torch.Tensor | None = None
        for _ in range(self.epochs):
            log_probability, entropy = self._policy(codes)
            before = log_probability.detach() if before is None else before
            if self.clip is None:
                gain = log_probability * advantage
            else:
                gain = clipped_gain((log_probability - before).exp(), advantage, self.clip)
            loss = -gain.mean() - self.entropy_weight * entropy.mean()
            self._optimiser.zero_grad()
            loss.backward()
            self._optimiser.step()


class PPO(Reinforce):
    """PPO: controller and reward of `reinforce`, several clipped steps on each batch (Schulman et al., 2017)."""

    epochs = 5
    clip = 0.2


def clipped_gain(ratio: torch.Tensor, advantage: torch.Tensor, clip: float) -> torch.Tensor:
    """Return float[n], min(r A, clip(r, 1 - clip, 1 + clip) A) of each network (Schulman et al., 2017, equation 7).

    Args:
        ratio: float[n], probability under the policy as it is / as it was when the network was proposed.
    """
    return torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


def ranks(rewards: Array) -> Array:
    """Return float[n], the rank of each reward among all, from -1 for the worst to 1 for the best; ties share one."""
    ordered = np.sort(rewards)
    middle = (np.searchsorted(ordered, rewards, "left") + np.searchsorted(ordered, rewards, "right") - 1) / 2
    return np.asarray(2.0 * middle / max(len(rewards) - 1, 1) - 1.0)
