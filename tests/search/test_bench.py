"""Comparing strategies on tables: what is the truth, what is measured, and that it can be repeated."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from nas.cli.app import app
from nas.errors import NasError
from nas.search.bench import Arena, BenchPlan, bench, curve_of, run_task
from nas.search.run import Run


@pytest.fixture(scope="module")
def macro(data_dir: Path) -> Arena:
    return Arena.load("nasbench-macro", ("error", "macs"), str(data_dir))


@pytest.fixture(scope="module")
def accel(data_dir: Path) -> Arena:
    return Arena.load("accel-nasbench", ("error", "latency_zcu102_ms"), str(data_dir))


def plan_of(data_dir: Path, **changes: object) -> BenchPlan:
    given = {
        "benchmarks": ("nasbench-macro",), "strategies": ("nsga2",), "seeds": 3, "evaluations": (20, 60),
        "objectives": ("error", "macs"), "data": str(data_dir),
    }  # fmt: skip
    return BenchPlan(**(given | changes))  # type: ignore[arg-type]


def brute_front(points: np.ndarray) -> np.ndarray:
    """The points that no other dominates, by comparing all of them; of equal ones one."""
    distinct = np.unique(points, axis=0)
    no_worse = (distinct[:, None] <= distinct[None]).all(axis=2)
    np.fill_diagonal(no_worse, False)
    return np.asarray(distinct[~no_worse.any(axis=0)])


def brute_hypervolume(front: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """Area that a front of two losses dominates in the box, by its stairs."""
    stairs = (front[np.argsort(front[:, 0])] - low) / (high - low)
    edges = [*stairs[1:, 0], 1.0]
    return float(sum((right - x) * (1 - y) for (x, y), right in zip(stairs, edges, strict=True)))


def test_the_truth_of_nasbench_macro(macro: Arena) -> None:
    # Su et al. (2021): the best network has 93.13 %. Front and hypervolume were counted independently.
    truth = macro.truth()
    assert -truth.least_loss == pytest.approx(93.127, abs=5e-4)
    assert (truth.front_size, round(truth.hypervolume, 6)) == (35, 0.902775)
    assert truth.test is None


def test_the_truth_is_what_brute_force_finds(macro: Arena, accel: Arena) -> None:
    for arena in (macro, accel):
        points = arena.points[np.isfinite(arena.points).all(axis=1)]
        front, truth = brute_front(points), arena.truth()
        assert len(front) == truth.front_size
        assert truth.hypervolume == pytest.approx(
            brute_hypervolume(front, points.min(axis=0), points.max(axis=0)), abs=1e-12
        )


def test_three_objectives_have_the_front_counted_elsewhere(data_dir: Path) -> None:
    truth = Arena.load("nasbench-macro", ("error", "macs", "params"), str(data_dir)).truth()
    assert (truth.front_size, round(truth.hypervolume, 6)) == (118, 0.882848)


def test_searching_everything_reaches_the_truth(accel: Arena) -> None:
    rows, _ = accel.history("random", 0, 10_000)
    assert sorted(rows) == list(range(4_616))
    last = curve_of(accel, accel.truth(), rows, (10_000,)).iloc[0]
    assert last["regret"] == 0
    assert last["hypervolume_ratio"] == pytest.approx(1)
    # All networks of the table, trained one after the other, in hours.
    assert last["train_hours"] == pytest.approx(accel.metrics["train_seconds"].sum() / 3600)


def test_random_search_finds_what_chance_finds(data_dir: Path, macro: Arena) -> None:
    # Of N networks, n drawn without repetition: the expected best, exactly, from the order of all accuracies.
    accuracy = np.sort(macro.metrics["top1"].to_numpy())[::-1]
    n, total = 50, len(accuracy)
    chance = np.array(
        [n / total * np.prod((total - n - np.arange(k)) / (total - 1 - np.arange(k))) for k in range(900)]
    )
    expected = float(chance @ accuracy[:900] / chance.sum())
    curves, _ = run_task((plan_of(data_dir, evaluations=(n,)), "nasbench-macro", "random", range(60)))
    best = curves[curves["evaluations"] == n]["best"]
    assert best.mean() == pytest.approx(expected, abs=3 * best.std() / np.sqrt(60))


def test_a_curve_reports_the_test_accuracy_of_the_network_chosen_by_validation(data_dir: Path) -> None:
    arena = Arena.load("nasbench201-cifar10", ("error",), str(data_dir))
    assert arena.test is not None
    rows, _ = arena.history("random", 3, 60)
    validation = arena.metrics["top1"].to_numpy()[rows]
    for row in curve_of(arena, arena.truth(), rows, (1, 10, 60)).to_dict("records"):
        chosen = validation[: int(row["evaluations"])].argmax()
        assert row["best"] == validation[chosen]
        assert row["test"] == arena.test[rows[chosen]]
        assert row["regret"] == pytest.approx(91.57 - row["best"])
    assert not [name for name in arena.metrics if "test" in name]


def test_failed_evaluations_count_but_are_never_chosen(accel: Arena) -> None:
    failed = np.flatnonzero(accel.metrics["latency_zcu102_ms"].isna())
    assert len(failed) == 2
    point = curve_of(accel, accel.truth(), failed, (2,)).iloc[0]
    assert point["hypervolume_ratio"] == 0
    best = int(accel.metrics["top1"].argmax())
    both = curve_of(accel, accel.truth(), np.array([*failed, best]), (2, 3))
    assert both["regret"].iloc[1] == 0
    assert both["hypervolume_ratio"].iloc[1] > 0


def test_the_result_does_not_depend_on_the_number_of_processes(data_dir: Path) -> None:
    plan = plan_of(data_dir, seeds=7)
    one, two = bench(plan), bench(plan, jobs=2)
    pd.testing.assert_frame_equal(one.curves, two.curves)
    here = [run_task((plan, "nasbench-macro", name, range(7)))[0] for name in plan.all_strategies]
    pd.testing.assert_frame_equal(one.curves, pd.concat(here, ignore_index=True))


def test_the_summary_is_mean_and_interval_over_seeds(data_dir: Path) -> None:
    result = bench(plan_of(data_dir))
    assert result.plan.all_strategies == ("random", "nsga2")
    rows = result.summary().set_index(["quantity", "evaluations", "strategy"])
    assert len(rows) == 3 * 2 * 2
    for strategy, n in itertools.product(("random", "nsga2"), (20, 60)):
        own = result.curves.query("strategy == @strategy and evaluations == @n")
        ratios = own["hypervolume_ratio"].to_numpy()
        assert len(ratios) == 3
        row = rows.loc[("hypervolume_ratio", n, strategy)]
        assert row["mean"] == pytest.approx(ratios.mean())
        half = 1.96 * ratios.std(ddof=1) / np.sqrt(3)
        assert (row["high"] - row["low"]) / 2 == pytest.approx(half, rel=1e-3)
        best, regret = rows.loc[("best", n, strategy)], rows.loc[("regret", n, strategy)]
        assert best["mean"] + regret["mean"] == pytest.approx(93.12666, abs=1e-4)
        assert best["rank"] == regret["rank"]
    at_end = rows.loc["hypervolume_ratio"].loc[60]
    assert at_end.sort_values("mean", ascending=False)["rank"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strategies": ("nsga",)}, "unknown strategy 'nsga'; did you mean 'nsga2'"),
        ({"benchmarks": ("accel",)}, "unknown benchmark 'accel'; did you mean 'accel-nasbench'"),
        ({"objectives": ("error", "latency_zcu102_ms")}, "unknown objective 'latency_zcu102_ms'"),
        ({"seeds": 0}, "at least 1"),
        ({"benchmarks": ()}, "no benchmarks given"),
    ],
)
def test_refuses_what_makes_no_sense(data_dir: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(NasError, match=message):
        bench(plan_of(data_dir, **changes))


def test_the_command_writes_tables_and_plots(data_dir: Path, tmp_path: Path) -> None:
    options = "--on nasbench201:cifar10 --strategies nsga2 --seeds 2 --evaluations 10,20 --objectives error,macs"
    arguments = ["bench", "strategies", *options.split(), "--data", str(data_dir), "--out", str(tmp_path / "b")]
    said = CliRunner().invoke(app, arguments)
    assert said.exit_code == 0, said.output
    assert "random" in said.output
    assert "test accuracy" in said.output
    curves = pd.read_csv(tmp_path / "b" / "curves.csv")
    assert set(curves["strategy"]) == {"random", "nsga2"}
    assert (curves.groupby(["strategy", "seed"])["train_hours"].diff().dropna() > 0).all()
    assert len(pd.read_csv(tmp_path / "b" / "summary.csv")) == 4 * 2 * 2
    page = (tmp_path / "b" / "bench.html").read_text(encoding="utf-8")
    assert "Plotly.newPlot" in page
    assert "simulated hours of training" in page
    assert "http://" not in page.split("plotly.js")[0]


def test_the_command_refuses_budgets_that_are_no_numbers() -> None:
    said = CliRunner().invoke(app, ["bench", "strategies", "--on", "nasbench-macro", "--evaluations", "50,1e2"])
    assert isinstance(said.exception, NasError)
    assert "'1e2' is no whole number" in str(said.exception)


def test_a_search_on_a_table_reports_test_accuracy_and_can_go_on(data_dir: Path, tmp_path: Path) -> None:
    options = "--space nasbench201 --estimator tabular:nasbench201-cifar10 --objectives error,latency_edgegpu_ms"
    arguments = ["search", *options.split(), "--budget", "60", "--data", str(data_dir), "--out", str(tmp_path / "r")]
    said = CliRunner().invoke(app, arguments)
    assert said.exit_code == 0, said.output
    run = Run.open(tmp_path / "r")
    assert not [name for name in run.trials if "test" in name]
    best = run.front.loc[run.front["top1"].idxmax()]
    raw = pd.read_csv(data_dir / "nasbench201" / "nb201_accuracy.csv.gz")
    codes = np.stack([run.problem.space.encode(cell) for cell in raw["arch_str"]])
    row = raw[[code == best["code"] for code in run.problem.space.format(codes)]].iloc[0]
    assert row["ep200_cifar10_val_seed"] == best["top1"]
    assert f"test_top1 {row['ep200_cifar10_test']:.2f} of #{best.name}" in said.output
    assert (run.trials["latency_edgegpu_ms"] > 0).all()
    assert CliRunner().invoke(app, ["resume", str(tmp_path / "r")]).exit_code == 0
