"""Measuring over SSH, against a server on this machine."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from nas.errors import NasError
from nas.hardware.measuring.device import DeviceLostError, open_device
from nas.hardware.measuring.log import MeasuringLog
from nas.hardware.measuring.measure import Plan, measure_space
from nas.hardware.measuring.session import Progress
from nas.space import StagedSpace

asyncssh = pytest.importorskip("asyncssh")
pytest.importorskip("onnxruntime")


@dataclass
class Server:
    """An SSH server on a port of this machine that runs what it is asked to in a shell."""

    home: Path
    port: int = 0
    connections: list[Any] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"tester@127.0.0.1:{self.port}"

    def drop(self) -> None:
        """Cut all connections, as a failing network does."""
        for connection in self.connections:
            self.loop.call_soon_threadsafe(connection.abort)

    def start(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        key = asyncssh.generate_private_key("ssh-ed25519")
        listening = asyncio.run_coroutine_threadsafe(self._listen(key), self.loop).result()
        self.port = listening.get_port()
        known = f"[127.0.0.1]:{self.port} {key.export_public_key().decode()}"
        (self.home / ".ssh" / "known_hosts").write_text(known)

    async def _listen(self, key: Any) -> Any:
        server = self

        class Accepted(asyncssh.SSHServer):  # type: ignore[misc, name-defined]
            def connection_made(self, connection: Any) -> None:
                server.connections.append(connection)

        return await asyncssh.listen(
            "127.0.0.1", 0, server_host_keys=[key], server_factory=Accepted, process_factory=self._run, encoding=None,
            authorized_client_keys=str(self.home / "authorized_keys"),
        )  # fmt: skip

    async def _run(self, process: Any) -> None:
        pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        local = await asyncio.create_subprocess_shell(process.command, stdin=pipe, stdout=pipe, stderr=nothing)
        assert local.stdin is not None
        assert local.stdout is not None
        # Not by `redirect`: a command that ends at once breaks its pipe, which makes that close without an exit status.
        sending = asyncio.create_task(_feed(process.stdin, local.stdin))
        await _copy(local.stdout, process.stdout)
        status = await local.wait()
        sending.cancel()
        process.exit(status)


async def _feed(source: Any, sink: Any) -> None:
    """Copy, then say that no more comes: a worker whose connection was cut ends by that."""
    await _copy(source, sink)
    sink.close()


async def _copy(source: Any, sink: Any) -> None:
    """Copy until the source ends or the sink is gone."""
    with suppress(OSError, asyncssh.Error):
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that knows the key in the ~/.ssh of these tests, which knows the server."""
    home = tmp_path_factory.mktemp("home")
    (home / ".ssh").mkdir(mode=0o700)
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(str(home / ".ssh" / "id_ed25519"))
    key.write_public_key(str(home / "authorized_keys"))
    running = Server(home)
    running.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.delenv("SSH_AUTH_SOCK", raising=False)
        yield running
    running.loop.call_soon_threadsafe(running.loop.stop)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is not waited for."""
    monkeypatch.setattr("nas.hardware.measuring.session.PAUSES", 0)
    monkeypatch.setattr("nas.hardware.measuring.schedule.EXTRA_ROUNDS", 0)


@pytest.fixture
def plan(server: Server) -> Plan:
    return Plan(space="tiny", backend="onnxruntime", number=3, rounds=1, host=server.host, python=sys.executable)


def test_networks_are_measured_on_the_other_machine(
    server: Server, tiny_space: StagedSpace, plan: Plan, tmp_path: Path
) -> None:
    measured = measure_space(tiny_space, plan, tmp_path)
    assert measured.items == 5
    assert all(0 < value < 1000 for value in measured.latency.values())
    assert "HOME" not in (tmp_path / "profile.yaml").read_text()
    assert server.host in (tmp_path / "profile.yaml").read_text()


def test_a_dropped_connection_keeps_what_was_measured_and_the_same_command_goes_on(
    server: Server, tiny_space: StagedSpace, plan: Plan, tmp_path: Path
) -> None:
    def drop_midway(progress: Progress) -> None:
        if progress.done == 2:
            server.drop()

    with pytest.raises(DeviceLostError, match=r"connection to tester@.* was lost; [2-4] visits are kept"):
        measure_space(tiny_space, plan, tmp_path, drop_midway)
    kept = MeasuringLog(tmp_path / "measurements.csv").visits
    measured = measure_space(tiny_space, plan, tmp_path)
    assert measured.items == 5
    assert MeasuringLog(tmp_path / "measurements.csv").visits[: len(kept)] == kept


def test_no_python_and_no_runtime_there(server: Server, tmp_path: Path) -> None:
    with (
        open_device(server.host, "python2.9") as device,
        pytest.raises(DeviceLostError, match=r"no python2\.9.*--remote"),
    ):
        device.describe("onnxruntime", 1)
    bare = tmp_path / "bare python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    bare.chmod(0o755)
    with open_device(server.host, str(bare)) as device, pytest.raises(NasError, match="pip install onnxruntime"):
        device.describe("onnxruntime", 1)


def test_a_host_that_cannot_be_reached(server: Server) -> None:
    with pytest.raises(NasError, match=r"cannot reach tester@127\.0\.0\.1:1: .*refused"):
        open_device("tester@127.0.0.1:1")
    with pytest.raises(NasError, match=r"cannot reach nowhere\.invalid"):
        open_device("nowhere.invalid")


def test_a_refused_key_and_an_unknown_host(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".ssh").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(NasError, match="not among the known hosts"):
        open_device(server.host)
    (tmp_path / ".ssh" / "known_hosts").write_text((server.home / ".ssh" / "known_hosts").read_text())
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(tmp_path / ".ssh" / "id_ed25519"))
    with pytest.raises(NasError, match="refuses every key"):
        open_device(server.host)
