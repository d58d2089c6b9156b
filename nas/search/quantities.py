"""Numbers with units, as users write them: `20ms`, `5.3M`, and bounds of metrics such as `energy_edgegpu_mj=20`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from nas.errors import NasError

_LATENCY_UNITS_MS = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}
#: a family has no more members
_MOST_PHIS = 100
_COUNT_UNITS = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9}

#: last word of a metric's name -> units its bounds may carry; a bound without one is in the metric's own unit
_UNITS_OF = {
    "ms": _LATENCY_UNITS_MS | {"": 1.0},
    "mj": {"": 1.0, "uJ": 1e-3, "µJ": 1e-3, "mJ": 1.0, "J": 1e3},
    "bytes": {"": 1.0, "B": 1.0, "k": 1e3, "kB": 1e3, "M": 1e6, "MB": 1e6, "G": 1e9, "GB": 1e9},
    "top1": {"": 1.0, "%": 1.0},
    "error": {"": 1.0, "%": 1.0},
}


def parse_quantity(key: str, value: object, where: str = "") -> float:
    """Return a budget as a number: milliseconds for `max_latency`, a plain count otherwise.

    Raises:
        NasError: no number, no or a wrong unit, not positive.
    """
    option = f"{where}{key}" if where else "--" + key.replace("_", "-")
    if key == "max_latency":
        return _number(option, value, _LATENCY_UNITS_MS, "20ms")
    return _number(option, value, _COUNT_UNITS, "5.3M")


def parse_cost(option: str, text: str) -> tuple[str, float]:
    """Return the metric and the value of a cost by its unit: "20ms" of latency_ms, or "400M" of macs.

    Raises:
        NasError: no number, no or a wrong unit, not positive.
    """
    counts = {unit: size for unit, size in _COUNT_UNITS.items() if unit}
    value = _number(option, text, _LATENCY_UNITS_MS | counts, "20ms of latency, 400M of MACs")
    return "latency_ms" if text.strip().endswith("s") else "macs", value


def parse_phis(text: str) -> tuple[float, ...]:
    """Return compound coefficients written as "0..7", "0,0.5,1" or both, "0,0.5,1..6".

    Raises:
        NasError: something else is written, a range does not rise, or a value is negative.
    """
    phis: list[float] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([+-]?[0-9]+)\s*\.\.\s*([+-]?[0-9]+)\s*", part)
        number = _float(part.strip())
        if match and int(match[1]) <= int(match[2]) <= int(match[1]) + _MOST_PHIS:
            phis += map(float, range(int(match[1]), int(match[2]) + 1))
        elif number is not None and math.isfinite(number):
            phis.append(number)
        else:
            raise NasError(f"--phi is {text!r}, expected a range such as 0..7 or a list such as 0,0.5,1")
    if min(phis) < 0:
        raise NasError(f"--phi has {min(phis):g}, must not be negative: the base is phi 0; name a smaller base")
    return tuple(phis)


def parse_bounds(key: str, given: object, where: str = "") -> dict[str, float]:
    """Return metric -> bound in the metric's own unit, from a mapping or from texts METRIC=VALUE.

    Args:
        key: "max" or "min".
        given: `{"peak_activation_bytes": "2M"}`, or `["peak_activation_bytes=2M"]`.

    Raises:
        NasError: no METRIC=VALUE, a metric twice, no number, a wrong unit, not positive.
    """
    option = f"{where}{key}" if where else f"--{key}"
    bounds: dict[str, float] = {}
    for metric, value in _pairs(option, given):
        if metric in bounds:
            raise NasError(f"{option} of {metric} is given twice")
        units = _UNITS_OF.get(metric.rpartition("_")[2], _COUNT_UNITS)
        bounds[metric] = _number(f"{option} {metric}", value, units, f"2{'M' if 'M' in units else ''}")
    return bounds


def _pairs(option: str, given: object) -> Iterable[tuple[str, Any]]:
    if isinstance(given, Mapping):
        return [(str(metric).strip(), value) for metric, value in given.items()]
    if not isinstance(given, list | tuple) or not all(isinstance(text, str) for text in given):
        raise NasError(f"{option} is {given!r}, expected metrics with their bounds, such as {{latency_ms: 20}}")
    pairs = [text.partition("=") for text in given]
    for text, (metric, equals, value) in zip(given, pairs, strict=True):
        if not (metric.strip() and equals and value.strip()):
            raise NasError(f"{option} is {text!r}, expected METRIC=VALUE, such as peak_activation_bytes=2M")
    return [(metric.strip(), value) for metric, _, value in pairs]


def _number(option: str, value: object, units: Mapping[str, float], example: str) -> float:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise NasError(f"{option} is a {type(value).__name__}, expected a number with a unit such as {example}")
    match = re.fullmatch(r"\s*([+-]?[0-9.]+(?:[eE][+-]?\d+)?)\s*([a-zA-Zµ%]*)\s*", str(value))
    number = _float(match[1]) if match else None
    if match is None or number is None:
        raise NasError(f"{option} is {value!r}, expected a number with a unit such as {example}")
    if match[2] not in units:
        said = f"has the unknown unit {match[2]!r}" if match[2] else "has no unit"
        valid = ", ".join(unit for unit in units if unit)
        raise NasError(f"{option} {value} {said}; write it as {example} (units: {valid})")
    if not 0 < number < float("inf"):
        raise NasError(f"{option} {value} must be positive, e.g. {example}")
    return number * units[match[2]]


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
