"""A worker on another machine, reached by SSH. Nothing has to be installed there but Python and the runtime."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shlex
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from nas.errors import NasError
from nas.hardware.measuring.device import WORKER, Device, DeviceLostError

if TYPE_CHECKING:
    import asyncssh

Result = TypeVar("Result")

#: seconds to wait for a connection, and between signs of life of an established one
CONNECT_SECONDS = 20
KEEPALIVE_SECONDS = 10
LAST_WORDS_SECONDS = 10.0


class SshDevice(Device):
    """A worker over SSH. Keys, known hosts, ports and jump hosts are those of the user's ~/.ssh, as with `ssh`.

    Raises:
        NasError: the host is unknown, cannot be reached or refuses; or has no such Python.
    """

    def __init__(self, host: str, python: str = "python3"):
        if importlib.util.find_spec("asyncssh") is None:
            raise NasError("measuring on another machine needs asyncssh; install it with: pip install 'nas[ssh]'")
        self.where, self.python = host, python
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ssh", daemon=True)
        self._thread.start()
        try:
            self._connection, self._process = self._wait(self._start())
        except BaseException:
            self._stop()
            raise

    def exchange(self, message: bytes) -> bytes:
        line = self._wait(self._exchange(message))
        if not line.endswith(b"\n"):
            raise self._lost()
        return line

    def close(self) -> None:
        self._wait(self._end())
        self._stop()

    async def _start(self) -> tuple[asyncssh.SSHClientConnection, asyncssh.SSHClientProcess[bytes]]:
        import asyncssh

        user, _, machine = self.where.rpartition("@")
        name, port = _split_port(machine)
        options: dict[str, Any] = {"username": user} if user else {}
        options |= {"port": port} if port else {}
        try:
            connection = await asyncssh.connect(
                name, connect_timeout=CONNECT_SECONDS, keepalive_interval=KEEPALIVE_SECONDS, **options
            )
        except asyncssh.HostKeyNotVerifiable:
            raise NasError(
                f"{self.where} is not among the known hosts; connect once with `ssh {self.where}` to accept its key"
            ) from None
        except asyncssh.PermissionDenied:
            raise NasError(
                f"{self.where} refuses every key; put yours there with `ssh-copy-id {self.where}`, or give user@machine"
            ) from None
        except (OSError, TimeoutError, asyncssh.Error) as error:
            number = getattr(error, "errno", None) or 0
            reason = os.strerror(number) if number > 0 else str(error) or "no answer"
            raise NasError(f"cannot reach {self.where}: {reason}; does `ssh {self.where}` work?") from None
        # The worker's source travels on the command line, so that nothing is left behind.
        source = WORKER.read_text(encoding="utf-8")
        command = f"{shlex.quote(self.python)} -u -c {shlex.quote(source)}"
        return connection, await connection.create_process(command, encoding=None, stderr=asyncssh.DEVNULL)

    async def _end(self) -> None:
        self._connection.abort()
        await self._connection.wait_closed()

    async def _exchange(self, message: bytes) -> bytes:
        import asyncssh

        try:
            self._process.stdin.write(message)
            await self._process.stdin.drain()
            line = await self._process.stdout.readline()
        except (OSError, asyncssh.Error):
            line = b""
        if not line:
            # How it ended is said a moment after its output has.
            with suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait_closed(), LAST_WORDS_SECONDS)
        return line

    def _lost(self) -> DeviceLostError:
        """What to say of a worker that does not answer."""
        status = self._process.exit_status
        if status in (126, 127):
            return DeviceLostError(f"{self.where} has no {self.python}; name its Python with --remote-python")
        if status is not None or self._process.exit_signal is not None:
            how = (
                f"exit code {status}" if self._process.exit_signal is None else f"signal {self._process.exit_signal[0]}"
            )
            return DeviceLostError(f"the measuring process on {self.where} ended ({how})")
        return DeviceLostError(f"the connection to {self.where} was lost")

    def _wait(self, task: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(task, self._loop).result()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _split_port(machine: str) -> tuple[str, int | None]:
    name, colon, port = machine.rpartition(":")
    # An IPv6 address has colons of its own.
    return (name, int(port)) if colon and port.isdigit() and ":" not in name else (machine, None)
