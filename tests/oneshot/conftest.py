"""Small searches on digits of 8 × 8 pixels."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from cell_supernets import make

from nas.data.dataset import Dataset
from nas.strategies.oneshot.base import CostTerm, OneShotStrategy
from nas.strategies.oneshot.fit import Fit


@functools.cache
def digits(architecture: float, images: int) -> Dataset:
    return Dataset.load("digits", image_size=8, images=images, architecture=architecture)


@pytest.fixture(scope="session")
def make_strategy() -> Callable[..., OneShotStrategy]:
    """Build a strategy on a tiny supernet: (method, space, cost, seed, settings by name)."""

    def build(
        method: type[OneShotStrategy], space: str = "nasbench201", cost: CostTerm | None = None, seed: int = 0,
        **settings: Any,
    ) -> OneShotStrategy:  # fmt: skip
        chosen = method.Settings(**{"eigenvalue_every": 0, "batch_size": 16} | settings)
        network = {"in_channels": 1, "num_classes": 10, "resolution": 8}
        supernet = make(space, method.candidate_options(chosen), **network)
        return method(supernet, chosen, cost, seed)

    return build


@pytest.fixture(scope="session")
def make_fit(make_strategy: Callable[..., OneShotStrategy]) -> Callable[..., Fit]:
    """Build the fit of a strategy of `make_strategy`, or of a given one, on digits: two epochs of three steps."""

    def build(
        method: type[OneShotStrategy], folder: Path, seed: int = 0, share: float | None = None,
        strategy: OneShotStrategy | None = None, images: int = 96, **settings: Any,
    ) -> Fit:  # fmt: skip
        torch.manual_seed(seed)
        strategy = strategy or make_strategy(method, seed=seed, **{"epochs": 2} | settings)
        learns = strategy.learns_architecture
        data = digits((0.5 if share is None else share) if learns else 0.0, images if learns else images // 2)
        batch = strategy.settings.batch_size
        train = data.batches("train", batch, seed=seed + 1)
        architecture = data.batches("architecture_validation", batch, seed=seed + 2) if learns else None
        return Fit(strategy, train, architecture, folder, seed)

    return build
