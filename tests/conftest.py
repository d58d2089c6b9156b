"""Fixtures all rooms share: the real data where it is installed, and spaces small enough to enumerate."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from toy_space import ToySpace

import nas
from nas import cli
from nas.space import (
    Condition,
    Decision,
    SearchSpace,
    StagedNetwork,
    StagedSpace,
)

# The same examples in every run: a failure can be repeated, a pass means the same on every machine.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

REPO_ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repo_root() -> Path:
    return REPO_ROOT


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data sets; tests that need it are skipped where it is not installed."""
    folder = Path(os.environ.get("NAS_DATA", REPO_ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data sets at {folder}; set NAS_DATA")
    return folder


@pytest.fixture(scope="session")
def make_space() -> Callable[[Sequence[Decision]], SearchSpace]:
    """Build a space from decisions alone."""
    return ToySpace


@pytest.fixture(scope="session")
def mbconv() -> SearchSpace:
    return nas.space("mbconv")


@pytest.fixture(scope="session")
def tiny_space() -> StagedSpace:
    """96 real networks on 32 × 32 images: small enough to build and cost one by one."""
    skeleton = StagedNetwork.from_strings(
        "cn_k3_s2_c8", (), ("cn_c32", "pool", "fc"), activation="silu", resolution=32, num_classes=10
    )
    return StagedSpace("tiny", skeleton, ("ir_r{1-2}_k{3,5}_c8_se{0,1}", "ir_r{1-3}_k3_s2_e{1,4}_c16_se{0,1}"))


@pytest.fixture(scope="session")
def nested_space() -> SearchSpace:
    """54 networks whose decisions depend on one another two levels deep.

    Counted by hand: below "none" there is 1 setting, below "conv" 2, below "mbconv" 2 kernels × (1 + 3 + 3) for
    the gate = 14, "pool" 1; 18 in all, times 3 widths.
    """
    return ToySpace(
        (
            Decision("body.width", (8, 16, 24)),
            Decision("body.op", ("none", "conv", "mbconv", "pool")),
            Decision("body.kernel", (3, 5), Condition("body.op", ("conv", "mbconv"))),
            Decision("body.gate", ("off", "soft", "hard"), Condition("body.op", ("mbconv",))),
            Decision("body.ratio", (2, 4, 8), Condition("body.gate", ("soft", "hard"))),
        )
    )


@pytest.fixture
def nas_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run a command in an empty folder; return its exit code and what it printed on standard output and error."""
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGINT)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nas", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        signal.signal(signal.SIGINT, before)  # which a command that was interrupted ignores from then on
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return call


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)
