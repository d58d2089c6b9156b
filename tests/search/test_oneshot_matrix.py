"""Every one-shot strategy on every kind of space, from the configuration to the front: it runs, it resumes exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import nas
from nas import registry
from nas.search import problem
from nas.search.config import make_config
from nas.search.loop import run_search, start_search
from nas.search.run import Run
from nas.space.residual_network import ResidualNetwork
from nas.space.residual_space import ResidualSpace
from nas.strategies.oneshot.fit import FitProgress
from nas.supernet.checkpoint import CHECKPOINT, read_checkpoint

#: space -> what makes its networks small enough for the digits and a test
SPACES: dict[str, dict[str, Any]] = {
    "nasbench201": {"epochs": 2, "image_size": 8, "network": {"channels": 4, "cells": 1}},
    "darts": {"image_size": 8, "network": {"channels": 4, "cells": 3}},
    "mbconv": {"image_size": 32, "network": {"width": 0.1}},
    "convnext": {"image_size": 32},
}
#: every decision of `convnext`, with fewer and smaller choices: one supernet of the shipped space takes seconds to make
SMALL_CONVNEXT = ResidualSpace(
    "convnext", ResidualNetwork((1, 1)), depths=((1, 2), (1, 2)),
    choices={
        "width": (8, 16), "stem": ("resnet", "patchify"), "downsampling": ("block", "separate"),
        "norm": ("batch", "layer"), "activation": ("relu", "gelu"),
        "block": ("bottleneck", "dw_bottleneck", "inverted", "convnext"), "kernel": (3, 5, 7), "expansion": (4, 2),
        "activations": (3, 1), "norms": (3, 1), "scaling": ("none", "layer_scale", "grn"),
    },
)  # fmt: skip
#: two steps of eight images an epoch
TINY = {
    "epochs": 1, "batch_size": 8, "images": 32, "architecture_share": 0.5, "validation_images": 16,
    "recalibration_images": 16, "candidates": 2, "eigenvalue_every": 0,
}  # fmt: skip
PAIRS = [(strategy, space) for space in SPACES for strategy in registry.names("oneshot_strategies")]


class InterruptionError(Exception):
    pass


@pytest.fixture(autouse=True)
def small_convnext(monkeypatch: pytest.MonkeyPatch) -> None:
    load = registry.load

    def smaller(group: str, name: str) -> Any:
        return SMALL_CONVNEXT if (group, name) == ("spaces", "convnext") else load(group, name)

    monkeypatch.setattr(registry, "load", smaller)
    monkeypatch.setattr(problem, "PREVIEW_SAMPLE", 100)


def interrupt(progress: FitProgress) -> None:
    """End the process, as far as the search can tell, in the middle of the last epoch."""
    if (progress.epoch, progress.step) == (progress.epochs - 1, 1):
        raise InterruptionError


def searched(strategy: str, space: str, out: Path, interrupted: bool) -> Run:
    checkpoints = {"checkpoint_minutes": 1e-9} if interrupted else {}
    settings = {"space": space, "strategy": strategy, "oneshot": TINY | SPACES[space] | checkpoints}
    run = start_search(make_config(settings), out)
    if interrupted:
        with pytest.raises(InterruptionError):
            run_search(run, on_training=interrupt)
        run = nas.load_run(out)
    return run_search(run)


def tensors(state: Any) -> list[torch.Tensor]:
    if isinstance(state, torch.Tensor):
        return [state]
    inner = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else []
    return [tensor for part in inner for tensor in tensors(part)]


@pytest.mark.parametrize(("strategy", "space"), PAIRS)
def test_every_strategy_searches_every_space_and_resumes_exactly(strategy: str, space: str, tmp_path: Path) -> None:
    whole = searched(strategy, space, tmp_path / "whole", interrupted=False)
    parts = searched(strategy, space, tmp_path / "parts", interrupted=True)

    assert 1 <= len(whole.trials) <= TINY["candidates"]
    assert whole.front["oneshot_top1"].between(0, 100).all()
    for code in whole.trials["code"]:
        assert whole.problem.space.spec(code).cost()["params"] == whole.trials.set_index("code").loc[code, "params"]
    assert whole.trials.equals(parts.trials)
    states = [read_checkpoint(run.path / "supernet" / CHECKPOINT) for run in (whole, parts)]
    pairs = list(zip(*map(tensors, states), strict=True))
    assert pairs
    assert all(torch.equal(one, other) for one, other in pairs)
