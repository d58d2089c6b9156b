"""Results known beforehand: told to the strategy, never evaluated again, kept with the run, with their source."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nas
from nas import registry
from nas.errors import NasError
from nas.search.config import make_config
from nas.search.loop import Progress, run_search, start_search
from nas.search.run import Run

Search = Callable[..., Run]


@pytest.fixture(scope="module")
def macro(data_dir: Path) -> dict[str, Any]:
    """A problem whose 6,561 networks are all known: accuracies of NAS-Bench-Macro."""
    return {
        "space": "nasbench-macro", "estimator": "tabular:nasbench-macro", "data": str(data_dir),
        "objectives": ("error", "macs"), "budget": 24,
    }  # fmt: skip


@pytest.fixture(scope="module")
def table(macro: dict[str, Any]) -> pd.DataFrame:
    """All networks of the problem, as an evaluation gives them."""
    estimator = nas.estimator(macro["estimator"]).reading(Path(macro["data"]))
    space = estimator.space_of(nas.space("nasbench-macro"))
    codes = space.all_codes()
    return nas.evaluate(space, codes, estimator=estimator).assign(code=space.format(codes))


@pytest.fixture(scope="module")
def earlier(macro: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_search(start_search(make_config(macro), tmp_path_factory.mktemp("runs") / "earlier"))


@pytest.fixture
def search(macro: dict[str, Any], tmp_path: Path) -> Search:
    """Search the problem with other settings; the run is made in `run`."""

    def run(out: str = "run", on_progress: Callable[[Progress], None] | None = None, **settings: Any) -> Run:
        return run_search(start_search(make_config(macro | settings), tmp_path / out), on_progress)

    return run


def on_front(networks: pd.DataFrame) -> set[tuple[float, float]]:
    """Accuracy and MACs that no other of the networks dominates, one by one; several networks may have the same."""
    top1, macs = networks.top1.to_numpy(), networks.macs.to_numpy()
    return {
        (a, m)
        for a, m in set(zip(top1.tolist(), macs.tolist(), strict=True))
        if not ((top1 >= a) & (macs <= m) & ((top1 > a) | (macs < m))).any()
    }


# optunahub is nothing without the name of a package
@pytest.mark.parametrize("strategy", [name for name in registry.names("strategies") if name != "optunahub"])
def test_what_is_known_is_never_evaluated_again(search: Search, earlier: Run, strategy: str) -> None:
    run = search(strategy=strategy, learn_from=(str(earlier.path),))
    assert len(run.trials) == 24
    assert run.trials.code.is_unique
    assert not set(run.trials.code) & set(earlier.trials.code)


@pytest.mark.parametrize("strategy", ["nsga2", "evolution", "predictor"])
def test_a_resumed_run_needs_neither_the_earlier_run_nor_the_file(
    search: Search, earlier: Run, table: pd.DataFrame, tmp_path: Path, strategy: str
) -> None:
    shutil.copytree(earlier.path, tmp_path / "source")
    table[~table.code.isin(earlier.trials.code)].iloc[::200].to_csv(tmp_path / "given.csv")
    settings = {"strategy": strategy, "learn_from": (str(tmp_path / "source"), str(tmp_path / "given.csv"))}
    whole = search("whole", **settings)

    def stop(progress: Progress) -> None:
        if progress.evaluations >= 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search("stopped", stop, **settings)
    shutil.rmtree(tmp_path / "source")
    (tmp_path / "given.csv").unlink()
    stopped = Run.open(tmp_path / "stopped")
    assert 0 < len(stopped.trials) < 24
    resumed = run_search(stopped)
    pd.testing.assert_frame_equal(resumed.trials, whole.trials, check_exact=True)
    assert (resumed.path / "front.csv").read_bytes() == (whole.path / "front.csv").read_bytes()


def test_the_rest_of_a_space_is_evaluated_and_then_the_search_ends(
    search: Search, table: pd.DataFrame, tmp_path: Path
) -> None:
    rest = table.code[::110]
    table[~table.code.isin(rest)].to_csv(tmp_path / "most.csv")
    run = search(learn_from=(str(tmp_path / "most.csv"),), budget=500)
    assert set(run.trials.code) == set(rest)
    assert set(zip(run.front.top1, run.front.macs, strict=True)) == on_front(table)


def test_the_front_is_of_known_and_evaluated_networks_and_says_which(search: Search, earlier: Run) -> None:
    run = search(learn_from=(str(earlier.path),), seed=4)
    both = pd.concat([earlier.trials, run.trials])
    assert set(zip(run.front.top1, run.front.macs, strict=True)) == on_front(both)
    known = run.front.code.isin(earlier.trials.code)
    assert known.any()
    assert not known.all()
    assert (run.front.learned_from == np.where(known, str(earlier.path), "")).all()
    assert run.hypervolume >= earlier.hypervolume
    assert run.hypervolume_history().hypervolume.iloc[0] >= earlier.hypervolume
    assert "learned_from" not in earlier.front


def test_a_strategy_begins_where_the_known_results_lead(search: Search, table: pd.DataFrame, tmp_path: Path) -> None:
    """Parents are chosen among the known ones: children of the best tenth are far better than the first draws."""
    best = table.sort_values("top1").iloc[-650::5]
    best.to_csv(tmp_path / "best.csv")
    plain = search("plain", strategy="evolution", objectives=("error",))
    warm = search("warm", strategy="evolution", objectives=("error",), learn_from=(str(tmp_path / "best.csv"),))
    assert warm.trials.top1.median() > plain.trials.top1[:20].median() + 0.5
    assert warm.trials.top1.median() > table.top1.quantile(0.7)


def test_costs_are_computed_and_accuracies_are_the_users(search: Search, table: pd.DataFrame, tmp_path: Path) -> None:
    """A file may say what it likes of accuracy, also as `error`; MACs are counted whatever it says."""
    (tmp_path / "given.csv").write_text("architecture, macs, error, who\n00000000, 1, 2.5, me\n\n22222222, 2, 50, me\n")
    run = search(learn_from=(str(tmp_path / "given.csv"),), strategy="random")
    assert run.known.metrics.top1.tolist() == [97.5, 50.0]
    wanted = table.set_index("code").loc[["00000000", "22222222"]]
    assert run.known.metrics.macs.tolist() == wanted.macs.tolist()
    assert run.known.metrics.params.tolist() == wanted.params.tolist()
    assert run.front.code.tolist() == ["00000000"]
    assert run.front.learned_from.tolist() == [str(tmp_path / "given.csv")]


def test_a_source_named_first_counts_and_networks_known_are_not_started_from(
    search: Search, earlier: Run, tmp_path: Path
) -> None:
    code = earlier.trials.code[0]
    (tmp_path / "given.csv").write_text(f"code,top1\n{code},12.5\n")
    run = search(learn_from=(str(tmp_path / "given.csv"), str(earlier.path)), start_from=(code, "00000001"))
    assert len(run.known) == len(earlier.trials)
    assert run.known.metrics.top1[0] == 12.5
    assert run.config.start_from == ("00000001",)
    assert run.trials.code[0] == "00000001"


def test_front_json_stays_json_where_a_file_gives_no_intervals(tmp_path: Path) -> None:
    (tmp_path / "given.csv").write_text("code,top1\n1310-1310-1310-1310-1310-1310-1310,90\n")
    run = nas.search("mbconv", budget=20, strategy="random", learn_from=[str(tmp_path / "given.csv")],
                     max={"peak_activation_bytes": 9e6}, out=tmp_path / "run")  # fmt: skip
    points = json.loads((run.path / "front.json").read_text(), parse_constant=pytest.fail)
    given = [point for point in points if point["learned_from"]]
    assert [(point["top1"], point["top1_low"]) for point in given] == [(90.0, None)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("codes,top1\n00000000,93\n", "no column code or architecture; did you mean 'codes'"),
        ("code,tpo1\n00000000,93\n", "no column top1, .*did you mean 'tpo1'"),
        ("code,top1\n00000000,93\n00000003,92\n", "line 3: block.8 is '3', must be one of 0, 1, 2"),
        ("code,top1\n00000000,93\n00000001,92\n00000000,91\n", "line 4: the network 00000000 stands in line 2 too"),
        ("code,top1\n00000000,93\n00000001,\n", "line 3: top1 is '', expected a number"),
        ("code,top1\n00000000,nan\n", "line 2: top1 is 'nan', expected a number"),
        ("code,top1\n00000000,930\n", "line 2: top1 is 930, expected percent"),
        ("code,top1\n00000000,0.93\n00000001,0.91\n", "write percent, 93.1 instead of 0.931"),
        ("code,top1\n00000000,93,1\n", "line 2 has 3 cells, the header has 2"),
        ("code,code,top1\n00000000,00000000,93\n", "a column twice"),
        ('code,top1\n"00000000,93\n', "no CSV file"),
        ("code,top1\n", "names no network"),
        ("", "no column code or architecture"),
    ],
)
def test_a_wrong_file_is_refused_with_the_line(search: Search, tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "given.csv").write_text(content)
    with pytest.raises(NasError, match=reason):
        search(learn_from=(str(tmp_path / "given.csv"),))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["nowhere", "00000000", "absent.csv", "folder.csv"])
def test_what_is_no_source_of_results_is_refused(search: Search, tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(NasError, match=r"cannot (learn from|read)"):
        search(learn_from=(str(tmp_path / name) if "csv" in name else name,))
    assert not (tmp_path / "run").exists()


def test_results_of_another_problem_are_refused_and_what_differs_is_named(
    search: Search, earlier: Run, tmp_path: Path
) -> None:
    source = str(earlier.path)
    with pytest.raises(
        NasError, match=rf"the space differs \(nasbench-macro there, mbconv here\).*--start-from {source}"
    ):
        nas.search("mbconv", learn_from=[source], out=tmp_path / "run")
    shutil.copytree(earlier.path, tmp_path / "changed")
    file = tmp_path / "changed" / "config.yaml"
    file.write_text(file.read_text().replace(earlier.record.digests["estimator"], "f" * 64))
    with pytest.raises(NasError, match=r"the estimator differs \(tabular:nasbench-macro has changed since\)"):
        search(learn_from=(str(tmp_path / "changed"),))
    plain = nas.search("mbconv", budget=20, out=tmp_path / "plain")
    with pytest.raises(NasError, match=r"the latency predictor differs \(no target there, pixel4 here\)"):
        nas.search("mbconv", "pixel4", learn_from=[str(plain.path)], out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_front_of_a_run_or_the_networks_of_a_file_are_evaluated_first(
    search: Search, earlier: Run, tmp_path: Path
) -> None:
    front = earlier.front.code.tolist()
    run = search(start_from=(str(earlier.path),), strategy="random")
    assert run.trials.code[: len(front)].tolist() == front
    assert run.trials.batch[: len(front) + 1].tolist() == [0] * len(front) + [1]
    again = search("again", start_from=(str(earlier.path / "front.csv"),), strategy="random")
    pd.testing.assert_frame_equal(again.trials, run.trials, check_exact=True)
    with pytest.raises(NasError, match=f"raise it to at least {len(front)}"):
        search("few", start_from=(str(earlier.path),), budget=len(front) - 1)


def test_a_file_to_start_from_may_name_published_networks(tmp_path: Path) -> None:
    (tmp_path / "seeds.csv").write_text("architecture\nefficientnet_b0\n1310-1310-1310-1310-1310-1310-1310\n")
    config = {"space": "mbconv", "start_from": (str(tmp_path / "seeds.csv"),)}
    run = start_search(make_config(config), tmp_path / "run")
    b0 = "1311-6321-6521-6331-6531-6541-6311"
    assert run.config.start_from == (b0, "1310-1310-1310-1310-1310-1310-1310")
    (tmp_path / "seeds.csv").write_text(f"architecture\nefficientnet_b0\n{b0}\n")
    with pytest.raises(NasError, match=f"line 3: the network {b0} stands in line 2 too"):
        start_search(make_config(config), tmp_path / "twice")
