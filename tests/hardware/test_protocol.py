"""Timing one thing, against a simulated machine whose true latency is known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from nas.hardware.measuring.protocol import Effort, half_width, summary, time_model


class Machine:
    """A run takes `latency` ms with some noise; it can start slow, and be preempted now and then.

    Args:
        cold: how many runs at the start take three times as long.
        noise: relative standard deviation of a run.
        preempted: share of runs that another process interrupts for 4 ms.
    """

    def __init__(self, latency: float, cold: int = 0, noise: float = 0.0, preempted: float = 0.0, seed: int = 0):
        self.latency, self.cold, self.noise, self.preempted = latency, cold, noise, preempted
        self.rng = np.random.default_rng(seed)
        self.made = 0
        self.seconds = 0.0

    def __call__(self, count: int) -> npt.NDArray[np.int64]:
        times = self.latency * (1 + self.noise * self.rng.standard_normal(count))
        times[: max(0, self.cold - self.made)] *= 3
        interrupted = self.rng.random(count) < self.preempted
        times += 4 * interrupted
        self.made += count
        self.seconds += times.sum() / 1e3
        return np.stack([times * 1e6, interrupted], axis=1).astype(np.int64)


def test_cold_runs_do_not_count() -> None:
    machine = Machine(10.0, cold=3)
    found = time_model(machine)
    assert found.median == pytest.approx(10.0)
    assert found.outliers == 0


def test_a_steady_machine_is_left_soon_and_a_noisy_one_measured_longer() -> None:
    steady, noisy = Machine(2.0, noise=0.0005), Machine(2.0, noise=0.1)
    assert time_model(steady).runs < time_model(noisy).runs / 5


def test_the_time_limit_holds() -> None:
    effort = Effort(seconds=0.5)
    machine = Machine(2.0, noise=0.3)
    time_model(machine, effort)
    assert 0.5 < machine.seconds < effort.seconds + effort.warm_up + effort.block + 0.05


def test_slow_networks_get_their_least_number_of_runs() -> None:
    machine = Machine(500.0, noise=0.01)
    assert time_model(machine).runs == Effort().runs
    assert machine.made == Effort().runs + 2


@pytest.mark.parametrize("share", [0.1, 0.5, 0.7])
def test_preempted_runs_are_left_out(share: float) -> None:
    found = time_model(Machine(2.0, noise=0.01, preempted=share))
    assert found.median == pytest.approx(2.0, rel=0.01)
    assert found.outliers == pytest.approx(share, abs=0.15)


def test_where_every_run_is_preempted_all_count() -> None:
    found = time_model(Machine(20.0, preempted=1.0))
    assert found.median == pytest.approx(24.0)


def test_runs_that_took_too_long_without_a_preemption_are_outliers() -> None:
    runs = np.zeros((100, 2), dtype=np.int64)
    runs[:, 0] = 1_000_000 + 1000 * np.arange(100)
    runs[7, 0] = runs[70, 0] = 9_000_000
    assert summary(runs, 12).outliers == pytest.approx(0.02)


def test_the_interval_of_the_median_covers_as_often_as_it_says() -> None:
    """95 % of intervals of log-normal times, whose median is 1 ms, contain it; so few runs make it a little wider."""
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(2000):
        times = (1e6 * np.exp(0.3 * rng.standard_normal(51))).astype(np.int64)
        held += abs(np.median(times) - 1e6) <= half_width(times)
    assert 0.90 < held / 2000 < 0.985


def test_the_standard_deviation_is_that_of_repeated_medians() -> None:
    rng = np.random.default_rng(2)
    runs = np.zeros((500, 60, 2), dtype=np.int64)
    runs[..., 0] = 1e6 * (1 + 0.1 * rng.standard_normal((500, 60)))
    stated = np.mean([summary(each, 12).std for each in runs])
    assert stated == pytest.approx(np.std(np.median(runs[..., 0], axis=1)) / 1e6, rel=0.15)
