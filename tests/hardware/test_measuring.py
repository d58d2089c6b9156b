"""Measuring sessions: order, drift, what is kept and how it goes on, on devices whose true latencies are known."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from nas.errors import NasError
from nas.hardware.measuring import measure
from nas.hardware.measuring.backends import Backend, Workload
from nas.hardware.measuring.device import Device, DeviceLostError, compressed
from nas.hardware.measuring.log import MeasuringLog, Visit, alone_with, medians, repeatability
from nas.hardware.measuring.plan import Plan, planned
from nas.hardware.measuring.schedule import disturbed, next_round
from nas.hardware.measuring.session import InterruptedMeasuringError, Session
from nas.hardware.profile import MeasuringSetup, read_profile
from nas.space import NetworkSpec, StagedSpace


def true_ms(subject: Any) -> float:
    """What a network takes on the device of these tests."""
    return 1 + sum(layer.macs for layer in subject.layers()) / 1e6


class NameBackend(Backend):
    """Writes a network as the milliseconds it takes."""

    name, title, needs, extra = "torch", "Simulated", (), ""

    def write(self, workload: Workload) -> bytes:
        return repr(true_ms(workload.subject)).encode()


class SimulatedDevice(Device):
    """Takes as long as the model says, times `slowdown(seconds since start)`.

    Args:
        visits: after so many it is lost, or Ctrl-C is pressed.
    """

    where = "the simulated device"

    def __init__(self, slowdown: Any = lambda seconds: 1.0, visits: int = 10**9, then: BaseException | None = None):
        self.slowdown, self.left, self.then = slowdown, visits, then
        self.seconds = 0.0
        self.loaded: list[float] = []

    def exchange(self, message: bytes) -> bytes:
        raise AssertionError

    def close(self) -> None:
        pass

    def describe(self, backend: str, threads: int) -> dict[str, Any]:
        return {"processor": "simulated", "version": "1", "cores": 1, "cpus": [0], "system": "none", "governor": "",
                "max_mhz": None}  # fmt: skip

    def load(self, model: bytes, shapes: Sequence[Sequence[int]]) -> None:
        import zlib

        if self.left == 0 and self.then is not None:
            raise self.then
        self.left -= 1
        self.seconds += 0.5
        self.loaded.append(float(zlib.decompress(model)))

    def time(self, runs: int) -> npt.NDArray[np.int64]:
        times = np.zeros((runs, 2), dtype=np.int64)
        times[:, 0] = 1e6 * self.loaded[-1] * self.slowdown(self.seconds)
        self.seconds += times[:, 0].sum() / 1e9
        return times

    def wait(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def plan() -> Plan:
    return Plan(space="tiny", backend="torch", number=30, rounds=3)


def session(device: SimulatedDevice, space: StagedSpace, plan: Plan, log: MeasuringLog) -> Session:
    return Session(
        device, NameBackend(), planned(plan, space), "tiny", log, plan.rounds, plan.seed,
        clock=lambda: device.seconds, sleep=device.wait,
    )  # fmt: skip


def test_every_network_is_visited_once_a_round_with_the_calibration_network_between(
    tiny_space: StagedSpace, plan: Plan
) -> None:
    log, device = MeasuringLog(), SimulatedDevice()
    session(device, tiny_space, plan, log).run()
    items = [workload.item for workload in planned(plan, tiny_space)[1:]]
    visits = [visit for visit in log.visits if visit.kind == "network"]
    for number in range(3):
        of_round = [visit.item for visit in visits if visit.round == number]
        assert sorted(of_round) == sorted(items)
    assert [visit.item for visit in visits[: len(items)]] != [
        visit.item for visit in visits[len(items) : 2 * len(items)]
    ]
    calibrations = [i for i, visit in enumerate(log.visits) if visit.kind == "calibration"]
    assert calibrations[0] == 0
    assert calibrations[-1] == len(log.visits) - 1
    assert len(calibrations) > device.seconds / 30
    latency = medians(log.visits)
    for workload in planned(plan, tiny_space)[1:]:
        assert latency[workload.item] == pytest.approx(true_ms(workload.subject), rel=1e-6)


def test_what_was_measured_while_the_machine_was_hot_is_measured_again(tiny_space: StagedSpace, plan: Plan) -> None:
    """It is 40 % slower for 30 s in the first round; medians over the rounds are the true latencies all the same."""
    log = MeasuringLog()
    device = SimulatedDevice(lambda seconds: 1.4 if 10 < seconds < 40 else 1.0)
    session(device, tiny_space, plan, log).run()
    slow = [visit for visit in log.visits if visit.kind == "network" and visit.round == 0]
    true = {workload.item: true_ms(workload.subject) for workload in planned(plan, tiny_space)}
    assert max(visit.latency_ms / true[visit.item] for visit in slow) > 1.3
    assert max(visit.round for visit in log.visits if visit.kind == "network") > 2
    for item, value in medians(log.visits).items():
        assert value == pytest.approx(true[item], rel=1e-3)


def test_a_machine_that_never_calms_down_is_measured_to_an_end(tiny_space: StagedSpace, plan: Plan) -> None:
    rng = np.random.default_rng(0)
    log, device = MeasuringLog(), SimulatedDevice(lambda seconds: 1 + rng.random())
    session(device, tiny_space, plan, log).run()
    assert max(visit.round for visit in log.visits if visit.kind == "network") == 4
    assert np.mean(disturbed(log.visits)) > 0.5


@pytest.mark.parametrize(
    ("stop", "raised"),
    [(DeviceLostError("the connection was lost"), DeviceLostError), (KeyboardInterrupt(), InterruptedMeasuringError)],
)
def test_what_was_measured_is_kept_and_the_rest_measured_later(
    tiny_space: StagedSpace, plan: Plan, tmp_path: Path, stop: BaseException, raised: type[NasError]
) -> None:
    path = tmp_path / "measurements.csv"
    with pytest.raises(raised, match=r"visits are kept in .*measurements.csv, and the same command"):
        session(SimulatedDevice(visits=40, then=stop), tiny_space, plan, MeasuringLog(path)).run()
    before = MeasuringLog(path).visits
    assert len(before) == 40
    again = SimulatedDevice()
    session(again, tiny_space, plan, MeasuringLog(path)).run()
    after = MeasuringLog(path).visits
    assert after[:40] == before
    whole = MeasuringLog()
    session(SimulatedDevice(), tiny_space, plan, whole).run()
    networks = [(visit.item, visit.round, visit.latency_ms) for visit in after if visit.kind == "network"]
    assert networks == [
        (visit.item, visit.round, visit.latency_ms) for visit in whole.visits if visit.kind == "network"
    ]


def test_half_a_line_is_dropped_and_measured_again(tiny_space: StagedSpace, plan: Plan, tmp_path: Path) -> None:
    path = tmp_path / "measurements.csv"
    session(SimulatedDevice(), tiny_space, plan, MeasuringLog(path)).run()
    content = path.read_bytes()
    for cut in (3, 30, 77):
        path.write_bytes(content[:-cut])
        whole = content[:-cut].count(b"\n") - 1
        assert len(MeasuringLog(path).visits) == whole
        assert path.read_bytes().endswith(b"\n")


def test_a_full_disk_keeps_what_was_written(
    tiny_space: StagedSpace, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "measurements.csv"
    synced: list[int] = []

    def full(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) > 10:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NasError, match="No space left"):
        session(SimulatedDevice(), tiny_space, plan, MeasuringLog(path)).run()
    assert len(MeasuringLog(path).visits) >= 10


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "has the columns a, b"),
        ("kind,space,item,latency_ms,median_error_ms,runs,outliers,round,started\nnetwork,s,i,x,0,1,0,0,t\n", "line 2"),
        ("kind,space,item,latency_ms,median_error_ms,runs,outliers,round,started\nnetwork,s\n", "line 2"),
    ],
)
def test_a_foreign_or_damaged_log_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "measurements.csv"
    path.write_text(text)
    with pytest.raises(NasError, match=message):
        MeasuringLog(path)


def visit(item: str, latency: float, kind: str = "network", round: int = 0) -> Visit:
    return Visit(kind, "tiny", item, latency, 0.0, 12, 0.0, round, "2026-01-01T00:00:00+00:00")


def test_visits_around_a_calibration_that_is_off_are_disturbed() -> None:
    calibrations = [10.0, 10.1, 10.5, 10.0]
    visits = []
    for i, latency in enumerate(calibrations):
        visits += [visit("c", latency, "calibration"), visit(f"n{i}", 1.0)]
    marked = [each.item for each, bad in zip(visits, disturbed(visits), strict=True) if bad and each.kind == "network"]
    assert marked == ["n1", "n2"]


def test_repeatability_compares_the_first_two_visits() -> None:
    visits = [visit("a", 1.0), visit("b", 2.0), visit("a", 1.1), visit("b", 2.0), visit("a", 9.0), visit("c", 3.0)]
    assert repeatability(visits) == pytest.approx((0.1 / 1.05 + 0) / 2)


def test_a_round_goes_on_in_the_same_order() -> None:
    items = [f"n{i}" for i in range(10)]
    number, order = next_round(items, [], 3, seed=5)
    assert number == 0
    assert sorted(order) == sorted(items)
    assert next_round(items, [visit(item, 1.0) for item in order[:4]], 3, seed=5) == (0, order[4:])
    assert next_round(items, [visit(item, 1.0, round=r) for r in range(3) for item in items], 3, seed=5)[1] == []


# --- profile folders ----------------------------------------------------------------------------------------------


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> list[SimulatedDevice]:
    """`nas.hardware.measuring.measure` on simulated devices, one a call; gives those that were opened."""
    opened: list[SimulatedDevice] = []

    def open_device(host: str | None, python: str) -> SimulatedDevice:
        opened.append(SimulatedDevice())
        return opened[-1]

    monkeypatch.setattr(measure, "open_device", open_device)
    monkeypatch.setattr(measure, "load_backend", lambda name: NameBackend())
    monkeypatch.setattr("nas.hardware.measuring.session.PAUSE_SECONDS", 0.0)
    return opened


def test_a_profile_folder_is_measured_and_validated(
    tiny_space: StagedSpace, plan: Plan, tmp_path: Path, simulated: list[SimulatedDevice]
) -> None:
    folder = tmp_path / "my_laptop"
    measured = measure.measure_space(tiny_space, plan, folder)
    codes = np.array([tiny_space.encode(item) for item in measured.latency])
    macs = [sum(layer.macs for layer in tiny_space.spec(code).layers()) for code in tiny_space.all_codes()]
    ours = [sum(layer.macs for layer in tiny_space.spec(code).layers()) for code in codes]
    assert (min(ours), max(ours)) == (min(macs), max(macs))
    assert 30 <= measured.items <= 32
    profile = read_profile(folder / "profile.yaml")
    assert (profile.name, profile.measuring) == ("my_laptop", MeasuringSetup(backend="torch"))
    fresh = measure.measure_fresh(tiny_space, folder, number=20, seed=1)
    assert fresh.items == 20
    assert not set(fresh.latency) & set(measured.latency)
    assert fresh.repeatability == 0
    assert measure.measure_fresh(tiny_space, folder, number=20, seed=1).latency == fresh.latency
    assert simulated[1].loaded
    assert not simulated[2].loaded
    with pytest.raises(NasError, match="was validated with networks: 20, seed: 1"):
        measure.measure_fresh(tiny_space, folder, number=21, seed=1)


def test_a_space_without_enough_fresh_networks_says_so(
    tiny_space: StagedSpace, plan: Plan, tmp_path: Path, simulated: list[SimulatedDevice]
) -> None:
    measure.measure_space(tiny_space, plan, tmp_path)
    with pytest.raises(NasError, match=r"tiny has 6\d networks that were not measured, not 90"):
        measure.measure_fresh(tiny_space, tmp_path, number=90)
    measure.measure_fresh(tiny_space, tmp_path, number=5)


def test_nothing_is_left_where_nothing_was_measured(
    tiny_space: StagedSpace,
    plan: Plan,
    tmp_path: Path,
    simulated: list[SimulatedDevice],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unreachable(host: str | None, python: str) -> SimulatedDevice:
        raise NasError("cannot reach it")

    folder = tmp_path / "board"
    monkeypatch.setattr(measure, "open_device", unreachable)
    with pytest.raises(NasError, match="cannot reach"):
        measure.measure_space(tiny_space, plan, folder)
    assert not folder.exists()


def test_two_sessions_in_one_folder_are_refused(
    tiny_space: StagedSpace, plan: Plan, tmp_path: Path, simulated: list[SimulatedDevice]
) -> None:
    with alone_with(tmp_path / "measurements.csv"), pytest.raises(NasError, match="another session is measuring into"):
        measure.measure_space(tiny_space, plan, tmp_path)
    measure.measure_space(tiny_space, plan, tmp_path)


@pytest.mark.parametrize(
    "change", [{"threads": 2}, {"seed": 1}, {"number": 31}, {"host": "you@there"}, {"what": "blocks"}, {"space": "b"}]
)
def test_another_session_in_the_same_folder_is_refused(
    tiny_space: StagedSpace, plan: Plan, tmp_path: Path, simulated: list[SimulatedDevice], change: dict[str, Any]
) -> None:
    measure.measure_space(tiny_space, plan, tmp_path)
    before = (tmp_path / "measurements.csv").read_bytes()
    (key,) = change
    with pytest.raises(NasError, match=f"was begun with {key} "):
        measure.measure_space(tiny_space, plan.model_copy(update=change), tmp_path)
    assert (tmp_path / "measurements.csv").read_bytes() == before


def test_every_block_is_measured_once(
    tiny_space: StagedSpace, tmp_path: Path, simulated: list[SimulatedDevice]
) -> None:
    plan = Plan(space="tiny", backend="torch", what="blocks", rounds=1)
    measured = measure.measure_space(tiny_space, plan, tmp_path)
    from nas.hardware.predictors.lookup import kernels

    assert set(measured.latency) == {kernels(block) for block in tiny_space.vocabulary.blocks} - {""}


def test_a_few_networks_are_verified(tiny_space: StagedSpace, simulated: list[SimulatedDevice]) -> None:
    specs: list[NetworkSpec] = [tiny_space.spec(code) for code in tiny_space.all_codes()[[5, 50, 20]]]
    found = measure.verify(specs, MeasuringSetup(backend="torch"))
    np.testing.assert_allclose(found, [true_ms(spec) for spec in specs], rtol=1e-6)
    assert len(measure.verify([], MeasuringSetup(backend="torch"))) == 0


def test_models_travel_small() -> None:
    assert len(compressed(b"weights" * 100_000)) < 10_000
