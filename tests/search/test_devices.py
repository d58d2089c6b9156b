"""Targets in a search: several at once, confidence in a bound, what a target knows and does not know."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import nas
from nas.errors import NasError
from nas.hardware import MeasuringSetup
from nas.search.config import make_config
from nas.search.problem import Problem
from nas.search.run import Run
from nas.search.verify import verified, verified_text, verify_front
from nas.space import NetworkSpec

BUDGET_MS = 20.0


@pytest.fixture
def folder(tmp_path: Path, repo_root: Path) -> Callable[..., Path]:
    """Make a profile folder of one's own: that of pixel4 under another name, its one fit changed."""

    def make(name: str, **changed: object) -> Path:
        made = Path(shutil.copytree(repo_root / "hardware_profiles" / "pixel4", tmp_path / name))
        profile = yaml.safe_load((made / "profile.yaml").read_text(encoding="utf-8"))
        general = next(fit for fit in profile["fits"] if not fit.get("spaces"))
        profile |= {"name": name, "fits": [general | changed]}
        (made / "profile.yaml").write_text(yaml.safe_dump(profile), encoding="utf-8")
        return made

    return make


def search(target: object, out: Path, **settings: object) -> Run:
    return nas.search("mbconv", str(target), budget=200, out=out, **settings)


def test_a_profile_folder_is_a_target_at_once(folder: Callable[..., Path], tmp_path: Path) -> None:
    run = search(folder("laptop"), tmp_path / "run", max_latency_ms=BUDGET_MS)
    assert (run.front["latency_ms"] <= BUDGET_MS).all()
    assert Path(run.config.target or "").is_absolute()
    assert [target.name for target in Run.open(run.path).problem.targets] == ["laptop"]


def test_a_changed_predictor_is_refused_on_resuming(folder: Callable[..., Path], tmp_path: Path) -> None:
    made = folder("laptop")
    run = search(made, tmp_path / "run")
    file = made / "predictor.json"
    file.write_text(file.read_text() + "\n")
    with pytest.raises(NasError, match="latency predictor has changed"):
        Run.open(run.path).check_reproducible()


def test_two_targets_are_two_objectives_and_a_budget_holds_on_both(folder: Callable[..., Path], tmp_path: Path) -> None:
    slow = folder("slow")
    run = search(f"pixel4,{slow}", tmp_path / "run", max_latency_ms=BUDGET_MS)
    assert [o.metric for o in run.problem.objectives] == ["top1", "latency_pixel4_ms", "latency_slow_ms"]
    points = run.front
    # The two are copies of one predictor.
    np.testing.assert_array_equal(points["latency_pixel4_ms"], points["latency_slow_ms"])
    assert (points[["latency_pixel4_ms", "latency_slow_ms"]] <= BUDGET_MS).all(axis=None)


def test_a_target_named_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NasError, match="names a target twice"):
        search("pixel4,pixel4", tmp_path / "run")


def test_with_confidence_the_quantile_meets_the_bound(tmp_path: Path) -> None:
    plain = search("pixel4", tmp_path / "plain", max_latency_ms=BUDGET_MS)
    sure = search("pixel4", tmp_path / "sure", max_latency_ms=BUDGET_MS, confidence=0.9)
    assert plain.front["latency_ms_p"].min() < 0.9
    assert sure.front["latency_ms_p"].min() >= 0.9 - 1e-4
    assert (sure.front["latency_ms_q90"] <= BUDGET_MS).all()
    assert sure.front["latency_ms"].max() < plain.front["latency_ms"].max() <= BUDGET_MS


def test_the_chance_to_meet_a_bound_is_one_half_at_the_median(tmp_path: Path) -> None:
    problem = Problem.from_config(make_config({"space": "mbconv", "target": "pixel4", "max_latency_ms": BUDGET_MS}))
    metrics = problem.costs(problem.space.sample(5_000, np.random.default_rng(0)))
    near = metrics[(metrics["latency_ms"] - BUDGET_MS).abs() < 0.02]
    assert len(near)
    np.testing.assert_allclose(near["latency_ms_p"], 0.5, atol=0.01)
    ordered = metrics.sort_values("latency_ms")["latency_ms_p"].to_numpy()
    assert ordered[0] > 0.999
    assert ordered[-1] < 0.001


def test_confidence_goes_with_a_bound_on_a_target(tmp_path: Path) -> None:
    for bounds in ({}, {"max_params": 4e6}):
        with pytest.raises(NasError, match="--confidence goes with a bound"):
            search("pixel4", tmp_path / "run", confidence=0.9, **bounds)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 90])
def test_a_confidence_is_a_share(confidence: float, tmp_path: Path) -> None:
    with pytest.raises(NasError, match="confidence is"):
        search("pixel4", tmp_path / "run", confidence=confidence, max_latency_ms=BUDGET_MS)


def test_a_bound_out_of_reach_is_named_with_confidence_too(tmp_path: Path) -> None:
    with pytest.raises(NasError, match=r"below the smallest network in mbconv on pixel4 \(5\."):
        search("pixel4", tmp_path / "run", max_latency_ms=1.0, confidence=0.9)


def test_a_space_without_data_is_refused_with_what_the_target_can_do(
    folder: Callable[..., Path], tmp_path: Path
) -> None:
    made = folder("laptop", spaces=["mbconv-v2"], metric="energy_mj")
    with pytest.raises(NasError, match="laptop has no data on the space mbconv; it predicts energy_mj on mbconv-v2"):
        search(made, tmp_path / "run")


def test_what_else_a_target_knows_can_be_an_objective_and_a_bound(folder: Callable[..., Path], tmp_path: Path) -> None:
    made = folder("board")
    profile = yaml.safe_load((made / "profile.yaml").read_text(encoding="utf-8"))
    profile["fits"].append(profile["fits"][0] | {"metric": "energy_mj"})
    (made / "profile.yaml").write_text(json.dumps(profile), encoding="utf-8")
    run = search(made, tmp_path / "run", objectives=("error", "energy_mj"), max={"energy_mj": 15.0})
    assert (run.front["energy_mj"] <= 15.0).all()
    assert run.problem.origin("energy_mj") == "predicted"
    # Nothing is predicted that nobody asked for, besides the target's main quantity.
    assert "energy_mj" not in search(made, tmp_path / "other").trials
    with pytest.raises(NasError, match=r"unknown objective 'energy_uj'; did you mean 'energy_mj'"):
        search(made, tmp_path / "wrong", objectives=("error", "energy_uj"))


def test_a_latency_budget_without_target_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NasError, match="needs a target to hold on"):
        nas.search("mbconv", max_latency_ms=20, budget=100, out=tmp_path / "run")


# --- verification on the real machine -------------------------------------------------------------------------------


@pytest.fixture
def laptop(folder: Callable[..., Path]) -> Path:
    """A profile folder that says how it was measured."""
    made = folder("laptop")
    profile = yaml.safe_load((made / "profile.yaml").read_text(encoding="utf-8"))
    profile["measuring"] = {"backend": "torch", "threads": 1}
    (made / "profile.yaml").write_text(json.dumps(profile), encoding="utf-8")
    return made


def test_points_of_the_front_are_measured_and_compared(
    laptop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[int]] = []

    def stopwatch(specs: Sequence[NetworkSpec], setup: MeasuringSetup) -> list[float]:
        assert setup == MeasuringSetup(backend="torch", threads=1)
        asked.append([spec.cost()["macs"] for spec in specs])
        return [2 * nas.target("pixel4").fitted[0].predictor.predict_spec(spec)[0] for spec in specs]

    monkeypatch.setattr("nas.hardware.measuring.measure.verify", stopwatch)
    run = search(laptop, tmp_path / "run", verify=3)
    found = verified(run)
    assert found is not None
    assert found["error_percent"].tolist() == pytest.approx([-50.0] * 3, abs=0.02)
    # The best in accuracy is among them, and the cheapest: they are spread over the front.
    assert found["point"].tolist()[0] == run.front["top1"].idxmax()
    assert set(found["point"]) > {run.front["top1"].idxmax(), run.front["top1"].idxmin()}
    assert asked[0] == [run.problem.space.spec(code).cost()["macs"] for code in found["code"]]
    assert "outside its 90 % interval" in verified_text(found.iloc[0])
    # What is measured is kept; going on with the run does not measure again.
    pd.testing.assert_frame_equal(verify_front(Run.open(run.path)), found)
    assert len(asked) == 1


def test_a_target_that_nobody_can_measure_on_is_refused_before_the_search(tmp_path: Path) -> None:
    with pytest.raises(NasError, match=r"--verify measures on the machine .* targets of this search: pixel4"):
        search("pixel4", tmp_path / "run", verify=5)
    with pytest.raises(NasError, match="none is given"):
        nas.search("mbconv", budget=100, verify=5, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_damaged_table_of_measurements_is_named(
    laptop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.hardware.measuring.measure.verify", lambda specs, setup: [1.0] * len(specs))
    run = search(laptop, tmp_path / "run", verify=2)
    (run.path / "verified.csv").write_text("point,code\n1\n")
    with pytest.raises(NasError, match=r"verified\.csv is damaged"):
        verified(run)
