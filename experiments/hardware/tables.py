"""Tables of measured networks by others: their formats, and which rows a predictor is fitted on and which judge it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from nas import registry
from nas.space import Codes, SearchSpace
from search_spaces.cells.nasbench201_cell import live_edges
from search_spaces.mbconv_ofa import codes_of

#: at most so many networks are fitted on and judged; more add little and make files large
FITTED, HELD_OUT = 2000, 3000
#: of FBNet's operations: expansion, kernel, groups; the ninth is "skip"
FBNET = {
    "k3_e1": (1, 3, 1), "k3_e1_g2": (1, 3, 2), "k3_e3": (3, 3, 1), "k3_e6": (6, 3, 1),
    "k5_e1": (1, 5, 1), "k5_e1_g2": (1, 5, 2), "k5_e3": (3, 5, 1), "k5_e6": (6, 5, 1),
}  # fmt: skip
#: layers of its stages
FBNET_LAYERS = (1, 4, 4, 4, 4, 4, 1)


@dataclass(frozen=True, eq=False)
class Table:
    """Networks of a space and everything a file says of them.

    Args:
        codes: int8[n, D].
        columns: n rows, as in the file.
        fitted, held_out: int[k], rows to fit on and rows to judge on; no network is in both.
    """

    space: SearchSpace
    codes: Codes
    columns: pd.DataFrame
    fitted: npt.NDArray[np.int64]
    held_out: npt.NDArray[np.int64]

    def values(self, column: str) -> npt.NDArray[np.float64]:
        """Return float[n]; NaN where the measurement failed, which the files write as a number that is not positive."""
        values = self.columns[column].to_numpy(dtype=np.float64)
        return np.where(values > 0, values, np.nan)


@cache
def read_table(name: str, data: Path) -> Table:
    """Return the table called `name` in `READERS` from the folder of data sets."""
    space, file, codes_in = READERS[name]
    columns = pd.read_csv(data / file)
    known = registry.load("spaces", space)
    codes, columns = codes_in(known, columns)
    return Table(known, codes, columns, *_split(codes, columns))


def _split(codes: Codes, columns: pd.DataFrame) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The authors' split where there is one, else at random, before anything is fitted.

    A network that is there twice goes with its first row.
    """
    _, first, network = np.unique(codes, axis=0, return_index=True, return_inverse=True)
    if "split" in columns:
        train, validation = (np.array(columns["split"] == name) for name in ("train", "val"))
        known = np.isin(network.ravel(), network.ravel()[train])
        return np.flatnonzero(train), np.flatnonzero(validation & ~known)
    rows = np.random.default_rng(0).permutation(np.sort(first))
    fitted = min(FITTED, round(0.6 * len(rows)))
    return np.sort(rows[:fitted]), np.sort(rows[fitted : fitted + HELD_OUT])


def _accel_nasbench(space: SearchSpace, columns: pd.DataFrame) -> tuple[Codes, pd.DataFrame]:
    """Seven numbers a decision, one a stage."""
    stages = {name: _integers(columns[name]) for name in ("expand", "kernel", "layers", "se")}
    chosen = {f"stage{i + 1}.{name}": values[:, i] for name, values in stages.items() for i in range(7)}
    return _codes_of(space, chosen), columns


def _cells(space: SearchSpace, columns: pd.DataFrame) -> tuple[Codes, pd.DataFrame]:
    """Cells as NAS-Bench-201 writes them."""
    return np.stack([space.encode(cell) for cell in columns["arch_str"]]), columns


def _live_cells(space: SearchSpace, columns: pd.DataFrame) -> tuple[Codes, pd.DataFrame]:
    """Cells whose output depends on their input; of the others, runtimes that delete what is unused leave nothing."""
    codes, columns = _cells(space, columns)
    live = live_edges(codes).any(axis=1)
    return codes[live], columns[live].reset_index(drop=True)


def _ofa(space: SearchSpace, columns: pd.DataFrame) -> tuple[Codes, pd.DataFrame]:
    """Kernels and expansions of 20 layers, depths of five stages, resolution."""
    return codes_of(*(_integers(columns[name]) for name in ("ks", "e", "d")), columns["r"].to_numpy()), columns


def _fbnet(space: SearchSpace, columns: pd.DataFrame) -> tuple[Codes, pd.DataFrame]:
    """An operation for each of 22 layers; networks with a "skip" that changes the shape are no members of the space."""
    operations = columns["arch"].str.split("|", expand=True).to_numpy()
    starts = np.cumsum((0, *FBNET_LAYERS[:-1]))
    inside = (operations[:, starts[1:]] != "skip").all(axis=1)
    codes = [space.encode(_fbnet_decisions(row, starts)) for row in operations[inside]]
    return np.stack(codes), columns[inside].reset_index(drop=True)


def _fbnet_decisions(operations: npt.NDArray[np.object_], starts: npt.NDArray[np.int64]) -> dict[str, int | str]:
    chosen: dict[str, int | str] = {"stage1.layer1.block": "id" if operations[0] == "skip" else "ir"}
    for stage, (start, layers) in enumerate(zip(starts, FBNET_LAYERS, strict=True), start=1):
        kept = [operation for operation in operations[start : start + layers] if operation != "skip"]
        if layers > 1:
            chosen[f"stage{stage}.depth"] = len(kept)
        for layer, operation in enumerate(kept, start=1):
            expand, kernel, groups = FBNET[operation]
            place = f"stage{stage}.layer{layer}"
            chosen |= {f"{place}.expand": expand, f"{place}.kernel": kernel}
            if expand == 1:
                chosen[f"{place}.groups"] = groups
    return chosen


def _integers(column: pd.Series) -> npt.NDArray[np.int64]:
    return np.array([[int(value) for value in row.split()] for row in column])


def _codes_of(space: SearchSpace, chosen: dict[str, npt.NDArray[np.int64]]) -> Codes:
    """int8[n, D] from the value of every decision."""
    columns = [(chosen[d.name][:, None] == np.array(d.choices)).argmax(axis=1) for d in space.decisions]
    return space.check(np.stack(columns, axis=1))


#: name -> space, file below the folder of data sets, and what makes codes of its columns
READERS: dict[str, tuple[str, str, Callable[[SearchSpace, pd.DataFrame], tuple[Codes, pd.DataFrame]]]] = {
    "accel-nasbench": ("mbconv", "accel_nasbench/imagenet_mbconv.csv.gz", _accel_nasbench),
    "hw-nas-bench": ("nasbench201", "nasbench201/hwnasbench_cifar10.csv.gz", _live_cells),
    "latbench": ("nasbench201", "snapdragon855/nb201_latency_ms.csv.gz", _cells),
    "help-cells": ("nasbench201", "help_latency/nb201_latency_ms.csv.gz", _cells),
    "help-fbnet": ("mbconv-fbnet-cifar100", "help_latency/fbnet_latency_ms.csv.gz", _fbnet),
    "help-ofa": ("mbconv-ofa", "ofa_mbv3/latency_ms.csv.gz", _ofa),
}
