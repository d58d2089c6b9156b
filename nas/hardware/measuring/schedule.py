"""In which order a session visits what it measures, and which visits it does not trust: functions of its log alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nas.hardware.measuring.log import Visit

#: how far the calibration network may be off its median over the session before the visits around it are repeated
DRIFT = 0.03
#: rounds that repeat what was disturbed, at most
EXTRA_ROUNDS = 2


def drifts(visits: Sequence[Visit]) -> npt.NDArray[np.float64]:
    """Return float[c], by which share each visit to the calibration network is off the median of all of them."""
    times = np.array([visit.latency_ms for visit in visits if visit.kind == "calibration"])
    return times / np.median(times) - 1 if len(times) else times


def disturbed(visits: Sequence[Visit]) -> list[bool]:
    """Return for every visit whether the calibration network before or after it was off by more than DRIFT."""
    off = np.abs(drifts(visits)) > DRIFT
    position, found = -1, []
    for visit in visits:
        position += visit.kind == "calibration"
        around = off[max(position, 0) : position + 1 + (visit.kind != "calibration")]
        found.append(bool(around.any()))
    return found


def next_round(items: Sequence[str], visits: Sequence[Visit], rounds: int, seed: int) -> tuple[int, list[str]]:
    """Return the number of the round to go on with and what is left of it, in random order; nothing when all is done.

    Every item is visited once in a round, so that its visits are spread over the session. Once an item was visited
    `rounds` times, only visits that were disturbed are repeated.
    """
    made: Counter[str] = Counter()
    good: Counter[str] = Counter()
    for visit, bad in zip(visits, disturbed(visits), strict=True):
        if visit.kind != "calibration":
            made[visit.item] += 1
            good[visit.item] += not bad
    left = [item for item in items if good[item] < rounds and made[item] < rounds + EXTRA_ROUNDS]
    if not left:
        return rounds, []
    number = min(made[item] for item in left)
    order = np.random.default_rng([seed, number]).permutation(len(items))
    wanted = {item for item in left if made[item] == number}
    return number, [items[i] for i in order if items[i] in wanted]


def visits_left(items: Sequence[str], visits: Sequence[Visit], rounds: int) -> int:
    """Return how many visits are still to be made if none is disturbed any more."""
    good: Counter[str] = Counter()
    made: Counter[str] = Counter()
    for visit, bad in zip(visits, disturbed(visits), strict=True):
        good[visit.item] += visit.kind != "calibration" and not bad
        made[visit.item] += visit.kind != "calibration"
    return sum(max(0, min(rounds - good[item], rounds + EXTRA_ROUNDS - made[item])) for item in items)
