"""OFA: networks ever smaller than the largest, which teaches them (Cai et al., Once-for-All, ICLR 2020)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from nas.space import BlockTable, Codes, Decision, SearchSpace
from nas.strategies.oneshot.base import Batch, CostTerm, Moment
from nas.strategies.oneshot.paths import PathSettings, SampledPaths, cross_entropy, numpy_generator, soft_cross_entropy
from nas.strategies.oneshot.settings import NotNegative
from nas.supernet.extremes import largest_code
from nas.supernet.supernet import Supernet

#: words in the names of decisions, in the order in which smaller choices are admitted; all other decisions come last
PHASES = (("kernel",), ("depth", "layers"), ("expand", "expansion", "width"))
#: a decision on which no weights depend: free from the start
FREE = "resolution"


class OFASettings(PathSettings):
    """Settings of OFA.

    Args:
        largest_share: share of the search that trains the largest network alone; in the code of the paper 180 of 590
            epochs.
        paths: networks of a step after that.
        distillation: weight of the soft labels, beside that of the labels, 1.
    """

    largest_share: Annotated[float, Field(gt=0, lt=1)] = 0.3
    paths: int = Field(default=1, ge=1)
    distillation: NotNegative = 1.0


class OFA(SampledPaths):
    """OFA: progressive shrinking (Cai et al., ICLR 2020, sec. 3.3).

    First the network of the most multiply-adds is trained alone. A copy of it, frozen, then teaches networks drawn from
    a growing set, see `Admission`: the loss is cross-entropy against the labels plus `distillation` times that against
    the answers of the copy, which normalises by the statistics of the batch. Choices are drawn decision by decision.

    Unlike in the paper the learning rate falls once over all phases, images have one size, and channels are not sorted
    by importance before widths shrink. On cells, whose operations share no weights, phases only say how early an
    operation is trained: those of few multiply-adds last.
    """

    Settings = OFASettings
    settings: OFASettings

    def __init__(self, supernet: Supernet, settings: OFASettings, cost: CostTerm | None = None, seed: int = 0):
        super().__init__(supernet, settings, cost, seed)
        self.largest = largest_code(supernet.space)
        self.admission = Admission(supernet.space, self.largest)
        self.teacher: nn.Module | None = None
        #: share of the search that is over
        self.progress = 0.0

    def gradients(self, train: Batch, at: Moment, rng: torch.Generator) -> dict[str, float]:
        self.progress = at.progress
        labels = cross_entropy(train)
        if self.shrinking < 0:
            learnt = [self.learn(train, self.largest, labels)]
        else:
            if self.teacher is None:
                self.teacher = self._frozen_largest()
            soft = soft_cross_entropy(self._answers(self.teacher, train.images))
            weight = self.settings.distillation
            learnt = [
                self.learn(train, code, lambda logits: labels(logits) + weight * soft(logits))
                for code in self.draw(self.settings.paths, rng)
            ]
        return {
            # Without that of the soft labels, to be compared over phases.
            "train_loss": sum(float(labels(each.logits)) for each in learnt) / len(learnt),
            "train_accuracy": sum(each.accuracy for each in learnt) / len(learnt),
        }

    @property
    def shrinking(self) -> float:
        """Share of the shrinking that is over, from 0 to below 1; negative before it."""
        alone = self.settings.largest_share
        return (self.progress - alone) / (1 - alone)

    def draw(self, n: int, rng: torch.Generator) -> Codes:
        """Return int8[n, D], networks of the choices that are admitted now, each as likely."""
        generator = numpy_generator(rng)
        columns = [generator.choice(choices, size=n) for choices in self.admission.choices(self.shrinking)]
        return self.supernet.space.canonical(np.stack(columns, axis=1).astype(np.int8))

    def _frozen_largest(self) -> nn.Module:
        teacher = self.supernet.extract(self.largest).requires_grad_(False).eval()
        for module in teacher.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train()
        return teacher

    def _answers(self, teacher: nn.Module, images: Tensor) -> Tensor:
        """Return float[batch, classes], the soft labels of images."""
        enabled = self.settings.amp and images.is_cuda
        with torch.no_grad(), torch.autocast(images.device.type, torch.bfloat16, enabled=enabled):
            logits: Tensor = teacher(images)
        return logits.float().softmax(1)

    def state_dict(self) -> dict[str, Any]:
        teacher = None if self.teacher is None else self.teacher.state_dict()
        return super().state_dict() | {"teacher": teacher, "progress": self.progress}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.progress = state["progress"]
        self.teacher = None
        if state["teacher"] is not None:
            self.teacher = self._frozen_largest()
            self.teacher.load_state_dict(state["teacher"])


class Admission:
    """Which choices networks may have in the course of progressive shrinking.

    Decisions of one of `PHASES` after the other get choices beside their largest, one more at a time from the largest
    down, in equal times: first all kernels, then depths, then widths, then what else there is. Phases that a space has
    no decisions for take no time.

    Args:
        space: of the decisions.
        largest: int8[D], the code of the largest network.
    """

    def __init__(self, space: SearchSpace, largest: Codes):
        self._ranked = ranked_choices(space, largest)
        phases = [_phase(decision.name) for decision in space.decisions]
        present = sorted(set(phases) - {-1})
        self._phases = [phase if phase < 0 else present.index(phase) for phase in phases]
        self._count = len(present)

    def choices(self, over: float) -> list[list[int]]:
        """Return the admitted choices of each decision, the largest first.

        Args:
            over: share of the shrinking that is over, below 1; negative before it.
        """
        admitted = []
        for ranked, phase in zip(self._ranked, self._phases, strict=True):
            within = over * self._count - phase
            if phase < 0:
                admitted.append(ranked)
            elif over < 0 or within < 0:
                admitted.append(ranked[:1])
            else:
                admitted.append(ranked[: 2 + math.floor(within * (len(ranked) - 1))])
        return admitted


def ranked_choices(space: SearchSpace, largest: Codes) -> list[list[int]]:
    """Return the choices of each decision by the multiply-adds of the largest network with them, most first.

    Where the decision does not matter in that network, those before it are set so that it does. Of equals that of the
    largest network comes first, then numbers from the largest down, "none" last.
    """
    table = BlockTable(space.vocabulary, np.array([[block.macs] for block in space.vocabulary.blocks], dtype=float))
    ranked: list[list[int]] = []
    for d, decision in enumerate(space.decisions):
        row = _where_it_matters(space.decisions, d, largest, ranked)
        tried = np.repeat(row[None], len(decision.choices), axis=0)
        tried[:, d] = np.arange(len(decision.choices))
        macs = table.sum(space.canonical(tried))[:, 0]

        def rank(i: int, macs: Any = macs, own: int = int(row[d]), decision: Decision = decision) -> tuple[Any, ...]:
            choice = decision.choices[i]
            return -macs[i], i != own, choice == "none", 0 if isinstance(choice, str) else -choice

        ranked.append(sorted(range(len(decision.choices)), key=rank))
    return ranked


def _where_it_matters(decisions: Sequence[Decision], d: int, largest: Codes, ranked: Sequence[list[int]]) -> Codes:
    """Return the largest code, with other choices where a decision would not matter in it, the largest possible."""
    position = {decision.name: i for i, decision in enumerate(decisions)}
    row = largest.copy()
    condition = decisions[d].active_if
    while condition is not None:
        p = position[condition.parent]
        parent = decisions[p]
        if parent.choices[row[p]] not in condition.values:
            row[p] = next(i for i in ranked[p] if parent.choices[i] in condition.values)
        condition = parent.active_if
    return row


def _phase(name: str) -> int:
    words = set(name.split("."))
    if FREE in words:
        return -1
    return next((i for i, phase in enumerate(PHASES) if words & set(phase)), len(PHASES))
