"""`accel-nasbench`: networks of `mbconv` trained on ImageNet and measured on accelerators (Ahmad et al., 2024).

Only a few thousand of the 10^11 networks of the space were trained, so its space is a list. The table is read from one
CSV file, or from the authors' archive of one JSON file a network.
"""

from __future__ import annotations

import json
import re
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nas.errors import NasError
from nas.estimators.table import Benchmark, Table, digest_of, find_file, numbers, percentages, read_csv
from nas.space import Codes, ListedSpace
from search_spaces.mbconv import SPACE

CSV = tuple(f"{folder}imagenet_mbconv.csv{ending}" for folder in ("accel_nasbench/", "") for ending in (".gz", ""))
#: where a download or a checkout of the authors' repository puts the archive
ARCHIVE = tuple(
    f"{folder}anb_dataset_jsons.tar.gz"
    for folder in ("accel_nasbench/", "Accel-NASBench/anb_dataset/", "anb_dataset/", "")
)
OBTAINED = "the archive is in anb_dataset/ of https://github.com/afzalxo/Accel-NASBench"
#: a result of one network takes about 2 kB; more is none
LARGEST = 1_000_000

#: decisions of a stage, each a column of seven numbers
DECISIONS = ("expand", "kernel", "layers", "se")
LATENCIES = ("zcu102", "vck190")
THROUGHPUTS = ("a100", "3090", "tpuv2", "tpuv3", "zcu102", "vck190")
MEASURED = tuple(f"latency_{d}_ms" for d in LATENCIES) + tuple(f"throughput_{d}_ips" for d in THROUGHPUTS)


def read(folder: Path) -> Table:
    """Return the table; of a network that was trained twice, the first training counts.

    Raises:
        NasError: the file is missing or damaged.
    """
    path = find_file(folder, (*CSV, *ARCHIVE), OBTAINED)
    columns = [*DECISIONS, "top1", "train_time_s", *MEASURED]
    frame = _unpacked(path) if path.name.endswith(".tar.gz") else read_csv(path, columns)
    codes = _codes(frame, path)
    first = np.sort(np.unique(codes, axis=0, return_index=True)[1])
    top1, seconds = percentages(frame, ["top1"], path)[first, 0], numbers(frame, ["train_time_s"], path)[first, 0]
    measured = pd.DataFrame(numbers(frame, MEASURED, path)[first], columns=list(MEASURED))
    codes = codes[first]
    return Table(ListedSpace(SPACE, codes), codes, {None: top1}, digest_of(path), {None: seconds}, measured)


def _unpacked(path: Path) -> pd.DataFrame:
    """The columns of the CSV file from result_<number>.json of every network, in the order of their numbers."""
    results = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                number = re.fullmatch(r"(?:.*/)?result_(\d+)\.json", member.name)
                file = archive.extractfile(member) if number and member.size < LARGEST else None
                if number and file is not None:
                    results[int(number[1])] = _row(json.load(file))
    except (OSError, EOFError, zlib.error, tarfile.TarError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise NasError(f"{path} is damaged: {error!r}") from None
    if not results:
        raise NasError(f"{path} holds no result_<number>.json")
    frame = pd.DataFrame([results[number] for number in sorted(results)])
    # Latency (ms) times throughput (images/s) is how many images are under way at once: a few thousand.
    under_way = float((frame["latency_zcu102_ms"] * frame["throughput_zcu102_ips"]).median())
    if under_way < 100:
        raise NasError(f"{path} has latencies that are not in milliseconds: {frame['latency_zcu102_ms'].median():g}")
    return frame


def _row(result: dict[str, Any]) -> dict[str, Any]:
    """One network: its decisions as in the CSV file, what was not measured of it as None."""
    net, measured = result["architecture"], result.get("platform_perf", {})
    letters = {"expand": "e", "kernel": "k", "layers": "l", "se": "se"}
    chosen = {name: [net[f"block{i}_{letter}"] for i in range(7)] for name, letter in letters.items()}
    chosen["se"] = [int(str(value) == "True") for value in chosen["se"]]
    row: dict[str, Any] = {name: " ".join(map(str, values)) for name, values in chosen.items()}
    row |= {"top1": result["metrics"]["val_top1"], "train_time_s": result["metrics"]["train_time"]}
    for metric in MEASURED:
        quantity, device, _ = metric.split("_")
        row[metric] = measured.get(f"{quantity}_{device}", {}).get(f"{quantity}_mean")
    return row


def _codes(frame: pd.DataFrame, path: Path) -> Codes:
    """int8[n, D] from columns such as "6 4 6 6 6 1 1", one number a stage."""
    try:
        values = {name: np.array([[int(v) for v in row.split()] for row in frame[name]]) for name in DECISIONS}
        columns = []
        for decision in SPACE.decisions:
            stage, name = decision.name.removeprefix("stage").split(".")
            chosen = values[name][:, int(stage) - 1, None] == np.array(decision.choices)
            if not chosen.any(axis=1).all():
                raise ValueError(f"row {chosen.any(axis=1).argmin()}: no choice of {decision.name}")
            columns.append(chosen.argmax(axis=1))
    except (ValueError, AttributeError, IndexError) as error:
        raise NasError(f"{path} is damaged: {error}") from None
    return SPACE.check(np.stack(columns, axis=1))


IMAGENET = Benchmark(
    "accel-nasbench",
    (SPACE.name,),
    read,
    "ImageNet top-1 after short training (the authors' proxy recipe)",
    "Accel-NASBench (Ahmad et al., 2024), Apache-2.0",
)
