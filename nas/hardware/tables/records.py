"""Tables that users give, CSV or JSON, as records with the place of each, so that every fault can be pointed at."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.errors import NasError

#: what may stand between the cells of a line
_DELIMITERS = ",;\t"


@dataclass(frozen=True)
class Record:
    """A row of a table.

    Args:
        where: file and line, for messages.
        cells: column -> text without blanks around it; "" where nothing stands.
    """

    where: str
    cells: Mapping[str, str]


def read_text(path: Path) -> str:
    """Return a text file in UTF-8, which may be compressed with gzip.

    Raises:
        NasError: it cannot be read, is no text, or is empty.
    """
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as error:
        raise NasError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    except UnicodeDecodeError:
        raise NasError(f"{path} is no text in UTF-8") from None
    if not text.strip():
        raise NasError(f"{path} is empty")
    return text


def read_records(path: Path) -> list[Record]:
    """Return the rows of a CSV file with a header line, or of a JSON list of objects, in order.

    Cells may be separated by commas, semicolons or tabs. Every record of a table has the same columns.

    Raises:
        NasError: the file cannot be read, holds no row, or a row is malformed; says which.
    """
    text = read_text(path)
    try:
        found = _from_json(text, path) if text.lstrip()[0] in "[{" else _from_csv(text, path)
    except csv.Error as error:
        raise NasError(f"{path} is no CSV file: {error}") from None
    if not found:
        raise NasError(f"{path} has a header and no row")
    return found


def _from_csv(text: str, path: Path) -> list[Record]:
    first = text.lstrip().splitlines()[0]
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True, delimiter=delimiter)
    header: list[str] = []
    records = []
    for cells in reader:
        cells = [cell.strip() for cell in cells]
        if not any(cells):
            continue
        if not header:
            header = cells
            if len(set(header)) < len(header):
                raise NasError(f"{path} has a column twice: {', '.join(header)}")
            continue
        if len(cells) != len(header):
            quotes = "; text with commas needs quotes" if delimiter == "," and len(cells) > len(header) else ""
            raise NasError(
                f"{path} line {reader.line_num} has {len(cells)} cells, the header has {len(header)}{quotes}"
            )
        records.append(Record(f"{path} line {reader.line_num}", dict(zip(header, cells, strict=True))))
    return records


def _from_json(text: str, path: Path) -> list[Record]:
    try:
        content = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise NasError(f"{path} is no JSON: {error}") from None
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise NasError(f'{path} must be a list of objects, one a measurement: [{{"code": …, "latency_ms": …}}, …]')
    columns = dict.fromkeys(str(name) for row in content for name in row)
    records = []
    for number, row in enumerate(content, start=1):
        where = f"{path} entry {number}"
        records.append(Record(where, {name: _cell(row.get(name), name, where) for name in columns}))
    return records


def _cell(value: Any, name: str, where: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise NasError(f"{where}: {name} is {json.dumps(value)[:40]}, expected a number or a text")
    return str(value).strip()
