"""Quantities measured on a device, and the columns they are found in: `latency_ms`, `energy_uj`, `latency (s)`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nas.errors import NasError, suggestion


@dataclass(frozen=True)
class Quantity:
    """Something a device is measured for.

    Args:
        name, unit: as in the name of the metric, `latency_ms`.
        units: every unit a column may be in, as a multiple of `unit`.
    """

    name: str
    unit: str
    units: Mapping[str, float]

    @property
    def metric(self) -> str:
        return f"{self.name}_{self.unit}"

    @property
    def columns(self) -> dict[str, float]:
        """What columns may be called, `latency_s`, each unit in one spelling, as a multiple of `unit`."""
        spelled = {factor: unit for unit, factor in reversed(list(self.units.items())) if unit.isascii()}
        return {f"{self.name}_{unit}": factor for factor, unit in spelled.items()}


QUANTITIES = (
    Quantity("latency", "ms", {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3, "sec": 1e3}),
    Quantity("energy", "mj", {"nj": 1e-6, "uj": 1e-3, "µj": 1e-3, "mj": 1.0, "j": 1e3}),
    Quantity("throughput", "ips", {"ips": 1.0, "fps": 1.0}),
    Quantity(
        "memory", "bytes", {"bytes": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
    ),
)
BY_METRIC = {quantity.metric: quantity for quantity in QUANTITIES}
#: words of a column's name that make it the spread of a measurement rather than the measurement
_SPREAD = {"std", "stdev"}


@dataclass(frozen=True)
class Column:
    """A column of a table that holds a quantity.

    Args:
        factor: what its values are multiplied by to be in the quantity's own unit.
    """

    name: str
    quantity: Quantity
    factor: float

    @property
    def metric(self) -> str:
        return self.quantity.metric


def quantity_of(metric: str) -> Quantity:
    """Return the quantity whose metric is called so.

    Raises:
        NasError: there is none.
    """
    if metric not in BY_METRIC:
        raise NasError(f"unknown metric {metric!r}{suggestion(metric, BY_METRIC)}")
    return BY_METRIC[metric]


def find_columns(
    header: Iterable[str], where: str, metric: str | None = None, column: str | None = None, unit: str | None = None
) -> tuple[list[Column], dict[str, Column]]:
    """Return the columns of a table with what was measured, one a quantity, and by metric those with its spread.

    Args:
        metric: the only one wanted; default: every one that is there.
        column: the column to read; its unit is in its name, or is `unit`.
        unit: of `column`, or of the one column that names none.

    Raises:
        NasError: there is no such column, several may be meant, or a unit is not named, unknown or contradicted.
    """
    header = list(header)
    wanted = [quantity_of(metric)] if metric else list(QUANTITIES)
    if column is not None:
        if column not in header:
            raise NasError(f"{where} has no column {column!r}{suggestion(column, header)}")
        return [_with_unit(column, wanted, where, unit)], _spreads(header, column)
    found = [_best(header, quantity, where, unit) for quantity in wanted]
    measured = [each for each in found if each is not None]
    if not measured:
        raise _none_found(header, wanted, where)
    return measured, {each.metric: spread for each in measured for spread in _spreads(header, each.name).values()}


def _best(header: list[str], quantity: Quantity, where: str, unit: str | None) -> Column | None:
    """The column of a quantity: the plainly named one, else the only one with further words in its name."""
    candidates = [name for name in header if quantity.name in _words(name) and not _SPREAD & set(_words(name))]
    plain = [name for name in candidates if len(_words(name)) == 1 + (_unit_of(name, quantity) is not None)]
    candidates = plain or candidates
    if len(candidates) > 1:
        raise NasError(f"{where} has several columns of {quantity.name}: {', '.join(candidates)}; say which: --column")
    return _with_unit(candidates[0], [quantity], where, unit) if candidates else None


def _with_unit(column: str, wanted: list[Quantity], where: str, unit: str | None) -> Column:
    named = [(quantity, found) for quantity in wanted if (found := _unit_of(column, quantity))]
    if unit is None:
        if not named:
            meant = next((each for each in wanted if each.name in _words(column)), wanted[0])
            names = f"{meant.metric} (or {', '.join(name for name in meant.columns if name != meant.metric)})"
            raise NasError(f"{where}: the column {column!r} names no unit; call it {names}, or give its --unit")
        return Column(column, named[0][0], named[0][1][1])
    short = unit.lower()
    quantities = [each for each in wanted if short in each.units]
    if not quantities:
        valid = [name for each in wanted for name in each.units if name.isascii()]
        raise NasError(f"unknown unit {unit!r}{suggestion(short, valid)}")
    quantity = quantities[0]
    for _, (name, factor) in named:
        if factor != quantity.units[short]:
            raise NasError(f"{where}: the column {column!r} is in {name} by its name, and you say it is in {unit}")
    return Column(column, quantity, quantity.units[short])


def _unit_of(column: str, quantity: Quantity) -> tuple[str, float] | None:
    """The unit in a column's name with its factor; a name such as "latency" has none."""
    words = [word for word in _words(column) if word not in _SPREAD]
    found = words and quantity.name in words and quantity.units.get(words[-1])
    return (words[-1], found) if found else None


def _spreads(header: list[str], column: str) -> dict[str, Column]:
    """The column with the spread of another one: the same words and `std`, `latency_ms_std` or `latency_std_ms`."""
    for name in header:
        words = _words(name)
        if _SPREAD & set(words) and sorted(set(words) - _SPREAD) == sorted(set(_words(column))):
            for quantity in QUANTITIES:
                found = _unit_of(name, quantity)
                if found:
                    return {quantity.metric: Column(name, quantity, found[1])}
    return {}


def _none_found(header: list[str], wanted: list[Quantity], where: str) -> NasError:
    metric = wanted[0].metric
    near = suggestion(metric, header) if header else ""
    what = f"of {metric}" if len(wanted) == 1 else f"of measurements, such as {metric}"
    return NasError(f"{where} has no column {what}{near}")


def _words(column: str) -> list[str]:
    return [word for word in re.split(r"[^a-z0-9µ]+", column.lower()) if word]
