"""What a comparison of strategies keeps: it survives a kill, can be added to, and is never mixed with other results."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nas.errors import NasError
from nas.search import code_digest
from nas.search.bench import BenchPlan, bench
from nas.search.bench_store import BenchStore, FinishedSearch, SearchKey


def plan_of(data_dir: Path, **changes: object) -> BenchPlan:
    given = {
        "benchmarks": ("nasbench-macro",), "strategies": ("nsga2",), "seeds": 1, "evaluations": (20,),
        "objectives": ("error", "macs"), "data": str(data_dir),
    }  # fmt: skip
    return BenchPlan(**(given | changes))  # type: ignore[arg-type]


def bench_command() -> list[str]:
    return [sys.executable, "-c", "from nas.cli import main; main()", "bench", "strategies"]


def kept(folder: Path) -> int:
    file = folder / "searches.sqlite"
    if not file.is_file():
        return 0
    try:
        return int(sqlite3.connect(file).execute("SELECT count(*) FROM searches").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def assert_ends(group: int) -> None:
    """No process of a group is left: those that searched end with the one that was killed."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    os.killpg(group, signal.SIGKILL)
    pytest.fail("a killed comparison leaves processes behind")


def test_a_killed_comparison_goes_on_where_it_was(data_dir: Path, tmp_path: Path) -> None:
    options = "--on nasbench-macro --strategies predictor --seeds 4 --evaluations 30 --objectives error,macs"
    command = [*bench_command(), *options.split(), "--data", str(data_dir), "--out", str(tmp_path / "b")]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while kept(tmp_path / "b") < 5 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert_ends(process.pid)
    before = kept(tmp_path / "b")
    assert 5 <= before < 8
    assert not (tmp_path / "b" / "bench.html").exists()
    plan = plan_of(data_dir, strategies=("predictor",), seeds=4, evaluations=(30,))
    done: list[int] = []
    result = bench(plan, 1, lambda count, total: done.append(count), BenchStore(tmp_path / "b"))
    assert done == list(range(before + 1, 9))
    pd.testing.assert_frame_equal(result.curves, bench(plan).curves)


def test_ctrl_c_says_what_is_kept(data_dir: Path, tmp_path: Path) -> None:
    options = "--on nasbench-macro --strategies evolution --seeds 400 --evaluations 200"
    command = [*bench_command(), *options.split(), "--data", str(data_dir), "--out", str(tmp_path / "b")]
    process = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while kept(tmp_path / "b") < 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert f"finished searches are in {tmp_path / 'b'}; the same command goes on" in said
    assert "Traceback" not in said
    assert kept(tmp_path / "b") >= 1


def test_strategies_seeds_and_tables_are_added_to_what_is_kept(data_dir: Path, tmp_path: Path) -> None:
    store, small = BenchStore(tmp_path / "b"), plan_of(data_dir, seeds=2)
    done: list[tuple[int, int]] = []
    bench(small, 1, lambda *count: done.append(count), store)
    assert done == [(n, 4) for n in range(1, 5)]
    done.clear()
    more = dataclasses.replace(small, strategies=("nsga2", "local"), seeds=3)
    result = bench(more, 1, lambda *count: done.append(count), store)
    assert done == [(n, 9) for n in range(5, 10)]
    pd.testing.assert_frame_equal(result.curves, bench(more).curves)
    done.clear()
    # Budgets up to the largest one are read off the same searches.
    bench(dataclasses.replace(more, evaluations=(5, 20)), 1, lambda *count: done.append(count), store)
    assert done == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objectives": ("error",)}, "objectives error,macs, not error"),
        ({"evaluations": (20, 40)}, "evaluations 20, not 40"),
        ({"free": ("top1",)}, "metrics known beforehand"),
    ],
)
def test_results_of_another_plan_are_not_mixed(
    data_dir: Path, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    plan = plan_of(data_dir)
    bench(plan, store=BenchStore(tmp_path / "b"))
    with pytest.raises(NasError, match=f"holds searches made with {message}.*choose another --out"):
        bench(dataclasses.replace(plan, **changes), store=BenchStore(tmp_path / "b"))  # type: ignore[arg-type]
    assert kept(tmp_path / "b") == 2


def test_results_of_other_code_or_another_table_are_not_mixed(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(data_dir)
    bench(plan, store=BenchStore(tmp_path / "b"))
    source = data_dir / "nasbench_macro" / "nas-bench-macro_cifar10.json"
    (tmp_path / source.name).write_text(source.read_text() + " ")
    with pytest.raises(NasError, match="made with files of nasbench-macro"):
        bench(dataclasses.replace(plan, data=str(tmp_path)), store=BenchStore(tmp_path / "b"))
    monkeypatch.setattr(code_digest, "_code_digest", lambda: "other")
    with pytest.raises(NasError, match=r"made with code of nas .*, not other"):
        bench(plan, store=BenchStore(tmp_path / "b"))


def test_a_store_gives_back_what_it_was_given(tmp_path: Path) -> None:
    store, rows = BenchStore(tmp_path), np.array([5, 0, 15_624])
    store.open({"objectives": "error"})
    store.add(SearchKey("a", "b", 3), FinishedSearch(rows, 0.25))
    again = BenchStore(tmp_path).searches()
    assert list(again) == [SearchKey("a", "b", 3)]
    assert again["a", "b", 3].rows.tolist() == rows.tolist()
    assert again["a", "b", 3].seconds == 0.25
    (tmp_path / "searches.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(NasError, match=r"cannot use .*searches\.sqlite"):
        store.open({"objectives": "error"})
    (tmp_path / "file").touch()
    with pytest.raises(NasError, match="cannot write"):
        BenchStore(tmp_path / "file" / "b").open({})


def test_a_killed_process_ends_in_one_message(data_dir: Path, tmp_path: Path) -> None:
    def kill(count: int, total: int) -> None:
        for child in multiprocessing.active_children():
            child.kill()

    with pytest.raises(NasError, match="process of the comparison died"):
        bench(plan_of(data_dir, seeds=200), 1, kill, BenchStore(tmp_path))
    assert kept(tmp_path) >= 1
