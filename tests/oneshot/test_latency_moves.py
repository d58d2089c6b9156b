"""The heavier the latency weighs, the faster the derived network: a latency loss that does nothing shows here."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

import nas
from nas.data.dataset import Dataset
from nas.strategies.oneshot.base import Batch, CostTerm, Moment
from nas.strategies.oneshot.differentiable import Differentiable
from nas.strategies.oneshot.methods import DARTS, FBNet, Proxyless
from nas.supernet.cell_edge import CandidateOptions
from nas.supernet.expected_metric import ExpectedMetric, expected_metric
from nas.supernet.nasbench201 import NasBench201Supernet

SPACE = nas.space("nasbench201")
#: kernels on a phone: "none" and skip connections take next to nothing, 3×3 convolutions most
PREDICTOR = nas.target("pixel3-cpu4").on(SPACE)["latency_ms"].predictor
WEIGHTS = (0.0, 0.1, 1.0, 10.0, 100.0)
#: updates of the architecture weights and their learning rate; ProxylessNAS moves two paths of five at a time
STEPS: dict[type[Differentiable], tuple[int, float]] = {DARTS: (12, 0.15), FBNet: (12, 0.15), Proxyless: (40, 0.1)}


def supernet() -> NasBench201Supernet:
    torch.manual_seed(0)
    options = CandidateOptions(affine=False, pool_norm=True)
    overrides = {"channels": 4, "cells": 1, "num_classes": 10, "in_channels": 1, "resolution": 8}
    return NasBench201Supernet(SPACE, options, **overrides).train()


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return Dataset.load("digits", seed=0, image_size=8, images=512, architecture=0.5)


def batches(dataset: Dataset, part: str, n: int) -> Iterator[Batch]:
    order = dataset.batches(part, 16, seed=1)
    for step in range(n):
        yield Batch(*next(order.epoch(*divmod(step, len(order)))))


@pytest.fixture(scope="module")
def trained(dataset: Dataset) -> dict[str, torch.Tensor]:
    """Weights trained on single paths, so that the loss has something to say against the latency."""
    network = supernet()
    optimizer = torch.optim.SGD(network.parameters(), 0.1, 0.9)
    rng = np.random.default_rng(0)
    for images, labels in batches(dataset, "train", 60):
        path = SPACE.sample(1, rng)[0]
        loss = nn.functional.cross_entropy(network.forward_code(images, path), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
    return network.state_dict()


@pytest.fixture(scope="module")
def expected() -> ExpectedMetric:
    return expected_metric(supernet(), PREDICTOR)


@pytest.mark.parametrize("method", list(STEPS), ids=lambda method: method.__name__)
def test_the_derived_network_is_the_faster_the_more_latency_weighs(
    method: type[Differentiable], dataset: Dataset, trained: dict[str, torch.Tensor], expected: ExpectedMetric
) -> None:
    uniform = [torch.full((5,), 0.2)] * 6
    steps, rate = STEPS[method]
    derived, relaxed = [], []
    for weight in WEIGHTS:
        network = supernet()
        network.load_state_dict(trained)
        settings = method.Settings(epochs=steps, warmup=0.0, affine=False, architecture_learning_rate=rate)
        cost = CostTerm("latency_ms", expected, expected(uniform).item(), weight)
        strategy = method(network, settings, cost, seed=0)
        for epoch, images in enumerate(batches(dataset, "architecture_validation", steps)):
            rng = torch.Generator().manual_seed(epoch)
            strategy.architecture_step(images, images, Moment(epoch, 0, steps, 1), rng)
        derived.append(PREDICTOR.predict(SPACE, strategy.derive()[None])[0].item())
        relaxed.append(expected(strategy.probabilities()).item())
    assert derived == sorted(derived, reverse=True)
    assert derived[-1] < 0.7 * derived[0]
    assert relaxed[-1] < 0.7 * relaxed[0]
