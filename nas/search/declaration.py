"""The decisions of a space in few lines: equal ones of numbered places folded into one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from nas.space import Decision
from nas.space.decision import word

#: what equal decisions may differ in: the word a name begins with, and its numbers
_PLACE = re.compile(r"^[^0-9.]+|[0-9]+")
#: values of a condition that are all printed
_ALL_VALUES = 6


@dataclass(frozen=True)
class DecisionLine:
    """Decisions that differ in nothing but their places.

    Args:
        names: the names in the notation of sets, e.g. "stage{1-7}.kernel".
        count: how many decisions these are.
        choices: their choices as they read in a code.
        condition: when they matter, e.g. "depth is 3 or 4"; "" for always. The decision named there is of the same
            place: what both names begin with is left out.
    """

    names: str
    count: int
    choices: tuple[str, ...]
    condition: str


def fold(decisions: Sequence[Decision]) -> list[DecisionLine]:
    """Return the decisions of a space as few lines, in order of declaration."""
    by_name = {decision.name: decision for decision in decisions}
    groups: dict[tuple[str, tuple[str, ...], str], list[tuple[str, ...]]] = {}
    for decision in decisions:
        choices = tuple(word(choice) for choice in decision.choices)
        key = _PLACE.sub("#", decision.name), choices, _condition(decision, by_name)
        groups.setdefault(key, []).append(tuple(_PLACE.findall(decision.name)))
    return [
        DecisionLine(_filled(template, sets), prod(map(len, sets)), choices, condition)
        for (template, choices, condition), places in groups.items()
        for sets in _products(places)
    ]


def _condition(decision: Decision, by_name: Mapping[str, Decision]) -> str:
    if decision.active_if is None:
        return ""
    own, parent = decision.name.split("."), decision.active_if.parent.split(".")
    while len(parent) > 1 and own[:1] == parent[:1]:
        own, parent = own[1:], parent[1:]
    values = [word(value) for value in decision.active_if.values]
    others = [word(c) for c in by_name[decision.active_if.parent].choices if word(c) not in values]
    if 0 < 2 * len(others) < len(values):
        return f"{'.'.join(parent)} is not {_either(others)}"
    return f"{'.'.join(parent)} is {_either(values)}"


def _either(values: Sequence[str]) -> str:
    if len(values) > _ALL_VALUES:
        return f"one of {', '.join(values[: _ALL_VALUES - 1])} … {values[-1]} ({len(values)} values)"
    return " or ".join(values)


def _products(places: Iterable[tuple[str, ...]]) -> list[list[tuple[str, ...]]]:
    """Split tuples into few products of sets, each given as one set a position."""
    rest: dict[str, list[tuple[str, ...]]] = {}
    for row in places:
        if not row:
            return [[]]
        rest.setdefault(row[0], []).append(row[1:])
    heads: dict[tuple[tuple[str, ...], ...], list[str]] = {}
    for head, tails in rest.items():
        heads.setdefault(tuple(tails), []).append(head)
    return [[tuple(values), *sets] for tails, values in heads.items() for sets in _products(tails)]


def _filled(template: str, sets: Sequence[tuple[str, ...]]) -> str:
    texts = iter(sets)
    return re.sub("#", lambda _: _span(next(texts)), template)


def _span(values: tuple[str, ...]) -> str:
    """One value as it is, several as a set, numbers with ranges: {1-5,7}."""
    if len(values) == 1:
        return values[0]
    if not all(value.isdecimal() for value in values):
        return "{" + ",".join(values) + "}"
    runs: list[list[int]] = []
    for value in sorted(map(int, values)):
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return "{" + ",".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in runs) + "}"
