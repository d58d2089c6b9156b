"""A table as an arena of strategies: every network is known, so is what cannot be surpassed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from nas.cost import COST_METRICS, Box, Objective, is_on_front, losses
from nas.errors import NasError, suggestion
from nas.estimators.tabular import TabularEstimator
from nas.search.factories import make_strategy
from nas.search.metrics import objective_of
from nas.search.problem import Problem
from nas.space import Codes

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Truth:
    """What no search can surpass, but in test accuracy, which it does not see.

    Args:
        least_loss: the best value of the first objective, as a loss.
        test: least and greatest test accuracy of the networks that have it, often one; None where there are none.
        box: the least and the greatest loss of each objective over the table.
        front_size: networks on the true front.
        hypervolume: of the true front, as a share of the box.
    """

    least_loss: float
    test: tuple[float, float] | None
    box: Box
    front_size: int
    hypervolume: float


@dataclass(frozen=True, eq=False)
class Arena:
    """A table with its true optimum and its true front.

    Args:
        metrics: n rows, all that a search may see of every network of the table.
        test: float[n], test accuracy in percent; None where the table has none.
        free: metrics known of every network before its evaluation.
        digest: SHA-256 of the files of the table.
    """

    name: str
    problem: Problem
    table_rows: Callable[[Codes], Rows]
    metrics: pd.DataFrame
    test: Array | None
    free: tuple[str, ...]
    digest: str

    @classmethod
    def load(
        cls,
        name: str,
        objectives: Sequence[str],
        data: str | None = None,
        free: Sequence[str] = (),
        epochs: int | None = None,
    ) -> Arena:
        """Read a table and evaluate all of it.

        Args:
            data: folder of the tables; None: the one that NAS_DATA names.
            free: metrics known before an evaluation besides `COST_METRICS`.
            epochs: the training by which networks are chosen; None: the one the table names.

        Raises:
            NasError: an unknown table, metric or number of epochs, or files that are missing or damaged.
        """
        estimator = TabularEstimator(name, None if data is None else Path(data))
        table = estimator.table
        known = [*estimator.metrics, *COST_METRICS]
        chosen = tuple(dict.fromkeys(objective_of(objective, known) for objective in objectives))
        unknown = [metric for metric in free if metric not in known]
        if unknown:
            raise NasError(f"{estimator.benchmark.name} has no metric {unknown[0]!r}{suggestion(unknown[0], known)}")
        problem = Problem(table.space, chosen, (), estimator)
        metrics = pd.concat([problem.costs(table.codes), estimator.evaluate(problem, table.codes, epochs)], axis=1)
        tests = table.reported
        test = tests.iloc[:, 0].to_numpy(dtype=np.float64) if len(tests.columns) else None
        beforehand = tuple(dict.fromkeys((*COST_METRICS, *free)))
        return cls(estimator.benchmark.name, problem, table.rows, metrics, test, beforehand, table.digest)

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return self.problem.objectives

    @cached_property
    def points(self) -> Array:
        """float[n, M], the losses of all networks; not finite where an evaluation fails."""
        return losses(self.metrics, self.objectives)

    @cached_property
    def truth(self) -> Truth:
        """The optimum and the front, by looking at every network."""
        points = self.points
        finite = np.isfinite(points).all(axis=1)
        box = Box(tuple(points[finite].min(axis=0)), tuple(points[finite].max(axis=0)))
        front = points[finite][is_on_front(points[finite])]
        least = np.nanmin(points[:, 0])
        tests = None if self.test is None else self.test[points[:, 0] == least]
        test = None if tests is None else (float(tests.min()), float(tests.max()))
        return Truth(float(least), test, box, len(front), box.hypervolume(front))

    def costs(self, codes: Codes) -> pd.DataFrame:
        """Return what is known before an evaluation, as `Problem.costs` does, looked up."""
        return self.metrics[list(self.free)].iloc[self.table_rows(codes)].reset_index(drop=True)

    def search(self, strategy: str, seed: int, budget: int) -> tuple[Rows, float]:
        """Search; return the rows of the table in order of evaluation, and the processor seconds of ask and tell.

        The strategy is driven in the batches it likes, as a search drives it, and told what a search may see.
        """
        start = time.process_time()
        search = make_strategy(strategy, self.problem, seed, budget, self.costs)
        rows = np.zeros(0, dtype=np.int64)
        while len(rows) < budget:
            codes = search.ask(min(search.batch_size, budget - len(rows)))
            if not len(codes):
                break
            found = self.table_rows(codes)
            search.tell(codes, self.metrics.iloc[found])
            rows = np.append(rows, found)
        return rows, time.process_time() - start

    def trajectory(self, rows: Rows) -> pd.DataFrame:
        """Return what is known after each evaluation of a search; NaN where nothing is.

        The network chosen is the one with the least first loss, of equal ones the one evaluated first.

        Args:
            rows: int[n], the rows of the table in the order of their evaluation.

        Returns:
            n rows: `best`, the first objective of the network chosen; `regret`, by how much the best network of the
            table is better; `hypervolume_ratio`, with several objectives, the hypervolume of all networks so far as a
            share of the true front's; `test`, the test accuracy of the network chosen; `train_hours`, when the
            evaluation is done if the networks are trained one after the other.
        """
        points, nothing = self.points[rows], np.full(len(rows), np.nan)
        loss = np.where(np.isnan(points[:, 0]), np.inf, points[:, 0])
        least = np.minimum.accumulate(loss)
        better = loss < np.append(np.inf, least[:-1])
        chosen = np.maximum.accumulate(np.where(better, np.arange(len(rows)), -1))
        known = chosen >= 0
        sign = -1.0 if self.objectives[0].maximise else 1.0
        timed = "train_seconds" in self.metrics
        return pd.DataFrame(
            {
                "best": np.where(known, sign * least, np.nan),
                "regret": np.where(known, least - self.truth.least_loss, np.nan),
                "hypervolume_ratio": self._hypervolume_ratios(points) if points.shape[1] > 1 else nothing,
                "test": nothing if self.test is None else np.where(known, self.test[rows[chosen]], np.nan),
                "train_hours": np.cumsum(self.metrics["train_seconds"].to_numpy()[rows]) / 3600 if timed else nothing,
            }
        )

    def _hypervolume_ratios(self, points: Array) -> Array:
        """float[n], after each of the points float[n, M]; computed anew only where the front changes."""
        front, ratio, ratios = points[:0], 0.0, np.zeros(len(points))
        for i, point in enumerate(points):
            if np.isfinite(point).all() and not (front <= point).all(axis=1).any():
                front = np.vstack([front[~(point <= front).all(axis=1)], point])
                ratio = self.truth.box.hypervolume(front) / self.truth.hypervolume
            ratios[i] = ratio
        return ratios
