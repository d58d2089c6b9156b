"""Training that stops wherever it may: it goes on to the same bits, and what is on the disk stays whole."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nas.errors import NasError
from nas.strategies.oneshot.base import Batch, Moment
from nas.strategies.oneshot.fit import Fit, FitProgress
from nas.strategies.oneshot.methods import DARTS, GDAS, PDARTS, SNAS, DrNAS, FBNet, Proxyless
from nas.strategies.oneshot.methods import PCDARTS as PC
from nas.supernet.checkpoint import CHECKPOINT, RECORDS, read_checkpoint

MakeFit = Callable[..., Fit]
#: a checkpoint after each step
ALWAYS = {"checkpoint_minutes": 1e-9}
METHODS: list[tuple[type, dict[str, Any]]] = [
    (DARTS, {"eigenvalue_every": 1, "stop_sharpening": True}), (DARTS, {"order": 2}), (GDAS, {}), (SNAS, {}), (PC, {}),
    (DrNAS, {}), (PDARTS, {"epochs": 3}), (FBNet, {}), (Proxyless, {"keep": (0.6,)}),
]  # fmt: skip


class StopError(Exception):
    pass


def stop_after(steps: int) -> Callable[[FitProgress], None]:
    """Raise when so many steps are done, before the last of them is kept."""

    def on_progress(progress: FitProgress) -> None:
        if progress.epoch * progress.steps + progress.step + 1 == steps:
            raise StopError

    return on_progress


def assert_same(a: Any, b: Any) -> None:
    """Assert that two states agree in every bit, times aside."""
    assert type(a) is type(b)
    if isinstance(a, Tensor):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a.keys() - {"seconds"}:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_same(one, other)
    else:
        assert a == b


def checkpoint(folder: Path) -> dict[str, Any]:
    state = read_checkpoint(folder / CHECKPOINT)
    assert state is not None
    return state


@pytest.mark.parametrize(("method", "settings"), METHODS, ids=lambda value: getattr(value, "__name__", ""))
def test_resumption_is_exact_from_any_step(
    method: type, settings: dict[str, Any], make_fit: MakeFit, tmp_path: Path
) -> None:
    settings = ALWAYS | settings
    make_fit(method, tmp_path / "whole", **settings).run()
    for steps in (3, 5):
        with pytest.raises(StopError):
            make_fit(method, tmp_path / "parts", **settings).run(stop_after(steps))
        held = checkpoint(tmp_path / "parts")
        assert 3 * held["epoch"] + held["step"] == steps - 1
    make_fit(method, tmp_path / "parts", **settings).run()
    assert_same(checkpoint(tmp_path / "whole"), checkpoint(tmp_path / "parts"))
    lines = [(tmp_path / name / RECORDS).read_text().splitlines() for name in ("whole", "parts")]
    assert_same(*[[json.loads(line) for line in part] for part in lines])


def test_one_seed_is_one_search(make_fit: MakeFit, tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        make_fit(GDAS, tmp_path / name, seed=seed, epochs=1).run()
    a, b, c = (checkpoint(tmp_path / name) for name in "abc")
    assert_same(a, b)
    assert not torch.equal(a["strategy"]["architecture"][0], c["strategy"]["architecture"][0])


def test_a_search_leaves_the_random_state_of_torch_alone(make_fit: MakeFit, tmp_path: Path) -> None:
    fit = make_fit(DARTS, tmp_path)
    before = torch.get_rng_state()
    fit.run()
    assert torch.equal(before, torch.get_rng_state())


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
import torch
torch.set_num_threads(1)
import conftest_oneshot as c
from nas.strategies.oneshot.methods import DARTS
saved, fsync = [], os.fsync
def killed(number):
    saved.append(number)
    if len(saved) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    fsync(number)
os.fsync = killed
strategy = c.make_strategy.__wrapped__()
c.make_fit.__wrapped__(strategy)(DARTS, Path(sys.argv[1]), checkpoint_minutes=1e-9).run()
"""


def test_killed_while_it_writes_a_checkpoint(make_fit: MakeFit, tmp_path: Path, repo_root: Path) -> None:
    """The fifth checkpoint, in the second epoch, is half done: the fourth is taken up."""
    (tmp_path / "conftest_oneshot.py").write_text((repo_root / "tests/oneshot/conftest.py").read_text())
    script = [sys.executable, "-c", KILLED, str(tmp_path / "killed"), str(tmp_path), str(repo_root / "tests")]
    done = subprocess.run(script, cwd=repo_root, capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr
    held = checkpoint(tmp_path / "killed")
    assert (held["epoch"], held["step"]) == (1, 0)
    make_fit(DARTS, tmp_path / "whole", **ALWAYS).run()
    make_fit(DARTS, tmp_path / "killed", **ALWAYS).run()
    assert_same(checkpoint(tmp_path / "whole"), checkpoint(tmp_path / "killed"))


def test_ctrl_c_finishes_the_step_and_keeps_it(make_fit: MakeFit, tmp_path: Path) -> None:
    fit = make_fit(DARTS, tmp_path / "parts")
    step, seen = fit.strategy.step, []

    def interrupted(train: Batch, architecture: Batch | None, at: Moment, rng: torch.Generator) -> dict[str, float]:
        seen.append(at)
        if len(seen) == 2:
            signal.raise_signal(signal.SIGINT)
        return step(train, architecture, at, rng)

    fit.strategy.step = interrupted  # type: ignore[method-assign]
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit.run()
    assert signal.getsignal(signal.SIGINT) is before
    held = checkpoint(tmp_path / "parts")
    assert len(seen) == 2
    assert (held["epoch"], held["step"]) == (0, 2)
    make_fit(DARTS, tmp_path / "parts").run()
    make_fit(DARTS, tmp_path / "whole").run()
    assert_same(checkpoint(tmp_path / "whole"), checkpoint(tmp_path / "parts"))


def test_ctrl_c_while_the_last_epoch_is_recorded(make_fit: MakeFit, tmp_path: Path) -> None:
    fit = make_fit(DARTS, tmp_path, epochs=1)

    def interrupted(records: Any) -> str:
        signal.raise_signal(signal.SIGINT)
        return ""

    fit.strategy.stop_reason = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        fit.run()
    assert checkpoint(tmp_path)["ended"] == "all epochs are over"


def test_records_that_lag_behind_the_checkpoint_are_written_again(make_fit: MakeFit, tmp_path: Path) -> None:
    make_fit(DARTS, tmp_path).run()
    whole = (tmp_path / RECORDS).read_bytes()
    (tmp_path / RECORDS).write_bytes(whole[: whole.index(b"\n") + 1])
    make_fit(DARTS, tmp_path).run()
    assert (tmp_path / RECORDS).read_bytes() == whole


@pytest.fixture(scope="module")
def begun(make_fit: MakeFit, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The checkpoint of a search with one of two epochs done."""
    folder = tmp_path_factory.mktemp("begun")
    with pytest.raises(StopError):
        make_fit(DARTS, folder).run(stop_after(4))
    return (folder / CHECKPOINT).read_bytes()


@pytest.mark.parametrize("kept", [0, 1, 1000, -1])
def test_a_truncated_checkpoint_is_refused_and_left(kept: int, make_fit: MakeFit, tmp_path: Path, begun: bytes) -> None:
    path = tmp_path / CHECKPOINT
    path.write_bytes(begun[:kept])
    with pytest.raises(NasError, match="damaged"):
        make_fit(DARTS, tmp_path).run()
    assert path.read_bytes() == begun[:kept]
    assert os.listdir(tmp_path) == [CHECKPOINT]


@pytest.mark.parametrize(
    ("method", "changed", "message"),
    [
        (GDAS, {}, "its method is DARTS, not GDAS"), (DARTS, {"seed": 1}, "its seed is 0, not 1"),
        (DARTS, {"epochs": 9}, "its epochs is 2, not 9"), (DARTS, {"images": 64}, "its steps is 3, not 2"),
        (DARTS, {"affine": True}, "another supernet"),
    ],
)  # fmt: skip
def test_the_checkpoint_of_another_search_is_refused_and_left(
    method: type, changed: dict[str, Any], message: str, make_fit: MakeFit, tmp_path: Path, begun: bytes
) -> None:
    path = tmp_path / CHECKPOINT
    path.write_bytes(begun)
    with pytest.raises(NasError, match=message):
        make_fit(method, tmp_path, **changed).run()
    assert path.read_bytes() == begun


def test_a_file_that_is_no_checkpoint_is_refused(make_fit: MakeFit, tmp_path: Path) -> None:
    torch.save({"weights": torch.zeros(3)}, tmp_path / CHECKPOINT)
    with pytest.raises(NasError, match="no checkpoint of this version"):
        make_fit(DARTS, tmp_path).run()


def test_a_full_disk_leaves_the_checkpoint_before(make_fit: MakeFit, tmp_path: Path, begun: bytes) -> None:
    path = tmp_path / CHECKPOINT
    path.write_bytes(begun)
    fit = make_fit(DARTS, tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(NasError, match=f"cannot write .*{os.strerror(errno.EFBIG)}.*the checkpoint before"):
            fit.run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == begun
    assert sorted(os.listdir(tmp_path)) == sorted([CHECKPOINT, RECORDS])
    make_fit(DARTS, tmp_path).run()


def test_divergence_leaves_the_checkpoint_before(make_fit: MakeFit, tmp_path: Path, begun: bytes) -> None:
    path = tmp_path / CHECKPOINT
    path.write_bytes(begun)
    with pytest.raises(NasError, match="diverged"):
        make_fit(DARTS, tmp_path, learning_rate=1e30).run()
    assert path.read_bytes() == begun


def test_a_gradient_that_is_not_finite_reaches_no_weight(make_fit: MakeFit, tmp_path: Path, begun: bytes) -> None:
    """The loss of the last step of an epoch is finite, its gradient is not: nothing of it may be kept."""
    path = tmp_path / CHECKPOINT
    path.write_bytes(begun)
    fit = make_fit(DARTS, tmp_path)
    weight = next(fit.strategy.supernet.parameters())
    calls: list[int] = []

    def spoiled(gradient: Tensor) -> Tensor:
        calls.append(1)
        # Each step asks for this gradient once; that by the architecture weights does not pass here.
        return gradient * torch.inf if len(calls) == 3 else gradient

    weight.register_hook(spoiled)
    with pytest.raises(NasError, match="diverged"):
        fit.run()
    assert len(calls) == 3
    assert path.read_bytes() == begun
    assert all(parameter.isfinite().all() for parameter in fit.strategy.supernet.parameters())


@pytest.mark.parametrize("share", [1 / 3, 2 / 3])
def test_architecture_batches_go_round_whatever_the_interruptions(
    share: float, make_fit: MakeFit, tmp_path: Path
) -> None:
    """The n-th step of a search gets the n-th batch, counted through the epochs of those images."""
    given: list[Tensor] = []
    for steps in (2, 5, None):
        fit = make_fit(DARTS, tmp_path, share=share, epochs=3, **ALWAYS)
        assert fit.architecture is not None

        def step(train: Batch, architecture: Batch | None, at: Moment, rng: torch.Generator) -> dict[str, float]:
            assert architecture is not None
            given.append(architecture.images)
            return {}

        fit.strategy.step = step  # type: ignore[method-assign]
        if steps is None:
            fit.run()
        else:
            with pytest.raises(StopError):
                fit.run(stop_after(steps))
            given.pop()  # the step was not kept
    length, batches = len(fit.architecture), 3 * fit.steps
    assert length != fit.steps
    assert len(given) == batches
    for n, images in enumerate(given):
        epoch, within = divmod(n, length)
        expected, _ = next(fit.architecture.epoch(epoch, within))
        assert torch.equal(images, expected)


def test_fewer_architecture_images_than_a_batch_are_refused(make_fit: MakeFit, tmp_path: Path) -> None:
    with pytest.raises(NasError, match="10 images for architecture validation of digits are fewer than a batch of 16"):
        make_fit(DARTS, tmp_path, share=0.1)


def test_weights_of_the_records_are_probabilities(make_fit: MakeFit, tmp_path: Path) -> None:
    fit = make_fit(PC, tmp_path)
    fit.run()
    for record in fit.records:
        assert np.allclose([sum(site) for site in record["weights"]], 1, atol=1e-5)
