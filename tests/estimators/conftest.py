"""A supernet that all tests of estimators judge with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from digit_supernets import SMALL, load, record_of

import nas
from nas.strategies.oneshot.fit import Fit
from nas.strategies.oneshot.spos import SPOS
from nas.supernet.checkpoint import CHECKPOINT
from nas.supernet.factory import make_supernet
from nas.supernet.record import RECORD, write_supernet_record


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The supernet of a run: NAS-Bench-201 at its smallest, trained on digits of 8 × 8 pixels."""
    space, data = nas.space("nasbench201"), load(8)
    folder = tmp_path_factory.mktemp("runs") / "first" / "supernet"
    write_supernet_record(folder, record_of(space, 8, SMALL))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        supernet = make_supernet(space, **SMALL)
    settings = SPOS.Settings(epochs=15, batch_size=32, learning_rate=0.2)
    Fit(SPOS(supernet, settings), data.batches("train", 32, seed=1), None, folder, 0).run()
    return folder


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    """A copy of it that may be changed, as runs/first of the current folder of a command."""
    folder = tmp_path / "runs" / "first" / "supernet"
    folder.mkdir(parents=True)
    for name in (RECORD, CHECKPOINT):
        (folder / name).write_bytes((trained / name).read_bytes())
    return folder
