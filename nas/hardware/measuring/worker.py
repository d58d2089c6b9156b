"""Runs models where the device is. Started as a script, here or on another machine over SSH.

Self-contained: the standard library of Python 3.8 and the runtime's own package, nothing of `nas`, is all it needs.
It reads requests from standard input and answers each on standard output; a message is one line of JSON, followed by
as many raw bytes as its `bytes` says.

    {"do": "describe", "backend": NAME, "threads": N}    first of all -> what this machine is
    {"do": "load", "shapes": [...], "bytes": N} + model, compressed by zlib -> {}
    {"do": "time", "runs": N} -> {"runs": [[ns, p], ...]} of N runs one after the other, the nanoseconds each took and
                                 how often another process took the CPU away meanwhile
    {"do": "quit"}

An answer with `error` says what went wrong; `kind` is "runtime" where the runtime is missing.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    #: of the inputs of a model
    Shapes = Sequence[Sequence[int]]
    #: runs the loaded model once
    Run = Callable[[], Any]

#: CPUs that this process holds against other workers, by open files; None where the system has no locks
CLAIMS: dict[int, Any] = {}


def pin(threads: int) -> list[int]:
    """Keep this process on `threads` CPUs: of the fastest, those no other worker is on, and of these the last.

    Returns them, [] where a process cannot be kept.
    """
    if not hasattr(os, "sched_setaffinity"):
        return []
    cpus = os.sched_getaffinity(0)
    if threads > len(cpus):
        raise ValueError(f"{threads} threads are asked for, this machine lends {len(cpus)} CPUs")
    order = sorted(cpus, key=lambda cpu: (-_number(cpu, "cpuinfo_max_freq"), not claim(cpu), -cpu))
    for cpu in set(CLAIMS).intersection(order[threads:]):
        release = CLAIMS.pop(cpu)
        if release is not None:
            release.close()
    os.sched_setaffinity(0, order[:threads])
    return order[:threads]


def claim(cpu: int) -> bool:
    """Hold a CPU until this process ends; returns whether no other worker does."""
    try:
        import fcntl

        file = open(os.path.join(tempfile.gettempdir(), f"nas-measuring-cpu{cpu}.lock"), "w")  # noqa: SIM115
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        file = None
    CLAIMS[cpu] = file
    return True


def raise_priority() -> bool:
    """Go before other processes where the system allows it; returns whether it does."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    except (AttributeError, OSError):
        return False
    # Linux shares CPUs between sessions first, then between the processes of each.
    with suppress(OSError), open("/proc/self/autogroup", "w") as autogroup:
        autogroup.write("-20")
    return True


def preemptions() -> int:
    """Return how often this process lost a CPU to another; always 0 where the system does not count."""
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def describe(threads: int) -> dict[str, Any]:
    """Return what latency depends on, as far as the system says."""
    cpus = pin(threads)
    first = cpus[0] if cpus else 0
    return {
        "processor": processor() or platform.machine(), "machine": platform.machine(), "cores": os.cpu_count(),
        "cpus": cpus, "system": platform.system() + " " + platform.release(), "python": platform.python_version(),
        "governor": _read(f"/sys/devices/system/cpu/cpu{first}/cpufreq/scaling_governor"),
        "max_mhz": _number(first, "cpuinfo_max_freq") // 1000 or None, "host": platform.node(),
        "raised_priority": raise_priority(), "shared": any(cpu not in CLAIMS for cpu in cpus),
    }  # fmt: skip


def processor() -> str:
    """Return the CPU's name; "" where nothing tells."""
    for line in _read("/proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Hardware", "Model"):
            return value.strip()
    return _read("/proc/device-tree/model").rstrip("\0") or platform.processor()


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""


def _number(cpu: int, name: str) -> int:
    text = _read(f"/sys/devices/system/cpu/cpu{cpu}/cpufreq/{name}")
    return int(text) if text.isdigit() else 0


class OnnxRuntime:
    def __init__(self, threads: int):
        import numpy
        import onnxruntime

        self.numpy, self.runtime, self.version = numpy, onnxruntime, onnxruntime.__version__
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads, self.options.inter_op_num_threads = threads, 1
        self.options.log_severity_level = 3

    def load(self, model: bytes, shapes: Shapes) -> Run:
        session = self.runtime.InferenceSession(model, self.options, providers=["CPUExecutionProvider"])
        random = self.numpy.random.default_rng(0)
        feed = {
            tensor.name: random.standard_normal(shapes[i], dtype=self.numpy.float32)
            for i, tensor in enumerate(session.get_inputs())
        }
        return lambda: session.run(None, feed)


class ExecuTorch:
    def __init__(self, threads: int):
        import importlib.metadata

        import torch
        from executorch.extension.pybindings import portable_lib
        from executorch.runtime import Runtime

        portable_lib._unsafe_reset_threadpool(threads)
        self.torch, self.runtime, self.version = torch, Runtime.get(), importlib.metadata.version("executorch")

    def load(self, model: bytes, shapes: Shapes) -> Run:
        program = self.runtime.load_program(model)
        method = program.load_method("forward")
        inputs = [self.torch.randn(shape) for shape in shapes]

        def run() -> Any:
            return method.execute(inputs)

        # A method does not keep its program alive, and without it is a dangling pointer.
        run.program = program  # type: ignore[attr-defined]
        return run


class Torch:
    def __init__(self, threads: int):
        import torch

        torch.set_num_threads(threads)
        self.torch, self.version = torch, torch.__version__

    def load(self, model: bytes, shapes: Shapes) -> Run:
        import io

        module = self.torch.export.load(io.BytesIO(model)).module()
        inputs = [self.torch.randn(shape) for shape in shapes]
        inference_mode = self.torch.inference_mode

        def run() -> Any:
            with inference_mode():
                return module(*inputs)

        return run


BACKENDS: dict[str, Any] = {"onnxruntime": OnnxRuntime, "executorch": ExecuTorch, "torch": Torch}


class Worker:
    def __init__(self) -> None:
        self.backend: Any = None
        self.run: Run | None = None

    def answer(self, request: dict[str, Any], payload: bytes) -> dict[str, Any]:
        do = request["do"]
        if do == "describe":
            # Pinned first: runtimes look at the CPUs they may use when they are loaded.
            machine = describe(request["threads"])
            try:
                self.backend = BACKENDS[request["backend"]](request["threads"])
            except ImportError as error:
                return {"error": str(error), "kind": "runtime", "machine": machine, "executable": sys.executable}
            return dict(machine, version=self.backend.version)
        if do == "load":
            # The model before goes first: two large ones need not fit at once.
            self.run = None
            self.run = self.backend.load(zlib.decompress(payload), request["shapes"])
            return {}
        return {"runs": [self.timed() for _ in range(request["runs"])]}

    def timed(self) -> list[int]:
        assert self.run is not None
        before, start = preemptions(), time.perf_counter_ns()
        self.run()
        return [time.perf_counter_ns() - start, preemptions() - before]


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until "quit" or until nobody asks any more."""
    worker = Worker()
    for line in iter(requests.readline, b""):
        request = json.loads(line)
        payload = requests.read(request.get("bytes", 0))
        if request["do"] == "quit":
            return
        try:
            answer = worker.answer(request, payload)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}", "kind": "model"}
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    # Runtimes print to standard output as they please: it becomes standard error, answers keep the real one.
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, channel)
