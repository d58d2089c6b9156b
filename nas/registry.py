"""Spaces, targets, strategies, estimators and networks are found through entry points.

A plugin adds its own by declaring an entry point in the same group; nothing in `nas` names a concrete one.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from nas.errors import NasError, UnknownNameError


@cache
def _entries(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=f"nas.{group}")}


def names(group: str) -> list[str]:
    """Return the sorted names registered in the entry-point group `nas.<group>`."""
    return sorted(_entries(group))


def load(group: str, name: str) -> Any:
    """Import and return the object registered as `name` in `nas.<group>`.

    `name:argument` returns what the object makes of the argument, `object.with_argument(argument)`, to be called as
    the object itself would be: `tabular:nasbench-macro` among the estimators, `optuna:TPESampler` among the strategies.

    Raises:
        UnknownNameError: the name is not registered; the message has the nearest one that is.
        NasError: what is registered takes no argument, or not this one.
    """
    entries = _entries(group)
    plain, colon, argument = name.partition(":")
    if plain not in entries:
        raise UnknownNameError(_kind(group), name, entries)
    found = entries[plain].load()
    if not colon:
        return found
    if not hasattr(found, "with_argument"):
        raise NasError(f"the {_kind(group)} {plain!r} takes no argument: write {plain!r} instead of {name!r}")
    return found.with_argument(argument)


def _kind(group: str) -> str:
    return "strategy" if group == "strategies" else group.rstrip("s")
