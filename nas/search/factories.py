"""The strategy and the scheduler of a search, made from their names."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from nas import registry
from nas.errors import NasError
from nas.estimators.tabular import TabularEstimator, benchmark_names
from nas.schedulers.base import FewFidelitiesError, Scheduler
from nas.search.config import SearchConfig
from nas.search.oneshot import Propose, selection_strategy
from nas.search.problem import Problem
from nas.strategies.base import Costs, Strategy


def make_strategy(name: str, problem: Problem, seed: int, budget: int, costs: Costs | None = None) -> Strategy:
    """Return a fresh strategy by name.

    A factory that has a parameter `budget` (evaluations to come) or `cost_hint` (`Estimator.cost_hint`) is given it.

    Args:
        costs: what is known without an evaluation; None: `Problem.costs`.

    Raises:
        NasError: an unknown name, or a strategy that cannot be used on the problem.
    """
    factory: Callable[..., Strategy] = registry.load("strategies", name)
    hint = None if problem.estimator is None else problem.estimator.cost_hint
    offered = {"budget": budget, "cost_hint": hint}
    taken = {key: offered[key] for key in inspect.signature(factory).parameters if key in offered}
    return factory(problem.space, problem.objectives, problem.constraints, seed, costs or problem.costs, **taken)


def make_scheduler(config: SearchConfig, problem: Problem, propose: Propose | None = None) -> Scheduler:
    """Return a fresh scheduler around fresh strategies, as a configuration names them.

    Args:
        propose: of a trained one-shot strategy; see `selection_strategy`.

    Raises:
        NasError: an unknown name, a strategy or a scheduler that cannot be used on the problem, or a budget within
            which no network would be fully trained.
    """
    factory: Callable[..., Scheduler] = registry.load("schedulers", config.scheduler)

    def strategy(seed: int) -> Strategy:
        if config.oneshot is not None:
            return selection_strategy(config, problem, seed, propose)
        return make_strategy(config.strategy, problem, seed, config.budget)

    try:
        scheduler = factory(strategy, problem.fidelities, config.seed)
    except FewFidelitiesError as error:
        raise NasError(
            f"--scheduler {config.scheduler} cannot be used with the estimator {config.estimator}: {error}; "
            f"estimators that have them: {', '.join(_with_fidelities()) or 'none is found'}"
        ) from None
    needed = zip(scheduler.first_result(), scheduler.fidelities, strict=True)
    epochs = sum(count * (fidelity or problem.full_epochs) for count, fidelity in needed)
    least = -(-epochs // problem.full_epochs)
    if config.budget < least:
        raise NasError(
            f"within a budget of {config.budget} --scheduler {config.scheduler} trains no network fully; "
            f"raise it to at least {least}"
        )
    return scheduler


def _with_fidelities() -> list[str]:
    """The tables with several fidelities whose files are there."""
    found = []
    for name in benchmark_names():
        try:
            table = TabularEstimator(name).table
        except NasError:
            continue
        if len(table.shorter_fidelities) > 1:
            found.append(f"tabular:{name}")
    return found
