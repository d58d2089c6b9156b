"""Comparing strategies on tables: what is the truth, what is measured, and that it can be repeated."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from pathlib import Path

import moocore
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from nas.cli.app import app
from nas.errors import NasError
from nas.report.bench import panel
from nas.search import code_digest
from nas.search.arena import Arena
from nas.search.bench import BenchPlan, BenchResult, SearchKey, all_strategies, bench, run_search_of
from nas.search.bench_store import BenchStore, FinishedSearch
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
    truth = macro.truth
    assert -truth.least_loss == pytest.approx(93.127, abs=5e-4)
    assert (truth.front_size, round(truth.hypervolume, 6)) == (35, 0.902775)
    assert truth.test is None


def test_the_truth_is_what_brute_force_finds(macro: Arena, accel: Arena) -> None:
    for arena in (macro, accel):
        points = arena.points[np.isfinite(arena.points).all(axis=1)]
        front, truth = brute_front(points), arena.truth
        assert len(front) == truth.front_size
        assert truth.hypervolume == pytest.approx(
            brute_hypervolume(front, points.min(axis=0), points.max(axis=0)), abs=1e-12
        )


def test_three_objectives_have_the_front_counted_elsewhere(data_dir: Path) -> None:
    truth = Arena.load("nasbench-macro", ("error", "macs", "params"), str(data_dir)).truth
    assert (truth.front_size, round(truth.hypervolume, 6)) == (118, 0.882848)


def test_searching_everything_reaches_the_truth(accel: Arena) -> None:
    rows, _ = accel.search("random", 0, 10_000)
    assert sorted(rows) == list(range(4_616))
    last = accel.trajectory(rows).iloc[-1]
    assert last["regret"] == 0
    assert last["hypervolume_ratio"] == pytest.approx(1)
    # All networks of the table, trained one after the other, in hours.
    assert last["train_hours"] == pytest.approx(accel.metrics["train_seconds"].sum() / 3600)


def test_random_search_finds_what_chance_finds(macro: Arena) -> None:
    # Of N networks, n drawn without repetition: the expected best, exactly, from the order of all accuracies.
    accuracy = np.sort(macro.metrics["top1"].to_numpy())[::-1]
    n, total = 50, len(accuracy)
    chance = np.array(
        [n / total * np.prod((total - n - np.arange(k)) / (total - 1 - np.arange(k))) for k in range(900)]
    )
    expected = float(chance @ accuracy[:900] / chance.sum())
    best = np.array([macro.trajectory(macro.search("random", seed, n)[0])["best"].iloc[-1] for seed in range(60)])
    assert best.mean() == pytest.approx(expected, abs=3 * best.std(ddof=1) / np.sqrt(60))


def test_a_curve_reports_the_test_accuracy_of_the_network_chosen_by_validation(data_dir: Path) -> None:
    arena = Arena.load("nasbench201-cifar10", ("error",), str(data_dir))
    assert arena.test is not None
    rows, _ = arena.search("random", 3, 60)
    validation, known = arena.metrics["top1"].to_numpy()[rows], arena.trajectory(rows)
    assert len(known) == 60
    for i, row in enumerate(known.to_dict("records")):
        chosen = validation[: i + 1].argmax()
        assert row["best"] == validation[chosen]
        assert row["test"] == arena.test[rows[chosen]]
        assert row["regret"] == pytest.approx(91.57 - row["best"])
    assert not [name for name in arena.metrics if "test" in name]


def test_failed_evaluations_count_but_are_never_chosen(accel: Arena) -> None:
    failed = np.flatnonzero(accel.metrics["latency_zcu102_ms"].isna())
    assert len(failed) == 2
    best = int(accel.metrics["top1"].argmax())
    known = accel.trajectory(np.array([*failed, best]))
    assert known["hypervolume_ratio"].iloc[1] == 0
    assert known["regret"].iloc[2] == 0
    assert known["hypervolume_ratio"].iloc[2] > 0


def test_hypervolume_after_each_evaluation_is_that_of_all_so_far(macro: Arena, data_dir: Path) -> None:
    """Against moocore on all points, which the running front must equal."""
    three = Arena.load("nasbench-macro", ("error", "macs", "params"), str(data_dir))
    for arena in (macro, three):
        rows, _ = arena.search("nsga2", 1, 150)
        low, high = arena.points.min(axis=0), arena.points.max(axis=0)
        scaled = (arena.points[rows] - low) / (high - low)
        ratios = arena.trajectory(rows)["hypervolume_ratio"]
        for n in (1, 2, 40, 150):
            whole = moocore.hypervolume(scaled[:n], ref=np.ones(scaled.shape[1])) / arena.truth.hypervolume
            assert ratios.iloc[n - 1] == pytest.approx(whole, abs=1e-12)


def test_a_network_without_accuracy_is_not_chosen(macro: Arena) -> None:
    gone = dataclasses.replace(
        macro, metrics=macro.metrics.assign(top1=macro.metrics["top1"].where(macro.metrics.index > 1))
    )
    known = gone.trajectory(np.array([0, 1, 2, 0]))
    assert known["best"].isna().tolist() == [True, True, False, False]
    assert known["best"].iloc[-1] == macro.metrics["top1"].iloc[2]
    assert (known["hypervolume_ratio"][:2] == 0).all()


def test_the_result_does_not_depend_on_the_number_of_processes(data_dir: Path) -> None:
    plan = plan_of(data_dir, seeds=7)
    one, two = bench(plan), bench(plan, jobs=2)
    pd.testing.assert_frame_equal(one.curves, two.curves)
    arena = plan.arena("nasbench-macro")
    for strategy, seed in itertools.product(plan.all_strategies, range(7)):
        here = arena.trajectory(run_search_of(plan, SearchKey("nasbench-macro", strategy, seed)).rows)
        there = one.curves.query("strategy == @strategy and seed == @seed")
        for row in there.to_dict("records"):
            assert row["hypervolume_ratio"] == here["hypervolume_ratio"].iloc[int(row["evaluations"]) - 1]


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
        ({"benchmarks": ("acel",)}, "unknown benchmark 'acel'; did you mean 'accel-nasbench'"),
        ({"benchmarks": ("nasbench201",)}, "'nasbench201' may be any of nasbench201-cifar10, nasbench201-cifar100"),
        (
            {"free": ("latncy_zcu102_ms",), "benchmarks": ("accel",)},
            "accel-nasbench has no metric 'latncy_zcu102_ms'; did",
        ),
        ({"epochs": 50, "benchmarks": ("nasbench201:cifar10",)}, "no accuracy after 50 epochs; it has: 12, 200"),
        ({"first_seed": -1}, "first seed must be at least 0"),
        ({"evaluations": (0, 10)}, "at least 1"),
        ({"data": "/nowhere"}, "/nowhere is no folder"),
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
    assert set(pd.read_csv(tmp_path / "b" / "clock.csv")["strategy"]) == {"random", "nsga2"}
    page = (tmp_path / "b" / "bench.html").read_text(encoding="utf-8")
    assert page.count("Plotly.newPlot(") >= 6
    assert "simulated hours of training" in page
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", page)


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
    assert f"test_top1 {row['ep200_cifar10_test']:.2f} (measured" in " ".join(said.output.split())
    assert (run.trials["latency_edgegpu_ms"] > 0).all()
    assert CliRunner().invoke(app, ["resume", str(tmp_path / "r")]).exit_code == 0


# --- the clock --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def timed(data_dir: Path) -> BenchResult:
    return bench(plan_of(data_dir, benchmarks=("nasbench201:cifar10",), seeds=4, evaluations=(30,)))


def test_hours_are_the_recorded_training_times(data_dir: Path) -> None:
    raw = pd.read_csv(data_dir / "nasbench201" / "nats_tss_1000_train_time.csv.gz")
    recorded = raw[["idx", "cifar10_ep200_train_time_s", "cifar10_ep12_train_time_s"]].to_numpy()[:50]
    for epochs, column in ((None, 1), (200, 1), (12, 2)):
        arena = Arena.load("nasbench201-cifar10", ("error",), str(data_dir), epochs=epochs)
        hours = arena.trajectory(recorded[:, 0].astype(int))["train_hours"]
        assert hours.to_numpy() == pytest.approx(recorded[:, column].cumsum() / 3600)
    accel = pd.read_csv(data_dir / "accel_nasbench" / "imagenet_mbconv.csv.gz")
    hours = Arena.load("accel", ("error",), str(data_dir)).trajectory(np.arange(3))["train_hours"]
    assert hours.to_numpy() == pytest.approx(accel["train_time_s"][:3].cumsum() / 3600)


def test_after_some_hours_a_seed_knows_the_best_of_what_is_trained(timed: BenchResult) -> None:
    arena = timed.plan.arena("nasbench201-cifar10")
    seconds, top1 = arena.metrics["train_seconds"].to_numpy(), arena.metrics["top1"].to_numpy()
    grids = {}
    for (strategy, seed), own in timed.clock.groupby(["strategy", "seed"]):
        rows = run_search_of(timed.plan, SearchKey("nasbench201-cifar10", str(strategy), int(seed))).rows
        for row in own.to_dict("records"):
            known = [i for k, i in enumerate(rows) if seconds[rows[: k + 1]].sum() / 3600 <= row["hours"] + 1e-9]
            assert len(known) >= 5
            assert row["best"] == top1[known].max()
        grids.setdefault(strategy, []).append(own["hours"].tolist())
        assert own["hours"].max() <= seconds[rows].sum() / 3600
        assert (own["hypervolume_ratio"].diff().dropna() >= 0).all()
    assert all(grid == seeds[0] for seeds in grids.values() for grid in seeds)
    assert all(len(seeds[0]) > 10 for seeds in grids.values())


def test_a_table_without_times_has_no_clock(data_dir: Path) -> None:
    assert bench(plan_of(data_dir)).clock.empty


# --- settings, and what is shown --------------------------------------------------------------------------------------


def test_networks_that_are_equally_good_by_validation_may_differ_in_test(data_dir: Path) -> None:
    # Two cells have 61.32 % after 12 epochs on CIFAR-100; which of them a search meets first is chance.
    raw = pd.read_csv(data_dir / "nasbench201" / "nb201_accuracy.csv.gz")
    best = raw[raw["ep12_cifar100_val"] == raw["ep12_cifar100_val"].max()]["ep200_cifar100_test"]
    assert len(best) == 2
    arena = Arena.load("nasbench201:cifar100", ("error",), str(data_dir))
    for order in ([0, 1], [1, 0]):
        rows = best.index.to_numpy()[order]
        assert arena.trajectory(rows)["test"].tolist() == [best[rows[0]]] * 2
    assert arena.truth.test == (best.min(), best.max())
    cifar10 = Arena.load("nasbench201:cifar10", ("error",), str(data_dir)).truth.test
    assert cifar10 == pytest.approx((94.30, 94.30), abs=0.005)


def test_other_seeds_free_metrics_and_epochs(data_dir: Path) -> None:
    few, more = plan_of(data_dir, seeds=3), plan_of(data_dir, seeds=1, first_seed=2)
    one, other = bench(few).curves.query("seed == 2").reset_index(drop=True), bench(more).curves
    pd.testing.assert_frame_equal(one, other)
    plan = plan_of(
        data_dir, benchmarks=("accel",), free=("latency_zcu102_ms",), objectives=("error", "latency_zcu102_ms")
    )
    arena = plan.arena("accel")
    known = arena.costs(arena.problem.space.all_codes()[:3])
    assert list(known) == ["params", "macs", "peak_activation_bytes", "latency_zcu102_ms"]
    raw = pd.read_csv(data_dir / "nasbench201" / "nb201_accuracy.csv.gz")
    short = plan_of(data_dir, epochs=12).arena("nasbench201:cifar10")
    assert (short.metrics["top1"] == raw["ep12_cifar10_val"]).all()
    assert short.test is not None
    assert (short.test == raw["ep200_cifar10_test"]).all()


def test_all_strategies_are_those_that_differ(data_dir: Path, tmp_path: Path) -> None:
    names = all_strategies()
    assert names[0] == "random"
    assert {"evolution", "nsga2", "predictor", "reinforce"} <= set(names)
    assert not {"auto", "grid", "optuna", "optunahub"} & set(names)
    assert not {"predictor", "predictor-pareto"} <= set(names)
    # Already kept, so nothing is run.
    plan = plan_of(data_dir, strategies=("all",), seeds=1, evaluations=(3,))
    store, arena = BenchStore(tmp_path), plan.arena("nasbench-macro")
    whole = dataclasses.replace(plan, strategies=names)
    store.open(code_digest.made_with(whole, {"nasbench-macro": arena.digest}))
    for name in names:
        store.add(SearchKey("nasbench-macro", name, 0), FinishedSearch(np.array([1, 2, 3]), 0.1))
    assert tuple(bench(plan, store=store).curves["strategy"].unique()) == names


def test_plots_show_the_means_that_the_summary_has(timed: BenchResult) -> None:
    summary = timed.summary().set_index(["quantity", "evaluations", "strategy"])["mean"]
    for quantity, searches, axis in (
        ("regret", timed.curves, "evaluations"), ("hypervolume_ratio", timed.curves, "evaluations"),
        ("test", timed.curves, "evaluations"), ("regret", timed.clock, "hours"),
    ):  # fmt: skip
        drawn = panel(timed, searches, quantity, axis)
        lines = {trace.name: trace for trace in drawn.data if trace.name}
        assert set(lines) == {"random", "nsga2"}
        assert drawn.layout.xaxis.type == "log"
        assert axis in drawn.layout.xaxis.title.text
        low, high = (10.0**end for end in drawn.layout.xaxis.range)
        for strategy, line in lines.items():
            assert low < line.x[0] < line.x[-1] < high
            if axis == "evaluations":
                shown = 1 - line.y[-1] if quantity == "hypervolume_ratio" else line.y[-1]
                assert shown == pytest.approx(summary[quantity, 30, strategy])
    ticks = panel(timed, timed.curves, "hypervolume_ratio", "evaluations").layout.yaxis
    assert [1 - float(text) for text in ticks.ticktext] == pytest.approx(ticks.tickvals)


def test_the_command_prints_json(data_dir: Path) -> None:
    options = "--on nasbench201:cifar10,nasbench-macro,accel --strategies local --seeds 1 --evaluations 5 --json"
    said = CliRunner().invoke(app, ["bench", "strategies", *options.split(), "--data", str(data_dir)])
    assert said.exit_code == 0, said.output
    document = json.loads(said.stdout)
    assert document["plan"]["benchmarks"] == ["nasbench201-cifar10", "nasbench-macro", "accel-nasbench"]
    assert -document["best_possible"]["nasbench-macro"]["least_loss"] == pytest.approx(93.127, abs=5e-4)
    row = document["summary"][0]
    assert set(row) == {
        "benchmark", "quantity", "evaluations", "strategy", "mean", "std", "seeds", "low", "high", "rank"
    }  # fmt: skip
    assert row["std"] is None
    assert {row["strategy"] for row in document["overhead"]} == {"random", "local"}


def test_the_command_shows_tables_that_fit_80_columns(data_dir: Path) -> None:
    options = "--on nasbench-macro --seeds 2 --evaluations 5,1000 --strategies pareto-local"
    said = CliRunner().invoke(app, ["bench", "strategies", *options.split(), "--data", str(data_dir)])
    assert said.exit_code == 0, said.output
    assert re.search(r"^ +1,000 +1 +pareto-local +93\.\d{4} +\d\.\d{4}", said.output, re.MULTILINE)
    assert max(len(line.rstrip()) for line in said.output.splitlines()) <= 80
