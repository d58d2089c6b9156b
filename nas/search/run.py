"""Run: a directory that holds all that is needed to do a search again, and what came out of it."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from nas import __version__
from nas.cost import Box, front, losses
from nas.errors import NasError
from nas.plain_yaml import load_yaml
from nas.search.config import SearchConfig
from nas.search.metrics import METRICS
from nas.search.oneshot import problem_of
from nas.search.problem import Problem
from nas.search.store import FULL, History, RunStore
from nas.space import Codes, SearchSpace
from nas.supernet.record import FOLDER, SupernetRecord, space_digest, write_supernet_record

if TYPE_CHECKING:
    from nas.strategies.oneshot.fit import Fit

RUNS = Path("runs")
#: the file that is written last, when a search has ended
FRONT = "front.csv"


class RunRecord(BaseModel):
    """config.yaml of a run: the configuration, the box of hypervolume, and what it was made with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    config: SearchConfig
    box: Box
    created: str
    versions: dict[str, str]
    #: SHA-256 of the space and of the fitted models the metrics come from
    digests: dict[str, str]
    #: why this strategy, where another one chose it
    reason: str = ""


class Run:
    """A run directory. Everything but config.yaml and trials.sqlite is derived and can be made again."""

    def __init__(self, path: Path, record: RunRecord, problem: Problem | None = None):
        self.path = path
        self.record = record
        self.config = record.config
        self.store = RunStore(path / "trials.sqlite")
        #: of a one-shot run the training, where it has been made ready
        self.training: Fit | None = None
        if problem is not None:
            self.problem = problem

    @classmethod
    def create(
        cls,
        config: SearchConfig,
        problem: Problem,
        path: Path | None = None,
        known: Sequence[tuple[Codes, pd.DataFrame]] = (),
        reason: str = "",
        supernet: SupernetRecord | None = None,
    ) -> Run:
        """Make a new run directory: `path`, or an unused name under runs/. Appears whole or not at all.

        Args:
            known: for each of `config.learn_from` the codes and metrics it gives.
            reason: why this strategy, where another one chose it.
            supernet: what a one-shot strategy is to train.

        Raises:
            NasError: `path` exists, or cannot be written.
        """
        record = RunRecord(
            config=config,
            box=problem.box(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            versions={"nas": __version__, "python": platform.python_version(), "numpy": np.__version__},
            digests=model_digests(problem),
            reason=reason,
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
                if known:
                    _keep_known(RunStore(draft / "known.sqlite"), problem.space, known)
                if supernet is not None:
                    write_supernet_record(draft / FOLDER, supernet)
                draft.rename(final)
            except BaseException:
                shutil.rmtree(draft, ignore_errors=True)
                raise
        # The problem of a one-shot run judges with weights that lie in its directory.
        return cls(final, record, problem if supernet is None else None)

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
        return problem_of(self.config, self.path)

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

    @cached_property
    def known(self) -> History:
        """What was known before the search began: results from `learn_from[i]` are batch i."""
        if not self.config.learn_from:
            codes, none = np.zeros((0, len(self.problem.space.decisions)), dtype=np.int8), np.zeros(0, dtype=int)
            return History(codes=codes, batches=none, metrics=pd.DataFrame(), fidelities=none)
        return RunStore(self.path / "known.sqlite").history()

    # --- results --------------------------------------------------------------------------------------------------

    def history(self) -> History:
        """Read all trials in order of evaluation."""
        return self.store.history()

    @property
    def ended(self) -> bool:
        """Whether the search has come to its end: by its budget, or because nothing is left to evaluate."""
        return (self.path / FRONT).is_file()

    @property
    def spent(self) -> float:
        """How much of the budget is spent, in full evaluations."""
        fidelities, full = self.history().fidelities, self.problem.full_epochs
        return float(np.where(fidelities == FULL, full, fidelities).sum() / full)

    @property
    def trials(self) -> pd.DataFrame:
        """All evaluations in order: code, batch, metrics; where there are several, `fidelity` in epochs of training."""
        history = self.history()
        frame = self._frame(history)
        frame.insert(1, "batch", history.batches)
        if self.problem.fidelities:
            epochs = np.where(history.fidelities == FULL, self.problem.full_epochs, history.fidelities)
            frame.insert(2, "fidelity", epochs)
        return frame

    def _frame(self, history: History) -> pd.DataFrame:
        frame = history.metrics.copy()
        frame.insert(0, "code", self.problem.space.format(history.codes) if len(history) else [])
        return frame

    @property
    def results(self) -> pd.DataFrame:
        """All fully trained networks and, before them, those known beforehand: code, metrics.

        With the latter comes a column `learned_from`: the run or file they are from, empty for what is evaluated here.
        """
        trials, known = self._frame(self.history().fully_trained), self.known
        if not len(known):
            return trials
        told = self._frame(known)
        results = pd.concat([told, trials], ignore_index=True) if len(trials) else told
        names = [self.config.learn_from[batch] for batch in known.batches]
        return results.assign(learned_from=names + [""] * len(trials))

    @property
    def front(self) -> pd.DataFrame:
        """The Pareto front, cheapest first; the index counts from 1 and is what `RUN#3` refers to."""
        results = self.results
        if results.empty:
            return results
        chosen = front(results, self.problem.objectives, self.problem.constraints)
        chosen = chosen.sort_values([self.problem.objectives[-1].metric, "code"])
        chosen.index = pd.RangeIndex(1, len(chosen) + 1, name="point")
        return chosen

    @property
    def hypervolume(self) -> float:
        """Share of the run's box that the front dominates."""
        points = self.front
        return self.record.box.hypervolume(losses(points, self.problem.objectives)) if len(points) else 0.0

    def hypervolume_history(self) -> pd.DataFrame:
        """Return evaluations, hypervolume and best first objective after each batch.

        A shorter training counts as the share of a full one that its epochs are; the sum is rounded down.
        """
        archive, rows = self.archive(), []
        for batch in self.history().by_batch():
            archive.add(batch.metrics, int(batch.fidelities[0]))
            rows.append((archive.epochs // self.problem.full_epochs, archive.hypervolume, archive.best))
        return pd.DataFrame(rows, columns=["evaluations", "hypervolume", "best"])

    def archive(self) -> Archive:
        """Return the archive of a search that has yet to begin, with what is known beforehand."""
        return Archive(self.problem, self.record.box, self.known.metrics)

    def published(self) -> pd.DataFrame:
        """Published networks that lie in the space, beside the front; see `nas.search.published`.

        Empty while a supernet is trained that is to judge them.
        """
        from nas.search.published import published_beside

        if self.config.oneshot is not None and self.history().codes.size == 0:
            return pd.DataFrame()
        return published_beside(self.problem, self.front)

    def write_front(self) -> None:
        """Write front.csv and front.json.

        Raises:
            NasError: the directory cannot be written.
        """
        points = self.front
        records = [
            {"point": int(str(point)), **row.to_dict(), "decisions": dict(self._decisions(row["code"]))}
            for point, row in points.astype(object).where(points.notna(), None).iterrows()
        ]
        self.write("front.json", json.dumps(records, indent=1) + "\n")
        self.write(FRONT, points.to_csv())

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
    """The non-dominated feasible points so far, with what a progress display shows of them.

    Args:
        known: metrics known before the first evaluation.

    Attributes:
        evaluations: so far, at whatever fidelity.
        batches: so far.
        epochs: that they took; see `Problem.full_epochs`.
    """

    def __init__(self, problem: Problem, box: Box, known: pd.DataFrame):
        self._problem = problem
        self._box = box
        self._columns = [objective.metric for objective in problem.objectives]
        self._columns += [c.metric for c in problem.constraints if c.metric not in self._columns]
        self._front = known[self._columns] if len(known) else known
        self.evaluations = self.batches = self.epochs = 0

    def add(self, metrics: pd.DataFrame, fidelity: int = FULL) -> None:
        """Add a batch; only full trainings can be on the front."""
        self.evaluations += len(metrics)
        self.batches += 1
        self.epochs += len(metrics) * (fidelity or self._problem.full_epochs)
        if fidelity == FULL:
            together = pd.concat([self._front, metrics[self._columns]])
            self._front = front(together, self._problem.objectives, self._problem.constraints)

    @property
    def hypervolume(self) -> float:
        """Share of the box that the points dominate."""
        return 0.0 if self._front.empty else self._box.hypervolume(losses(self._front, self._problem.objectives))

    @property
    def best(self) -> float:
        """The best value of the first objective, NaN while nothing is feasible."""
        if self._front.empty:
            return float("nan")
        first = self._problem.objectives[0]
        values = self._front[first.metric]
        return float(values.max() if first.maximise else values.min())


def model_digests(problem: Problem) -> dict[str, str]:
    """Return the SHA-256 of the space of a problem and of each fitted model that its metrics come from."""
    digests = {"space": space_digest(problem.space)}
    if problem.about_estimator is not None:
        digests["estimator"] = problem.about_estimator.digest
    for device in problem.devices:
        digests[f"{METRICS[device.name].label} predictor"] = device.fitted.digest
    return digests


def is_run(name: str) -> bool:
    """Whether there is a run of that directory, or of that name under runs/."""
    return bool(name) and any(os.path.isfile(folder / "config.yaml") for folder in (Path(name), RUNS / name))


def _keep_known(store: RunStore, space: SearchSpace, known: Sequence[tuple[Codes, pd.DataFrame]]) -> None:
    """Write results known beforehand, a batch a source, under the names of all their metrics."""
    store.create()
    names = list(dict.fromkeys(name for _, metrics in known for name in metrics))
    first = 0
    for batch, (codes, metrics) in enumerate(known):
        store.append(first, batch, space.format(codes), codes, metrics.reindex(columns=names))
        first += len(codes)


def _free_path(config: SearchConfig) -> Path:
    scheduler = None if config.scheduler == "none" else config.scheduler
    targets = "+".join(Path(name).name for name in (config.target or "").split(","))
    parts = (config.space, targets, config.strategy, scheduler, f"seed{config.seed}")
    base = "-".join(part for part in parts if part)
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
