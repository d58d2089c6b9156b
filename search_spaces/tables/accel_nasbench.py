"""`accel-nasbench`: networks of `mbconv` trained on ImageNet and measured on accelerators (Ahmad et al., 2024).

Only a few thousand of the 10^11 networks of the space were trained, so its space is a list.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from nas.errors import NasError
from nas.estimators.table import Benchmark, Table, digest_of, find_file, numbers, read_csv
from nas.space import Codes, ListedSpace
from search_spaces.mbconv import SPACE

FILES = tuple(f"{folder}imagenet_mbconv.csv{ending}" for folder in ("accel_nasbench/", "") for ending in (".gz", ""))
OBTAINED = "docs/tabular.md describes its columns"

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
    path = find_file(folder, FILES, OBTAINED)
    frame = read_csv(path, [*DECISIONS, "top1", "train_time_s", *MEASURED])
    codes = _codes(frame, path)
    first = np.sort(np.unique(codes, axis=0, return_index=True)[1])
    codes, frame = codes[first], frame.iloc[first].reset_index(drop=True)
    top1, seconds = numbers(frame, ["top1", "train_time_s"], path).T
    measured = pd.DataFrame(numbers(frame, MEASURED, path), columns=list(MEASURED))
    return Table(ListedSpace(SPACE, codes), codes, {None: top1}, digest_of(path), {None: seconds}, measured)


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
