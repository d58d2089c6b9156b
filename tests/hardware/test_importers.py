"""Measurements made with other tools: what their logs say is what arrives in the profile folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

import nas
from nas.cli.profile_import import import_profile
from nas.errors import NasError
from nas.hardware.profile import Conditions, read_profile
from nas.hardware.tables.benchmark_logs import read_executorch, read_onnxruntime, read_tflite
from nas.hardware.tables.importers import Imported, ImportRequest, import_measurements
from nas.hardware.tables.measurements import read_measurements
from nas.space import SearchSpace

# The logs below have the form that these sources print, with values of our own:
# tensorflow/lite/tools/benchmark/benchmark_model.cc (BenchmarkLoggingListener), tensorflow/core/util/stats_calculator.h
TFLITE = """\
INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Min num runs: [50]
INFO: Num threads: [4]
INFO: Graph: [/data/local/tmp/a.tflite]
INFO: #threads used for CPU inference: [4]
INFO: The input model file size (MB): 16.9008
INFO: Initialized session in 17.187ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
INFO: count=16 first=35124 curr=30010 min=29950 max=35124 avg=31200.5 std=1250

INFO: Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
INFO: count=50 first=30123 curr=29987 min=29876 max=33567 avg=30321.2 std=456{percentiles}

INFO: Inference timings in us: Init: 17187, First inference: 35124, Warmup (avg): 31200.5, Inference (avg): 30321.2
INFO: Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE to the actual \
memory footprint of the model at runtime. Take the information at your discretion.
INFO: Memory footprint delta from the start of the tool (MB): init=5.15625 overall=36.9883
"""
PERCENTILES = " p5=29900 median=30050 p95=31000"
# the forms before 2020, and without any statistics, as logcat shows them
TFLITE_OLD = """\
count=50 first=137789 curr=137254 min=137079 max=143416 avg=137722 std=896

Average inference timings in us: Warmup: 146161, Init: 4452, no stats: 137722
"""
LOGCAT = "07-14 13:23:09 I tflite  : Average inference timings in us: Warmup: 91471, Init: 4108, Inference: 80660.1\n"
LARGE = """\
count=1 curr=3512391

Inference timings in us: Init: 17187, First inference: 3512391, Warmup (avg): 3.51239e+06, Inference (avg): 2.95034e+06
"""

# onnxruntime/test/perftest/performance_runner.cc (Run) and performance_result.h (DumpToFile)
ONNXRUNTIME = """\
Setting intra_op_num_threads to 2
Session creation time cost: 0.0102016 s
First inference time cost: 2 ms
Total inference time cost: 0.185739 s
Total inference requests: 100
Average inference time cost: 1.85739 ms
Total inference run time: 0.18581 s
Number of inferences per second: 538.184
Avg CPU usage: 96 %
Peak working set size: 36696064 bytes
"""
ONNXRUNTIME_STATISTICS = """\
Avg CPU usage:96
Peak working set size:36696064
Runs:100
Min Latency: 0.00183404 s
Max Latency: 0.00190312 s
P50 Latency: 0.00185674 s
P90 Latency: 0.00187215 s
P999 Latency: 0.00190312 s
"""
# the sample output in onnxruntime/test/perftest/README.md, of the versions before 2021
ONNXRUNTIME_OLD = """\
Total time cost:58.8053
Total iterations:1000
Average time cost:58.8053 ms
Total run time:58.8102 s
Min Latency is 0.0559777sec
Max Latency is 0.0623472sec
P50 Latency is 0.0587108sec
"""

# executorch/examples/portable/executor_runner/executor_runner.cpp; single iterations are printed since 2026
EXECUTORCH = """\
I 00:00:00.000526 executorch:executor_runner.cpp:404] Resetting threadpool with num threads = 4
I 00:00:00.000595 executorch:executor_runner.cpp:491] Using method forward
I 00:00:00.075611 executorch:executor_runner.cpp:705] Iteration 1 of 5: 61.500000 ms
I 00:00:00.125611 executorch:executor_runner.cpp:705] Iteration 2 of 5: 40.100000 ms
I 00:00:00.175611 executorch:executor_runner.cpp:705] Iteration 3 of 5: 40.300000 ms
I 00:00:00.225611 executorch:executor_runner.cpp:705] Iteration 4 of 5: 39.900000 ms
I 00:00:00.275611 executorch:executor_runner.cpp:705] Iteration 5 of 5: 40.900000 ms
I 00:00:00.275701 executorch:executor_runner.cpp:714] Model executed successfully 5 time(s) in 222.700000 ms.
I 00:00:00.275801 executorch:executor_runner.cpp:720] 1 outputs:
"""
# written by save_data_to_tsv of the Inspector of ExecuTorch 1.5.1, columns between the first and the last left out
INSPECTOR = (
    "\tevent_block_name\tevent_name\tp10 (ms)\tp50 (ms)\tavg (ms)\tis_delegated_op\tstart_time\n"
    "0\tDefault\tMethod::init\t0.679207\t0.679207\t0.679207\tFalse\t[7451112]\n"
    "1\tExecute\tDELEGATE_CALL\t0.1267344\t0.164206\t0.9607252\tFalse\t[8144205, 8392738, 12737860]\n"
    "2\tExecute\tMethod::execute\t0.1284716\t0.165658\t0.9623462\tFalse\t[8143383, 8392227, 12736938]\n"
)

STATED = Conditions(precision="float32")
CODE = "4511-6511-1310-4310-6530-1330-6510"
OTHER = "4531-6330-1310-6320-4331-1530-6520"


def run(request: ImportRequest, folder: Path, **facts: str) -> Imported:
    return import_measurements(request, folder, facts, STATED)


# --- what the tools print ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "latency", "statistic", "runs", "std", "threads"),
    [
        (TFLITE.format(percentiles=PERCENTILES), 30.05, "median", 50, 0.456, 4),
        (TFLITE.format(percentiles=""), 30.3212, "mean", 50, 0.456, 4),
        (TFLITE_OLD, 137.722, "mean", 50, 0.896, None), (LOGCAT, 80.6601, "mean", 1, None, None),
        (LARGE, 2950.34, "mean", 1, None, None),
    ],
)  # fmt: skip
def test_tflite(
    text: str, latency: float, statistic: str, runs: int, std: float | None, threads: int | None
) -> None:  # fmt: skip
    (timing,) = read_tflite(text)
    assert timing.latency_ms == pytest.approx(latency)
    assert (timing.statistic, timing.runs, timing.threads) == (statistic, runs, threads)
    assert timing.std_ms == (None if std is None else pytest.approx(std))


def test_tflite_statistics_belong_to_one_benchmark() -> None:
    once = TFLITE.format(percentiles=PERCENTILES)
    summary = next(line for line in once.splitlines() if "Inference timings" in line)
    assert [(timing.statistic, timing.runs) for timing in read_tflite(once + summary)] == [("median", 50), ("mean", 1)]


def test_onnxruntime() -> None:
    (average,) = read_onnxruntime(ONNXRUNTIME)
    (median,) = read_onnxruntime(ONNXRUNTIME + ONNXRUNTIME_STATISTICS)
    (old,) = read_onnxruntime(ONNXRUNTIME_OLD)
    assert (average.latency_ms, average.statistic, average.runs, average.threads) == (1.85739, "mean", 100, 2)
    assert (median.latency_ms, median.statistic) == (pytest.approx(1.85674), "median")
    assert (old.latency_ms, old.runs, old.threads) == (pytest.approx(58.7108), 1000, None)
    both = read_onnxruntime(ONNXRUNTIME + ONNXRUNTIME_STATISTICS + ONNXRUNTIME)
    assert [timing.statistic for timing in both] == ["median", "mean"]


def test_executorch() -> None:
    (timing,) = read_executorch(EXECUTORCH)
    warm = [40.1, 40.3, 39.9, 40.9]
    assert (timing.latency_ms, timing.statistic, timing.runs) == (pytest.approx(np.median(warm)), "median", 4)
    assert (timing.std_ms, timing.threads) == (pytest.approx(np.std(warm, ddof=1)), 4)
    short = "\n".join(line for line in EXECUTORCH.splitlines() if "Iteration" not in line)
    (timing,) = read_executorch(short)
    assert (timing.latency_ms, timing.statistic, timing.runs) == (pytest.approx(222.7 / 5), "mean", 5)
    (timing,) = read_executorch(INSPECTOR)
    assert (timing.latency_ms, timing.statistic, timing.runs) == (0.165658, "median", 3)
    with pytest.raises(NasError, match="not in ms"):
        read_executorch(INSPECTOR.replace("(ms)", "(cycles)"))


@pytest.mark.parametrize("read", [read_tflite, read_onnxruntime, read_executorch])
def test_tools_do_not_read_the_logs_of_others(read) -> None:  # type: ignore[no-untyped-def]
    logs = {
        read_tflite: TFLITE.format(percentiles=""), read_onnxruntime: ONNXRUNTIME, read_executorch: EXECUTORCH,
    }  # fmt: skip
    assert [other for other, text in logs.items() if read(text)] == [read]


# --- from logs to a folder --------------------------------------------------------------------------------------------


def test_logs_named_after_their_networks(tmp_path: Path, mbconv: SearchSpace) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / f"{CODE}.txt").write_text(TFLITE.format(percentiles=PERCENTILES))
    (logs / f"{OTHER}.log").write_text(TFLITE.format(percentiles=PERCENTILES).replace("=30050", "=20000"))
    imported = run(ImportRequest([logs], space=mbconv), tmp_path / "phone", device="Some Phone")
    assert (imported.format, imported.files, imported.statistic) == ("tflite", 2, "median")
    table = read_measurements(tmp_path / "phone" / "measurements.csv")
    assert dict(zip(table.items, table.values["latency_ms"], strict=True)) == {CODE: 30.05, OTHER: 20.0}
    profile = read_profile(tmp_path / "phone" / "profile.yaml")
    assert (profile.name, profile.device, profile.soc) == ("phone", "Some Phone", "not stated")
    assert profile.conditions is not None
    conditions = profile.conditions
    assert (conditions.runtime, conditions.threads, conditions.precision) == ("TensorFlow Lite", 4, "float32")


def test_logs_of_one_network_and_by_a_list(tmp_path: Path, mbconv: SearchSpace) -> None:
    (tmp_path / "a.txt").write_text(ONNXRUNTIME)
    (tmp_path / "b.txt").write_text(ONNXRUNTIME.replace("1.85739 ms", "1.9 ms"))
    files = [tmp_path / "a.txt", tmp_path / "b.txt"]
    one = run(ImportRequest(files, network="efficientnet_b0"), tmp_path / "one").measured
    assert one is not None
    assert (one.items, one.values["latency_ms"].tolist()) == (("efficientnet_b0",), [pytest.approx(1.878695)])
    assert one.runs.tolist() == [200]
    names = tmp_path / "names.csv"
    names.write_text(f"file,code\na.txt,{CODE}\nlogs/b.txt,{OTHER}\n")
    two = run(ImportRequest(files, space=mbconv, names=names), tmp_path / "two").measured
    assert two is not None
    assert two.items == (CODE, OTHER)
    names.write_text(f"file,code\na.txt,{CODE}\n")
    with pytest.raises(NasError, match=r"does not say of which network b\.txt is"):
        run(ImportRequest(files, space=mbconv, names=names), tmp_path / "three")


def test_a_table_with_columns_of_another_tool(tmp_path: Path, data_dir: Path) -> None:
    source = data_dir / "snapdragon855" / "nb201_latency_ms.csv.gz"
    column = "latbench_sd855_hexagon690_dsp"
    request = ImportRequest([source], space=nas.space("nasbench201"), column=column, unit="ms")
    run(request, tmp_path / "dsp")
    table = read_measurements(tmp_path / "dsp" / "measurements.csv")
    np.testing.assert_allclose(table.values["latency_ms"], pd.read_csv(source)[column])


# --- block tables -----------------------------------------------------------------------------------------------------

KEY = "expanded_conv-input:56x56x24-output:28x28x40-expand:3-kernel:5-stride:2-idskip:0"


def test_the_table_of_proxylessnas(tmp_path: Path, data_dir: Path) -> None:
    """The shipped target `pixel1` was made of the same table."""
    request = ImportRequest([data_dir / "pixel1" / "proxylessnas_block_lut.csv"], published={"mnasnet_b1": 76})
    imported = run(request, tmp_path / "phone")
    assert imported.format == "proxyless"
    spec = nas.network("mnasnet_b1")
    shipped = next(fit for fit in nas.target("pixel1").fitted if fit.predictor.kind == "lookup").predictor
    (fitted,) = nas.target(str(tmp_path / "phone")).fitted
    assert fitted.predictor.predict_spec(spec) == shipped.predict_spec(spec)
    assert "mnasnet_b1 88.1 ms, published 76 ms" in fitted.held_out_text


def test_a_table_in_yaml(tmp_path: Path) -> None:
    path = tmp_path / "trim.yaml"
    path.write_text(f"{KEY}:\n  count: 150\n  mean: 5.25\n  var: 0.04\nConv_1-input:7x7x320-output:7x7x1280: 6.3\n")
    imported = run(ImportRequest([path]), tmp_path / "phone")
    assert imported.table is not None
    blocks = {block.kernels.split(",")[0]: block for block in imported.table.parameters.blocks}
    main = blocks["conv k1 s1 24>72 @56"]
    assert (main.mean, main.std, main.count) == (5.25, 0.2, 150)
    assert blocks["conv k1 s1 320>1280 @7"].mean == 6.3
    seconds = run(ImportRequest([path], unit="us"), tmp_path / "micro").table
    assert seconds is not None
    assert seconds.parameters.blocks[0].mean == 0.00525
    assert nas.target(str(tmp_path / "phone")).fitted[0].held_out_text == "no held-out measurements"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (f"{KEY}: -1", "mean is -1, expected a number that is not negative"), (f"{KEY}: 0", "must be above 0"),
        (f"{KEY}: fast", "mean is 'fast'"), (f"{KEY}: .nan", "mean is nan"), (f"{KEY}: {{var: 1}}", "mean is None"),
        (f"{KEY.replace('idskip:0', 'idskip:1')}: 1", "does not follow from its shapes"),
        (f"{KEY.replace('28x28', '27x27')}: 1", "should be 28 × 28"), (f"{KEY.replace('56x56', '56x48')}: 1", "square"),
        (f"{KEY}: 1\nPool-input:1: 2", "'Pool-input:1' is no block of ProxylessNAS"), (f"- {KEY}", "must map keys"),
        (f"{KEY}: 1\n{KEY}: 2", "is no YAML"), (f"key,mean\n{KEY},1\n{KEY},2", "line 3: the block"),
        (f"key,time\n{KEY},1", "has no column 'mean'"),
    ],
)  # fmt: skip
def test_damaged_block_tables(tmp_path: Path, content: str, expected: str) -> None:
    path = tmp_path / "trim.yaml"
    path.write_text(content)
    with pytest.raises(NasError) as caught:
        run(ImportRequest([path]), tmp_path / "phone")
    assert expected in str(caught.value)
    assert str(path) in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["trim.yaml"]


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("Segmentation fault", {}, "in no known format"), ("", {}, "is empty"),
        ("Segmentation fault", {"format": "tflite"}, "no timing of TensorFlow Lite's benchmark_model: was it cut off"),
        (LOGCAT, {"format": "tflight"}, "unknown format 'tflight'; did you mean 'tflite'?"),
        (LOGCAT, {"network": "efficientnet_b00"}, "did you mean 'efficientnet_b0'?"),
        (LOGCAT, {}, "name logs after their networks, or use --names"),
        (LOGCAT, {"network": "efficientnet_b0", "unit": "ms"}, "--unit is not for files of the format tflite"),
        (LOGCAT.replace("80660.1", "0"), {"network": "efficientnet_b0"}, "a latency of 0 ms cannot be measured"),
        (LOGCAT + LOGCAT.replace("80660.1", "99999.9"), {"network": "efficientnet_b0"}, "more than 20 % apart"),
        (LOGCAT.replace("80660.1", "80.6601"), {"network": "efficientnet_b3"}, "too much to be true"),
        (f"{KEY}: 1", {"published": {"efficientnet_b00": 1.0}}, "unknown network"),
        (f"{KEY}: 1", {"published": {"mnasnet_b1": 76.0}}, "was not measured on this target"),
        (f"{KEY}: 1", {"unit": "hours"}, "unknown unit 'hours'"),
        (f"network,latency_ms\nefficientnet_b0,-1\n{KEY}", {"format": "csv"}, "line 3 has 1 cells"),
        ("[{\"network\": \"efficientnet_b0\", \"latency_ms\": 5}]", {"network": "mnasnet_b1"}, "--network is not for"),
    ],
)  # fmt: skip
def test_bad_input(tmp_path: Path, text: str, options: dict[str, object], expected: str) -> None:
    path = tmp_path / "unnamed.txt"
    path.write_text(text)
    with pytest.raises(NasError) as caught:
        run(ImportRequest([path], **options), tmp_path / "phone")  # type: ignore[arg-type]
    assert expected in str(caught.value)
    # Nothing is written, and nothing half-written left behind.
    assert [file.name for file in tmp_path.iterdir()] == ["unnamed.txt"]


def test_logs_must_agree_on_format_and_threads(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TFLITE.format(percentiles=""))
    (tmp_path / "b.txt").write_text(TFLITE.format(percentiles="").replace("Num threads: [4]", "Num threads: [1]"))
    (tmp_path / "c.txt").write_text(ONNXRUNTIME)
    for pair, expected in (("ab", "with 1 threads"), ("ac", "is of the format onnxruntime")):
        files = [tmp_path / f"{name}.txt" for name in pair]
        with pytest.raises(NasError, match=expected):
            run(ImportRequest(files, network="efficientnet_b0"), tmp_path / "phone")


def test_a_folder_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(LOGCAT)
    request = ImportRequest([tmp_path / "a.txt"], network="efficientnet_b0")
    # What a killed import has left is no hindrance.
    (tmp_path / ".phone.part" / "old").mkdir(parents=True)
    run(request, tmp_path / "phone")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.txt", "phone"]
    before = (tmp_path / "phone" / "measurements.csv").read_bytes()
    with pytest.raises(NasError, match="is there already"):
        run(request, tmp_path / "phone")
    assert (tmp_path / "phone" / "measurements.csv").read_bytes() == before
    with pytest.raises(NasError, match="cannot write"):
        run(request, tmp_path / "a.txt" / "phone")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(NasError, match="holds no file"):
        run(ImportRequest([tmp_path / "nothing"]), tmp_path / "other")


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(import_profile)
    (tmp_path / f"{CODE}.txt").write_text(EXECUTORCH)
    words = [str(tmp_path / f"{CODE}.txt"), "--to", str(tmp_path / "board"), "--space", "mbconv", "--soc", "RK3588"]
    result = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False)
    content = json.loads(result.output)
    assert (content["format"], content["networks"], content["statistic"]) == ("executorch", 1, "median")
    assert "soc" not in content["not_stated"]
    assert "device" in content["not_stated"]
    words[2] = str(tmp_path / "again")
    printed = CliRunner().invoke(app, words, catch_exceptions=False).output
    assert "1 file (executorch): 1 network of mbconv, median of 4 runs each" in printed
    assert "40.2 to 40.2 ms, 1 network, measured" in printed
    assert f"nas profile fit {tmp_path / 'again'}" in printed
