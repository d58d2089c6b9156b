"""Results that are known before a search begins: from earlier runs of the same problem, and from CSV files."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from nas.errors import NasError, suggestion
from nas.search.config import SearchConfig
from nas.search.metrics import METRICS
from nas.search.network_csv import NetworkLine, is_csv, read_networks
from nas.search.problem import Problem
from nas.search.run import Run, is_run, model_digests
from nas.search.seeds import code_of
from nas.space import Codes


class Known(NamedTuple):
    """Networks and their metrics, one row each, from one source."""

    codes: Codes
    metrics: pd.DataFrame


def known_results(config: SearchConfig, problem: Problem) -> list[Known]:
    """Return what is known from each of `config.learn_from`; a network of several sources is in the first one only.

    A run gives the networks it evaluated itself, with all their metrics. A CSV file gives what an evaluation would
    tell of each of its networks; costs that need no evaluation are computed.

    Raises:
        NasError: a name that is neither, a run of another problem (says what differs), a file that lacks a metric or
            a line that is wrong (says which).
    """
    taken: set[bytes] = set()
    sources = []
    for name in config.learn_from:
        known = _of_csv(problem, name) if is_csv(name) else _of_run(config, problem, name)
        new = np.array([row.tobytes() not in taken for row in known.codes], dtype=bool)
        taken.update(row.tobytes() for row in known.codes)
        sources.append(Known(known.codes[new], known.metrics[new].reset_index(drop=True)))
    return sources


def source_text(name: str) -> str:
    """Say how results came from one of `learn_from`: of an earlier run, or given in a file."""
    return f"given in {name}" if is_csv(name) else f"of {name}"


def _of_run(config: SearchConfig, problem: Problem, name: str) -> Known:
    if not is_run(name):
        raise NasError(
            f"cannot learn from {name!r}: it is no run directory and no file .csv; a network that has no results yet "
            f"is evaluated first by --start-from {name}"
        )
    run = Run.open(name)
    here = model_digests(problem)
    for part in dict.fromkeys([*here, *run.record.digests]):
        if here.get(part) != run.record.digests.get(part):
            theirs, ours = _named(run.config, part), _named(config, part)
            differs = f"{theirs} there, {ours} here" if theirs != ours else f"{ours} has changed since"
            raise NasError(
                f"cannot learn from {name}: its results are not those of this search, the {part} differs ({differs}); "
                f"to evaluate the networks of its front again, use --start-from {name}"
            )
    history = run.history().fully_trained
    if not len(history):
        raise NasError(f"cannot learn from {name}: nothing is evaluated there yet")
    return Known(history.codes, history.metrics)


def _named(config: SearchConfig, part: str) -> str:
    """What stands in a configuration for one of `model_digests`."""
    names = {"space": config.space, "estimator": config.estimator, "latency predictor": config.target or "no target"}
    return names.get(part, part)


def _of_csv(problem: Problem, name: str) -> Known:
    lines = read_networks(name, lambda text: code_of(problem.space, text))
    codes = np.stack([line.code for line in lines])
    costs = problem.costs(codes)
    asked = [each.metric for each in problem.objectives] + [each.metric for each in problem.constraints]
    needed = [metric for metric in dict.fromkeys(asked) if metric not in costs]
    told = problem.estimator.metrics if problem.estimator is not None else ()
    # What else an evaluation would tell is welcome.
    further = [metric for metric in told if metric not in needed and metric in lines[0].cells]
    return Known(codes, costs.assign(**{metric: _column(name, lines, metric) for metric in [*needed, *further]}))


def _column(name: str, lines: list[NetworkLine], metric: str) -> list[float]:
    """The values of a metric in all lines; accuracy may also stand there as `error`."""
    columns = lines[0].cells
    if metric == "top1" and metric not in columns and "error" in columns:
        return [100.0 - error for error in _percent(name, lines, "error")]
    if metric not in columns:
        raise NasError(
            f"cannot learn from {name}: it has no column {metric}, which this search optimises or bounds and only an "
            f"evaluation gives{suggestion(metric, columns)}"
        )
    if METRICS[metric].unit == "%":
        return _percent(name, lines, metric)
    return [line.number(metric) for line in lines]


def _percent(name: str, lines: list[NetworkLine], column: str) -> list[float]:
    values = [line.number(column) for line in lines]
    for line, value in zip(lines, values, strict=True):
        if not 0.0 <= value <= 100.0:
            raise NasError(f"{line.where}: {column} is {value:g}, expected percent, 0 to 100")
    if max(values) <= 1.0:
        raise NasError(f"{name}: no {column} is above 1; fractions, it seems: write percent, 93.1 instead of 0.931")
    return values
