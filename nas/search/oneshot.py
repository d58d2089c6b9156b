"""One-shot searches: a supernet that is trained first, then networks that are judged with its weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nas import registry
from nas.errors import NasError
from nas.search.config import SearchConfig
from nas.search.oneshot_settings import complete, oneshot_class
from nas.search.problem import Problem
from nas.search.spaces import space_of
from nas.space import Codes
from nas.strategies.base import Strategy
from nas.supernet.record import FOLDER

if TYPE_CHECKING:
    from nas.strategies.oneshot.base import OneShotStrategy
    from nas.strategies.oneshot.fit import Fit
    from nas.strategies.oneshot.settings import OneShotSettings
    from nas.supernet.record import SupernetRecord

#: (n, seed) -> codes int8[m, D], what a trained strategy proposes
Propose = Callable[[int, int], Codes]


def with_settings(config: SearchConfig) -> SearchConfig:
    """Return the configuration with all settings of its strategy where that is a one-shot strategy.

    Raises:
        NasError: settings for a strategy that has none, unknown or wrong ones, or options that one-shot strategies
            have no use for.
    """
    kind = oneshot_class(config.strategy)
    if kind is None:
        if config.oneshot is not None:
            raise NasError(
                f"--epochs and --set are for strategies that train a supernet, and {config.strategy} does not; "
                f"these do: {', '.join(registry.names('oneshot_strategies'))}"
            )
        return config
    if config.scheduler != "none":
        raise NasError(f"--scheduler {config.scheduler} goes with black-box strategies; {config.strategy} trains once")
    if "estimator" in config.model_fields_set and config.estimator not in ("supernet", "surrogate"):
        raise NasError(f"{config.strategy} judges networks with the weights it trains; leave out --estimator")
    if config.learn_from:
        raise NasError(f"--learn-from goes with black-box strategies; {config.strategy} judges by weights of its own")
    settings = complete(kind, config.oneshot or {}, config.strategy)
    if "budget" in config.model_fields_set:
        settings = settings.model_copy(update={"candidates": config.budget})
    data = config.data or "digits"
    update = {
        "oneshot": settings.model_dump(mode="json"), "budget": settings.candidates, "estimator": "supernet",
        "data": data if data == "digits" else _lasting(data),
    }  # fmt: skip
    return config.model_copy(update=update)


def problem_of(config: SearchConfig, folder: Path | None = None, record: SupernetRecord | None = None) -> Problem:
    """Return the problem of a configuration.

    Args:
        folder: the directory of the run, for the weights of a one-shot search.
        record: of the supernet, where there is no such directory yet.

    Raises:
        NasError: see `Problem.from_config`.
    """
    if config.oneshot is None:
        return Problem.from_config(config)
    from nas.estimators.supernet import SupernetEstimator

    folder = None if folder is None else folder / FOLDER
    return Problem.from_config(config, SupernetEstimator.trained_here(folder, record))


def supernet_record(config: SearchConfig) -> SupernetRecord:
    """Return what the supernet of a one-shot search is, its data read and checked.

    Raises:
        NasError: the space has no supernet, or the data cannot be used.
    """
    from nas.data.dataset import Dataset
    from nas.data.images import check_shape
    from nas.supernet.factory import sites_of
    from nas.supernet.record import SupernetRecord, space_digest

    kind, settings = _kind_and_settings(config)
    space, options = space_of(config), kind.candidate_options(settings)
    sites_of(space)  # says it where there can be none
    data, share = config.data or "digits", settings.architecture_share if kind.learns_architecture else 0.0
    dataset = Dataset.load(
        data, seed=config.seed, image_size=settings.image_size, images=settings.images, architecture=share
    )
    height, _, channels = dataset.data.shape
    check_shape(dataset.data, height, channels)
    network = {"num_classes": len(dataset.data.classes), "in_channels": channels, "resolution": height}
    return SupernetRecord(
        method=config.strategy, space=space.name, space_declaration=config.space_declaration,
        space_digest=space_digest(space), network=network | dict(space.proxy) | settings.network, affine=options.affine,
        partial=options.partial, pool_norm=options.pool_norm, data=data, data_digest=dataset.data.digest,
        image_size=settings.image_size, images=settings.images, architecture_share=share, seed=config.seed,
        validation_images=settings.validation_images, recalibration_images=settings.recalibration_images,
    )  # fmt: skip


def make_fit(
    config: SearchConfig, problem: Problem, record: SupernetRecord, folder: Path, together: bool = True
) -> Fit:  # fmt: skip
    """Return the training of a supernet, not begun.

    Args:
        folder: where it keeps checkpoint and records.
        together: whether to join the other processes that torchrun has started, and wait for them.

    Raises:
        NasError: the data has changed or is too little, the space has no such supernet, its cost is not known, or the
            strategy cannot be used so.
    """
    import torch

    from nas.search.expected_cost import cost_term
    from nas.strategies.oneshot.fit import Fit
    from nas.strategies.oneshot.placing import device_of, prepared
    from nas.strategies.oneshot.processes import join_processes
    from nas.supernet.factory import make_supernet

    kind, settings = _kind_and_settings(config)
    dataset, device = record.load_data(), device_of(settings.device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        supernet = prepared(make_supernet(problem.space, record.options, **record.network), settings, device)
    cost = cost_term(problem, supernet, settings.cost_weight, kind.default_cost_weight)
    strategy = kind(supernet, settings, cost, config.seed)
    shard = join_processes(device) if together else (0, 1)
    train = dataset.batches("train", settings.batch_size, seed=config.seed, device=device, shard=shard)
    architecture = None
    if kind.learns_architecture:
        others = dataset.splits.architecture_validation
        batch = min(settings.batch_size, len(others))
        architecture = dataset.batches(
            "architecture_validation", batch, seed=config.seed + 1, device=device, shard=shard
        )
    return Fit(strategy, train, architecture, folder, config.seed)


def selection_strategy(
    config: SearchConfig, problem: Problem, seed: int, propose: Propose | None
) -> Strategy:  # fmt: skip
    """Return what proposes the networks that are judged with shared weights.

    Args:
        propose: of the trained strategy; None where it is not trained yet and nothing will be asked.
    """
    from nas.search.factories import make_strategy
    from nas.strategies.oneshot.derived import Derived

    kind, _ = _kind_and_settings(config)
    name = kind.selection[len(problem.objectives) > 1]
    if name != "derived":
        return make_strategy(name, problem, seed, config.budget)
    return Derived(
        problem.space, problem.objectives, problem.constraints, seed, problem.costs, propose or _not_trained
    )  # fmt: skip


def proposals_of(strategy: OneShotStrategy) -> Propose:
    """Return what a trained strategy proposes, as `selection_strategy` takes it."""
    import torch

    def propose(n: int, seed: int) -> Codes:
        codes = strategy.propose(n, torch.Generator().manual_seed(seed))
        return np.asarray(strategy.supernet.space.canonical(codes))

    return propose


def _lasting(data: str) -> str:
    """Return the paths of a list made absolute: a run can be resumed from anywhere."""
    return ",".join(str(Path(part.strip()).expanduser().resolve()) for part in data.split(","))


def _not_trained(n: int, seed: int) -> Codes:
    raise NasError("the supernet is not trained yet")


def _kind_and_settings(config: SearchConfig) -> tuple[type[OneShotStrategy], OneShotSettings]:
    kind = oneshot_class(config.strategy)
    assert kind is not None
    return kind, complete(kind, config.oneshot or {}, config.strategy)
