"""Searches with a scheduler: what the budget buys, what counts as a result, and resuming."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from signal import SIGKILL
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nas
from nas import registry
from nas.cost import Objective
from nas.errors import NasError
from nas.estimators.tabular import TabularEstimator
from nas.search.config import SearchConfig
from nas.search.loop import Progress, run_search, start_search
from nas.search.resolve import resolve
from nas.search.run import Run

FULL = 200


def config_of(data: Path, **changes: Any) -> SearchConfig:
    settings = {
        "space": "nasbench201", "estimator": "tabular:nasbench201-cifar10", "data": str(data), "strategy": "evolution",
        "scheduler": "asha", "objectives": ("error",), "budget": 12, "seed": 3,
    }  # fmt: skip
    return SearchConfig.model_validate(settings | changes)


SETTINGS = {
    "asha": {},
    "hyperband": {"scheduler": "hyperband"},
    "pareto-asha": {"scheduler": "pareto-asha:3", "strategy": "nsga2", "objectives": ("error", "macs")},
    "auto": {"strategy": "auto", "budget": 6},
}


@pytest.fixture(scope="module", params=SETTINGS)
def finished(request: pytest.FixtureRequest, data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = config_of(data_dir, **SETTINGS[request.param])
    return run_search(start_search(config, tmp_path_factory.mktemp("runs") / "whole"))


def test_the_budget_is_spent_in_epochs_and_not_exceeded(finished: Run) -> None:
    epochs = finished.trials["fidelity"].sum()
    budget = finished.config.budget * FULL
    assert budget - FULL < epochs <= budget
    assert finished.spent == epochs / FULL
    assert len(finished.trials) > finished.config.budget


def test_figures_are_those_of_the_table_after_so_many_epochs(finished: Run, data_dir: Path) -> None:
    table = TabularEstimator("nasbench201-cifar10", data_dir).table
    trials, space = finished.trials, finished.problem.space
    rows = table.rows(np.stack([space.encode(code) for code in trials["code"]]))
    for epochs in (12, FULL):
        chosen = (trials["fidelity"] == epochs).to_numpy()
        assert chosen.any()
        np.testing.assert_array_equal(trials["top1"][chosen], table.top1[epochs][rows[chosen]])


def test_results_are_of_full_training_alone(finished: Run) -> None:
    trials = finished.trials
    full = trials[trials["fidelity"] == FULL]
    front = finished.front
    assert set(front["code"]) <= set(full["code"])
    assert front["top1"].max() == full["top1"].max()
    assert "fidelity" not in front
    for _, one in full.iterrows():
        assert not ((one["top1"] > front["top1"]) & (one["macs"] < front["macs"])).all()
    volumes = finished.hypervolume_history()
    assert volumes["hypervolume"].iloc[-1] == pytest.approx(finished.hypervolume)
    assert volumes["best"].iloc[-1] == full["top1"].max()
    assert volumes["evaluations"].iloc[-1] == int(finished.spent)
    assert resolve(f"{finished.path}#1").spec == finished.problem.space.spec(str(front["code"].iloc[0]))


@pytest.mark.parametrize("share", [0.01, 0.7])
def test_a_resumed_run_equals_one_that_never_stopped(finished: Run, tmp_path: Path, share: float) -> None:
    run = start_search(finished.config, tmp_path / "run")
    seen = []

    def stop(progress: Progress) -> None:
        seen.append(progress)
        if progress.spent > share * progress.budget:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_search(run, stop)
    assert not run.ended
    assert seen[-1].spent == run.spent
    resumed = run_search(Run.open(run.path))
    assert resumed.ended
    pd.testing.assert_frame_equal(resumed.trials, finished.trials, check_exact=True)
    assert (resumed.path / "front.csv").read_bytes() == (finished.path / "front.csv").read_bytes()


def test_a_killed_run_loses_nothing(data_dir: Path, tmp_path: Path) -> None:
    config = config_of(data_dir)
    run = start_search(config, tmp_path / "run")
    code = (
        "import os, signal, sys\n"
        "from nas.search.loop import run_search\n"
        "from nas.search.run import Run\n"
        "run_search(Run.open(sys.argv[1]), lambda p: os.kill(os.getpid(), signal.SIGKILL) if p.spent > 5 else None)\n"
    )
    process = subprocess.run([sys.executable, "-c", code, str(run.path)], check=False)
    assert process.returncode == -SIGKILL
    assert 5 < run.spent < 7
    whole = run_search(start_search(config, tmp_path / "whole"))
    pd.testing.assert_frame_equal(run_search(run).trials, whole.trials, check_exact=True)


def test_without_a_scheduler_a_search_is_the_strategy_alone(data_dir: Path, tmp_path: Path) -> None:
    run = run_search(start_search(config_of(data_dir, scheduler="none", budget=40), tmp_path / "run"))
    problem = run.problem
    strategy = registry.load("strategies", "evolution")(
        problem.space, (Objective("top1", maximise=True),), (), 3, problem.costs
    )
    expected: list[str] = []
    while len(expected) < 40:
        codes = strategy.ask(min(strategy.batch_size, 40 - len(expected)))
        strategy.tell(codes, problem.evaluate(codes))
        expected += problem.space.format(codes)
    assert run.trials["code"].tolist() == expected
    assert (run.trials["fidelity"] == FULL).all()


def test_networks_to_start_from_are_started_first(data_dir: Path, tmp_path: Path) -> None:
    space = nas.space("nasbench201")
    names = space.format(space.sample(30, np.random.default_rng(1)))
    run = run_search(start_search(config_of(data_dir, start_from=tuple(names)), tmp_path / "run"))
    first = run.trials.iloc[: len(set(names))]
    assert first["code"].tolist() == list(dict.fromkeys(names))
    assert (first["fidelity"] == 12).all()
    with pytest.raises(NasError, match="budget of 1 does not cover the 30 networks to start from; raise it to"):
        start_search(config_of(data_dir, start_from=tuple(names), scheduler="none", budget=1), tmp_path / "other")


def test_a_run_of_the_first_version_is_read_and_continued(data_dir: Path, tmp_path: Path) -> None:
    config = config_of(data_dir, scheduler="none", budget=30)
    whole = run_search(start_search(config, tmp_path / "whole"))
    old = start_search(config, tmp_path / "old")
    with sqlite3.connect(whole.store.path) as connection:
        rows = connection.execute("SELECT id, batch, architecture, code, metrics FROM trials WHERE id < 12").fetchall()
    old.store.path.unlink()
    with sqlite3.connect(old.store.path) as connection:
        connection.execute(
            "CREATE TABLE trials (id INTEGER PRIMARY KEY, batch INTEGER NOT NULL, architecture TEXT NOT NULL, "
            "code BLOB NOT NULL UNIQUE, metrics TEXT NOT NULL)"
        )
        connection.executemany("INSERT INTO trials VALUES (?, ?, ?, ?, ?)", rows)
        connection.execute("PRAGMA user_version = 1")
    pd.testing.assert_frame_equal(old.trials, whole.trials[:12], check_exact=True)
    pd.testing.assert_frame_equal(run_search(old).trials, whole.trials, check_exact=True)


def test_auto_is_told_the_budget_and_its_choice_is_kept(data_dir: Path, tmp_path: Path) -> None:
    small, large = (
        start_search(config_of(data_dir, scheduler="none", strategy="auto", budget=budget), tmp_path / str(budget))
        for budget in (20, 2000)
    )
    assert small.record.reason.startswith("predictor: for 20 evaluations of about 1 µs")
    assert large.record.reason.startswith("evolution: 2,000 evaluations")
    file = small.path / "config.yaml"
    file.write_text(file.read_text().replace("reason: 'predictor", "reason: 'grid").replace("predictor:", "grid:"))
    with pytest.raises(NasError, match="auto now chooses otherwise"):
        run_search(Run.open(small.path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scheduler": "ahsa"}, "unknown scheduler 'ahsa'; did you mean 'asha'"),
        ({"objectives": ("error", "macs")}, "take --scheduler pareto-asha, or name one objective"),
        ({"budget": 2}, "within a budget of 2 --scheduler asha trains no network fully; raise it to at least 3"),
        ({"scheduler": "none:2"}, "takes no argument"),
        ({"estimator": "tabular:nasbench201-cifar100"}, "estimators that have them: tabular:nasbench201-cifar10"),
    ],
)
def test_what_cannot_be_scheduled_is_refused_before_anything_is_written(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], message: str
) -> None:
    monkeypatch.setenv("NAS_DATA", str(data_dir))
    with pytest.raises(NasError, match=message):
        start_search(config_of(data_dir, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_smallest_budget_named_is_enough(data_dir: Path, tmp_path: Path) -> None:
    run = run_search(start_search(config_of(data_dir, budget=3), tmp_path / "run"))
    assert len(run.front) == 1


def test_the_command_says_what_became_of_the_networks(data_dir: Path, tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("nas")), "search", "--space", "nasbench201", "--data", str(data_dir)]
    command += ["--estimator", "tabular:nasbench201-cifar10", "--objectives", "error", "--scheduler", "asha"]
    command += ["--budget", "8", "--out", str(tmp_path / "run")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    trials = Run.open(tmp_path / "run").trials
    started, full = (int((trials["fidelity"] == epochs).sum()) for epochs in (12, FULL))
    assert "the budget is that of 8 full trainings, 1,600 epochs" in " ".join(printed.split())
    assert f"{12 * started + FULL * full:,} of 1,600 epochs; networks: " in printed
    assert f"{started} started at 12, {full} continued at 200, {started - full} stopped" in printed
    assert "--scheduler asha" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
