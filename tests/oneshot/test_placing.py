"""Where supernets are trained: devices, memory formats, and several processes that are as one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from cell_supernets import images, make, softmax_weights

import nas
from nas.errors import NasError
from nas.strategies.oneshot import processes
from nas.strategies.oneshot.placing import device_of, memory_format, prepared
from nas.strategies.oneshot.settings import OneShotSettings
from nas.supernet.cell_edge import CandidateOptions
from nas.supernet.factory import make_supernet


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:-1", "mps", "", "auto:1"])
def test_unknown_devices_are_refused(name: str) -> None:
    with pytest.raises(NasError, match="it can be auto, cpu, cuda, or one GPU such as cuda:0"):
        device_of(name)


def test_gpus_that_are_not_there_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for count, have, wrong in (
        (0, "no GPU", "cuda"),
        (1, "1 GPU", "cuda:1"),
        (2, "2 GPUs, cuda:0 to cuda:1", "cuda:2"),
    ):
        monkeypatch.setattr(torch.cuda, "is_available", lambda count=count: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda count=count: count)
        with pytest.raises(NasError, match=f"CUDA has {have} here"):
            device_of(wrong)
        assert device_of("auto") == torch.device("cuda", 0) if count else torch.device("cpu")
        assert device_of("cpu") == torch.device("cpu")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert device_of("auto") == device_of("cuda") == torch.device("cuda", 1)
    assert device_of("cuda:0") == torch.device("cuda", 0)


def test_channels_last_is_only_a_layout() -> None:
    supernet = make("nasbench201").eval()
    weights, x = softmax_weights(supernet), images(supernet)
    expected = supernet(x, weights)
    names = list(supernet.state_dict())
    assert prepared(supernet, OneShotSettings(channels_last=True), torch.device("cpu")) is supernet
    convolutions = [p for p in supernet.parameters() if p.dim() == 4 and p.shape[1] > 1 and p.shape[2] > 1]
    assert convolutions
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in convolutions)
    found = supernet(x.to(memory_format=torch.channels_last), weights)
    assert torch.allclose(found, expected, atol=1e-5)
    assert list(supernet.state_dict()) == names


def test_small_strided_convolutions_are_not_laid_out_channels_last() -> None:
    """oneDNN issue 6035: the crash is one of undefined behaviour, so the test is of the layout, not of surviving."""
    space = nas.space("darts")
    partial = make_supernet(space, CandidateOptions(partial=4), channels=8, cells=3, num_classes=10)
    small = prepared(partial, OneShotSettings(), torch.device("cpu"))
    assert memory_format(small, OneShotSettings()) == torch.contiguous_format
    assert all(p.is_contiguous() for p in small.parameters())
    wide = make_supernet(space, channels=8, cells=3, num_classes=10)
    assert memory_format(wide, OneShotSettings()) == torch.channels_last
    assert memory_format(wide, OneShotSettings(channels_last=False)) == torch.contiguous_format


def test_compiling_is_asked_of_the_forward_pass_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module, **options: asked.append(options))
    supernet = make("nasbench201")
    prepared(supernet, OneShotSettings(), torch.device("cpu"))
    assert asked == []
    prepared(supernet, OneShotSettings(compile=True), torch.device("cpu"))
    assert asked == [{"dynamic": False}]


# --- several processes ------------------------------------------------------------------------------------------------

SHARED = """
import sys
import torch
torch.set_num_threads(1)
from oneshot_searches import searched
from nas.strategies.oneshot.processes import join_processes
rank, count = join_processes(torch.device("cpu"))
assert count == 2
torch.save(searched((rank, count)), f"{sys.argv[1]}/{rank}.pt")
"""


def test_two_processes_are_one_on_the_joint_batch(tmp_path: Path, repo_root: Path) -> None:
    """Weights, momenta, architecture and Adam after some steps, of first and second order; both hold the same."""
    from oneshot_searches import searched

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = os.environ | {
        "PYTHONPATH": f"{repo_root}{os.pathsep}{repo_root / 'tests'}", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    started = [
        subprocess.Popen(
            [sys.executable, "-c", SHARED, str(tmp_path)], env=common | {"RANK": str(rank)}, stderr=subprocess.PIPE
        )
        for rank in range(2)
    ]
    try:
        for process in started:
            _, errors = process.communicate(timeout=300)
            assert process.returncode == 0, errors.decode()
    finally:
        for process in started:
            process.kill()
    one, two = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    alone = searched((0, 1))
    assert alone.keys() == one.keys()
    for name, values in alone.items():
        assert torch.equal(one[name], two[name]), name
        assert torch.allclose(one[name], values, atol=2e-6), name
        assert values.abs().max() > 1e-3


def test_one_process_is_left_alone() -> None:
    assert processes.shard() == (0, 1)
    assert processes.join_processes(torch.device("cpu")) == (0, 1)
    parameter = torch.nn.Parameter(torch.ones(2))
    processes.average_gradients([parameter])
    assert parameter.grad is None
    assert processes.averaged_values({"loss": 2.0}, torch.device("cpu")) == {"loss": 2.0}


def test_batches_that_cannot_be_shared_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "shard", lambda: (0, 3))
    processes.check_shares(6)
    with pytest.raises(NasError, match="64 images cannot be shared equally by 3 processes; 63 can"):
        processes.check_shares(64)
