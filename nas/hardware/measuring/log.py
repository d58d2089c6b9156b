"""What a measuring session found, row after row, safe from whatever may end it."""

from __future__ import annotations

import csv
import io
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO

import numpy as np

from nas.errors import NasError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Visit:
    """One visit to one network or block.

    Args:
        latency_ms: median of its runs.
        median_error_ms: standard deviation of that median within the visit.
        runs: that were counted.
        outliers: share of runs far above the median.
        round: of visits to this item, from 0.
        started: UTC.
    """

    kind: str
    space: str
    item: str
    latency_ms: float
    median_error_ms: float
    runs: int
    outliers: float
    round: int
    started: str


COLUMNS = [field.name for field in fields(Visit)]


class MeasuringLog:
    """Visits in a CSV file that is only ever appended to, each on disk before the next begins; or in memory alone.

    A last line that was cut off is dropped: its visit is made again.

    Raises:
        NasError: the file holds something else, or cannot be written.
    """

    def __init__(self, path: Path | None = None):
        self.path = path
        self.visits: list[Visit] = []
        if path is not None and path.exists():
            self.visits = self._read(path)

    def append(self, visit: Visit) -> None:
        """Raises NasError: it cannot be written; what came before stays."""
        if self.path is not None:
            lines = ([] if self.visits else [COLUMNS]) + [list(asdict(visit).values())]
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows(lines)
            self._write(text.getvalue().encode())
        self.visits.append(visit)

    def _write(self, lines: bytes) -> None:
        assert self.path is not None
        try:
            with self.path.open("ab") as file:
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise NasError(f"cannot write {self.path}: {error.strerror or error}") from None

    def _read(self, path: Path) -> list[Visit]:
        try:
            content = path.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            if whole != content:
                os.truncate(path, len(whole))
            rows = list(csv.reader(io.StringIO(whole.decode("utf-8"))))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise NasError(f"cannot read {path}: {error}") from None
        if rows and rows[0] != COLUMNS:
            raise NasError(f"{path} has the columns {', '.join(rows[0])}; `nas profile measure` writes others")
        return [_visit(row, f"{path}, line {line}") for line, row in enumerate(rows[1:], start=2)]


@contextmanager
def alone_with(path: Path) -> Iterator[MeasuringLog]:
    """Open a log that no other process may write meanwhile: two sessions would disturb each other.

    Raises:
        NasError: another session has it open, or as `MeasuringLog`.
    """
    with _locked(path):
        try:
            yield MeasuringLog(path)
        finally:
            if path.stat().st_size == 0:
                path.unlink()


def _locked(path: Path) -> IO[bytes]:
    """Return the open file, which no other process can open so until it is closed."""
    file = None
    try:
        file = path.open("ab")
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if file is None:
            raise NasError(f"cannot write {path}: {error.strerror or error}") from None
        file.close()
        raise NasError(f"another session is measuring into {path.parent}; wait for it, or stop it") from None
    return file


def _visit(row: Sequence[str], where: str) -> Visit:
    try:
        cells = dict(zip(COLUMNS, row, strict=True))
        numbers = {name: float(cells[name]) for name in ("latency_ms", "median_error_ms", "outliers")}
        counts = {name: int(cells[name]) for name in ("runs", "round")}
    except ValueError as error:
        raise NasError(f"{where}: {error}; delete the line to measure it again") from None
    return Visit(**{**cells, **numbers, **counts})  # type: ignore[arg-type]


def medians(visits: Sequence[Visit]) -> dict[str, float]:
    """Return the latency of every item in ms: the median over its visits."""
    found: dict[str, list[float]] = defaultdict(list)
    for visit in visits:
        if visit.kind != "calibration":
            found[visit.item].append(visit.latency_ms)
    return {item: float(np.median(values)) for item, values in found.items()}


def repeatability(visits: Sequence[Visit]) -> float:
    """Return the median over all items of the relative difference of their first two visits; NaN without two."""
    found: dict[str, list[float]] = defaultdict(list)
    for visit in visits:
        if visit.kind != "calibration":
            found[visit.item].append(visit.latency_ms)
    pairs = np.array([values[:2] for values in found.values() if len(values) > 1]).reshape(-1, 2)
    return float(np.median(np.abs(pairs[:, 0] - pairs[:, 1]) / pairs.mean(axis=1))) if len(pairs) else float("nan")
