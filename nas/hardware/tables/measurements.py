"""Tables of measurements: read, checked, and brought to one row a network or block."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nas import registry
from nas.errors import NasError, suggestion
from nas.hardware.predictor_file import write_whole
from nas.hardware.predictors.lookup import kernels
from nas.hardware.tables.measured_rows import MeasuredRow, by_network, measured_row, std_of, value_of
from nas.hardware.tables.network_names import Named, NetworkNames
from nas.hardware.tables.plausible import check_one_unit, check_plausible, live_macs
from nas.hardware.tables.records import Record, read_records
from nas.hardware.tables.units import BY_METRIC, find_columns
from nas.space import Block, BlockTable, Codes, NetworkSpec, SearchSpace

Array = npt.NDArray[np.float64]

#: what a row may be about; a calibration network is measured over and over, to see the device drift
KINDS = ("network", "block", "calibration")
#: columns that name a block, the first that is there counts
_BLOCK = ("item", "block", "kernels")


@dataclass(frozen=True, eq=False)
class Measurements:
    """What was measured of n networks, or n blocks, each once.

    Args:
        source: the file, for messages.
        kind: "network" or "block".
        space: which the networks are of; None: published ones. Of blocks: the one they were measured for, if stated.
        items: code strings of the space, names of published networks, or blocks as `kernels` writes them.
        codes: int8[n, D] of the space; int8[n, 0] without one, and of blocks.
        specs: the networks, where there is no space.
        values: metric -> float[n] in the metric's own unit, NaN where it was not measured.
        std: metric -> float[n], standard deviation of one measurement, NaN where it is not known.
        runs: int[n], how many runs are behind each; a row of the file that does not say counts as one.
        empty: rows of the file that hold no value.
    """

    source: str
    kind: str
    space: SearchSpace | None
    items: tuple[str, ...]
    codes: Codes
    specs: tuple[NetworkSpec, ...]
    values: Mapping[str, Array]
    std: Mapping[str, Array]
    runs: npt.NDArray[np.int64]
    empty: int = 0

    def __len__(self) -> int:
        return len(self.items)

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(self.values)

    def of(self, metric: str) -> Measurements:
        """Return what was measured for one metric, and that metric alone.

        Raises:
            NasError: nothing was.
        """
        if metric not in self.values:
            raise NasError(f"{self.source} has no {metric}{suggestion(metric, self.values)}")
        known = np.flatnonzero(~np.isnan(self.values[metric]))
        return replace(
            self,
            items=tuple(self.items[row] for row in known),
            codes=self.codes[known],
            specs=tuple(self.specs[row] for row in known) if self.specs else (),
            values={metric: self.values[metric][known]},
            std={metric: self.std[metric][known]},
            runs=self.runs[known],
        )

    def require(self, count: int, purpose: str = "a fit") -> Measurements:
        """Return the measurements where there are at least `count`.

        Raises:
            NasError: there are fewer.
        """
        if len(self) < count:
            empty = f" ({self.empty} more rows are empty)" if self.empty else ""
            raise NasError(f"{self.source} has {len(self)} measured {self.kind}s{empty}; {purpose} needs {count}")
        return self

    def network(self, row: int) -> NetworkSpec:
        """Return the network of one row."""
        return self.space.spec(self.codes[row]) if self.space else self.specs[row]

    def live_macs(self, row: int) -> int:
        """Return the multiply-adds of one network that a runtime cannot leave out."""
        return live_macs(self.network(row))

    @property
    def macs(self) -> Array:
        """float[n], multiply-adds of each network."""
        return self.counts[:, 0]

    @cached_property
    def counts(self) -> Array:
        """float[n, 2]: multiply-adds of each network, and kernels a runtime starts for it."""
        if self.space is None:
            return np.array([_counts(spec.blocks).sum(axis=0) for spec in self.specs]).reshape(-1, 2)
        return BlockTable(self.space.vocabulary, _counts(self.space.vocabulary.blocks)).sum(self.codes)


def read_measurements(
    paths: Path | Sequence[Path],
    space: SearchSpace | None = None,
    metric: str | None = None,
    column: str | None = None,
    unit: str | None = None,
    kind: str = "network",
) -> Measurements:
    """Read tables of measurements, CSV or JSON; see `nas.hardware.tables.units` and `network_names` for their columns.

    Rows of the same network are averaged where they agree within 20 %, rounds of `nas profile measure` give their
    median. Empty cells are what was not measured.

    Args:
        space: of which the networks are; default: the one the table names in a column `space`, else published ones.
        metric: the only one wanted; default: every one that is there.
        column: which to read, where its name does not say that it holds the metric, or several do.
        unit: of that column, where its name does not say; said of values that look impossible, they are believed.
        kind: "network" or "block", where a column `kind` tells them apart.

    Raises:
        NasError: what is missing, contradictory or impossible, with file and row, and what would be right.
    """
    files = [paths] if isinstance(paths, Path) else list(paths)
    rows: list[MeasuredRow] = []
    empty, believed = 0, unit is not None
    for file in files:
        records = _of_kind(read_records(file), kind, file)
        space = _space_of(records, space, file)
        header = list(records[0].cells)
        columns, spreads = find_columns(header, str(file), metric, column, unit)
        name = _block_reader(header, space, file) if kind == "block" else NetworkNames(header, space, str(file))
        found = [measured_row(record, name(record), columns, spreads) for record in records]
        empty += found.count(None)
        rows += [row for row in found if row is not None]
    source = str(files[0]) if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"
    return assemble(rows, space, source, kind, empty, believed)


def assemble(
    rows: Sequence[MeasuredRow],
    space: SearchSpace | None,
    source: str,
    kind: str = "network",
    empty: int = 0,
    believed: bool = False,
) -> Measurements:
    """Return rows as one table, each network or block once.

    Args:
        believed: whether the units are certain, so that values which look impossible are taken.

    Raises:
        NasError: there is no row, rows of one network disagree, or values cannot be in their unit.
    """
    if not rows:
        raise NasError(f"{source} has no row with a value")
    groups = by_network(rows)
    named = [group[0].named for group in groups]
    metrics = [metric for metric in BY_METRIC if any(metric in row.values for row in rows)]
    measured = Measurements(
        source,
        kind,
        space,
        tuple(each.item for each in named),
        _codes(named),
        tuple(each.spec for each in named if each.spec is not None),
        {metric: np.array([value_of(group, metric) for group in groups]) for metric in metrics},
        {metric: np.array([std_of(group, metric) for group in groups]) for metric in metrics},
        np.array([sum(row.runs for row in group) for group in groups]),
        empty,
    )
    if kind == "network":
        _check(measured, [group[0].where for group in groups], believed)
    return measured


def write_measurements(path: Path, measured: Sequence[Measurements]) -> None:
    """Write tables as one CSV file that `read_measurements` reads.

    Raises:
        NasError: it cannot be written.
    """
    metrics = list(dict.fromkeys(metric for table in measured for metric in table.metrics))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["kind", "space", "item", *(name for m in metrics for name in (m, f"{m}_std")), "runs"])
    for table in measured:
        for row, item in enumerate(table.items):
            cells = [_cell(column.get(m), row) for m in metrics for column in (table.values, table.std)]
            writer.writerow([table.kind, table.space.name if table.space else "", item, *cells, table.runs[row]])
    write_whole(path, text.getvalue().encode())


def _cell(column: Array | None, row: int) -> str:
    return "" if column is None or math.isnan(column[row]) else f"{column[row]:.9g}"


def _check(measured: Measurements, wheres: Sequence[str], believed: bool) -> None:
    for metric in measured.metrics:
        table, quantity = measured.of(metric), BY_METRIC[metric]
        rows = [wheres[row] for row in np.flatnonzero(~np.isnan(measured.values[metric])).tolist()]
        macs, started = table.counts.T
        check_one_unit(quantity, table.values[metric], macs, table.live_macs, rows)
        if not believed:
            check_plausible(quantity, table.values[metric], macs, started, measured.source)


def _codes(named: Sequence[Named]) -> Codes:
    codes = [each.code for each in named if each.code is not None]
    return np.stack(codes) if codes else np.zeros((len(named), 0), dtype=np.int8)


def _counts(blocks: Sequence[Block]) -> Array:
    """float[V, 2]: multiply-adds and kernels of each block."""
    return np.array([[block.macs, kernels(block).count(", ") + bool(kernels(block))] for block in blocks], dtype=float)


def _of_kind(records: list[Record], kind: str, file: Path) -> list[Record]:
    """The rows about networks, or blocks, where the table tells them apart."""
    if "kind" not in records[0].cells:
        return records
    for record in records:
        if record.cells["kind"] not in KINDS:
            raise NasError(f"{record.where}: kind is {record.cells['kind']!r}{suggestion(record.cells['kind'], KINDS)}")
    found = [record for record in records if record.cells["kind"] == kind]
    if not found:
        raise NasError(f"{file} has no {kind} among its {len(records)} rows, only {records[0].cells['kind']}s")
    return found


def _space_of(records: Sequence[Record], space: SearchSpace | None, file: Path) -> SearchSpace | None:
    """The space that a table names, which must be the one asked for, and one alone."""
    first = records[0].cells.get("space", "")
    for record in records:
        name = record.cells.get("space", "")
        if name != first:
            raise NasError(f"{record.where} is of the space {name!r}, the rows before are of {first!r}; one table each")
    if first and space is not None and first != space.name:
        raise NasError(f"{file} holds networks of {first}, not of {space.name}")
    if first and space is None:
        found: SearchSpace = registry.load("spaces", first)
        return found
    return space


def _block_reader(header: Sequence[str], space: SearchSpace | None, file: Path) -> Callable[[Record], Named]:
    """Return what reads the block of a row, as `kernels` writes it."""
    column = next((name for name in _BLOCK if name in header), None)
    if column is None:
        raise NasError(f"{file} has no column that names the blocks ({', '.join(_BLOCK)}){suggestion('block', header)}")
    known = {kernels(block) for block in space.vocabulary.blocks} if space else None

    def read(record: Record) -> Named:
        text = record.cells[column]
        if not text or (known is not None and text not in known):
            of = f" of {space.name}" if space else ""
            raise NasError(
                f"{record.where}: {column} is {text!r}, no block{of}; write it as `nas profile measure` does"
            )
        return Named(text)

    return read
