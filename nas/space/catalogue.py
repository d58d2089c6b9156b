"""Published networks by name, over all packages registered in the entry-point group `nas.networks`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from nas import registry
from nas.errors import NasError, UnknownNameError
from nas.space.network import NetworkSpec
from nas.space.space import Codes, SearchSpace


@dataclass(frozen=True)
class PublishedTop1:
    """ImageNet top-1 in percent under the recipe of `source`."""

    value: float
    source: str


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


def networks_in(space: SearchSpace) -> dict[str, Codes]:
    """Return the published networks that are points of `space`, with their codes int8[1, D]."""
    found = {}
    for name, spec in sorted(_networks().items()):
        try:
            found[name] = space.encode(spec)[None]
        except NasError:
            continue
    return found
