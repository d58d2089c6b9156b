"""A measuring session: visits in rounds, a calibration network between them, everything kept as it comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from nas.errors import NasError
from nas.hardware.measuring.backends import Backend, Workload
from nas.hardware.measuring.device import Device, DeviceLostError, compressed
from nas.hardware.measuring.log import MeasuringLog, Visit
from nas.hardware.measuring.protocol import Effort, time_model
from nas.hardware.measuring.schedule import DRIFT, drifts, next_round, visits_left

#: seconds between visits to the calibration network
CALIBRATE_SECONDS = 20.0
#: pause when it is off, and how many of them a session makes in a row and in all before it goes on regardless
PAUSE_SECONDS, PAUSES_IN_A_ROW, PAUSES = 5.0, 3, 12


class InterruptedMeasuringError(NasError):
    """The user stopped a session with Ctrl-C."""

    exit_code = 130


@dataclass(frozen=True)
class Progress:
    """How far a session is.

    Args:
        done, left: visits made, and those to be made if none is disturbed any more.
        seconds_left: at the pace so far; NaN before the first visit.
        state: what is going on, in words.
    """

    done: int
    left: int
    seconds_left: float
    state: str


OnProgress = Callable[[Progress], None]


class Session:
    """Visits all workloads on a device in `rounds` rounds.

    Args:
        workloads: the first is the calibration network.
        space: name that rows carry.
        log: where visits are kept; those it already has are not made again.
        clock, sleep: seconds, and a pause of so many.
    """

    def __init__(
        self, device: Device, backend: Backend, workloads: Sequence[Workload], space: str, log: MeasuringLog,
        rounds: int = 3, seed: int = 0, effort: Effort | None = None, clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):  # fmt: skip
        self.device, self.backend, self.space, self.log = device, backend, space, log
        self.calibration, *rest = workloads
        self.workloads = {workload.item: workload for workload in rest}
        self.items = list(self.workloads)
        self.rounds, self.seed, self.effort, self.clock, self.sleep = rounds, seed, effort, clock, sleep
        self._models: dict[tuple[str, str], bytes] = {}
        self._pauses = 0

    def run(self, on_progress: OnProgress | None = None) -> None:
        """Measure what is missing.

        Raises:
            NasError: the device was lost, a network cannot be run, the log cannot be written; or Ctrl-C was pressed.
                What was measured is kept, and running the session again goes on.
        """
        self._on_progress = on_progress
        self._started, self._made = self.clock(), 0
        if not self._left()[1]:
            return
        try:
            self._calibrate()
            while self._round():
                self._calibrate()
        except KeyboardInterrupt:
            raise InterruptedMeasuringError(f"interrupted; {self._kept}") from None
        except DeviceLostError as error:
            raise DeviceLostError(f"{error}; {self._kept}") from None

    @property
    def _kept(self) -> str:
        done = sum(visit.kind != "calibration" for visit in self.log.visits)
        where = f" in {self.log.path}" if self.log.path is not None else ""
        return f"{done} visits are kept{where}, and the same command goes on from there"

    def _round(self) -> bool:
        """Make the visits that are left of a round; returns whether there were any."""
        number, items = self._left()
        for item in items:
            if self.clock() - self._calibrated > CALIBRATE_SECONDS:
                self._calibrate()
            self._visit(self.workloads[item], number)
            self._report(f"round {number + 1} of {max(self.rounds, number + 1)}")
        return bool(items)

    def _left(self) -> tuple[int, list[str]]:
        return next_round(self.items, self.log.visits, self.rounds, self.seed)

    def _calibrate(self) -> None:
        """Visit the calibration network; while it is off, the machine is hot or busy: wait a little."""
        for attempt in range(PAUSES_IN_A_ROW + 1):
            self._visit(self.calibration, sum(visit.kind == "calibration" for visit in self.log.visits))
            off = drifts(self.log.visits)[-1]
            if abs(off) <= DRIFT or attempt == PAUSES_IN_A_ROW or self._pauses == PAUSES:
                break
            self._pauses += 1
            self._report(f"drift {off:+.0%}: waiting")
            self.sleep(PAUSE_SECONDS)
        self._calibrated = self.clock()

    def _visit(self, workload: Workload, number: int) -> None:
        key = workload.kind, workload.item
        if key not in self._models:
            self._models[key] = compressed(self.backend.write(workload))
        started = datetime.now(UTC).isoformat(timespec="seconds")
        self.device.load(self._models[key], workload.input_shapes)
        found = time_model(self.device.time, self.effort)
        self.log.append(
            Visit(
                workload.kind, self.space, workload.item, round(found.median, 6), round(found.std, 6), found.runs,
                round(found.outliers, 4), number, started,
            )
        )  # fmt: skip
        self._made += workload.kind != "calibration"

    def _report(self, state: str) -> None:
        if self._on_progress is None:
            return
        done = sum(visit.kind != "calibration" for visit in self.log.visits)
        left = visits_left(self.items, self.log.visits, self.rounds)
        pace = (self.clock() - self._started) / self._made if self._made else np.nan
        self._on_progress(Progress(done, left, pace * left, state))
