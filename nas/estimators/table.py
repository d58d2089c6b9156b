"""Tables of trained networks: what a benchmark has measured of the networks of a space."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from nas.errors import NasError
from nas.space import CodeIndex, Codes, SearchSpace

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Table:
    """What was measured of each of n networks.

    Args:
        space: the networks of the table and no others.
        codes: int8[n, D], each network once.
        top1: epochs of training -> float[n], the accuracy in percent by which a search chooses, NaN where there is
            none; None -> what counts where no number of epochs is asked for.
        train_seconds: the same keys -> float[n], how long that training took, for a simulated clock; may be empty.
        measured: n rows, other metrics, named with their unit: `latency_<device>_ms`, `energy_<device>_mj` ...
        predicted: those of `measured` that somebody's model gave, not a device.
        reported: n rows, for reports alone: test accuracies, which must not guide a search.
        digest: SHA-256 of the files it was read from.
    """

    space: SearchSpace
    codes: Codes
    top1: Mapping[int | None, Array]
    digest: str
    train_seconds: Mapping[int | None, Array] = field(default_factory=dict)
    measured: pd.DataFrame = field(default_factory=pd.DataFrame)
    predicted: frozenset[str] = frozenset()
    reported: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def fidelities(self) -> tuple[int, ...]:
        """The numbers of epochs there are accuracies of, fewest first."""
        return tuple(sorted(epochs for epochs in self.top1 if epochs is not None))

    @property
    def shorter_fidelities(self) -> tuple[int, ...]:
        """Those up to the training that counts where no number of epochs is asked for, that one the last."""
        chosen = next((epochs for epochs in self.fidelities if self.top1[epochs] is self.top1[None]), 0)
        return tuple(epochs for epochs in self.fidelities if epochs <= chosen)

    def metrics(self, fidelity: int | None = None) -> pd.DataFrame:
        """Return what a search may see of all n networks: top1, the measured metrics, train_seconds where known.

        Raises:
            NasError: there is no training of that many epochs.
        """
        if fidelity not in self.top1:
            known = ", ".join(map(str, self.fidelities)) or "none; only the one training of each network"
            raise NasError(f"the table has no accuracy after {fidelity} epochs; it has: {known}")
        columns = {"top1": self.top1[fidelity], **{str(name): self.measured[name] for name in self.measured}}
        if fidelity in self.train_seconds:
            columns["train_seconds"] = self.train_seconds[fidelity]
        return pd.DataFrame(columns)

    def rows(self, codes: Codes) -> npt.NDArray[np.int64]:
        """Return int[k], the row of each code.

        Raises:
            NasError: a network is not in the table.
        """
        rows = self._index.rows(codes)
        if (rows < 0).any():
            missing = self.space.format(np.asarray(codes)[rows < 0][:1])[0]
            raise NasError(f"{missing} of {self.space.name} is not among the {len(self.codes):,} networks of the table")
        return rows

    @cached_property
    def _index(self) -> CodeIndex:
        return CodeIndex(self.codes)


@dataclass(frozen=True)
class Benchmark:
    """A table of trained networks by name; found through the entry-point group `nas.benchmarks`.

    Args:
        name: as registered.
        spaces: names of the spaces whose codes the table is for.
        read: makes the table from the folder of the data; raises NasError where a file is missing or damaged.
        note: what the accuracy is that a search chooses by, in one line.
        source: who trained the networks, with licence.
    """

    name: str
    spaces: tuple[str, ...]
    read: Callable[[Path], Table]
    note: str
    source: str

    def table(self, data: Path | None = None) -> Table:
        """Return the table, read once a process from `data` or from the folder that NAS_DATA names.

        Raises:
            NasError: no folder is named, or a file is missing or damaged.
        """
        return _read(self, data_folder(self.name, data))


@cache
def _read(benchmark: Benchmark, folder: Path) -> Table:
    return benchmark.read(folder)


def data_folder(wanted_for: str, given: Path | None = None) -> Path:
    """Return the folder of benchmark data: the one given, else the one the environment variable NAS_DATA names.

    Raises:
        NasError: neither is there.
    """
    named = given if given is not None else os.environ.get("NAS_DATA")
    if not named:
        raise NasError(f"{wanted_for} needs its table: name its folder by --data DIR or the variable NAS_DATA")
    folder = Path(named)
    if not folder.is_dir():
        raise NasError(f"{wanted_for} needs its table, but {folder} is no folder")
    return folder


def find_file(folder: Path, names: Sequence[str], obtained: str) -> Path:
    """Return the first of the files `names`, paths below `folder`, that exists.

    Raises:
        NasError: none does; `obtained` says where to get it.
    """
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise NasError(f"{folder} has no {' or '.join(names)}; {obtained}")


def read_csv(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Return a CSV file, which may be compressed.

    Raises:
        NasError: it cannot be read, or lacks one of `columns`.
    """
    try:
        frame = pd.read_csv(path)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise NasError(f"cannot read {path}: {' '.join(str(error).split())}") from None
    missing = [name for name in columns if name not in frame]
    if missing:
        raise NasError(f"{path} has no column {missing[0]!r}; it has {', '.join(map(str, frame.columns[:8]))} ...")
    return frame


def numbers(frame: pd.DataFrame, columns: Sequence[str], path: Path) -> Array:
    """Return float[n, columns], NaN where a field of the file is empty.

    Raises:
        NasError: a value is no number.
    """
    given = frame[list(columns)]
    values: Array = given.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    _refuse(np.isnan(values) & given.notna().to_numpy(), given, path, "a number")
    return values


def percentages(frame: pd.DataFrame, columns: Sequence[str], path: Path, gaps: bool = False) -> Array:
    """Return float[n, columns], accuracies in percent.

    Args:
        gaps: whether fields may be empty, NaN.

    Raises:
        NasError: a value is not between 0 and 100.
    """
    values = numbers(frame, columns, path)
    possible = (values >= 0) & (values <= 100)
    _refuse(~possible & ~(gaps & np.isnan(values)), frame[list(columns)], path, "a percentage")
    return values


def _refuse(wrong: npt.NDArray[np.bool_], frame: pd.DataFrame, path: Path, expected: str) -> None:
    """Name the first value that is wrong, bool[n, columns], by its line in the file, of which the head is the first."""
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        shown = "empty" if frame.isna().iat[row, column] else str(frame.iat[row, column])
        raise NasError(f"{path} is damaged: line {row + 2}: {frame.columns[column]} is {shown}, not {expected}")


def digest_of(*paths: Path) -> str:
    """Return the SHA-256 of some files together."""
    found = hashlib.sha256()
    for path in paths:
        found.update(path.read_bytes())
    return found.hexdigest()
