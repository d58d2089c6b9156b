"""Spaces, targets, strategies, estimators and networks are found through entry points.

A plugin adds its own by declaring an entry point in the same group; nothing in `nas` names a concrete one.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from nas.errors import UnknownNameError


@cache
def _entries(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=f"nas.{group}")}


def names(group: str) -> list[str]:
    """Return the sorted names registered in the entry-point group `nas.<group>`."""
    return sorted(_entries(group))


def load(group: str, name: str) -> Any:
    """Import and return the object registered as `name` in `nas.<group>`.

    Raises:
        UnknownNameError: the name is not registered; the message has the nearest one that is.
    """
    entries = _entries(group)
    if name not in entries:
        raise UnknownNameError(group.rstrip("s"), name, entries)
    return entries[name].load()
