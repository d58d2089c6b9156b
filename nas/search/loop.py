"""The search loop: ask, evaluate, record, tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from nas.errors import NasError
from nas.estimators.supernet import SupernetEstimator
from nas.search.config import SearchConfig
from nas.search.device import lasting_names
from nas.search.factories import make_scheduler
from nas.search.launched import follows, is_one_of_several, run_of_first
from nas.search.oneshot import make_fit, problem_of, proposals_of, supernet_record, with_settings
from nas.search.run import Run
from nas.search.seeds import seed_codes
from nas.search.spaces import with_declaration
from nas.search.store import FULL
from nas.search.verify import check_verifiable, verify_front
from nas.search.warm_start import known_results
from nas.space import Codes
from nas.supernet.record import FOLDER, read_supernet_record

if TYPE_CHECKING:
    from nas.strategies.oneshot.fit import Fit, FitProgress


@dataclass(frozen=True)
class Progress:
    """State after a batch.

    Args:
        evaluations: so far, at whatever fidelity.
        spent: of the budget, which is in full evaluations; a short training is a share of one.
        best: the best first objective among feasible networks, NaN while there is none.
    """

    evaluations: int
    spent: float
    budget: int
    hypervolume: float
    best: float


OnProgress = Callable[[Progress], None]
OnTraining = Callable[["FitProgress"], None]


def start_search(config: SearchConfig, out: Path | None = None) -> Run:
    """Check a configuration against its space and make the run directory; nothing is evaluated for the record yet.

    The configuration of the run holds the content of a space file and the codes of `start_from`, not their names; its
    directory holds the results of `learn_from`. Networks whose results are known are not evaluated again.

    Raises:
        NasError: unknown names, a space without accuracy, networks to start from that are not in the space or more
            than the budget, results of another problem, bounds that cannot be met, a directory that cannot be written.
    """
    if follows():
        return run_of_first(out)
    config = with_settings(with_declaration(config))
    supernet = supernet_record(config) if config.oneshot is not None else None
    problem = problem_of(config, record=supernet)
    problem.check_accuracy()
    if config.verify:
        check_verifiable(problem)
    known = known_results(config, problem)
    told = {code for source in known for code in problem.space.format(source.codes)}
    seeds = tuple(code for code in seed_codes(problem.space, config.start_from) if code not in told)
    config = config.model_copy(update={"start_from": seeds, "target": lasting_names(config.target)})
    problem.check_feasible()
    scheduler = make_scheduler(config, problem)
    seeds_cost = -(-len(seeds) * (scheduler.entry or problem.full_epochs) // problem.full_epochs)
    if seeds_cost > config.budget:
        raise NasError(
            f"a budget of {config.budget} does not cover the {len(config.start_from)} networks to start from; "
            f"raise it to at least {seeds_cost}"
        )
    # What cannot be trained is said before there is a directory.
    training = None if supernet is None else make_fit(config, problem, supernet, Path(), together=False)
    if known and config.scheduler != "none":
        raise NasError(
            f"what is known beforehand is of full training, and --scheduler {config.scheduler} begins with shorter "
            "ones; use --start-from instead of --learn-from, or no scheduler"
        )
    run = Run.create(config, problem, out, known, scheduler.reason, supernet)
    run.training = training
    return run


def trained(run: Run, on_training: OnTraining | None) -> Fit:
    """Return the training of the supernet of a run, brought to its end; from then on the run judges by its weights."""
    folder = run.path / FOLDER
    if run.training is None or is_one_of_several():
        run.training = make_fit(run.config, run.problem, read_supernet_record(folder), folder)
    training = run.training
    training.folder = folder
    training.run(on_training)
    estimator = run.problem.estimator
    assert isinstance(estimator, SupernetEstimator)
    estimator.judge_with(training.strategy.supernet)
    return training


def run_search(run: Run, on_progress: OnProgress | None = None, on_training: OnTraining | None = None) -> Run:
    """Bring a run to its budget from wherever it stands, then write its front and measure what is to be verified.

    A one-shot search trains its supernet first, and judges networks when that is done; of several processes that train
    together the first does.

    What was known before is told first. The networks to start from are the first batch, whatever the strategy. The
    recorded history is told to a fresh scheduler batch by batch, so a resumed run proposes exactly what it would have
    proposed without the interruption.

    Raises:
        NasError: the run cannot be read or written, its models have changed, or the machine to verify on fails.
    """
    run.check_reproducible()
    problem, config = run.problem, run.config
    propose = None
    if config.oneshot is not None:
        training = trained(run, on_training)
        if follows():
            return run
        propose = proposals_of(training.strategy)
    scheduler, archive = make_scheduler(config, problem, propose), run.archive()
    if scheduler.reason != run.record.reason:
        raise NasError(
            f"{config.strategy} now chooses otherwise than when {run.path} began ({scheduler.reason or 'no choice'}; "
            f"then {run.record.reason or 'none is recorded'}); start a new run, or install the version it began with"
        )
    if len(run.known):
        scheduler.tell(run.known.codes, None, run.known.metrics)

    def learn(codes: Codes, fidelity: int | None, metrics: pd.DataFrame) -> None:
        scheduler.tell(codes, fidelity, metrics)
        archive.add(metrics, fidelity or FULL)
        if on_progress is not None:
            spent = archive.epochs / problem.full_epochs
            on_progress(Progress(archive.evaluations, spent, config.budget, archive.hypervolume, archive.best))

    for past in run.history().by_batch():
        learn(past.codes, int(past.fidelities[0]) or None, past.metrics)
    seeds = [problem.space.encode(code) for code in config.start_from]
    cheapest = scheduler.entry or problem.full_epochs
    while (left := config.budget * problem.full_epochs - archive.epochs) >= cheapest:
        if seeds and not archive.evaluations:
            codes, fidelity = np.stack(seeds), scheduler.entry
        else:
            codes, fidelity = scheduler.ask(min(scheduler.batch_size, left // cheapest))
        codes = codes[: left // (fidelity or problem.full_epochs)]
        if not len(codes):
            break
        metrics = problem.evaluate(codes, fidelity)
        first, batch = archive.evaluations, archive.batches
        run.store.append(first, batch, problem.space.format(codes), codes, metrics, fidelity or FULL)
        learn(codes, fidelity, metrics)
    run.write_front()
    if config.verify and len(run.front):
        verify_front(run)
    return run
