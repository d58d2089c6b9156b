"""`nasbench201-<data set>`: all 15,625 cells of NAS-Bench-201 (Dong & Yang, 2020), with latencies and energies.

A search chooses by validation accuracy: on CIFAR-10 that after 200 epochs, on the other two that after 12, the only one
that is there for all cells. Test accuracies are for reports. Latencies and energies are HW-NAS-Bench's (Li et al.,
2021); training times NATS-Bench's (Dong et al., 2021).
"""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd

from nas.errors import NasError
from nas.estimators.table import Array, Benchmark, Table, digest_of, find_file, numbers, percentages, read_csv
from nas.space import Codes
from search_spaces.cells.nasbench201 import CIFAR100, IMAGENET16_120, SPACE, NasBench201Space

ACCURACY = "nb201_accuracy.csv"
TIMES = "nats_tss_1000_train_time.csv"
OBTAINED = "docs/tabular.md describes its columns; the authors' own files are pickles, which are never opened"

EPOCHS = (12, 200)

#: column of HW-NAS-Bench -> metric; latencies in ms, energies in mJ
HARDWARE = {
    f"{device}_{quantity}": f"{quantity}_{device}_{unit}"
    for quantity, unit, devices in (
        ("latency", "ms", ("edgegpu", "raspi4", "edgetpu", "pixel3", "eyeriss", "fpga")),
        ("energy", "mj", ("edgegpu", "eyeriss", "fpga")),
    )
    for device in devices
}
#: devices whose figures come from a model of the chip
MODELLED = frozenset(metric for metric in HARDWARE.values() if "_eyeriss_" in metric or "_fpga_" in metric)


def read(folder: Path, dataset: str, space: NasBench201Space, chosen_after: int) -> Table:
    """Return the table of one data set.

    Args:
        dataset: "cifar10", "cifar100" or "ImageNet16-120", as in the names of the columns.
        space: the cells in the skeleton for it.
        chosen_after: epochs after which the validation accuracy chooses.

    Raises:
        NasError: the file of accuracies is missing, or one is damaged; latencies and times may be missing.
    """
    validation = {12: f"ep12_{dataset}_val", 200: f"ep200_{dataset}_val_seed"}
    test = {epochs: f"ep{epochs}_{dataset}_test" for epochs in EPOCHS}
    path = find_file(folder, _places(ACCURACY), OBTAINED)
    frame = read_csv(path, ["arch_str", validation[12], *test.values()])
    codes = _codes(frame, path)
    known = [epochs for epochs in EPOCHS if validation[epochs] in frame]
    if chosen_after not in known:
        raise NasError(f"{path} has no column {validation[chosen_after]!r}, by which a search chooses")
    top1: dict[int | None, Array] = {
        epochs: percentages(frame, [validation[epochs]], path, gaps=epochs != chosen_after)[:, 0] for epochs in known
    }
    hardware, times = _optional(folder, f"hwnasbench_{dataset}.csv"), _optional(folder, TIMES)
    seconds = _train_seconds(times, dataset, codes) if times else {}
    reported = percentages(frame, list(test.values()), path)
    return Table(
        space,
        codes,
        {**top1, None: top1[chosen_after]},
        digest_of(*filter(None, (path, hardware, times))),
        {**seconds, None: seconds[chosen_after]} if seconds else {},
        _hardware(hardware, codes) if hardware else pd.DataFrame(index=range(len(codes))),
        MODELLED,
        pd.DataFrame({"test_top1": reported[:, 1], "test_top1_12_epochs": reported[:, 0]}),
    )


def _places(name: str) -> list[str]:
    return [f"{folder}{name}{ending}" for folder in ("nasbench201/", "") for ending in (".gz", "")]


def _optional(folder: Path, name: str) -> Path | None:
    return next((folder / place for place in _places(name) if (folder / place).is_file()), None)


def _codes(frame: pd.DataFrame, path: Path) -> Codes:
    """The codes of the cells; every one of the space must be there once."""
    try:
        codes = _parsed(tuple(frame["arch_str"]))
    except NasError as error:
        raise NasError(f"{path} is damaged: {error}") from None
    count = len(np.unique(codes, axis=0))
    if count != len(codes) or count != SPACE.size:
        raise NasError(f"{path} holds {count:,} different cells in {len(codes):,} rows, expected all {SPACE.size:,}")
    return codes


@cache
def _parsed(cells: tuple[str, ...]) -> Codes:
    codes = np.zeros((len(cells), len(SPACE.decisions)), dtype=np.int8)
    for i, cell in enumerate(cells):
        try:
            codes[i] = SPACE.encode(cell)
        except (NasError, AttributeError, TypeError) as error:
            raise NasError(f"line {i + 2}: {error}") from None
    codes.setflags(write=False)
    return codes


def _hardware(path: Path, codes: Codes) -> pd.DataFrame:
    """Latencies in ms and energies in mJ; what is not positive failed, and is NaN."""
    frame = read_csv(path, ["arch_str", *HARDWARE])
    if not np.array_equal(_codes(frame, path), codes):
        raise NasError(f"{path} does not hold the cells in the order of {ACCURACY}")
    values = numbers(frame, list(HARDWARE), path)
    return pd.DataFrame(np.where(values > 0, values, np.nan), columns=list(HARDWARE.values()))


def _train_seconds(path: Path, dataset: str, codes: Codes) -> dict[int | None, Array]:
    """Seconds of training after 12 and 200 epochs: recorded for some cells, for the others by their operations.

    Time is very nearly the sum of what each edge takes, so least squares over one-hot edges fill the gaps.
    """
    names = {epochs: f"{dataset}_ep{epochs}_train_time_s" for epochs in EPOCHS}
    frame = read_csv(path, ["idx", *names.values()])
    rows = numbers(frame, ["idx"], path)[:, 0].astype(int)
    if len(rows) == 0 or rows.min() < 0 or rows.max() >= len(codes):
        raise NasError(f"{path} is damaged: idx must be rows 0 to {len(codes) - 1} of {ACCURACY}")
    features = np.column_stack([SPACE.features(codes), np.ones(len(codes))])
    seconds: dict[int | None, Array] = {}
    for epochs, name in names.items():
        recorded = numbers(frame, [name], path)[:, 0]
        weights = np.linalg.lstsq(features[rows], recorded, rcond=None)[0]
        seconds[epochs] = np.maximum(features @ weights, recorded.min())
        seconds[epochs][rows] = recorded
    return seconds


def _benchmark(name: str, dataset: str, space: NasBench201Space, chosen_after: int, note: str) -> Benchmark:
    return Benchmark(
        name,
        tuple(dict.fromkeys((SPACE.name, space.name))),
        partial(read, dataset=dataset, space=space, chosen_after=chosen_after),
        note,
        "NAS-Bench-201 (Dong & Yang, 2020); latency and energy: HW-NAS-Bench (Li et al., 2021); times: NATS-Bench",
    )


CIFAR10_TABLE = _benchmark(
    "nasbench201-cifar10", "cifar10", SPACE, 200, "CIFAR-10 validation top-1 after 200 epochs, one training"
)
CIFAR100_TABLE = _benchmark(
    "nasbench201-cifar100", "cifar100", CIFAR100, 12, "CIFAR-100 validation top-1 after 12 epochs"
)
IMAGENET16_120_TABLE = _benchmark(
    "nasbench201-imagenet16-120",
    "ImageNet16-120",
    IMAGENET16_120,
    12,
    "ImageNet16-120 validation top-1 after 12 epochs",
)
