"""Published networks by name, over all packages registered in the entry-point group `nas.networks`."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from functools import cache
from pathlib import Path

from nas import registry
from nas.errors import NasError, UnknownNameError, suggestion
from nas.space.network import NetworkSpec
from nas.space.space import Codes, SearchSpace


@dataclass(frozen=True)
class PublishedTop1:
    """ImageNet top-1 in percent under the recipe of `source`."""

    value: float
    source: str


#: the units of published counts as the CSV files write them
_UNITS = {"1": 1, "1e3": 10**3, "1e6": 10**6, "1e9": 10**9}


@dataclass(frozen=True)
class PublishedCount:
    """A parameter or operation count as somebody else published it, beside ours.

    Args:
        quantity: "params", "params_and_statistics" (with mean and variance of every batch normalisation), "macs" or
            "macs_thop" (see `nas.space.layer`).
        value: digits as printed, in multiples of `unit`.
        ours: the same quantity counted here.
        note: why the two differ, where they do and that is known.
    """

    network: str
    quantity: str
    value: str
    unit: int
    source: str
    ours: int
    note: str = ""

    @property
    def integer(self) -> bool:
        """Whether the published figure is exact, printed to the last unit."""
        decimals = len(self.value.partition(".")[2])
        return self.unit == int("1" + "0" * decimals)

    @property
    def agree(self) -> bool:
        """Whether ours, rounded or cut off to the digits printed, is the published figure."""
        printed = Decimal(self.value)
        exact = Decimal(self.ours) / self.unit
        return any(exact.quantize(printed, rounding) == printed for rounding in (ROUND_HALF_UP, ROUND_DOWN))


@cache
def _networks() -> dict[str, NetworkSpec]:
    found: dict[str, NetworkSpec] = {}
    for entry in registry.names("networks"):
        found |= registry.load("networks", entry).NETWORKS
    return found


def network_names() -> list[str]:
    """Return the names of all published networks that can be built."""
    return sorted(_networks())


def load_network(name: str) -> NetworkSpec:
    """Return the published network called `name`.

    Raises:
        UnknownNameError: there is none of that name.
    """
    networks = _networks()
    if name not in networks:
        raise UnknownNameError("network", name, networks)
    return networks[name]


def published_top1(name: str) -> PublishedTop1 | None:
    """Return the accuracy published for a network, where one is recorded."""
    for entry in registry.names("networks"):
        figures = registry.load("networks", entry).PUBLISHED_TOP1
        if name in figures:
            return PublishedTop1(*figures[name])
    return None


def published_counts(network: str | None = None) -> list[PublishedCount]:
    """Return every count recorded in the packages of networks (their `COUNTS` folder of CSV files), beside ours.

    With `network`, only those of that network, which is much faster.

    Raises:
        NasError: a row names no network or quantity, or holds no number; file and line are named.
    """
    folders = [getattr(registry.load("networks", entry), "COUNTS", None) for entry in registry.names("networks")]
    files = [file for folder in folders if folder is not None for file in sorted(folder.glob("*.csv"))]
    return [row for file in files for row in _counts_of(file, network)]


def _counts_of(file: Path, network: str | None) -> Iterator[PublishedCount]:
    with file.open(encoding="utf-8", newline="") as stream:
        for line, row in enumerate(csv.DictReader(stream), start=2):
            if network not in (None, row["network"]):
                continue
            try:
                yield _count(**row)
            except (NasError, TypeError) as error:
                raise NasError(f"{file.name}, line {line}: {error}") from error


def _count(network: str, quantity: str, value: str, unit: str, source: str, note: str = "") -> PublishedCount:
    ours = _own_counts(network)
    if quantity not in ours:
        raise NasError(f"unknown quantity {quantity!r}{suggestion(quantity, ours)}")
    if unit not in _UNITS:
        raise NasError(f"unit is {unit!r}, must be one of {', '.join(_UNITS)}")
    if not (re.fullmatch(r"[0-9]+(\.[0-9]+)?", value or "") and Decimal(value)):
        raise NasError(f"value is {value!r}, must be a positive number")
    return PublishedCount(network, quantity, value, _UNITS[unit], source, ours[quantity], note)


@cache
def _own_counts(name: str) -> dict[str, int]:
    """Our count of every quantity that others publish."""
    spec = load_network(name)
    cost = spec.cost()
    statistics = sum(2 * layer.out_channels for layer in spec.layers() if layer.op == "batch_norm")
    return {
        "params": cost["params"],
        "params_and_statistics": cost["params"] + statistics,
        "macs": cost["macs"],
        "macs_thop": cost["macs_thop"],
    }


def networks_in(space: SearchSpace) -> dict[str, Codes]:
    """Return the published networks that are points of `space`, with their codes int8[1, D]."""
    found = {}
    for name, spec in sorted(_networks().items()):
        try:
            found[name] = space.encode(spec)[None]
        except NasError:
            continue
    return found
