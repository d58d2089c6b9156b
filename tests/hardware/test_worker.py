"""The worker process and the messages it is spoken to with."""

from __future__ import annotations

import ast
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nas.errors import NasError
from nas.hardware.measuring.backends import Workload, load_backend
from nas.hardware.measuring.device import WORKER, Device, DeviceLostError, LocalDevice, compressed, open_device
from nas.space import StagedSpace

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def device() -> Iterator[Device]:
    with open_device() as opened:
        opened.machine = opened.describe("onnxruntime", 1)  # type: ignore[attr-defined]
        yield opened


def test_it_is_pinned_and_says_what_it_is_on(device: LocalDevice) -> None:
    import onnxruntime

    machine = device.machine  # type: ignore[attr-defined]
    assert machine["version"] == onnxruntime.__version__
    assert machine["python"] == ".".join(map(str, sys.version_info[:3]))
    assert machine["cores"] == os.cpu_count()
    if hasattr(os, "sched_getaffinity"):
        assert set(machine["cpus"]) == os.sched_getaffinity(device._process.pid)
        assert len(machine["cpus"]) == 1


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="processes cannot be pinned here")
def test_two_workers_are_on_different_cpus_while_there_are_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    count = len(os.sched_getaffinity(0))
    workers = [open_device() for _ in range(count + 1)]
    machines = [worker.describe("onnxruntime", 1) for worker in workers]
    assert len({machine["cpus"][0] for machine in machines[:count]}) == count
    assert [machine["shared"] for machine in machines] == [False] * count + [True]
    for worker in workers:
        worker.close()


def test_it_times_what_it_loaded(device: Device, tiny_space: StagedSpace) -> None:
    backend = load_backend("onnxruntime")
    medians = []
    for resolution in (32, 256):
        item = Workload("network", "x", tiny_space.spec(tiny_space.all_codes()[-1], resolution=resolution))
        device.load(compressed(backend.write(item)), item.input_shapes)
        runs = device.time(15)
        assert runs.shape == (15, 2)
        assert (runs[:, 0] > 0).all()
        assert (runs[:, 1] >= 0).all()
        medians.append(np.median(runs[:, 0]))
    # 64 times the pixels
    assert medians[1] > 5 * medians[0]


def test_a_model_it_cannot_run_is_an_error_and_not_its_end(device: Device, tiny_space: StagedSpace) -> None:
    with pytest.raises(NasError, match="this machine cannot do it"):
        device.load(compressed(b"no model"), [[1, 3, 32, 32]])
    item = Workload("network", "x", tiny_space.spec(tiny_space.all_codes()[0]))
    device.load(compressed(load_backend("onnxruntime").write(item)), item.input_shapes)
    assert len(device.time(2)) == 2


def test_torch_runs_exported_programs(tiny_space: StagedSpace) -> None:
    item = Workload("network", "x", tiny_space.spec(tiny_space.all_codes()[0]))
    with open_device() as opened:
        opened.describe("torch", 1)
        opened.load(compressed(load_backend("torch").write(item)), item.input_shapes)
        assert (opened.time(3)[:, 0] > 0).all()


def test_more_threads_than_cpus_are_refused() -> None:
    with open_device() as opened, pytest.raises(NasError, match="4096 threads are asked for"):
        opened.describe("onnxruntime", 4096)


def test_a_killed_worker_is_noticed() -> None:
    opened = LocalDevice()
    opened.describe("onnxruntime", 1)
    os.kill(opened._process.pid, signal.SIGKILL)
    with pytest.raises(DeviceLostError, match="killed by signal 9"):
        opened.time(1)
    opened.close()


def test_it_ends_with_us() -> None:
    opened = LocalDevice()
    opened.close()
    assert opened._process.returncode is not None


def test_it_needs_nothing_of_ours_and_an_old_python_reads_it() -> None:
    tree = ast.parse(WORKER.read_text(encoding="utf-8"), feature_version=(3, 8))
    imported = {
        alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    imported |= {str(node.module).split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported - set(sys.stdlib_module_names) == {"numpy", "onnxruntime", "torch", "executorch"}
