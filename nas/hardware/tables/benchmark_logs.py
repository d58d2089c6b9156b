"""Latencies from what the benchmark tools of runtimes print.

The formats are those of the tools' sources: TensorFlow Lite `tools/benchmark/benchmark_model.cc` with
`tensorflow/core/util/stats_calculator.h`, ONNX Runtime `test/perftest/performance_runner.cc`, ExecuTorch
`examples/portable/executor_runner/executor_runner.cpp` and `devtools/inspector`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from statistics import median, stdev

from nas.errors import NasError

_NUMBER = r"(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)"


@dataclass(frozen=True)
class Timing:
    """What a tool measured of one network.

    Args:
        statistic: which one `latency_ms` is, "median" where the tool prints it, else "mean".
        std_ms: standard deviation of one run, where the tool prints it or every run.
        threads: where the tool prints them.
    """

    latency_ms: float
    statistic: str
    runs: int = 1
    std_ms: float | None = None
    threads: int | None = None


#: "Inference timings in us: Init: …, Inference (avg): 14575.2"; before 2020 "Average inference timings in us: Warmup:
#: …, Inference: 80660.1", or "no stats: …"
_TFLITE = re.compile(rf"[Ii]nference timings in us:.*?(?:Inference \(avg\)|Inference|no stats): {_NUMBER}")
#: "count=50 first=79449 curr=81350 min=77385 max=88213 avg=79732 std=1929 p5=78001 median=79500 p95=82000"
_TFLITE_STATISTICS = re.compile(r"count=(\d+)((?: \w+=[\d.e+-]+)+)")
_TFLITE_THREADS = re.compile(r"Num threads: \[(\d+)\]")


def read_tflite(text: str) -> list[Timing]:
    """Return the timings in the output of TensorFlow Lite's benchmark_model, one a benchmark."""
    timings = []
    statistics: list[dict[str, float]] = []
    for line in text.splitlines():
        for count, rest in _TFLITE_STATISTICS.findall(line):
            pairs = (pair.split("=") for pair in rest.split())
            statistics.append({"count": float(count)} | {name: float(value) for name, value in pairs})
        found = _TFLITE.search(line)
        if found:
            timings.append(_of_tflite(float(found[1]), statistics))
            statistics = []
    threads = _threads(_TFLITE_THREADS, text)
    return [replace(timing, threads=threads) for timing in timings]


def _of_tflite(average: float, statistics: list[dict[str, float]]) -> Timing:
    """The timing of an average; the statistics of the same runs, where they were printed, are those that match it."""
    for found in reversed(statistics):
        # One run, or equal ones, are printed by their value alone.
        if abs(found.get("avg", found.get("curr", 0.0)) - average) <= 1e-3 * average:
            middle, std = found.get("median"), found.get("std", 0.0 if found["count"] > 1 else None)
            spread = None if std is None else std / 1e3
            latency = average if middle is None else middle
            return Timing(latency / 1e3, "mean" if middle is None else "median", int(found["count"]), spread)
    return Timing(average / 1e3, "mean")


#: in order of appearance: runs, their mean in ms, their median in s ("P50 Latency is 0.0587sec" before 2021)
_ORT = re.compile(
    rf"Total (?:inference requests: |iterations:)(?P<runs>\d+)"
    rf"|Average (?:inference )?time cost: ?(?P<mean>{_NUMBER}) ms"
    rf"|P50 Latency(?: is|:) ?(?P<median>{_NUMBER}) ?s"
)
_ORT_THREADS = re.compile(r"Setting intra_op_num_threads to (\d+)")


def read_onnxruntime(text: str) -> list[Timing]:
    """Return the timings in the output of onnxruntime_perf_test, one a benchmark."""
    timings: list[Timing] = []
    runs = 1
    for found in _ORT.finditer(text):
        if found["runs"]:
            runs = int(found["runs"])
        elif found["mean"]:
            timings.append(Timing(float(found["mean"]), "mean", runs))
        elif timings:
            timings[-1] = replace(timings[-1], latency_ms=float(found["median"]) * 1e3, statistic="median")
    threads = _threads(_ORT_THREADS, text)
    return [replace(timing, threads=threads) for timing in timings]


_EXECUTORCH = re.compile(
    rf"Iteration \d+ of \d+: (?P<run>{_NUMBER}) ms"
    rf"|Model executed successfully (?P<runs>\d+) time\(s\) in (?P<total>{_NUMBER}) ms"
)
_EXECUTORCH_THREADS = re.compile(r"Resetting threadpool with num threads = (\d+)")


def read_executorch(text: str) -> list[Timing]:
    """Return the timings in the output of ExecuTorch's executor_runner, or in a table of its Inspector.

    Where every run is printed the first one, in which memory is touched for the first time, does not count.
    """
    if "event_block_name" in text.splitlines()[0]:
        return list(_inspected(text))
    timings: list[Timing] = []
    single: list[float] = []
    for found in _EXECUTORCH.finditer(text):
        if found["run"]:
            single.append(float(found["run"]))
            continue
        count, total = int(found["runs"]), float(found["total"])
        warm = single[1:]
        if warm and len(single) == count:
            timings.append(Timing(median(warm), "median", len(warm), stdev(warm) if len(warm) > 1 else None))
        elif count:
            timings.append(Timing(total / count, "mean", count))
        single = []
    threads = _threads(_EXECUTORCH_THREADS, text)
    return [replace(timing, threads=threads) for timing in timings]


def _inspected(text: str) -> Iterator[Timing]:
    """The rows of whole runs in a table that `Inspector.save_data_to_tsv` has written, in ms."""
    for row in csv.DictReader(text.splitlines(), delimiter="\t"):
        if row["event_name"] == "Method::execute":
            if "p50 (ms)" not in row:
                raise NasError("its times are not in ms; write it with the Inspector's default target_time_scale")
            runs = len(re.findall(r"\d+", row.get("start_time") or ""))
            yield Timing(float(row["p50 (ms)"]), "median", max(1, runs))


def _threads(pattern: re.Pattern[str], text: str) -> int | None:
    """The number of threads that a log states, once and the same."""
    stated = {int(number) for number in pattern.findall(text)}
    return stated.pop() if len(stated) == 1 else None


@dataclass(frozen=True)
class LogFormat:
    """A tool whose output can be read.

    Args:
        runtime: what the profile calls it.
        tool: what the user calls it.
    """

    name: str
    runtime: str
    tool: str
    read: Callable[[str], list[Timing]]


LOG_FORMATS = {
    each.name: each
    for each in (
        LogFormat("tflite", "TensorFlow Lite", "benchmark_model", read_tflite),
        LogFormat("executorch", "ExecuTorch", "executor_runner", read_executorch),
        LogFormat("onnxruntime", "ONNX Runtime", "onnxruntime_perf_test", read_onnxruntime),
    )
}
