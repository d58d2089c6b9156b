"""BigNAS: the largest network teaches the smallest and random ones in the same step (Yu et al., ECCV 2020)."""

from __future__ import annotations

import torch
from pydantic import Field

from nas.strategies.oneshot.base import Batch, CostTerm, Moment
from nas.strategies.oneshot.paths import PathSettings, SampledPaths, cross_entropy, soft_cross_entropy, without_dropout
from nas.supernet.extremes import largest_code, smallest_code
from nas.supernet.supernet import Supernet


class BigNASSettings(PathSettings):
    """Settings of BigNAS.

    Args:
        random_paths: networks of a step beside the largest and the smallest.
    """

    random_paths: int = Field(default=2, ge=0)


class BigNAS(SampledPaths):
    """BigNAS: the sandwich rule with in-place distillation (Yu et al., ECCV 2020, sec. 3.1 and 3.2).

    A step trains the network of the most multiply-adds on the labels, then that of the fewest and random ones on what
    the largest has just answered, softly, and updates the weights once, by the sum of the gradients. Dropout acts on
    the largest alone. Images have one size here, in the paper each network of a step has its own; and initial values
    are those of the space. On cells, whose operations share no weights with one another, the largest teaches as well,
    but what a smaller network has of its own learns from soft labels alone.
    """

    Settings = BigNASSettings
    settings: BigNASSettings

    def __init__(self, supernet: Supernet, settings: BigNASSettings, cost: CostTerm | None = None, seed: int = 0):
        super().__init__(supernet, settings, cost, seed)
        self.largest, self.smallest = largest_code(supernet.space), smallest_code(supernet.space)

    def gradients(self, train: Batch, at: Moment, rng: torch.Generator) -> dict[str, float]:
        largest = self.learn(train, self.largest, cross_entropy(train))
        distillation = soft_cross_entropy(largest.logits.softmax(1))
        with without_dropout(self.supernet):
            smallest = self.learn(train, self.smallest, distillation)
            for code in self.draw(self.settings.random_paths, rng):
                self.learn(train, code, distillation)
        return {
            "train_loss": largest.loss, "train_accuracy": largest.accuracy, "smallest_accuracy": smallest.accuracy,
        }  # fmt: skip
