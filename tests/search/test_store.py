"""Every finished evaluation survives, and nothing recorded can be changed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nas.errors import NasError
from nas.search.store import RunStore

CODES = np.array([[0, 1], [1, 0], [2, 1]], dtype=np.int8)
METRICS = pd.DataFrame({"top1": [70.1, np.nan, 1 / 3], "params": [1, 2, 2**52 + 1]})


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    store = RunStore(tmp_path / "trials.sqlite")
    store.create()
    store.append(0, 0, ["01", "10", "21"], CODES, METRICS)
    return store


def test_what_is_written_is_read_back_to_the_last_bit(store: RunStore) -> None:
    history = store.history()
    assert (history.codes == CODES).all()
    assert history.batches.tolist() == [0, 0, 0]
    pd.testing.assert_frame_equal(history.metrics, METRICS, check_exact=True)


@pytest.mark.parametrize("statement", ["DELETE FROM trials", "UPDATE trials SET batch = 9"])
def test_trials_cannot_be_changed(store: RunStore, statement: str) -> None:
    with sqlite3.connect(store.path) as connection, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)


def test_a_batch_is_written_whole_or_not_at_all(store: RunStore) -> None:
    repeated = np.array([[2, 0], [0, 1]], dtype=np.int8)
    with pytest.raises(NasError, match="another process"):
        store.append(3, 1, ["20", "01"], repeated, METRICS[:2])
    assert len(store.history()) == 3


def test_a_second_writer_is_refused(store: RunStore) -> None:
    with pytest.raises(NasError, match="another process"):
        store.append(2, 1, ["20"], np.array([[2, 0]], dtype=np.int8), METRICS[:1])


@pytest.mark.parametrize(
    "content", [b"", b"not a database at all, but long enough to be looked at" * 20, None], ids=["empty", "text", "cut"]
)
def test_a_damaged_file_is_named(store: RunStore, content: bytes | None) -> None:
    whole = store.path.read_bytes()
    store.path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(NasError, match=r"trials\.sqlite"):
        store.history()


@pytest.mark.parametrize(
    "change",
    ["metrics = '[1]'", "metrics = '{bad'", "metrics = 'null'", "metrics = '{}'", "metrics = '{\"top1\": \"x\"}'",
     "code = x'00'", "code = 'text'", "batch = 'x'", "batch = 7.5", "id = 9"],
)  # fmt: skip
def test_a_changed_trial_is_noticed(store: RunStore, change: str) -> None:
    with sqlite3.connect(store.path) as connection:
        connection.execute("DROP TRIGGER no_update")
        connection.execute(f"UPDATE trials SET {change} WHERE id = 1")
    with pytest.raises(NasError, match=r"trials\.sqlite is damaged"):
        store.history()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NasError, match="missing"):
        RunStore(tmp_path / "trials.sqlite").history()
    assert not (tmp_path / "trials.sqlite").exists()
