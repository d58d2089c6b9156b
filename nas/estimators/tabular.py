"""Accuracy looked up in a table of networks that have all been trained."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd

from nas import registry
from nas.errors import NasError
from nas.estimators.base import About, Estimator, HasSpace, Origin
from nas.estimators.table import Benchmark, Table
from nas.space import Codes, SearchSpace


class TabularEstimator(Estimator):
    """Measured: looked up in a table of trained networks, `tabular:BENCHMARK`, e.g. tabular:nasbench-macro.

    Args:
        benchmark: its registered name.
        data: folder of the table's files; by default the one the environment variable NAS_DATA names.

    Raises:
        NasError: no or an unknown benchmark.
    """

    origin = "measured"
    cost_hint = "µs"

    def __init__(self, benchmark: str = "", data: Path | None = None):
        if not benchmark:
            raise NasError(f"tabular needs a table: write tabular:NAME, with one of {', '.join(benchmark_names())}")
        self.benchmark = load_benchmark(benchmark)
        self._data = data

    @cached_property
    def table(self) -> Table:
        """Raises NasError where it cannot be read."""
        return self.benchmark.table(self._data)

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("top1", *map(str, self.table.measured.columns))

    @classmethod
    def with_argument(cls, benchmark: str) -> Callable[..., TabularEstimator]:
        """Return what makes the estimator of a benchmark; see `nas.registry.load`."""
        return partial(cls, benchmark)

    def reading(self, data: Path) -> TabularEstimator:
        return TabularEstimator(self.benchmark.name, data)

    def space_of(self, space: SearchSpace) -> SearchSpace:
        """Return the networks of the table, where `space` is the one the table is for.

        Raises:
            NasError: it is for another one.
        """
        if space.name not in self.benchmark.spaces:
            wanted = " or ".join(self.benchmark.spaces)
            raise NasError(f"the table {self.benchmark.name} holds networks of {wanted}, not of {space.name}")
        return self.table.space

    def fidelities(self, problem: HasSpace) -> tuple[int, ...]:
        self.space_of(problem.space)
        return self.table.shorter_fidelities

    def evaluate(self, problem: HasSpace, codes: Codes, fidelity: int | None = None) -> pd.DataFrame:
        """Return top1, what else was measured, and train_seconds where known; `fidelity` is a number of epochs.

        Raises:
            NasError: the space is another one, a network is not in the table, or was not trained for so long.
        """
        self.space_of(problem.space)
        return _take(self.table.metrics(fidelity), self.table, codes)

    def report(self, codes: Codes) -> pd.DataFrame:
        """Return what only reports may show, test accuracies: one row a code, as many columns as the table has.

        Raises:
            NasError: a network is not in the table.
        """
        return _take(self.table.reported, self.table, codes)

    def origin_of(self, metric: str) -> Origin:
        return "predicted" if metric in self.table.predicted else self.origin

    def about(self, problem: HasSpace) -> About:
        self.space_of(problem.space)
        count = f"{len(self.table.codes):,} trained networks"
        return About(f"{self.benchmark.note}; {count}", self.benchmark.source, self.table.digest)


def _take(frame: pd.DataFrame, table: Table, codes: Codes) -> pd.DataFrame:
    rows = table.rows(np.asarray(codes))
    return pd.DataFrame({name: frame[name].to_numpy()[rows] for name in frame}, index=range(len(rows)))


def benchmark_names() -> list[str]:
    """Return the names of the installed tables."""
    return registry.names("benchmarks")


def load_benchmark(name: str) -> Benchmark:
    """Return an installed table by name, `nasbench201:cifar10` for `nasbench201-cifar10`, capitals or not.

    The first words of a name will do where only one table begins with them: `accel` for `accel-nasbench`.

    Raises:
        UnknownNameError: there is none of that name.
        NasError: several begin with it.
    """
    wanted = name.replace(":", "-").lower()
    begun = [known for known in benchmark_names() if f"{known.lower()}-".startswith(f"{wanted}-")]
    meant = [known for known in begun if known.lower() == wanted] or begun
    if len(meant) > 1:
        raise NasError(f"{name!r} may be any of {', '.join(meant)}; name one")
    found: Benchmark = registry.load("benchmarks", meant[0] if meant else wanted)
    return found
