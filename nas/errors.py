"""Errors a user can cause, and the words that help to mend them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NasError(Exception):
    """Something the user asked for cannot be done; the message says what, where, and what would be right.

    The command line prints the message without a traceback and exits with `exit_code`.
    """

    exit_code = 2


class InterruptedSearchError(NasError):
    """The user stopped a search with Ctrl-C; the message says how to continue it."""

    exit_code = 130


class UnknownNameError(NasError):
    """A name is not registered; carries the nearest valid one."""

    def __init__(self, kind: str, name: object, valid: Iterable[str]):
        super().__init__(f"unknown {kind} {name!r}{suggestion(str(name), valid)}")


def suggestion(name: str, valid: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" or the list of valid names, ready to be appended to a message."""
    names = sorted(valid)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; valid: {', '.join(names)}" if names else "; none is installed"
