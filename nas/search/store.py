"""RunStore: every finished evaluation of a run, in one append-only SQLite file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from nas.errors import NasError
from nas.space import Codes

_SCHEMA = """
CREATE TABLE trials (
    id INTEGER PRIMARY KEY,        -- order of evaluation, from 0
    batch INTEGER NOT NULL,        -- evaluated and told to the strategy together
    architecture TEXT NOT NULL,    -- readable code
    code BLOB NOT NULL,            -- the code itself, one byte a decision
    metrics TEXT NOT NULL,         -- JSON object, null where unknown
    fidelity INTEGER NOT NULL,     -- epochs of training, 0 for full training
    UNIQUE (code, fidelity)
);
CREATE TRIGGER no_update BEFORE UPDATE ON trials BEGIN SELECT RAISE(ABORT, 'trials are append-only'); END;
CREATE TRIGGER no_delete BEFORE DELETE ON trials BEGIN SELECT RAISE(ABORT, 'trials are append-only'); END;
PRAGMA user_version = 2;
"""

#: version of a store -> what to read; in version 1 every training is a full one
_COLUMNS = {1: "id, batch, code, metrics, 0", 2: "id, batch, code, metrics, fidelity"}
#: fidelity of full training
FULL = 0


@dataclass(frozen=True)
class History:
    """All trials of a run, in order of evaluation.

    Args:
        codes: int8[n, D].
        batches: int[n], evaluated and told to the strategy together, counted from 0.
        metrics: n rows.
        fidelities: int[n], epochs of training, `FULL` for full training; the same within a batch.
    """

    codes: Codes
    batches: np.ndarray
    metrics: pd.DataFrame
    fidelities: np.ndarray

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: slice | np.ndarray) -> History:
        """Return the trials of a slice, or those chosen by bool[n]."""
        metrics = self.metrics[rows].reset_index(drop=True) if len(self) else self.metrics
        return History(self.codes[rows], self.batches[rows], metrics, self.fidelities[rows])

    @property
    def fully_trained(self) -> History:
        """The trials at full fidelity, the only ones that are results."""
        return self.take(self.fidelities == FULL)

    @property
    def continued(self) -> np.ndarray:
        """bool[n], which trials are of a network that was evaluated before, at another fidelity."""
        continued = np.ones(len(self), dtype=bool)
        continued[np.unique(self.codes, axis=0, return_index=True)[1]] = False
        return continued

    def by_batch(self) -> Iterator[History]:
        """Yield the trials of each batch, in order."""
        starts = np.flatnonzero(np.diff(self.batches, prepend=-1)).tolist()
        for start, end in pairwise([*starts, len(self)]):
            yield self.take(slice(start, end))


class RunStore:
    """Trials of one run. A batch is written in one transaction: after a crash it is there whole or not at all."""

    def __init__(self, path: Path):
        self.path = path
        #: what was read last, and the time and size of the file then
        self._read: tuple[tuple[int, int], History] | None = None

    def create(self) -> None:
        """Make the empty file; it must not exist."""
        with self._connection() as connection:
            connection.executescript(_SCHEMA)

    def append(
        self,
        first: int,
        batch: int,
        architectures: list[str],
        codes: Codes,
        metrics: pd.DataFrame,
        fidelity: int = FULL,
    ) -> None:
        """Add a batch whose trials have the numbers `first`, `first` + 1 ...

        Raises:
            NasError: the disk is full, the file is damaged or read-only, or another process has written to it.
        """
        records = _records(metrics)
        rows = [
            (first + i, batch, architecture, code.tobytes(), json.dumps(record), fidelity)
            for i, (architecture, code, record) in enumerate(zip(architectures, codes, records, strict=True))
        ]
        with self._connection() as connection, connection:
            if self._version(connection) == 1:
                connection.executemany("INSERT INTO trials VALUES (?, ?, ?, ?, ?)", [row[:-1] for row in rows])
            else:
                connection.executemany("INSERT INTO trials VALUES (?, ?, ?, ?, ?, ?)", rows)

    def history(self) -> History:
        """Read everything back; what was read before is returned as long as the file has not changed.

        Raises:
            NasError: the file is missing or damaged.
        """
        if not self.path.is_file():
            raise NasError(f"{self.path} is missing; the run cannot be read")
        stat = self.path.stat()
        state = stat.st_mtime_ns, stat.st_size
        if self._read is None or self._read[0] != state:
            self._read = state, self._read_all()
        return self._read[1]

    def _read_all(self) -> History:
        with self._connection() as connection:
            version = self._version(connection)
            if connection.execute("PRAGMA quick_check").fetchone()[0] != "ok":
                raise NasError(f"{self.path} is damaged; restore it from a copy")
            rows = connection.execute(f"SELECT {_COLUMNS[version]} FROM trials ORDER BY id").fetchall()
            return self._decode(rows)

    def _version(self, connection: sqlite3.Connection) -> int:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version not in _COLUMNS:
            raise NasError(f"{self.path} is not a trial store of this version of nas")
        return version

    def _decode(self, rows: list[tuple[int, int, bytes, str, int]]) -> History:
        """Turn rows of the table into a history, refusing what `append` cannot have written."""
        if [number for number, *_ in rows] != list(range(len(rows))):
            raise ValueError("trials are missing")
        batches = [batch for _, batch, *_ in rows]
        if not all(isinstance(batch, int) for batch in batches) or batches != sorted(batches):
            raise ValueError("batches are out of order")
        fidelities = [fidelity for *_, fidelity in rows]
        if not all(isinstance(fidelity, int) and fidelity >= 0 for fidelity in fidelities):
            raise ValueError("a fidelity is no number of epochs")
        if len(set(zip(batches, fidelities, strict=True))) != len(set(batches)):
            raise ValueError("a batch has several fidelities")
        width = len(rows[0][2]) if rows else 0
        codes = np.frombuffer(b"".join(code for _, _, code, *_ in rows), dtype=np.int8).reshape(len(rows), width)
        records = [json.loads(text) for *_, text, _ in rows]
        names = list(records[0]) if records else []
        for record in records:
            if list(record) != names or not all(isinstance(v, int | float | None) for v in record.values()):
                raise ValueError("metrics are not numbers of the same names")
        return History(codes, np.array(batches, dtype=int), pd.DataFrame(records), np.array(fidelities, dtype=int))

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path)) as connection:
                yield connection
        except sqlite3.IntegrityError:
            raise NasError(f"{self.path} has trials from another process; only one may continue a run") from None
        except sqlite3.Error as error:
            raise NasError(f"cannot use {self.path}: {error}; what was evaluated before is kept") from None
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
            raise NasError(f"{self.path} is damaged: {error}") from None


def _records(metrics: pd.DataFrame) -> list[dict[str, float | int | None]]:
    """Rows as JSON-ready dictionaries; Python's floats round-trip exactly, NaN and infinities become null."""
    columns = {
        name: [None if isinstance(v, float) and not np.isfinite(v) else v for v in metrics[name].tolist()]
        for name in metrics.columns
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
