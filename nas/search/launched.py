"""Several processes, started by torchrun, that train one supernet: the first speaks and writes for all."""

from __future__ import annotations

import os
import time
from pathlib import Path

from nas.errors import NasError
from nas.search.run import Run

#: seconds that the others wait for the first to make the run directory
PATIENCE = 600


def is_one_of_several() -> bool:
    """Whether torchrun has started several processes."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def follows() -> bool:
    """Whether this process is one of several and not the first."""
    return is_one_of_several() and int(os.environ.get("RANK", "0")) > 0


def run_of_first(out: Path | None) -> Run:
    """Return the run that the first process makes, as soon as it is there.

    Raises:
        NasError: it has no name to wait for, or does not appear.
    """
    if out is None:
        raise NasError("several processes need a run directory that all of them know: add --out RUN")
    end = time.monotonic() + PATIENCE
    while not (out / "config.yaml").is_file():
        if time.monotonic() > end:
            raise NasError(f"the first process has made no run {out} within {PATIENCE} s")
        time.sleep(0.2)
    return Run.open(out)
