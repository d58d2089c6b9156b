"""Measuring networks of a space: into a profile folder, once more to validate it, or a few to verify a search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.errors import NasError
from nas.hardware.measuring.backends import Backend, Workload, load_backend
from nas.hardware.measuring.device import Device, open_device
from nas.hardware.measuring.log import MeasuringLog, alone_with, medians, repeatability
from nas.hardware.measuring.plan import Begun, Plan, fresh_networks, keep, planned, read_begun
from nas.hardware.measuring.schedule import disturbed, drifts
from nas.hardware.measuring.session import OnProgress, Session
from nas.hardware.predictor_file import write_whole
from nas.hardware.profile import MeasuringSetup, Profile, write_profile
from nas.space import NetworkSpec, SearchSpace

#: files of a profile folder: how the session was begun, what was measured, what was measured to validate
BEGUN, MEASUREMENTS, VALIDATION = "measuring.yaml", "measurements.csv", "validation.csv"
#: visits to each network that is measured to validate or verify
CHECK_ROUNDS = 2
PRECISION, BATCH_SIZE = "float32", 1


@dataclass(frozen=True)
class Measured:
    """What a session came to.

    Args:
        items: how many networks or blocks; latency: item -> ms, median over visits.
        repeatability: median relative difference between two visits to the same network; NaN with one visit each.
        drift: largest deviation of the calibration network from its median, as a share; and its 90th percentile.
        disturbed: share of visits made while it was off by more than 3 %.
    """

    folder: Path | None
    machine: dict[str, Any]
    runtime: str
    latency: dict[str, float]
    visits: int
    repeatability: float
    largest_drift: float
    usual_drift: float
    disturbed: float

    @property
    def items(self) -> int:
        return len(self.latency)


def measure_space(space: SearchSpace, plan: Plan, folder: Path, on_progress: OnProgress | None = None) -> Measured:
    """Measure networks or blocks of a space into a profile folder; goes on where an earlier session ended.

    Raises:
        NasError: the folder holds another session or cannot be written, the host or a network fails, or Ctrl-C; what
            was measured is kept.
    """
    with _worker(plan) as (device, backend, machine):
        _make_folder(folder)
        with alone_with(folder / MEASUREMENTS) as log:
            begun = keep(Begun(plan=plan, machine=machine, started=_now()), folder / BEGUN)
            if not (folder / "profile.yaml").exists():
                write_profile(_profile(folder, begun, backend), folder / "profile.yaml")
            session = Session(device, backend, planned(plan, space), space.name, log, plan.rounds, plan.seed)
            session.run(on_progress)
    return _measured(folder, machine, backend, log)


def measure_fresh(
    space: SearchSpace, folder: Path, number: int = 50, seed: int = 1, on_progress: OnProgress | None = None
) -> Measured:
    """Measure networks that a profile was not fitted on, each twice, into its validation.csv, in the same way.

    Raises:
        NasError: nothing was measured in this folder, or as `measure_space`.
    """
    if not (folder / BEGUN).exists():
        raise NasError(f"{folder} was not measured by `nas profile measure`; it has no {BEGUN}")
    plan = read_begun(folder / BEGUN).plan
    known = list(medians(MeasuringLog(folder / MEASUREMENTS).visits))
    workloads = [planned(plan, space)[0], *fresh_networks(space, number, seed, known)]
    with _worker(plan) as (device, backend, machine), alone_with(folder / VALIDATION) as log:
        _remember_choice(folder, number, seed)
        keep(Begun(plan=plan, machine=machine, started=_now()), folder / BEGUN)
        Session(device, backend, workloads, space.name, log, CHECK_ROUNDS, seed).run(on_progress)
    return _measured(folder, machine, backend, log)


def verify(
    specs: Sequence[NetworkSpec], setup: MeasuringSetup, on_progress: OnProgress | None = None
) -> npt.NDArray[np.float64]:
    """Measure a few networks the way a target was measured; returns float[n], ms.

    Raises:
        NasError: the host, the runtime or a network fails.
    """
    plan = Plan(space="", backend=setup.backend, threads=setup.threads, host=setup.host, python=setup.python)
    workloads = [Workload("network", str(i), spec) for i, spec in enumerate(specs)]
    if not workloads:
        return np.zeros(0)
    log = MeasuringLog()
    with _worker(plan) as (device, backend, _):
        calibration = Workload("calibration", "0", specs[0])
        Session(device, backend, [calibration, *workloads], "", log, plan.rounds).run(on_progress)
    latency = medians(log.visits)
    return np.array([latency[workload.item] for workload in workloads])


def setting_of(folder: Path) -> dict[str, Any]:
    """Return how a profile was measured, by the names of `Fit`: processor, runtime, threads, precision, ...

    Raises:
        NasError: it was not measured by `nas profile measure`, or its file is damaged.
    """
    begun = read_begun(folder / BEGUN)
    backend = load_backend(begun.plan.backend)
    return {
        "processor": begun.machine["processor"], "runtime": f"{backend.title} {begun.machine['version']}",
        "threads": begun.plan.threads, "precision": PRECISION, "batch_size": BATCH_SIZE,
        "measured_by": "nas profile measure", "measured": begun.started[:10],
    }  # fmt: skip


@contextmanager
def _worker(plan: Plan) -> Iterator[tuple[Device, Backend, dict[str, Any]]]:
    """A worker that has told what machine it is on."""
    backend = load_backend(plan.backend)
    with open_device(plan.host, plan.python) as device:
        yield device, backend, device.describe(plan.backend, plan.threads)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NasError(f"cannot make {folder}: {error.strerror or error}") from None


def _remember_choice(folder: Path, number: int, seed: int) -> None:
    """Keep which networks validate a profile; refuse to mix them with others."""
    path, text = folder / "validation.yaml", f"networks: {number}\nseed: {seed}\n"
    if not path.exists():
        write_whole(path, text.encode())
    elif path.read_text(encoding="utf-8") != text:
        before = ", ".join(path.read_text(encoding="utf-8").splitlines())
        raise NasError(
            f"{folder} was validated with {before}; use the same, or delete {VALIDATION} and {path.name} there"
        )


def _profile(folder: Path, begun: Begun, backend: Backend) -> Profile:
    machine, plan = begun.machine, begun.plan
    cores = f"{machine['cores']} cores" if machine["cores"] else ""
    clock = f"up to {machine['max_mhz']} MHz" if machine["max_mhz"] else ""
    return Profile(
        name=folder.resolve().name,
        description=f"{machine['processor']}, measured with {backend.title}",
        device=", ".join(word for word in (machine["processor"], cores, machine["system"]) if word),
        clock=", ".join(word for word in (clock, machine["governor"]) if word) or "not stated",
        measuring=MeasuringSetup(backend=plan.backend, threads=plan.threads, host=plan.host, python=plan.python),
    )


def _measured(folder: Path, machine: dict[str, Any], backend: Backend, log: MeasuringLog) -> Measured:
    off = np.abs(drifts(log.visits))
    return Measured(
        folder, machine, f"{backend.title} {machine['version']}", medians(log.visits),
        sum(visit.kind != "calibration" for visit in log.visits), repeatability(log.visits),
        float(off.max()), float(np.quantile(off, 0.9)), float(np.mean(disturbed(log.visits))),
    )  # fmt: skip


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


__all__ = ["Measured", "Plan", "measure_fresh", "measure_space", "setting_of", "verify"]
