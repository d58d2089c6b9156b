"""Compare closed-form counts of `mbconv` with every row of Accel-NASBench, as integers.

    python benchmarks/exactness.py

Needs the data set in $NAS_DATA or ../shared/data.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd

import nas
from nas.space import BlockTable, SearchSpace

DATA = Path(os.environ.get("NAS_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def read_codes(table: pd.DataFrame, space: SearchSpace) -> np.ndarray:
    """Return int8[n, D] from the columns expand, kernel, layers and se, seven integers each."""
    stages = [
        np.array([text.split() for text in table[name]], dtype=int) for name in ("expand", "kernel", "layers", "se")
    ]
    values = np.stack(stages, axis=2).reshape(len(table), -1)
    columns = [np.searchsorted(d.choices, values[:, i]) for i, d in enumerate(space.decisions)]
    return space.check(np.stack(columns, axis=1))


def main() -> int:
    table = pd.read_csv(DATA / "accel_nasbench" / "imagenet_mbconv.csv.gz")
    space = nas.space("mbconv")
    codes = read_codes(table, space)
    blocks = space.vocabulary.blocks
    counts = BlockTable(space.vocabulary, np.array([[b.params, b.macs_thop] for b in blocks], dtype=float)).sum(codes)
    params, macs = counts[:, 0] == table.params, counts[:, 1] == table.macs
    print(f"params: {params.sum()} of {len(table)} rows agree")
    print(f"MACs (THOP 0.1 convention): {macs.sum()} of {len(table)} rows agree")
    return int(not (params.all() and macs.all()))


if __name__ == "__main__":
    sys.exit(main())
