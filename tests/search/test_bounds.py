"""Bounds on any metric: what users write, what is refused beforehand, and what a search without a result says."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import nas
from nas import cli
from nas.cost import Constraint, Objective, violation
from nas.errors import NasError
from nas.search.config import make_config, settings_of
from nas.search.loop import start_search
from nas.search.metrics import constraint_of
from nas.search.quantities import parse_bounds
from nas.space import SearchSpace
from nas.strategies.outcome import Inputs, OutcomeModel
from nas.strategies.policy_gradient import CostFactor

Run = Callable[..., tuple[int, str, str]]
MACRO = ["search", "--space", "nasbench-macro", "--estimator", "tabular:nasbench-macro", "--objectives", "error,macs"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in an empty folder; returns exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nas", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return command


@pytest.fixture(scope="module")
def table(data_dir: Path) -> pd.DataFrame:
    """All networks of NAS-Bench-Macro with costs and accuracy."""
    estimator = nas.estimator("tabular:nasbench-macro").reading(data_dir)
    space = estimator.space_of(nas.space("nasbench-macro"))
    codes = space.all_codes()
    return nas.evaluate(space, codes, estimator=estimator).assign(code=space.format(codes))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("latency_ms=20", 20.0),
        ("latency_ms=20ms", 20.0),
        ("latency_edgegpu_ms = 0.02s", 20.0),
        ("peak_activation_bytes=2M", 2e6),
        ("peak_activation_bytes=2MB", 2e6),
        ("weight_bytes=300 kB", 3e5),
        ("energy_edgegpu_mj=20", 20.0),
        ("energy_edgegpu_mj=0.02J", 20.0),
        ("params=5.3M", 5.3e6),
        ("macs=0.39G", 3.9e8),
        ("top1=75%", 75.0),
    ],
)
def test_a_bound_is_read_in_the_unit_it_carries_or_that_of_the_metric(text: str, expected: float) -> None:
    assert list(parse_bounds("max", [text]).values()) == [pytest.approx(expected)]


def test_a_file_and_the_command_line_say_the_same() -> None:
    from_file = settings_of({"space": "mbconv", "max": {"peak_activation_bytes": "2M", "params": 4000000}}, "s.yaml")
    options = settings_of({"space": "mbconv", "max": ["peak_activation_bytes=2M", "params=4M"]})
    assert from_file == options == {"space": "mbconv", "max": {"peak_activation_bytes": 2e6, "params": 4e6}}
    assert make_config({"space": "mbconv", "max": {"params": 4}}).upper_bounds == {"params": 4.0}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--max", "peak_activation_byte=2M"], ["'peak_activation_byte'", "did you mean 'peak_activation_bytes'"]),
        (["--max", "macs"], ["METRIC=VALUE"]),
        (["--max", "macs="], ["METRIC=VALUE"]),
        (["--max", "macs=2M", "--max", "macs=3M"], ["macs is given twice"]),
        (["--max", "macs=2M", "--max-macs", "3M"], ["macs is bounded twice"]),
        (["--max", "macs=-2M"], ["positive"]),
        (["--max", "macs=2ms"], ["unknown unit 'ms'"]),
        (["--max", "latency_ms=20"], ["--target"]),
        (["--max", "top1=75"], ["more is better", "--min top1"]),
        (["--min", "macs=75M"], ["less is better", "--max macs"]),
        (["--min", "error=5"], ["less is better", "--max error"]),
        (["--max", "error=100"], ["bounds nothing"]),
    ],
)
def test_a_bound_that_means_nothing_is_refused(
    run: Run, data_dir: Path, arguments: list[str], words: list[str]
) -> None:
    code, _, errors = run(*MACRO, "--data", str(data_dir), *arguments)
    assert code == 2
    assert [word for word in words if word not in errors] == []
    assert list(Path().iterdir()) == []


def test_excess_is_the_share_of_the_bound_that_is_missed() -> None:
    metrics = pd.DataFrame({"top1": [60.0, 75, 90, np.nan, np.inf], "macs": [100.0, 150, 50, 50, 50]})
    bounds = [Constraint("top1", lower=75), Constraint("macs", upper=100)]
    np.testing.assert_allclose(violation(metrics, bounds), [0.2, 0.5, 0, np.inf, np.inf])
    assert constraint_of("error", 25.0, ["top1"], upper=True) == bounds[0]


def test_a_search_keeps_to_all_bounds(table: pd.DataFrame, data_dir: Path, tmp_path: Path) -> None:
    """Four bounds that 1 % of the space meets, among them two that cost nothing to check."""
    upper, lower = {"macs": 40e6, "params": 1.0e6, "peak_activation_bytes": 6e5}, {"top1": 90.5}
    allowed = table[(table.macs <= 40e6) & (table.params <= 1e6) & (table.peak_activation_bytes <= 6e5)]
    good = set(allowed.code[allowed.top1 >= 90.5])
    assert 0 < len(good) < 0.02 * len(table)
    found = nas.search(
        "nasbench-macro", estimator="tabular:nasbench-macro", data=data_dir, objectives=["error", "macs"], max=upper,
        min=lower, budget=150, out=tmp_path / "run",
    )  # fmt: skip
    assert set(found.trials.code) <= set(allowed.code)
    assert set(found.front.code) <= good
    assert found.front.top1.max() >= table[table.code.isin(good)].top1.quantile(0.5)


def test_the_reachable_value_that_is_named_can_be_used(table: pd.DataFrame, data_dir: Path, tmp_path: Path) -> None:
    settings = {"space": "nasbench-macro", "estimator": "tabular:nasbench-macro", "data": str(data_dir), "budget": 1}
    for key, metric, bound, word, scale in (
        ("max", "peak_activation_bytes", 1.0, "raise it to at least ", 1e6), ("min", "top1", 99.9, "at most ", 1.0)
    ):  # fmt: skip
        with pytest.raises(NasError, match=word) as refused:
            start_search(make_config(settings | {key: {metric: bound}}), tmp_path / "run")
        named = float(str(refused.value).split(word)[1].split()[0]) * scale
        extreme = table[metric].min() if key == "max" else table[metric].max()
        assert abs(named - extreme) <= 0.011 * scale
        start_search(make_config(settings | {key: {metric: named}}), tmp_path / f"reached-{key}")
    assert not (tmp_path / "run").exists()


def test_bounds_that_only_together_are_too_tight_name_the_nearest(
    table: pd.DataFrame, data_dir: Path, tmp_path: Path
) -> None:
    bounds = {"max": {"macs": 20e6}, "min": {"top1": 93.0}}
    settings = {"space": "nasbench-macro", "estimator": "tabular:nasbench-macro", "data": str(data_dir)}
    with pytest.raises(NasError, match="each alone can be met") as refused:
        start_search(make_config(settings | bounds), tmp_path / "run")
    missed = np.maximum(table.macs / 20e6 - 1, 0) + np.maximum(1 - table.top1 / 93.0, 0)
    named = str(refused.value).split("nearest: ")[1].split("; ")
    assert [text.split(" ")[0] for text in named] == table.code[missed.sort_values().index[:3]].tolist()
    assert not (tmp_path / "run").exists()


def test_a_search_that_finds_nothing_ends_with_the_nearest_and_exit_code_1(run: Run) -> None:
    """In a space too large to be listed the search has to find out."""
    command = [
        "search",
        "--space",
        "mbconv",
        "--max-params",
        "2M",
        "--min",
        "top1=78",
        "--budget",
        "60",
        "--out",
        "run",
    ]
    code, printed, errors = run(*command)
    assert code == 1
    assert "Report" in printed
    trials = nas.load_run("run").trials
    missed = np.maximum(trials.params / 2e6 - 1, 0) + np.maximum(1 - trials.top1 / 78, 0)
    nearest = trials.loc[missed.idxmin()]
    assert f"nearest: {nearest.code} (params {nearest.params / 1e6:.2f} M, top-1 {nearest.top1:.2f} %)" in errors
    assert f"none meets top-1 ≥ 78.00 %, the largest is {trials.top1.max():.2f} %" in errors
    assert "none meets params" not in errors
    code, printed, _ = run("resume", "run", "--json")
    assert code == 1
    assert json.loads(printed)["front"] == []
    code, printed, _ = run("show", "run")
    assert code == 0
    assert nearest.code in printed.replace("\n", "")


def test_hypervolume_says_whether_it_is_of_predictions(run: Run, data_dir: Path) -> None:
    code, printed, _ = run("search", "--space", "mbconv", "--budget", "20", "--out", "predicted")
    assert code == 0
    assert "(of predicted values)" in printed
    code, printed, _ = run(*MACRO, "--data", str(data_dir), "--budget", "20", "--out", "measured")
    assert code == 0
    assert "hypervolume" in printed
    assert "predicted values" not in printed


def test_a_learned_lower_bound_is_an_upper_one_on_the_negated_metric(nested_space: SearchSpace) -> None:
    codes = nested_space.all_codes()
    heat = codes.sum(axis=1, dtype=float)
    told = pd.DataFrame({"loss": np.sin(heat), "heat": heat, "cold": -heat})
    inputs, objectives = Inputs(nested_space, None), [Objective("loss")]

    def log_feasible(bound: Constraint) -> np.ndarray:
        model = OutcomeModel(inputs, objectives, [bound], None, (), (codes[:30], told[:30]))
        return model.predict(codes[30:]).log_feasible

    upper = log_feasible(Constraint("heat", upper=6.0))
    np.testing.assert_array_equal(log_feasible(Constraint("cold", lower=-6.0)), upper)
    assert np.ptp(upper) > 0


def test_the_reward_falls_below_a_lower_bound_and_is_whole_above() -> None:
    """MnasNet's hard constraint with the ratio turned over: (75 / value)^-1 where value < 75."""
    factor = CostFactor("top1", 75.0, below=0.0, above=-1.0, gain=True)
    np.testing.assert_allclose(factor(np.array([37.5, 60.0, 75.0, 90.0])), [0.5, 0.8, 1.0, 1.0])
