"""CSV files of networks that a user gives a search, read with the line of every fault."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nas.errors import NasError, suggestion

Code = npt.NDArray[np.int8]

#: names of the column that says which network
_NETWORK = ("code", "architecture")


@dataclass(frozen=True)
class NetworkLine:
    """A line of the file: which network, and what else is said of it.

    Args:
        where: file and line, for messages.
        code: int8[D].
        cells: column -> text.
    """

    where: str
    code: Code
    cells: dict[str, str]

    def number(self, column: str) -> float:
        """Return a cell as a finite number.

        Raises:
            NasError: it is none.
        """
        text = self.cells[column].strip()
        try:
            value = float(text)
        except ValueError:
            value = np.nan
        if not np.isfinite(value):
            raise NasError(f"{self.where}: {column} is {text!r}, expected a number")
        return value


def is_csv(name: str) -> bool:
    """Whether a user means a CSV file rather than a run or a network."""
    return name.lower().endswith(".csv")


def read_networks(name: str, code_of: Callable[[str], Code]) -> list[NetworkLine]:
    """Return the networks of a CSV file with a header line and a column `code` or `architecture`, in order.

    Args:
        code_of: from what stands in that column to a code; raises NasError where it means nothing.

    Raises:
        NasError: it cannot be read, has no such column or no network, a line has too few or too many cells, or names
            a network that is none or that stands in an earlier line; says which line.
    """
    try:
        text = Path(name).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise NasError(f"cannot read {name}: {error.strerror}") from None
    except (UnicodeDecodeError, ValueError) as error:
        raise NasError(f"{name} is no CSV file in UTF-8: {error}") from None
    try:
        return _networks(name, text, code_of)
    except csv.Error as error:
        raise NasError(f"{name} is no CSV file: {error}") from None


def _networks(name: str, text: str, code_of: Callable[[str], Code]) -> list[NetworkLine]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    header = [column.strip() for column in next(reader, [])]
    column = next((column for column in _NETWORK if column in header), None)
    if column is None:
        raise NasError(f"{name} has no column {' or '.join(_NETWORK)}{suggestion('code', header) if header else ''}")
    if len(set(header)) < len(header):
        raise NasError(f"{name} has a column twice: {', '.join(header)}")
    networks: list[NetworkLine] = []
    first: dict[bytes, str] = {}
    for cells in reader:
        where = f"{name} line {reader.line_num}"
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise NasError(f"{where} has {len(cells)} cells, the header has {len(header)}")
        row = dict(zip(header, cells, strict=True))
        try:
            code = code_of(row[column].strip())
        except NasError as error:
            raise NasError(f"{where}: {error}") from None
        earlier = first.setdefault(code.tobytes(), where)
        if earlier != where:
            line = earlier.removeprefix(f"{name} ")
            raise NasError(f"{where}: the network {row[column].strip()} stands in {line} too")
        networks.append(NetworkLine(where, code, row))
    if not networks:
        raise NasError(f"{name} names no network")
    return networks
