"""The machine that measures: this one or another, through a worker process that answers requests."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from nas.errors import NasError

WORKER = Path(__file__).with_name("worker.py")
#: level of zlib: the weights that are sent repeat themselves
_COMPRESSION = 1


class DeviceLostError(NasError):
    """The worker went away: its machine, the connection to it, or the process alone."""


class Device(ABC):
    """A worker, wherever it runs; a context manager that ends it."""

    #: what messages call it
    where: str

    @abstractmethod
    def exchange(self, message: bytes) -> bytes:
        """Send a request and return the line that answers it.

        Raises:
            DeviceLostError: no answer will come.
        """

    @abstractmethod
    def close(self) -> None:
        """End the worker."""

    def __enter__(self) -> Device:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def ask(self, request: dict[str, Any], payload: bytes = b"") -> dict[str, Any]:
        """Return the answer to a request.

        Raises:
            DeviceLostError: the worker went away.
            NasError: the worker could not do it.
        """
        header = json.dumps(request | {"bytes": len(payload)}).encode()
        answer: dict[str, Any] = json.loads(self.exchange(header + b"\n" + payload))
        if "error" not in answer:
            return answer
        if answer["kind"] == "runtime":
            raise NasError(
                f"{self.where} cannot run {request['backend']} with {answer['executable']}: {answer['error']}; install "
                f"it there, e.g. {answer['executable']} -m pip install {request['backend']}"
            )
        raise NasError(f"{self.where} cannot do it: {answer['error']}")

    def describe(self, backend: str, threads: int) -> dict[str, Any]:
        """Return what the machine says of itself; has to be asked before a model is loaded."""
        return self.ask({"do": "describe", "backend": backend, "threads": threads})

    def load(self, model: bytes, shapes: Sequence[Sequence[int]]) -> None:
        """Replace the loaded model by this one, as `compressed` returns it."""
        self.ask({"do": "load", "shapes": shapes}, model)

    def time(self, runs: int) -> npt.NDArray[np.int64]:
        """Run the loaded model; int64[runs, 2]: nanoseconds of each run, and how often it was preempted."""
        return np.array(self.ask({"do": "time", "runs": runs})["runs"], dtype=np.int64)


def compressed(model: bytes) -> bytes:
    """Return a model as it is sent to a worker."""
    return zlib.compress(model, _COMPRESSION)


class LocalDevice(Device):
    """A worker on this machine."""

    where = "this machine"

    def __init__(self) -> None:
        # In a session of its own: Ctrl-C is for us, and the worker ends when we do, because its input does. Without
        # the folder of the script on its path (-P), which has modules of the same names as Python's.
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def exchange(self, message: bytes) -> bytes:
        to, back = self._pipes()
        try:
            to.write(message)
            to.flush()
            line = back.readline()
        except OSError:
            line = b""
        if not line.endswith(b"\n"):
            code = self._process.wait()
            raise DeviceLostError(f"the measuring process on this machine ended ({_how(code)})")
        return line

    def close(self) -> None:
        to, back = self._pipes()
        with suppress(OSError):
            to.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        back.close()

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout


def _how(code: int) -> str:
    return f"killed by signal {-code}; out of memory?" if code < 0 else f"exit code {code}"


def open_device(host: str | None = None, python: str = "python3") -> Device:
    """Return a started worker.

    Args:
        host: user@machine or user@machine:port to reach by SSH; None for this machine.
        python: interpreter on that host.

    Raises:
        NasError: the host cannot be reached, or cannot run the worker.
    """
    if host is None:
        return LocalDevice()
    from nas.hardware.measuring.ssh import SshDevice

    return SshDevice(host, python)
