"""Tables of trained networks against what their authors published, and what strategies may not see."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import nas
from nas import registry
from nas.errors import NasError
from nas.estimators.table import Table
from nas.estimators.tabular import TabularEstimator, benchmark_names, load_benchmark
from nas.search.config import make_config
from nas.search.problem import Problem
from nas.space import ListedSpace

NB201 = ("cifar10", "cifar100", "imagenet16-120")


@pytest.fixture(scope="module")
def table(data_dir: Path) -> Callable[[str], Table]:
    return lambda name: load_benchmark(name).table(data_dir)


@pytest.mark.parametrize("dataset", NB201)
def test_nasbench201_is_whole(table: Callable[[str], Table], dataset: str) -> None:
    # Dong & Yang (2020): 5^6 cells.
    found = table(f"nasbench201-{dataset}")
    assert len(found.codes) == len(np.unique(found.codes, axis=0)) == 5**6 == found.space.size
    assert found.space.name.startswith("nasbench201")


@pytest.mark.parametrize(
    ("dataset", "optimum", "at_best_validation"),
    [("cifar10", 94.37, 94.30), ("cifar100", 73.51, 72.28), ("imagenet16-120", 47.31, 46.48)],
)
def test_nasbench201_has_the_published_optimum(
    table: Callable[[str], Table], dataset: str, optimum: float, at_best_validation: float
) -> None:
    # The optima are in table 5 of the paper; the other figures are what the validation columns can reach.
    found = table(f"nasbench201-{dataset}")
    test = found.reported["test_top1"]
    assert test.max() == pytest.approx(optimum, abs=0.005)
    assert test[found.metrics()["top1"].argmax()] == pytest.approx(at_best_validation, abs=0.005)


def test_a_search_chooses_by_validation_after_the_right_number_of_epochs(
    table: Callable[[str], Table], data_dir: Path
) -> None:
    raw = pd.read_csv(data_dir / "nasbench201" / "nb201_accuracy.csv.gz")
    columns = {
        "cifar10": ("ep200_cifar10_val_seed", "ep12_cifar10_val", "ep200_cifar10_test"),
        "cifar100": ("ep12_cifar100_val", "ep12_cifar100_val", "ep200_cifar100_test"),
        "imagenet16-120": ("ep12_ImageNet16-120_val", "ep12_ImageNet16-120_val", "ep200_ImageNet16-120_test"),
    }
    for dataset, (chooses, short, test) in columns.items():
        found = table(f"nasbench201-{dataset}")
        assert (found.metrics()["top1"] == raw[chooses]).all()
        assert (found.metrics(12)["top1"] == raw[short]).all()
        assert (found.reported["test_top1"] == raw[test]).all()
    assert table("nasbench201-cifar10").fidelities == (12, 200)
    assert table("nasbench201-cifar100").fidelities == (12,)
    # One training of 200 epochs with a validation accuracy is there for 9,445 cells on ImageNet16-120.
    assert table("nasbench201-imagenet16-120").metrics(200)["top1"].notna().sum() == 9_445
    with pytest.raises(NasError, match=r"no accuracy after 200 epochs; it has: 12"):
        table("nasbench201-cifar100").metrics(200)


def test_rows_belong_to_the_cells_they_are_named_by(table: Callable[[str], Table]) -> None:
    found = table("nasbench201-cifar10")
    # The best cell by validation, as the table of the authors names it.
    row = found.rows(found.space.encode("|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|"
                                        "skip_connect~1|skip_connect~2|")[None])  # fmt: skip
    assert row.tolist() == [0]
    assert found.reported["test_top1"][0] == 85.8633


def test_nothing_of_the_test_set_is_told(data_dir: Path) -> None:
    for name in benchmark_names():
        estimator = TabularEstimator(name, data_dir)
        problem = Problem(estimator.table.space, (), (), estimator)
        codes = estimator.table.codes[:7]
        told = problem.evaluate(codes)
        assert not [column for column in told if "test" in column]
        reported = estimator.report(codes)
        assert len(reported) == len(told) == 7
        for column in reported:
            assert not any(np.array_equal(told[other], reported[column]) for other in told)


def test_latencies_and_energies_of_hw_nas_bench(table: Callable[[str], Table], data_dir: Path) -> None:
    raw = pd.read_csv(data_dir / "nasbench201" / "hwnasbench_ImageNet16-120.csv.gz")
    found = table("nasbench201-imagenet16-120").measured
    assert len(found.columns) == 9
    assert (found["latency_pixel3_ms"] == raw["pixel3_latency"]).all()
    assert (found["energy_edgegpu_mj"] == raw["edgegpu_energy"]).all()
    # The Edge TPU could not run 4,699 cells; they must not look like fast ones.
    assert found["latency_edgetpu_ms"].isna().sum() == 4_699
    assert found.min().min() > 0


def test_training_times_are_recorded_or_close_to_it(table: Callable[[str], Table], data_dir: Path) -> None:
    raw = pd.read_csv(data_dir / "nasbench201" / "nats_tss_1000_train_time.csv.gz")
    found = table("nasbench201-cifar10")
    seconds = found.metrics()["train_seconds"].to_numpy()
    recorded = raw["cifar10_ep200_train_time_s"].to_numpy()
    assert (seconds[raw["idx"]] == recorded).all()
    assert np.allclose(found.metrics(12)["train_seconds"] * 200 / 12, seconds, rtol=1e-3)
    # What fills the gaps, on recorded cells that it has not seen: half fitted, half predicted.
    features = np.column_stack([found.space.features(found.codes[raw["idx"]]), np.ones(len(raw))])
    weights = np.linalg.lstsq(features[:500], recorded[:500], rcond=None)[0]
    error = np.abs(features[500:] @ weights / recorded[500:] - 1)
    assert error.mean() < 0.05


def test_nasbench_macro_is_the_published_table(table: Callable[[str], Table], data_dir: Path) -> None:
    found = table("nasbench-macro")
    assert len(found.codes) == 3**8
    assert found.metrics()["top1"].max() == pytest.approx(93.127, abs=5e-4)
    assert found.space.format(found.codes[[found.metrics()["top1"].argmax()]]) == ["22212220"]
    raw = json.loads((data_dir / "nasbench_macro" / "nas-bench-macro_cifar10.json").read_text())
    problem = Problem(found.space, (), (), TabularEstimator("nasbench-macro", data_dir))
    codes = np.stack([found.space.encode(key) for key in raw])
    assert (problem.evaluate(codes)["macs"] == [row["flops"] for row in raw.values()]).all()
    assert found.metrics()["top1"][found.rows(codes)].tolist() == [row["mean_acc"] for row in raw.values()]


def test_accel_nasbench_is_a_list_of_networks(table: Callable[[str], Table], data_dir: Path) -> None:
    raw = pd.read_csv(data_dir / "accel_nasbench" / "imagenet_mbconv.csv.gz")
    found = table("accel-nasbench")
    assert isinstance(found.space, ListedSpace)
    distinct = raw.drop_duplicates(["expand", "kernel", "layers", "se"])
    assert found.space.size == len(distinct) == 4_616
    assert (found.metrics()["top1"] == distinct["top1"].to_numpy()).all()
    assert np.array_equal(found.measured["latency_zcu102_ms"], distinct["latency_zcu102_ms"], equal_nan=True)
    # Parameters counted from the codes are those that the authors counted.
    problem = Problem(found.space, (), (), TabularEstimator("accel-nasbench", data_dir))
    assert (problem.costs(found.codes)["params"] == distinct["params"].to_numpy()).all()


def test_a_problem_searches_what_the_table_holds(data_dir: Path) -> None:
    config = make_config(
        {"space": "mbconv", "estimator": "tabular:accel-nasbench", "data": str(data_dir),
         "objectives": ("error", "latency_zcu102_ms", "throughput_a100_ips")}
    )  # fmt: skip
    problem = Problem.from_config(config)
    assert problem.preview.size == 4_616
    assert [(o.metric, o.maximise) for o in problem.objectives] == [
        ("top1", True), ("latency_zcu102_ms", False), ("throughput_a100_ips", True)
    ]  # fmt: skip
    assert problem.origin("top1") == problem.origin("latency_zcu102_ms") == "measured"
    assert np.isfinite(problem.box().reference).all()
    cifar100 = Problem.from_config(
        make_config({"space": "nasbench201", "estimator": "tabular:nasbench201-cifar100", "data": str(data_dir)})
    )
    # 100 classes: 64 x 90 more weights and 90 more biases in the last layer than on CIFAR-10.
    more = (
        cifar100.costs(cifar100.space.all_codes()[:1])["params"]
        - Problem(nas.space("nasbench201"), ()).costs(cifar100.space.all_codes()[:1])["params"]
    )
    assert more.tolist() == [64 * 90 + 90]
    assert cifar100.origin("latency_fpga_ms") == "predicted"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"estimator": "tabular:nasbench-makro"}, "unknown benchmark 'nasbench-makro'; did you mean 'nasbench-macro'"),
        ({"estimator": "tabular"}, "write tabular:NAME, with one of accel-nasbench, nasbench-macro"),
        ({"estimator": "surrogate:x"}, "the estimator 'surrogate' takes no argument"),
        ({"estimator": "surrogate", "data": "."}, "reads no data"),
        ({"estimator": "tabular:nasbench-macro", "space": "mbconv"}, "holds networks of nasbench-macro, not of mbconv"),
        ({"estimator": "tabular:nasbench-macro", "objectives": ("eror",)}, "unknown objective 'eror'"),
        ({"estimator": "tabular:nasbench-macro", "data": "/nowhere"}, "/nowhere is no folder"),
    ],
)
def test_refuses_what_makes_no_sense(data_dir: Path, settings: dict[str, object], message: str) -> None:
    given = {"space": "nasbench-macro", "data": str(data_dir)} | settings
    if settings["estimator"] in ("tabular", "surrogate:x"):
        del given["data"]
    with pytest.raises(NasError, match=message):
        Problem.from_config(make_config(given))


def test_without_data_says_how_to_name_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NAS_DATA", raising=False)
    with pytest.raises(NasError, match="--data DIR or the variable NAS_DATA"):
        TabularEstimator("nasbench-macro").table  # noqa: B018 - reading is what fails
    monkeypatch.setenv("NAS_DATA", str(tmp_path))
    with pytest.raises(NasError, match=r"has no nasbench_macro/nas-bench-macro_cifar10.json"):
        TabularEstimator("nasbench-macro").table  # noqa: B018


@pytest.mark.parametrize(
    ("benchmark", "file", "content", "message"),
    [
        ("nasbench-macro", "nas-bench-macro_cifar10.json", "{", "is not the table of NAS-Bench-Macro"),
        ("nasbench-macro", "nas-bench-macro_cifar10.json", '{"00000000": {"mean_acc": 1.0}}', "holds 1 networks"),
        ("nasbench-macro", "nas-bench-macro_cifar10.json", '{"00000003": {"mean_acc": 1.0}}', "must be one of 0, 1, 2"),
        ("nasbench201-cifar10", "nb201_accuracy.csv", "arch_str\n|none~0|", "has no column 'ep12_cifar10_val'"),
        ("accel-nasbench", "imagenet_mbconv.csv", "", "cannot read"),
    ],
)
def test_damaged_files_end_in_one_message(
    tmp_path: Path, benchmark: str, file: str, content: str, message: str
) -> None:
    (tmp_path / file).write_text(content)
    with pytest.raises(NasError, match=message):
        load_benchmark(benchmark).table(tmp_path)


@pytest.mark.parametrize(
    ("benchmark", "file", "row", "column", "value", "message"),
    [
        ("accel", "accel_nasbench/imagenet_mbconv.csv", 3, "top1", "high", "line 5: top1 is high, not a number"),
        ("accel", "accel_nasbench/imagenet_mbconv.csv", 3, "top1", "159.3", "line 5: top1 is 159.3, not a percentage"),
        (
            "accel",
            "accel_nasbench/imagenet_mbconv.csv",
            0,
            "latency_zcu102_ms",
            "5,0",
            "latency_zcu102_ms is 5,0, not a n",
        ),
        ("accel", "accel_nasbench/imagenet_mbconv.csv", 0, "kernel", "3 5 3 5 5 3 7", "no choice of stage7.kernel"),
        (
            "nasbench201:cifar10",
            "nasbench201/nb201_accuracy.csv",
            7,
            "ep12_cifar10_test",
            "",
            "line 9: .* is empty, not a p",
        ),
        ("nasbench201:cifar10", "nasbench201/nb201_accuracy.csv", 7, "arch_str", "|none~0|", "line 9: "),
        ("nasbench201:cifar10", "nasbench201/nb201_accuracy.csv", 7, "arch_str", "", "line 9: "),
    ],
)
def test_a_damaged_row_is_named(
    data_dir: Path, tmp_path: Path, benchmark: str, file: str, row: int, column: str, value: str, message: str
) -> None:
    frame = pd.read_csv(data_dir / f"{file}.gz", dtype=str)
    frame.loc[row, column] = value
    frame.to_csv(tmp_path / Path(file).name, index=False)
    with pytest.raises(NasError, match=message):
        load_benchmark(benchmark).table(tmp_path)


def test_a_broken_archive_ends_in_one_message(data_dir: Path, tmp_path: Path) -> None:
    content = bytearray((data_dir / "accel_nasbench" / "imagenet_mbconv.csv.gz").read_bytes())
    content[20_000:20_050] = b"\xff" * 50
    (tmp_path / "imagenet_mbconv.csv.gz").write_bytes(content)
    with pytest.raises(NasError, match=r"imagenet_mbconv\.csv\.gz"):
        load_benchmark("accel").table(tmp_path)


def authors_archive(frame: pd.DataFrame, path: Path, latency_factor: float = 1.0) -> None:
    """Write networks as the authors of Accel-NASBench do: result_<number>.json in a tar file."""
    with tarfile.open(path, "w:gz") as archive:
        for number, row in frame.iterrows():
            net: dict[str, object] = {}
            for name, letter in (("expand", "e"), ("kernel", "k"), ("layers", "l")):
                net |= {f"block{i}_{letter}": int(value) for i, value in enumerate(row[name].split())}
            net |= {f"block{i}_se": value == "1" for i, value in enumerate(row["se"].split())}
            measured: dict[str, dict[str, float]] = {}
            for column in frame.columns:
                quantity, _, device = column.rpartition("_")[0].partition("_")
                if quantity in ("latency", "throughput") and not pd.isna(row[column]):
                    factor = latency_factor if quantity == "latency" else 1.0
                    measured[f"{quantity}_{device}"] = {
                        f"{quantity}_mean": row[column] * factor,
                        f"{quantity}_std": 0.1,
                    }
            result = {
                "architecture": net, "metrics": {"val_top1": row["top1"], "train_time": row["train_time_s"]},
                "model_info": {"macs": row["macs"]}, "platform_perf": measured,
            }  # fmt: skip
            content = json.dumps(result).encode()
            member = tarfile.TarInfo(f"anb/result_{number}.json")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def test_reads_the_archive_of_accel_nasbench(data_dir: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(data_dir / "accel_nasbench" / "imagenet_mbconv.csv.gz").head(300)
    authors_archive(frame.sample(frac=1, random_state=0), tmp_path / "anb_dataset_jsons.tar.gz")
    found = load_benchmark("accel").table(tmp_path)
    (tmp_path / "csv").mkdir()
    frame.to_csv(tmp_path / "csv" / "imagenet_mbconv.csv", index=False)
    expected = load_benchmark("accel").table(tmp_path / "csv")
    assert np.array_equal(found.codes, expected.codes)
    pd.testing.assert_frame_equal(found.metrics(), expected.metrics())
    (tmp_path / "seconds").mkdir()
    authors_archive(frame, tmp_path / "seconds" / "anb_dataset_jsons.tar.gz", latency_factor=1e-3)
    with pytest.raises(NasError, match="latencies that are not in milliseconds"):
        load_benchmark("accel").table(tmp_path / "seconds")
    (tmp_path / "empty").mkdir()
    tarfile.open(tmp_path / "empty" / "anb_dataset_jsons.tar.gz", "w:gz").close()
    with pytest.raises(NasError, match="holds no result_<number>"):
        load_benchmark("accel").table(tmp_path / "empty")
    (tmp_path / "cut").mkdir()
    whole = (tmp_path / "anb_dataset_jsons.tar.gz").read_bytes()
    (tmp_path / "cut" / "anb_dataset_jsons.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(NasError, match="is damaged"):
        load_benchmark("accel").table(tmp_path / "cut")


#: answers as the authors' interfaces do, from the tables at hand
STUBS = """
import pandas as pd
def create(path, space, fast_mode, verbose):
    return Interface()
class Interface:
    def __init__(self, path=None, search_space=None):
        self.rows = pd.read_csv(DATA + "/nasbench201/nb201_accuracy.csv.gz").to_dict("records")
        self.hardware = {}
    def __iter__(self):
        return iter(row["arch_str"] for row in self.rows)
    def get_more_info(self, index, dataset, hp, is_random):
        row, name = self.rows[index], dataset.removesuffix("-valid")
        validation = row[f"ep12_{name}_val"] if hp == "12" else row.get(f"ep200_{name}_val_seed", 50.0)
        test = row[f"ep{hp}_{name}_test"]
        return {"test-accuracy": test, "valid-accuracy": validation, "train-all-time": 60.0 + index}
    def query_by_index(self, index, name):
        if name not in self.hardware:
            frame = pd.read_csv(DATA + f"/nasbench201/hwnasbench_{name}.csv.gz")
            self.hardware[name] = frame.drop(columns="arch_str").to_dict("records")
        return self.hardware[name][index]
HWNASBenchAPI = Interface
"""


def test_the_documented_conversion_gives_files_that_are_read(
    table: Callable[[str], Table], data_dir: Path, tmp_path: Path, repo_root: Path
) -> None:
    """The snippet of docs/tabular.md for the pickles of NATS-Bench and HW-NAS-Bench, with stubs for their readers."""
    text = (repo_root / "docs" / "tabular.md").read_text(encoding="utf-8")
    snippet = re.search(r"```python\n(import csv.*?)```", text, re.DOTALL)
    assert snippet is not None
    for module in ("nats_bench", "hw_nas_bench_api"):
        (tmp_path / f"{module}.py").write_text(f"DATA = {str(data_dir)!r}\n{STUBS}")
    (tmp_path / "convert.py").write_text(snippet[1])
    subprocess.run([sys.executable, "convert.py"], cwd=tmp_path, check=True)
    for dataset in NB201:
        found, expected = (load_benchmark(f"nasbench201-{dataset}").table(folder) for folder in (tmp_path, data_dir))
        assert (found.metrics()["top1"] == expected.metrics()["top1"]).all()
        pd.testing.assert_frame_equal(found.reported, expected.reported)
        pd.testing.assert_frame_equal(found.measured, expected.measured)
        assert found.metrics()["train_seconds"].tolist()[:3] == [60.0, 61.0, 62.0]


def test_short_names_of_tables() -> None:
    for short, name in (
        ("accel", "accel-nasbench"), ("nasbench201:cifar10", "nasbench201-cifar10"), ("nasbench", "nasbench-macro"),
        ("nasbench201:ImageNet16", "nasbench201-imagenet16-120"), ("nasbench201-cifar100", "nasbench201-cifar100"),
    ):  # fmt: skip
        assert load_benchmark(short).name == name
    with pytest.raises(NasError, match="'nasbench201' may be any of nasbench201-cifar10, nasbench201-cifar100, nasb"):
        load_benchmark("nasbench201")
    # Not any beginning will do, but whole words: a letter is no name.
    with pytest.raises(NasError, match="unknown benchmark 'acc'"):
        load_benchmark("acc")


def test_reads_what_users_download(data_dir: Path, tmp_path: Path) -> None:
    """A checkout of the authors' repository beside other folders, and plain instead of compressed CSV."""
    source = data_dir / "nasbench_macro" / "nas-bench-macro_cifar10.json"
    (tmp_path / "NAS-Bench-Macro" / "data").mkdir(parents=True)
    (tmp_path / "NAS-Bench-Macro" / "data" / source.name).write_bytes(source.read_bytes())
    assert load_benchmark("nasbench-macro").table(tmp_path).metrics()["top1"].max() == pytest.approx(93.127, abs=5e-4)
    pd.read_csv(data_dir / "nasbench201" / "nb201_accuracy.csv.gz").to_csv(tmp_path / "nb201_accuracy.csv", index=False)
    plain = load_benchmark("nasbench201-cifar10").table(tmp_path)
    assert plain.metrics()["top1"].max() == 91.57
    assert list(plain.metrics()) == ["top1"]


def test_an_argument_goes_to_what_is_registered() -> None:
    with pytest.raises(NasError, match="the strategy 'random' takes no argument: write 'random' instead of 'random:x'"):
        registry.load("strategies", "random:x")
    with pytest.raises(NasError, match="unknown strategy 'randm:x'; did you mean 'random'"):
        registry.load("strategies", "randm:x")
