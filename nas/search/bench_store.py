"""BenchStore: the finished searches of a comparison of strategies, kept as they finish."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nas.errors import NasError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS made_with (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS searches (
    benchmark TEXT NOT NULL,
    strategy TEXT NOT NULL,
    seed INTEGER NOT NULL,
    rows BLOB NOT NULL,        -- of the table in order of evaluation, int32, little-endian
    seconds REAL NOT NULL,     -- of a processor, for ask and tell
    PRIMARY KEY (benchmark, strategy, seed)
);
"""


class SearchKey(NamedTuple):
    """Which search of a comparison."""

    benchmark: str
    strategy: str
    seed: int


@dataclass(frozen=True, eq=False)
class FinishedSearch:
    """What a search did: int[n], the rows of the table in order of evaluation, and the seconds of ask and tell.

    The seconds are those of a processor, so that other work on the machine does not count.
    """

    rows: npt.NDArray[np.int64]
    seconds: float


class BenchStore:
    """Searches in one SQLite file. Each is written in a transaction: after a crash it is there whole or not at all."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.path = folder / "searches.sqlite"

    def open(self, made_with: Mapping[str, str]) -> None:
        """Make the file, or check that what it holds was made with the same settings, code and tables.

        Args:
            made_with: what a search depends on besides its key, by name; names that are new to the file are added.

        Raises:
            NasError: something differs, or the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NasError(f"cannot write {self.folder}: {error.strerror or error}") from None
        with self._connection() as connection:
            connection.executescript(_SCHEMA)
            before = dict(connection.execute("SELECT name, value FROM made_with").fetchall())
            for name, value in made_with.items():
                if before.get(name, value) != value:
                    raise NasError(
                        f"{self.folder} holds searches made with {name} {before[name]}, not {value}, and results are "
                        "never mixed; choose another --out, or delete that folder to begin anew"
                    )
            connection.executemany("INSERT OR IGNORE INTO made_with VALUES (?, ?)", made_with.items())
            connection.commit()

    def add(self, key: SearchKey, search: FinishedSearch) -> None:
        """Keep a finished search.

        Raises:
            NasError: the disk is full, or the file is damaged or read-only.
        """
        rows = search.rows.astype("<i4").tobytes()
        with self._connection() as connection, connection:
            connection.execute("INSERT OR REPLACE INTO searches VALUES (?, ?, ?, ?, ?)", (*key, rows, search.seconds))

    def searches(self) -> dict[SearchKey, FinishedSearch]:
        """Return all that is kept.

        Raises:
            NasError: the file is damaged.
        """
        with self._connection() as connection:
            found = connection.execute("SELECT benchmark, strategy, seed, rows, seconds FROM searches").fetchall()
        try:
            return {
                SearchKey(*key): FinishedSearch(np.frombuffer(rows, dtype="<i4").astype(np.int64), float(seconds))
                for *key, rows, seconds in found
            }
        except (ValueError, TypeError) as error:
            raise NasError(f"{self.path} is damaged: {error}; delete it to begin anew") from None

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path)) as connection:
                yield connection
        except sqlite3.DatabaseError as error:
            raise NasError(f"cannot use {self.path}: {error}") from None
