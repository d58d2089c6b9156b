"""Tables of trained networks as users give them, with the line of every fault.

    frame = read_columns(path, required=("depth", "width", "resolution"), one_of=ACCURACY, optional=("macs",))
    top1 = top1_of(frame, path)                          # percent, whether the file gives it or an error
    refuse(frame["depth"] <= 0, frame, "depth", path, "a positive number")
    frame = without_repeats(frame, ("name",), ("macs",), path)
    need_rows(frame, 10, path, "as many as the surface has parameters")

The index of the frame holds lines of the file, the header being line 1: `frame.index[i]` is what messages name.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nas.errors import NasError, suggestion

if TYPE_CHECKING:
    import pandas as pd

#: columns that say how good a network is, in percent; the first that a file has counts
ACCURACY = ("top1", "accuracy", "error", "top1_err")
_ERRORS = ("error", "_err")

#: columns that hold counts, and what people write there instead
_COUNTS = {"macs": "billions", "params": "millions"}
#: fewer multiply-adds or parameters than any network has
_FEWEST = 1000


def read_columns(
    path: Path, required: Sequence[str] = (), one_of: Sequence[str] = (), optional: Sequence[str] = ()
) -> pd.DataFrame:
    """Return a CSV file with a header; the columns named here are float64, all others remain text.

    Args:
        required: columns that must be there.
        one_of: columns of which the first that is there is read, and must be there.
        optional: columns that are read where they are there.

    Returns:
        One row a line that is not blank, indexed by line number.

    Raises:
        NasError: it cannot be read, has no rows, lacks a column (the nearest name is told) or has one twice; a line
            has too few or too many cells, or a cell that is no finite number; `macs` or `params` are no counts.
    """
    import pandas as pd

    lines, cells = _read(path)
    header = [name.strip() for name in cells[0]]
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise NasError(f"{path} has the column {twice[0]!r} twice")
    for name in required:
        if name not in header:
            raise NasError(f"{path} has no column {name!r}{_near(name, header)}")
    chosen = next((name for name in one_of if name in header), None)
    if one_of and chosen is None:
        raise NasError(f"{path} has none of the columns {', '.join(one_of)}{_near(one_of[0], header)}")
    for line, row in zip(lines, cells[1:], strict=True):
        if len(row) != len(header):
            raise NasError(f"{path} line {line} has {len(row)} cells, the header has {len(header)}")
    stripped = [[cell.strip() for cell in row] for row in cells[1:]]
    frame = pd.DataFrame(stripped, columns=header, index=pd.Index(lines, name="line"), dtype=object)
    numeric = dict.fromkeys([*required, *([chosen] if chosen else []), *(name for name in optional if name in header)])
    for name in numeric:
        frame[name] = _numbers(frame[name], path)
    for name in numeric.keys() & _COUNTS.keys():
        refuse(frame[name] < _FEWEST, frame, name, path, f"a whole count, not {_COUNTS[name]}")
    return frame


def top1_of(frame: pd.DataFrame, path: Path, column: str | None = None) -> pd.Series[float]:
    """Return top-1 accuracy in percent from a column, by default the first of ACCURACY that a frame has as numbers.

    What its name ends in says whether it holds errors: `error`, `val_error`, `top1_err`.

    Raises:
        NasError: a value is no percentage: below 0, above 100, or a fraction of 1.
    """
    name = column or next(name for name in ACCURACY if name in frame and frame[name].dtype == np.float64)
    values = frame[name]
    refuse((values < 0) | (values > 100), frame, name, path, "a percentage between 0 and 100")
    if not name.endswith(_ERRORS):
        refuse(values <= 1, frame, name, path, "percent, not a fraction of 1")
        return values
    # Errors below 1 % exist, so only a table that has no other is in doubt.
    instead = "percent, not a fraction of 1 (if all errors are below 1 %, give the column top1 instead)"
    refuse(values <= 1 if (values <= 1).all() else values >= 100, frame, name, path, instead)
    return 100.0 - values


def refuse(wrong: npt.ArrayLike, frame: pd.DataFrame, column: str, path: Path, expected: str) -> None:
    """Raise for the first row that is `wrong`, bool[n]: names file, line, column and value, and what was `expected`."""
    rows = np.flatnonzero(np.asarray(wrong))
    if rows.size:
        value = frame[column].iloc[rows[0]]
        shown = f"{value:g}" if isinstance(value, float) else repr(value)
        more = f" (so are {rows.size - 1} more)" if rows.size > 1 else ""
        raise NasError(f"{path} line {frame.index[rows[0]]}: {column} is {shown}{more}, expected {expected}")


def without_repeats(frame: pd.DataFrame, key: Sequence[str], values: Sequence[str], path: Path) -> pd.DataFrame:
    """Return the first of the rows that are equal in the columns `key`.

    Raises:
        NasError: two of them differ in a column of `values`; names both lines.
    """
    groups = frame.groupby(list(key), sort=False)
    for name in values:
        differ = frame[name] != groups[name].transform("first")
        if differ.any():
            line = int(frame.index[differ][0])
            same = (frame[list(key)] == frame.loc[line, list(key)]).all(axis=1)
            earlier = int(frame.index[same][0])
            what = ", ".join(f"{column} {frame.at[line, column]!s}" for column in key)
            raise NasError(
                f"{path} lines {earlier} and {line} disagree: both are {what}, "
                f"but {name} is {frame.at[earlier, name]!s} and {frame.at[line, name]!s}"
            )
    return frame.drop_duplicates(list(key))


def need_rows(frame: pd.DataFrame, least: int, path: Path, why: str) -> None:
    """Raise NasError where a frame has fewer than `least` rows; `why` says what needs so many."""
    if len(frame) < least:
        raise NasError(f"{path} has {len(frame)} observations, at least {least} are needed: {why}")


def _read(path: Path) -> tuple[list[int], list[list[str]]]:
    """Return the line numbers of all rows but the header, and the cells of all rows."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except OSError as error:
        raise NasError(f"cannot read {path}: {error.strerror}") from None
    except (UnicodeDecodeError, ValueError, csv.Error) as error:
        raise NasError(f"{path} is no CSV file in UTF-8: {error}") from None
    if len(rows) < 2:
        raise NasError(f"{path} has no rows below a header" if rows else f"{path} is empty")
    return [line for line, _ in rows[1:]], [row for _, row in rows]


def _numbers(column: pd.Series[str], path: Path) -> pd.Series[float]:
    import pandas as pd

    values = pd.to_numeric(column, errors="coerce").astype(np.float64)
    wrong = np.flatnonzero(~np.isfinite(values))
    if wrong.size:
        text, line = column.iloc[wrong[0]], column.index[wrong[0]]
        said = f"is {text!r}, expected a finite number" if text else "is empty: fill it in, or leave the line out"
        more = f" (so are {wrong.size - 1} more)" if wrong.size > 1 and not text else ""
        raise NasError(f"{path} line {line}: {column.name} {said}{more}")
    return values


def _near(name: str, header: Sequence[str]) -> str:
    return suggestion(name, header).replace("; valid:", "; it has")
