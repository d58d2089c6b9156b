"""Rows of a table of measurements: one value parsed, several of the same network made one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from nas.errors import NasError
from nas.hardware.tables.network_names import Named
from nas.hardware.tables.records import Record
from nas.hardware.tables.units import Column

Array = npt.NDArray[np.float64]

#: rows of the same network may differ by this share of the smallest; they are averaged then
AGREE = 0.2


@dataclass(frozen=True)
class MeasuredRow:
    """What one row says of one network or block.

    Args:
        where: file and line, for messages.
        values, std: metric -> value, standard deviation; what is not known is left out.
        round: of a measurement in rounds, of which the median counts; "" elsewhere.
    """

    where: str
    named: Named
    values: Mapping[str, float]
    std: Mapping[str, float] = field(default_factory=dict)
    runs: int = 1
    round: str = ""


def measured_row(
    record: Record, named: Named, columns: Sequence[Column], spreads: Mapping[str, Column]
) -> MeasuredRow | None:
    """Return what a row says, None where its cells of measurements are empty.

    Raises:
        NasError: a cell holds no number, or one that cannot be measured; says which row and column.
    """
    values = {column.metric: _number(record, column) for column in columns if record.cells[column.name]}
    if not values:
        return None
    found = {
        metric: _number(record, spreads[metric], zero=True) for metric in values if _given(record, spreads, metric)
    }
    return MeasuredRow(record.where, named, values, found, _runs(record), record.cells.get("round", ""))


def _given(record: Record, spreads: Mapping[str, Column], metric: str) -> bool:
    return metric in spreads and bool(record.cells[spreads[metric].name])


def _number(record: Record, column: Column, zero: bool = False) -> float:
    text = record.cells[column.name]
    try:
        value = float(text)
    except ValueError:
        raise NasError(f"{record.where}: {column.name} is {text!r}, expected a number alone") from None
    if not math.isfinite(value):
        raise NasError(f"{record.where}: {column.name} is {text}, expected a finite number; nothing where it failed")
    if value < 0 or (value == 0 and not zero):
        raise NasError(f"{record.where}: {column.name} is {text}, must be above 0; leave it empty where it failed")
    return value * column.factor


def _runs(record: Record) -> int:
    text = record.cells.get("runs", "")
    try:
        runs = int(text) if text else 1
    except ValueError:
        runs = 0
    if runs < 1:
        raise NasError(f"{record.where}: runs is {text!r}, expected a whole number of at least 1")
    return runs


def by_network(rows: Sequence[MeasuredRow]) -> list[list[MeasuredRow]]:
    """Return the rows of each network or block together, in the order in which they first come."""
    found: dict[str, list[MeasuredRow]] = {}
    for row in rows:
        found.setdefault(row.named.item, []).append(row)
    return list(found.values())


def value_of(rows: Sequence[MeasuredRow], metric: str) -> float:
    """Return what rows of one network come to: the median of rounds, else the mean of rows that agree; NaN if none.

    Raises:
        NasError: they differ by more than AGREE; names the rows.
    """
    known = [row for row in rows if metric in row.values]
    if not known:
        return math.nan
    values = [row.values[metric] for row in known]
    rounds = [row.round for row in known]
    if all(rounds) and len(set(rounds)) == len(rounds):
        return float(np.median(values))
    low, high = int(np.argmin(values)), int(np.argmax(values))
    if values[high] > (1 + AGREE) * values[low]:
        first, second = sorted((low, high))
        raise NasError(
            f"{known[first].where} and {known[second].where} disagree on {known[low].named.item}: {metric} is "
            f"{values[first]:g} and {values[second]:g}, more than {100 * AGREE:g} % apart; keep the one that is right"
        )
    return float(np.mean(values))


def std_of(rows: Sequence[MeasuredRow], metric: str) -> float:
    """Return the standard deviation of one measurement: as stated, else that between the rows; NaN if there is one."""
    stated = [row.std[metric] for row in rows if metric in row.std]
    if stated:
        return float(np.sqrt(np.mean(np.square(stated))))
    values = [row.values[metric] for row in rows if metric in row.values]
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
