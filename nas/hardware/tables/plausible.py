"""Whether measurements can be what their unit says: what finds seconds in a column of milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from nas.errors import NasError
from nas.hardware.tables.units import Quantity
from nas.space import NetworkSpec

Array = npt.NDArray[np.float64]

#: multiply-adds per second that no device is below, or above: a slow microcontroller, a rack of accelerators
SLOWEST, FASTEST = 1e5, 1e15
#: An inference of more than 5 s is credible only of a device with more than 20 M multiply-adds a second ...
LONG_S, SLOW = 5.0, 2e7
#: ... and one of more than 1 T a second only where each kernel has 2 µs; runtimes need that to start one.
FAST, KERNEL_S = 1e12, 2e-6
#: multiply-adds per joule: from a desktop computer that mostly waits to the best of accelerators at its peak
WASTEFUL, THRIFTY = 1e5, 5e12
#: A value this many times off both the typical value and the typical speed is in another unit than the others.
#: Units are 1000 apart; the tables of HW-NAS-Bench, HELP, LatBench and Accel-NASBench are at most 11 off.
OFF = 30.0
#: rows that a message names
SHOWN = 5


def check_plausible(quantity: Quantity, values: Array, macs: Array, kernels: Array, where: str) -> None:
    """Refuse a table whose typical value cannot be in the unit it is said to be in.

    Args:
        values: float[n], in the quantity's own unit.
        macs, kernels: float[n], multiply-adds of each network, and how many kernels a runtime starts for it.

    Raises:
        NasError: says what speed the values come to, and which unit would be credible.
    """
    if quantity.name not in ("latency", "throughput", "energy") or not len(values):
        return
    speed = _speed(quantity, values, macs)
    median = float(np.median(speed))
    if quantity.name == "energy":
        low, high, per = WASTEFUL, THRIFTY, "joule"
    else:
        low, high, per = SLOWEST, FASTEST, "second"
    if quantity.name == "latency":
        low = float(np.clip(np.median(macs) / LONG_S, SLOWEST, SLOW))
        high = float(np.clip(np.median(macs / (kernels * KERNEL_S)), FAST, FASTEST))
    if not low <= median <= high:
        too = "little" if median < low else "much"
        raise NasError(
            f"{where}: {quantity.metric} of typically {np.median(values):.3g} comes to {median:.1e} multiply-adds a "
            f"{per}, too {too} to be true of these networks; {_likely_units(quantity, speed, low, high)}"
        )


def check_one_unit(
    quantity: Quantity, values: Array, macs: Array, live_macs: Callable[[int], int], wheres: Sequence[str]
) -> None:
    """Refuse rows that are in another unit than the rest: far off the typical value, and off the typical speed.

    Latency grows with multiply-adds at most as they do, and at least not at all, so a value must be near one of the
    two or between them. What is typical is where most rows are, so a few of another unit do not shift it.

    Args:
        live_macs: row -> multiply-adds that the output of its network depends on; runtimes leave out the others.

    Raises:
        NasError: names those rows.
    """
    if quantity.name not in ("latency", "throughput", "energy") or len(values) < 2:
        return
    exponent = -1 if quantity.name == "throughput" else 1
    logs = np.log10(values)
    typical = _mode(logs)
    unit_speed = _mode(logs - exponent * np.log10(np.maximum(macs, 1.0)))

    def distance(row: int, count: float) -> float:
        """How far outside what is typical, in powers of ten; a network whose output is constant may take no time."""
        ends = sorted((typical, unit_speed + exponent * np.log10(count))) if count else (logs[row], logs[row])
        return float(max(ends[0] - logs[row], logs[row] - ends[1]))

    limit = float(np.log10(OFF))
    suspects = (row for row in range(len(logs)) if distance(row, max(macs[row], 1.0)) > limit)
    off = [row for row in suspects if distance(row, live_macs(row)) > limit]
    if off:
        factor = 10 ** float(np.median([distance(row, max(macs[row], 1.0)) for row in off]))
        more = f" and {len(off) - SHOWN} more" if len(off) > SHOWN else ""
        raise NasError(
            f"{', '.join(wheres[row] for row in off[:SHOWN])}{more}: {quantity.metric} is {values[off[0]]:g}, about "
            f"{factor:.0f} times off what the other rows lead to expect; is it in another unit?"
        )


def live_macs(spec: NetworkSpec) -> int:
    """Return the multiply-adds on paths from the image to the output; 0 where nothing leads through."""
    layers = spec.layers()
    reached: list[bool] = []
    for layer in layers:
        reached.append(any(source < 0 or reached[source] for source in layer.inputs))
    needed = {len(layers) - 1} if reached[-1] else set()
    for i in reversed(range(len(layers))):
        needed |= set(layers[i].inputs) if i in needed else set()
    return sum(layer.macs for i, layer in enumerate(layers) if i in needed and reached[i])


def _speed(quantity: Quantity, values: Array, macs: Array) -> Array:
    """Multiply-adds a second, or a joule."""
    return macs * values if quantity.name == "throughput" else macs / (values * 1e-3)


def _likely_units(quantity: Quantity, speed: Array, low: float, high: float) -> str:
    """Which units would make the values credible; a speed is inverse to a latency."""
    power = 1.0 if quantity.name == "throughput" else -1.0
    scaled = {name: float(np.median(speed)) * factor**power for name, factor in quantity.columns.items()}
    names = [name for name, found in scaled.items() if low <= found <= high]
    words = f"are they {' or '.join(names)}? Then call the column so" if names else "look at the values"
    return f"{words}; if {quantity.unit} is right, say so by --unit {quantity.unit}"


def _mode(logs: Array) -> float:
    """The middle of the decade that holds most values."""
    ordered = np.sort(logs)
    ends = np.searchsorted(ordered, ordered + 1.0, side="right")
    start = int(np.argmax(ends - np.arange(len(ordered))))
    return float(np.median(ordered[start : ends[start]]))
