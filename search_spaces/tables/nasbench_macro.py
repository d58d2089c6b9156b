"""`nasbench-macro`: all 6,561 networks of NAS-Bench-Macro (Su et al., 2021), trained on CIFAR-10 with three seeds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from nas.errors import NasError
from nas.estimators.table import Benchmark, Table, digest_of, find_file
from search_spaces.nasbench_macro import SPACE

#: in the authors' repository and where a checkout of it or a single download puts the file
FILES = tuple(f"{folder}nas-bench-macro_cifar10.json" for folder in ("nasbench_macro/", "NAS-Bench-Macro/data/", ""))
OBTAINED = "the file is in data/ of https://github.com/xiusu/NAS-Bench-Macro"


def read(folder: Path) -> Table:
    """Return the table from the authors' JSON: {"02012100": {"mean_acc": ..., "test_acc": [...], ...}, ...}.

    `top1` is the mean over the seeds. The benchmark has no validation accuracies: that on the test images chooses.

    Raises:
        NasError: the file is missing or damaged, or does not hold each of the networks.
    """
    path = find_file(folder, FILES, OBTAINED)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        top1 = np.array([float(row["mean_acc"]) for row in content.values()])
        codes = np.stack([SPACE.encode(key) for key in content])
        if not ((top1 >= 0) & (top1 <= 100)).all():
            raise ValueError("an accuracy is no percentage")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, NasError) as error:
        raise NasError(f"{path} is not the table of NAS-Bench-Macro: {error!r}") from None
    if len(codes) != SPACE.size:
        raise NasError(f"{path} holds {len(codes):,} networks, NAS-Bench-Macro has {SPACE.size:,}")
    return Table(SPACE, codes, {None: top1}, digest_of(path))


CIFAR10 = Benchmark(
    "nasbench-macro",
    (SPACE.name,),
    read,
    "CIFAR-10 top-1, mean of 3 trainings, on the test images (the benchmark has no validation accuracies)",
    "NAS-Bench-Macro (Su et al., 2021), Apache-2.0",
)
