"""Networks a search starts from: they come first, count, and are never evaluated again."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import nas
from nas import registry
from nas.errors import NasError
from nas.report.from_run import command
from nas.search.config import SearchConfig
from nas.search.loop import Progress, run_search, start_search
from nas.search.run import Run

B0 = "1311-6321-6521-6331-6531-6541-6311"
OTHER = "1310-1310-1310-1310-1310-1310-1310"


#: grid search lists its space, and this one has too many networks; optunahub needs the name of a package
STRATEGIES = [name for name in registry.names("strategies") if name not in ("grid", "optunahub")]
BUDGET = 120


def config(strategy: str, *names: str, budget: int = BUDGET) -> SearchConfig:
    return SearchConfig(space="mbconv", strategy=strategy, budget=budget, seed=3, start_from=names)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_seeds_are_the_first_batch_and_part_of_the_budget(tmp_path: Path, strategy: str) -> None:
    names = (OTHER, "efficientnet_b0", f"mbconv:{B0}")
    run = run_search(start_search(config(strategy, *names, budget=20), tmp_path / "run"))
    assert run.config.start_from == (OTHER, B0)
    trials = run.trials
    assert trials.code[:2].tolist() == [OTHER, B0]
    assert trials.batch[:3].tolist() == [0, 0, 1]
    assert trials.params[1] == 5_288_548
    assert trials.code.is_unique
    assert len(trials) == 20


@pytest.mark.parametrize("strategy", ["random", "nsga2", "evolution", "local"])
@pytest.mark.parametrize("batches", [1, 2])
def test_a_resumed_run_goes_on_as_if_never_stopped(tmp_path: Path, strategy: str, batches: int) -> None:
    whole = run_search(start_search(config(strategy, "efficientnet_b0"), tmp_path / "whole"))
    seen = []

    def stop(progress: Progress) -> None:
        seen.append(progress)
        if len(seen) == batches:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_search(start_search(config(strategy, "efficientnet_b0"), tmp_path / "stopped"), stop)
    assert len(Run.open(tmp_path / "stopped").history()) < BUDGET
    resumed = run_search(Run.open(tmp_path / "stopped"))
    pd.testing.assert_frame_equal(resumed.trials, whole.trials, check_exact=True)


def test_the_search_learns_from_what_it_starts_from(tmp_path: Path) -> None:
    plain = run_search(start_search(config("nsga2"), tmp_path / "plain"))
    seeded = run_search(start_search(config("nsga2", "efficientnet_b0"), tmp_path / "seeded"))
    assert set(plain.trials.code) != set(seeded.trials.code)


def test_a_point_of_an_earlier_run(tmp_path: Path) -> None:
    earlier = nas.search("mbconv", budget=100, out=tmp_path / "earlier")
    run = nas.search("mbconv", budget=100, start_from=[f"{earlier.path}#2"], out=tmp_path / "run")
    assert run.trials.code[0] == earlier.front.code[2]


@pytest.mark.parametrize(
    ("name", "reason"),
    [("mobilenetv2", "activation is relu6"), ("9311-6321-6521-6331-6531-6541-6311", "stage1.expand"),
     ("no_network", "not a code of mbconv"), ("nowhere#1", "not a run directory")],
)  # fmt: skip
def test_a_network_outside_the_space_is_refused_with_the_reason(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(NasError, match=reason) as refused:
        start_search(config("random", name), tmp_path / "run")
    assert name in str(refused.value)
    assert "published networks in mbconv: efficientnet_b0" in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_more_seeds_than_budget_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NasError, match="raise it to at least 2"):
        start_search(config("random", B0, OTHER, budget=1), tmp_path / "run")


def test_the_report_names_the_seeds_in_its_command(tmp_path: Path) -> None:
    run = start_search(config("random", "efficientnet_b0"), tmp_path / "run")
    assert f"--start-from {B0}" in command(run)
