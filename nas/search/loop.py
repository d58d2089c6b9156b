"""The search loop: ask, evaluate, record, tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from nas import registry
from nas.errors import NasError
from nas.search.config import SearchConfig
from nas.search.problem import Problem
from nas.search.run import Archive, Run
from nas.search.seeds import seed_codes
from nas.search.spaces import with_declaration
from nas.space import Codes
from nas.strategies.base import Strategy


@dataclass(frozen=True)
class Progress:
    """State after a batch. `best` is the best first objective among feasible networks, NaN while there is none."""

    evaluations: int
    budget: int
    hypervolume: float
    best: float


OnProgress = Callable[[Progress], None]


def start_search(config: SearchConfig, out: Path | None = None) -> Run:
    """Check a configuration against its space and make the run directory; nothing is evaluated for the record yet.

    The configuration of the run holds the content of a space file and the codes of `start_from`, not their names.

    Raises:
        NasError: unknown names, a space without accuracy, networks to start from that are not in the space or more
            than the budget, bounds that cannot be met, a directory that cannot be written.
    """
    config = with_declaration(config)
    problem = Problem.from_config(config)
    problem.check_accuracy()
    config = config.model_copy(update={"start_from": seed_codes(problem.space, config.start_from)})
    if len(config.start_from) > config.budget:
        raise NasError(
            f"a budget of {config.budget} does not cover the {len(config.start_from)} networks to start from; "
            f"raise it to at least {len(config.start_from)}"
        )
    problem.check_feasible()
    return Run.create(config, problem, out)


def run_search(run: Run, on_progress: OnProgress | None = None) -> Run:
    """Bring a run to its budget from wherever it stands, then write its front.

    The networks to start from are the first batch, whatever the strategy. The recorded history is told to a fresh
    strategy batch by batch, so a resumed run proposes exactly what it would have proposed without the interruption.

    Raises:
        NasError: the run cannot be read or written, or its models have changed.
    """
    run.check_reproducible()
    problem, budget = run.problem, run.config.budget
    strategy: Strategy = registry.load("strategies", run.config.strategy)(
        problem.space, problem.objectives, problem.constraints, run.config.seed, problem.costs
    )
    archive = Archive(problem, run.record.box)

    def learn(codes: Codes, metrics: pd.DataFrame) -> None:
        strategy.tell(codes, metrics)
        evaluations, hypervolume, best = archive.add(metrics)
        if on_progress is not None:
            on_progress(Progress(evaluations, budget, hypervolume, best))

    history = run.history()
    batches = np.unique(history.batches)
    for batch in batches:
        rows = history.batches == batch
        learn(history.codes[rows], history.metrics[rows])
    evaluated, batch = len(history), len(batches)
    seeds = [problem.space.encode(code) for code in run.config.start_from]
    while evaluated < budget:
        first = seeds and not evaluated
        codes = np.stack(seeds) if first else strategy.ask(min(strategy.batch_size, budget - evaluated))
        if not len(codes):
            break
        metrics = problem.evaluate(codes)
        run.store.append(evaluated, batch, problem.space.format(codes), codes, metrics)
        learn(codes, metrics)
        evaluated, batch = evaluated + len(codes), batch + 1
    run.write_front()
    return run
