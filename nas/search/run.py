"""Run: a directory that holds all that is needed to do a search again, and what came out of it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from nas import __version__
from nas.cost import Box, Constraint, front, losses, violation
from nas.errors import NasError
from nas.plain_yaml import load_yaml
from nas.search.config import SearchConfig
from nas.search.problem import Problem
from nas.search.store import History, RunStore
from nas.space import SearchSpace

RUNS = Path("runs")


class RunRecord(BaseModel):
    """config.yaml of a run: the configuration, the box of hypervolume, and what it was made with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    config: SearchConfig
    box: Box
    created: str
    versions: dict[str, str]
    #: SHA-256 of the space and of the fitted models the metrics come from
    digests: dict[str, str]


class Run:
    """A run directory. Everything but config.yaml and trials.sqlite is derived and can be made again."""

    def __init__(self, path: Path, record: RunRecord, problem: Problem | None = None):
        self.path = path
        self.record = record
        self.config = record.config
        self.store = RunStore(path / "trials.sqlite")
        if problem is not None:
            self.problem = problem

    @classmethod
    def create(cls, config: SearchConfig, problem: Problem, path: Path | None = None) -> Run:
        """Make a new run directory: `path`, or an unused name under runs/. Appears whole or not at all.

        Raises:
            NasError: `path` exists, or cannot be written.
        """
        record = RunRecord(
            config=config,
            box=problem.box(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            versions={"nas": __version__, "python": platform.python_version(), "numpy": np.__version__},
            digests=model_digests(problem),
        )
        final = _free_path(config) if path is None else path
        with _clear_errors(final):
            if os.path.lexists(final):
                raise NasError(f"{final} exists and is never overwritten; choose another --out")
            final.parent.mkdir(parents=True, exist_ok=True)
            draft = final.parent / f".{final.name}.{os.getpid()}.part"
            try:
                draft.mkdir()
                (draft / "config.yaml").write_text(_to_yaml(record), encoding="utf-8")
                RunStore(draft / "trials.sqlite").create()
                draft.rename(final)
            except BaseException:
                shutil.rmtree(draft, ignore_errors=True)
                raise
        return cls(final, record, problem)

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open a run by its directory, or by its name under runs/.

        Raises:
            NasError: there is no such run, or its configuration is damaged.
        """
        folder = Path(path)
        if not folder.exists() and (RUNS / folder).exists():
            folder = RUNS / folder
        file = folder / "config.yaml"
        if not file.is_file():
            known = sorted(p.parent.name for p in RUNS.glob("*/config.yaml"))
            raise NasError(f"{path} is not a run directory" + (f"; runs: {', '.join(known[-5:])}" if known else ""))
        try:
            content = load_yaml(file.read_text(encoding="utf-8"))
            return cls(folder, RunRecord.model_validate(content))
        except ValidationError as error:
            first = error.errors()[0]
            raise NasError(f"{file} is damaged: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from None
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise NasError(f"{file} is damaged: {str(error).splitlines()[0]}") from None

    @cached_property
    def problem(self) -> Problem:
        return Problem.from_config(self.config)

    def check_reproducible(self) -> None:
        """Refuse to continue in another space or with other fitted models than the run began with.

        Raises:
            NasError: names what has changed since.
        """
        for name, digest in model_digests(self.problem).items():
            if self.record.digests.get(name) != digest:
                raise NasError(
                    f"the {name} has changed since {self.path} began (made with nas {self.record.versions['nas']}); "
                    "start a new run, or install the version it began with"
                )

    # --- results --------------------------------------------------------------------------------------------------

    def history(self) -> History:
        """Read all trials in order of evaluation."""
        return self.store.history()

    @property
    def trials(self) -> pd.DataFrame:
        """All evaluated networks in order: code, batch, metrics."""
        history = self.history()
        frame = history.metrics.copy()
        frame.insert(0, "code", self.problem.space.format(history.codes) if len(history) else [])
        frame.insert(1, "batch", history.batches)
        return frame

    @property
    def front(self) -> pd.DataFrame:
        """The Pareto front, cheapest first; the index counts from 1 and is what `RUN#3` refers to."""
        trials = self.trials
        if trials.empty:
            return trials
        chosen = front(trials, self.problem.objectives, self.problem.constraints)
        chosen = chosen.sort_values([self.problem.objectives[-1].metric, "code"]).drop(columns="batch")
        chosen.index = pd.RangeIndex(1, len(chosen) + 1, name="point")
        return chosen

    @property
    def hypervolume(self) -> float:
        """Share of the run's box that the front dominates."""
        points = self.front
        return self.record.box.hypervolume(losses(points, self.problem.objectives)) if len(points) else 0.0

    def hypervolume_history(self) -> pd.DataFrame:
        """Return evaluations, hypervolume and best first objective after each batch."""
        history = self.history()
        archive = Archive(self.problem, self.record.box)
        rows = [archive.add(history.metrics[history.batches == batch]) for batch in np.unique(history.batches)]
        return pd.DataFrame(rows, columns=["evaluations", "hypervolume", "best"])

    def published(self) -> pd.DataFrame:
        """Published networks that lie in the space, beside the front; see `nas.search.published`."""
        from nas.search.published import published_beside

        return published_beside(self.problem, self.front)

    def write_front(self) -> None:
        """Write front.csv and front.json.

        Raises:
            NasError: the directory cannot be written.
        """
        points = self.front
        records = [
            {"point": int(str(point)), **row.to_dict(), "decisions": dict(self._decisions(row["code"]))}
            for point, row in points.iterrows()
        ]
        self.write("front.csv", points.to_csv())
        self.write("front.json", json.dumps(records, indent=1) + "\n")

    def _decisions(self, code: str) -> Any:
        space = self.problem.space
        return space.decode(space.encode(code)).decisions

    def write(self, name: str, text: str) -> Path:
        """Write a derived file of the run, whole or not at all; returns its path.

        Raises:
            NasError: the directory cannot be written.
        """
        path, part = self.path / name, self.path / f".{name}.{os.getpid()}.part"
        with _clear_errors(path):
            try:
                part.write_text(text, encoding="utf-8")
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
        return path


class Archive:
    """The non-dominated feasible points so far, with what a progress display shows of them."""

    def __init__(self, problem: Problem, box: Box):
        self._problem = problem
        self._box = box
        self._front = pd.DataFrame()
        self._evaluations = 0

    def add(self, metrics: pd.DataFrame) -> tuple[int, float, float]:
        """Add a batch; return evaluations, hypervolume, best first objective (NaN while nothing is feasible)."""
        objectives = self._problem.objectives
        columns = [objective.metric for objective in objectives]
        columns += [c.metric for c in self._problem.constraints if c.metric not in columns]
        self._evaluations += len(metrics)
        self._front = front(pd.concat([self._front, metrics[columns]]), objectives, self._problem.constraints)
        if self._front.empty:
            return self._evaluations, 0.0, float("nan")
        points = losses(self._front, objectives)
        best = -points[:, 0].min() if objectives[0].maximise else points[:, 0].min()
        return self._evaluations, self._box.hypervolume(points), float(best)


def nearest_to_feasible(metrics: pd.DataFrame, constraints: tuple[Constraint, ...]) -> pd.Series:
    """Return the evaluated network that violates the constraints least."""
    return metrics.iloc[int(np.argmin(violation(metrics, constraints)))]


def model_digests(problem: Problem) -> dict[str, str]:
    """Return the SHA-256 of the space of a problem and of each fitted model that its metrics come from."""
    digests = {"space": _space_digest(problem.space)}
    if problem.about_estimator is not None:
        digests["estimator"] = problem.about_estimator.digest
    if problem.target is not None:
        digests["latency predictor"] = problem.target.digest
    return digests


def _space_digest(space: SearchSpace) -> str:
    """SHA-256 of the decisions and of the networks that the first and the last choice of each give."""
    ends = np.array([[0] * len(space.decisions), [len(d.choices) - 1 for d in space.decisions]], dtype=np.int8)
    networks = [space.spec(code) for code in space.canonical(ends)]
    return hashlib.sha256(repr((space.decisions, networks)).encode()).hexdigest()


def _free_path(config: SearchConfig) -> Path:
    base = "-".join(part for part in (config.space, config.target, config.strategy, f"seed{config.seed}") if part)
    path, number = RUNS / base, 1
    while os.path.lexists(path):
        number += 1
        path = RUNS / f"{base}-{number}"
    return path


def _to_yaml(record: RunRecord) -> str:
    return yaml.safe_dump(record.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


@contextmanager
def _clear_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise NasError(f"cannot write {str(path)!r}: {reason}") from None
