"""Errors a user can cause, and the words that help to mend them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

#: more valid names than this are not all listed in a message
MANY = 30


class NasError(Exception):
    """Something the user asked for cannot be done; the message says what, where, and what would be right.

    The command line prints the message without a traceback and exits with `exit_code`.
    """

    exit_code = 2


class InterruptedSearchError(NasError):
    """The user stopped a search with Ctrl-C; the message says how to continue it."""

    exit_code = 130


class NoNetworkFoundError(NasError):
    """A search went to its end and found no network that meets the bounds; the message names the nearest."""

    exit_code = 1


class UnknownNameError(NasError):
    """A name is not registered; carries the nearest valid one."""

    def __init__(self, kind: str, name: object, valid: Iterable[str]):
        super().__init__(f"unknown {kind} {name!r}{suggestion(str(name), valid)}")


def suggestion(name: str, valid: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" or the list of valid names, ready to be appended to a message."""
    names = sorted(valid)
    by_lower_case = {valid_name.lower(): valid_name for valid_name in names}
    lower = name.lower()
    slip = difflib.get_close_matches(lower, by_lower_case, n=1, cutoff=0.9)
    # effnet_b0 is short for efficientnet_b0 before it is a misspelling of something of its own length.
    longer = sorted((text for text in by_lower_case if len(lower) > 2 and _in_order(lower, text)), key=len)
    near = slip or longer or difflib.get_close_matches(lower, by_lower_case, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {by_lower_case[near[0]]!r}?"
    if len(names) > MANY:
        return f"; {len(names)} are valid, such as {', '.join(names[:: len(names) // 4])}"
    return f"; valid: {', '.join(names)}" if names else "; none is installed"


def _in_order(letters: str, text: str) -> bool:
    """Whether `text` has all the letters, in their order."""
    rest = iter(text)
    return all(letter in rest for letter in letters)
