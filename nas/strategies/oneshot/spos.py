"""SPOS: one path, drawn uniformly, a step (Guo et al., Single Path One-Shot, ECCV 2020)."""

from __future__ import annotations

import torch

from nas.strategies.oneshot.base import Batch, Moment
from nas.strategies.oneshot.paths import SampledPaths, cross_entropy


class SPOS(SampledPaths):
    """SPOS: a step trains one network, drawn uniformly from all of the space (Guo et al., ECCV 2020, eq. 7)."""

    def gradients(self, train: Batch, at: Moment, rng: torch.Generator) -> dict[str, float]:
        (code,) = self.draw(1, rng)
        learnt = self.learn(train, code, cross_entropy(train))
        return {"train_loss": learnt.loss, "train_accuracy": learnt.accuracy}
