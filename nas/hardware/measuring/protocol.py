"""How one thing is timed: warm-up, then runs until their median is known well enough, or time is up."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: int64[runs, 2]: nanoseconds of each run, and how often another process took the CPU away meanwhile
Runs = npt.NDArray[np.int64]
#: runs the loaded model so many times
TimeRuns = Callable[[int], Runs]

#: half of a 95 % interval of a normal distribution, in standard deviations
_HALF_95 = 1.96
#: the standard deviation of a normal distribution is its median absolute deviation times this
_MAD = 1.4826
#: runs above the median by more than so many standard deviations (from the median absolute deviation) are outliers
_OUTLIER = 5.0


@dataclass(frozen=True)
class Effort:
    """How long one visit to a network may take.

    Args:
        warm_up: seconds of runs that are not counted, and at least two runs.
        tolerance: enough when half of the 95 % interval of the median is at most this share of it.
        seconds: of counted runs, at most; a block of runs that has begun is finished.
        runs: at least.
        block: seconds between looks at the interval.
    """

    warm_up: float = 0.1
    tolerance: float = 0.005
    seconds: float = 0.6
    runs: int = 12
    block: float = 0.1


@dataclass(frozen=True)
class Timing:
    """What one visit found.

    Args:
        median: milliseconds.
        std: standard deviation of that median within this visit, ms; between visits it is larger.
        runs: that the median is of.
        outliers: share of all runs that were preempted, or took far longer than the median.
    """

    median: float
    std: float
    runs: int
    outliers: float


def time_model(time_runs: TimeRuns, effort: Effort | None = None) -> Timing:
    """Time what is loaded."""
    effort = effort or Effort()
    warm = np.concatenate([time_runs(1), time_runs(1)])
    while _seconds(warm) < effort.warm_up:
        warm = np.concatenate([warm, time_runs(_runs_in(effort.warm_up - _seconds(warm), warm))])
    runs = time_runs(effort.runs)
    while _seconds(runs) < effort.seconds and not _is_tight(runs, effort):
        runs = np.concatenate([runs, time_runs(_runs_in(effort.block, runs))])
    return summary(runs, effort.runs)


def summary(runs: Runs, enough: int) -> Timing:
    """Return what runs amount to. Those that were preempted count only where fewer than `enough` were not."""
    times = _counted(runs, enough)
    median = float(np.median(times))
    # A coarse timer may give the same number again and again.
    spread = max(_MAD * float(np.median(np.abs(times - median))), 1e-3 * median)
    ordinary = np.count_nonzero(times <= median + _OUTLIER * spread)
    return Timing(median / 1e6, half_width(times) / _HALF_95 / 1e6, len(times), 1 - ordinary / len(runs))


def half_width(times: npt.NDArray[np.int64]) -> float:
    """Return half of the 95 % interval of the median, from order statistics: no shape of the distribution is assumed.

    The k-th smallest of n values is below the median with the probability that a binomial (n, 1/2) is at least k; this
    is its normal approximation (Conover, Practical Nonparametric Statistics, 1999, section 3.2).
    """
    ordered, count = np.sort(times), len(times)
    reach = _HALF_95 * math.sqrt(count) / 2
    low, high = max(0, math.floor(count / 2 - reach)), min(count - 1, math.ceil(count / 2 + reach))
    return float(ordered[high] - ordered[low]) / 2


def _counted(runs: Runs, enough: int) -> npt.NDArray[np.int64]:
    alone = runs[runs[:, 1] == 0, 0]
    return alone if len(alone) >= enough else runs[:, 0]


def _is_tight(runs: Runs, effort: Effort) -> bool:
    alone = runs[runs[:, 1] == 0, 0]
    return len(alone) >= effort.runs and half_width(alone) <= effort.tolerance * float(np.median(alone))


def _seconds(runs: Runs) -> float:
    return float(runs[:, 0].sum()) / 1e9


def _runs_in(seconds: float, runs: Runs) -> int:
    return max(1, math.ceil(seconds * 1e9 / max(float(np.median(runs[:, 0])), 1.0)))
