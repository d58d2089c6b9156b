"""Runs: same seed same result, resume as if never stopped, the front against brute force."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import nas
from nas.errors import NasError
from nas.search import loop
from nas.search.config import SearchConfig
from nas.search.loop import run_search, start_search
from nas.search.run import Run

CONFIG = SearchConfig(space="mbconv", target="pixel4", budget=600, seed=3)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_search(start_search(CONFIG, tmp_path_factory.mktemp("runs") / "whole"))


def interrupted_after(batches: int, path: Path) -> Run:
    run = start_search(CONFIG, path)
    seen = 0

    def stop(_: loop.Progress) -> None:
        nonlocal seen
        seen += 1
        if seen == batches:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_search(run, stop)
    return run


@pytest.mark.parametrize("batches", [1, 3, 5])
def test_a_resumed_run_equals_one_that_never_stopped(finished: Run, tmp_path: Path, batches: int) -> None:
    stopped = interrupted_after(batches, tmp_path / "run")
    assert 0 < len(stopped.history()) < CONFIG.budget
    resumed = run_search(Run.open(stopped.path))
    pd.testing.assert_frame_equal(resumed.trials, finished.trials, check_exact=True)
    assert (resumed.path / "front.csv").read_bytes() == (finished.path / "front.csv").read_bytes()


def test_a_killed_run_loses_nothing(finished: Run, tmp_path: Path) -> None:
    code = (
        "import sys, os, signal, pathlib\n"
        "from nas.search import loop\n"
        "from nas.search.config import SearchConfig\n"
        "config = SearchConfig(space='mbconv', target='pixel4', budget=600, seed=3)\n"
        "run = loop.start_search(config, pathlib.Path(sys.argv[1]))\n"
        "loop.run_search(run, lambda p: os.kill(os.getpid(), signal.SIGKILL) if p.evaluations >= 400 else None)\n"
    )
    process = subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], check=False)
    assert process.returncode == -signal.SIGKILL
    run = Run.open(tmp_path / "run")
    assert 400 <= len(run.history()) < 600
    pd.testing.assert_frame_equal(run_search(run).trials, finished.trials, check_exact=True)


def test_ctrl_c_says_how_to_resume(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("nas")), "search", "--space", "mbconv", "--target", "pixel4"]
    command += ["--budget", "5000000", "--out", str(tmp_path / "run")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (
        (tmp_path / "run").exists() and len(Run.open(tmp_path / "run").history())
    ):
        time.sleep(0.1)
    for _ in range(3):  # users press it more than once
        os.kill(process.pid, signal.SIGINT)
        time.sleep(0.02)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    kept = len(Run.open(tmp_path / "run").history())
    assert f"{kept} evaluations are kept, continue with: nas resume {tmp_path / 'run'}" in errors
    assert "Traceback" not in errors
    assert errors.count("nas: ") == 1


def test_different_seeds_differ(finished: Run, tmp_path: Path) -> None:
    other = run_search(start_search(CONFIG.model_copy(update={"seed": 4}), tmp_path / "run"))
    assert other.trials.code.tolist() != finished.trials.code.tolist()


def test_no_network_is_evaluated_twice(finished: Run) -> None:
    assert finished.trials.code.is_unique
    assert len(finished.trials) == CONFIG.budget


def test_the_front_is_what_no_trial_dominates(finished: Run) -> None:
    trials = finished.trials
    top1, latency = trials.top1.to_numpy(), trials.latency_ms.to_numpy()
    dominated = [
        bool(((top1 >= a) & (latency <= b) & ((top1 > a) | (latency < b))).any())
        for a, b in zip(top1, latency, strict=True)
    ]
    assert set(finished.front.code) == set(trials.code[~np.array(dominated)])


def test_bounds_are_respected_and_reported(tmp_path: Path) -> None:
    run = nas.search("mbconv", "pixel4", max_latency_ms=15, max_params=4e6, budget=300, out=tmp_path / "run")
    assert len(run.front)
    assert run.front.latency_ms.max() <= 15
    assert run.front.params.max() <= 4e6


def test_files_of_a_run_agree(finished: Run) -> None:
    table = pd.read_csv(finished.path / "front.csv", index_col="point", dtype={"code": str})
    pd.testing.assert_frame_equal(table, finished.front, check_exact=False, check_index_type=False)
    points = json.loads((finished.path / "front.json").read_text())
    assert [point["code"] for point in points] == finished.front.code.tolist()
    assert points[0]["decisions"]["stage1.expand"] in (1, 4, 6)


def test_an_existing_directory_is_never_overwritten(finished: Run) -> None:
    before = (finished.path / "trials.sqlite").read_bytes()
    with pytest.raises(NasError, match="never overwritten"):
        start_search(CONFIG, finished.path)
    assert (finished.path / "trials.sqlite").read_bytes() == before


def test_unnamed_runs_get_new_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = start_search(CONFIG), start_search(CONFIG)
    assert first.path != second.path
    assert first.path.exists()
    assert second.path.exists()


def test_changed_models_are_refused_on_resume(tmp_path: Path) -> None:
    run = start_search(CONFIG, tmp_path / "run")
    file = run.path / "config.yaml"
    file.write_text(file.read_text().replace(run.record.digests["estimator"], "f" * 64))
    with pytest.raises(NasError, match="estimator has changed"):
        run_search(Run.open(run.path))


def test_an_impossible_budget_names_the_smallest_latency(tmp_path: Path) -> None:
    with pytest.raises(NasError, match=r"raise it to at least ([0-9.]+) ms") as refused:
        nas.search("mbconv", "pixel4", max_latency_ms=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    smallest = float(str(refused.value).split("at least ")[1].split(" ms")[0])
    space = nas.space("mbconv")
    predictor = nas.target("pixel4").on(space)["latency_ms"].predictor
    cheapest = predictor.predict(space, np.zeros((1, 28), dtype=np.int8))[0][0]
    assert cheapest <= smallest < cheapest + 0.011


def test_a_bound_that_few_networks_meet_ends_the_search_when_they_are_known(tmp_path: Path) -> None:
    space = nas.space("mbconv")
    predictor = nas.target("pixel4").on(space)["latency_ms"].predictor
    cheapest = space.check(np.zeros((1, len(space.decisions)), dtype=np.int8))
    bound = float(predictor.predict(space, cheapest)[0][0]) + 0.01
    # Latency is a sum over blocks, and here no choice is faster than the first: what meets the bound is connected.
    within, added = cheapest, cheapest
    while len(added):
        near = np.unique(np.concatenate([space.neighbours(code) for code in added]), axis=0)
        near = near[predictor.predict(space, near)[0] <= bound]
        known = {row.tobytes() for row in within}
        added = np.array([row for row in near if row.tobytes() not in known], dtype=np.int8).reshape(-1, near.shape[1])
        within = np.concatenate([within, added])
    run = nas.search("mbconv", "pixel4", max_latency_ms=bound, budget=100, out=tmp_path / "run")
    assert 1 < len(within) < 100
    assert sorted(run.trials.code) == sorted(space.format(within))


def test_figures_do_not_depend_on_how_many_networks_are_evaluated_together() -> None:
    space = nas.space("mbconv")
    codes = space.sample(300, np.random.default_rng(0))
    together = nas.evaluate(space, codes, "pixel4", "surrogate")
    alone = [nas.evaluate(space, codes[[i]], "pixel4", "surrogate") for i in range(len(codes))]
    pd.testing.assert_frame_equal(pd.concat(alone, ignore_index=True), together, check_exact=True)


def test_evaluate_returns_the_columns_of_the_contract() -> None:
    space = nas.space("mbconv")
    codes = space.encode(nas.network("efficientnet_b0"))[None]
    frame = nas.evaluate("mbconv", codes, target="pixel4", estimator="surrogate")
    expected = {"params", "macs", "peak_activation_bytes", "latency_ms", "latency_ms_std", "top1", "top1_std"}
    assert expected <= set(frame.columns)
    assert frame.params[0] == 5_288_548
    named = nas.evaluate("mbconv", ["1311-6321-6521-6331-6531-6541-6311", nas.network("efficientnet_b0")])
    assert named.params.tolist() == [5_288_548, 5_288_548]
    with pytest.raises(NasError, match="not a code of mbconv"):
        nas.evaluate("mbconv", ["B0"])
    assert set(nas.evaluate("mbconv", codes).columns) == {"params", "macs", "peak_activation_bytes"}
