"""Which network a row of a table is about: a code, a cell string, decisions by name, or a published network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from nas.errors import NasError, UnknownNameError, suggestion
from nas.hardware.tables.records import Record
from nas.space import NetworkSpec, SearchSpace
from nas.space.catalogue import load_network, network_names
from nas.space.decision import Choice, Decision, word

Code = npt.NDArray[np.int8]

#: columns that name a network, the first that is there counts
NAMING = ("item", "code", "architecture", "arch", "arch_str", "network", "model")


@dataclass(frozen=True)
class Named:
    """A network by name.

    Args:
        item: its code string in a space, else the name of a published network, `mobilenet_v2@192` at 192 pixels.
        code: int8[D] in the space, where there is one.
        spec: the network itself, outside a space.
    """

    item: str
    code: Code | None = None
    spec: NetworkSpec | None = None


class NetworkNames:
    """Reads the networks of a table whose columns are known.

    Args:
        header: the columns.
        space: of which the networks are; None: published ones.
        where: the file, for messages.

    Raises:
        NasError: no column names the networks; says which comes near, or which decision is missing.
    """

    def __init__(self, header: Sequence[str], space: SearchSpace | None, where: str):
        self.space = space
        self._sized = "width" in header or "resolution" in header
        self._decisions = [d for d in space.decisions if d.name in header] if space else []
        self._column = next((name for name in NAMING if name in header), None)
        if self._column is None and (not space or len(self._decisions) <= _missing(space, header)):
            shown = ", ".join(NAMING[1:5]) + (f", or the decisions of {space.name}" if space else ", network")
            raise NasError(f"{where} has no column that names the networks ({shown}){suggestion('code', header)}")
        if self._column is None and space:
            lacking = next((d.name for d in space.decisions if d.active_if is None and d.name not in header), None)
            if lacking:
                raise NasError(
                    f"{where} has no column {lacking!r}, a decision of {space.name}{suggestion(lacking, header)}"
                )

    def __call__(self, record: Record) -> Named:
        """Return the network of one row.

        Raises:
            NasError: it is none, or not in the space; says which row.
        """
        try:
            if self._column is None:
                assert self.space is not None
                return _of_code(self.space, self.space.encode(self._chosen(record.cells)))
            text = record.cells[self._column]
            if not text:
                raise NasError(f"{self._column} is empty")
            return name_network(text, self.space, record.cells if self._sized else {})
        except NasError as error:
            raise NasError(f"{record.where}: {error}") from None

    def _chosen(self, cells: Mapping[str, str]) -> dict[str, Choice]:
        return {d.name: _choice(d, cells[d.name]) for d in self._decisions if cells[d.name]}


def name_network(text: str, space: SearchSpace | None, sizes: Mapping[str, str] | None = None) -> Named:
    """Return the network that a text names: a code of the space, whatever else the space reads, or a published name.

    Args:
        sizes: `width` and `resolution` of a published network, where they are not its own.

    Raises:
        NasError: it names none, or one outside the space.
    """
    if space is None:
        try:
            spec = _published(text, sizes or {})
        except UnknownNameError as error:
            raise NasError(f"{error}; a code needs its --space") from None
        own = load_network(spec.name).resolution
        return Named(spec.name + (f"@{spec.resolution}" if spec.resolution != own else ""), spec=spec)
    try:
        return _of_code(space, space.encode(text))
    except NasError:
        if text.partition("@")[0].lower().replace("-", "_") not in network_names():
            raise
    return _of_code(space, space.encode(_published(text, sizes or {})))


def _of_code(space: SearchSpace, code: Code) -> Named:
    return Named(space.format(code[None])[0], code=code)


def _published(text: str, sizes: Mapping[str, str]) -> NetworkSpec:
    name, _, pixels = text.partition("@")
    name = name.lower().replace("-", "_")
    width = _number("width", sizes.get("width", ""), 1.0)
    spec = load_network(name if width == 1 else f"{name}_{width:g}")
    resolution = _number("resolution", pixels or sizes.get("resolution", ""), float(spec.resolution))
    if resolution < 1 or not resolution.is_integer():
        raise NasError(f"resolution is {resolution:g}, expected a number of pixels")
    return spec if resolution == spec.resolution else replace(spec, resolution=int(resolution))


def _number(column: str, text: str, default: float) -> float:
    try:
        return float(text) if text else default
    except ValueError:
        raise NasError(f"{column} is {text!r}, expected a number") from None


def _missing(space: SearchSpace, header: Sequence[str]) -> int:
    """How many decisions that always matter have no column."""
    return sum(decision.active_if is None and decision.name not in header for decision in space.decisions)


def _choice(decision: Decision, text: str) -> Choice:
    """A choice as a table writes it: "3.0" is 3, while "01" may be a choice of its own."""
    if text in {word(choice) for choice in decision.choices}:
        return text
    try:
        return float(text)
    except ValueError:
        return text
