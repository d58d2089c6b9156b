"""Compare closed-form counts of spaces with every row of the benchmarks that published theirs, as integers.

    python benchmarks/exactness.py

Accel-NASBench (`mbconv`), once-for-all networks (`mbconv-ofa`) and NAS-Bench-Macro (`nasbench-macro`). Needs the data
sets in $NAS_DATA or ../shared/data.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from nas.space import BlockTable, SearchSpace
from search_spaces import mbconv, mbconv_ofa, nasbench_macro

DATA = Path(os.environ.get("NAS_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))

#: data set, space, codes int[n, D], our quantity, published counts int[n]
Comparison = tuple[str, SearchSpace, np.ndarray, str, np.ndarray]


def integers(column: pd.Series) -> np.ndarray:
    """Return int[n, k] from texts of k integers each."""
    return np.array([text.split() for text in column], dtype=int)


def accel_nasbench() -> Iterator[Comparison]:
    table = pd.read_csv(DATA / "accel_nasbench" / "imagenet_mbconv.csv.gz")
    space = mbconv.SPACE
    stages = np.stack([integers(table[name]) for name in ("expand", "kernel", "layers", "se")], axis=2)
    values = stages.reshape(len(table), -1)
    columns = [np.searchsorted(decision.choices, values[:, i]) for i, decision in enumerate(space.decisions)]
    codes = space.check(np.stack(columns, axis=1))
    yield "Accel-NASBench", space, codes, "params", table.params.to_numpy()
    yield "Accel-NASBench", space, codes, "macs_thop", table.macs.to_numpy()


def once_for_all() -> Iterator[Comparison]:
    table = pd.read_csv(DATA / "ofa_mbv3" / "imagenet_top1.csv.gz")
    codes = mbconv_ofa.codes_of(integers(table.ks), integers(table.e), integers(table.d), table.r)
    for quantity in ("params", "macs"):
        yield "once-for-all (DyNAS-T)", mbconv_ofa.SPACE, codes, quantity, table[quantity].to_numpy()


def nas_bench_macro() -> Iterator[Comparison]:
    path = DATA / "nasbench_macro" / "nas-bench-macro_cifar10.json"
    table = json.loads(path.read_text(encoding="utf-8"))
    space = nasbench_macro.SPACE
    codes = np.array([space.encode(key) for key in table])
    for quantity, published in (("params", "params"), ("macs", "flops")):
        yield "NAS-Bench-Macro", space, codes, quantity, np.array([entry[published] for entry in table.values()])


def agreeing(space: SearchSpace, codes: np.ndarray, quantity: str, published: np.ndarray) -> int:
    """Number of rows in which our integer is the published one."""
    values = np.array([[getattr(block, quantity)] for block in space.vocabulary.blocks], dtype=float)
    return int((BlockTable(space.vocabulary, values).sum(codes)[:, 0] == published).sum())


def main() -> int:
    missed = 0
    for comparisons in (accel_nasbench(), once_for_all(), nas_bench_macro()):
        for name, space, codes, quantity, published in comparisons:
            agree = agreeing(space, codes, quantity, published)
            print(f"{name:24}{space.name:16}{quantity:11}{agree:,} of {len(published):,} rows agree")
            missed += len(published) - agree
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
