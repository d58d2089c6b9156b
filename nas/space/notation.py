"""The one-line block notation, for networks and, with ranges, for spaces.

`ir_r2_k5_s2_e6_c40_se` is two MBConv layers, kernel 5, the first with stride 2, expansion 6, 40 channels, with
squeeze-and-excite. A value may be a set, `k{3,5}`, or a range of integers, `r{1-4}`: then it is a decision.
The idea of one string a block is timm's; sets and ranges are ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from nas.errors import NasError

Value = int | float | str

#: for every block type the tokens it may have: (name, meaning, default; None where it has to be given)
BLOCK_TYPES: dict[str, dict[str, tuple[str, Value | None]]] = {
    "cn": {
        "r": ("layers", 1), "k": ("kernel", 1), "s": ("stride", 1), "c": ("channels", None), "n": ("activation", ""),
    },
    "ir": {
        "r": ("layers", 1), "k": ("kernel", 3), "s": ("stride", 1), "e": ("expand", 1), "c": ("channels", None),
        "se": ("se", 0), "n": ("activation", ""),
    },
    "pool": {},
    "fc": {"c": ("channels", 0), "n": ("activation", "")},
}  # fmt: skip

#: short names of activations in the notation
ACTIVATION_TOKENS = {"re": "relu", "r6": "relu6", "sw": "silu", "hs": "hardswish"}

#: values every token accepts besides being a number
_VALID: dict[str, tuple[str, type, float, float]] = {
    "r": ("a whole number from 1 to 100", int, 1, 100),
    "k": ("an odd whole number from 1 to 31", int, 1, 31),
    "s": ("1 or 2", int, 1, 2),
    "e": ("a number from 0.5 to 32", float, 0.5, 32),
    "c": ("a whole number from 1 to 100000", int, 1, 100_000),
    "se": ("0 or 1", int, 0, 1),
}

_TOKEN = re.compile(r"(se|[a-z])(.*)", re.DOTALL)


@dataclass(frozen=True)
class BlockPattern:
    """A parsed block string: for every property its possible values, one where it is fixed."""

    kind: str
    values: dict[str, tuple[Value, ...]] = field(hash=False)

    def fixed(self) -> dict[str, Value]:
        """Return the properties that have one possible value."""
        return {name: values[0] for name, values in self.values.items() if len(values) == 1}

    def open(self) -> dict[str, tuple[Value, ...]]:
        """Return the properties that are a choice, in the order expand, kernel, layers, se, then the rest."""
        order = ("expand", "kernel", "layers", "se")
        names = sorted(self.values, key=lambda name: (order.index(name) if name in order else len(order), name))
        return {name: self.values[name] for name in names if len(self.values[name]) > 1}


def parse_block(text: str) -> BlockPattern:
    """Parse one block string.

    Raises:
        NasError: points at the token that is wrong and lists what is allowed there.
    """
    kind, *tokens = _split(text)
    if kind not in BLOCK_TYPES:
        raise _error(text, 0, kind, f"block type is one of {', '.join(BLOCK_TYPES)}")
    allowed = BLOCK_TYPES[kind]
    values: dict[str, tuple[Value, ...]] = {}
    start = len(kind) + 1
    for token in tokens:
        match = _TOKEN.fullmatch(token)
        if match is None or match[1] not in allowed:
            raise _error(text, start, token, f"{kind!r} takes {', '.join(allowed) or 'no tokens'}")
        name = allowed[match[1]][0]
        if name in values:
            raise _error(text, start, token, f"{match[1]!r} is given twice")
        try:
            values[name] = _parse_values(match[1], match[2])
        except ValueError as error:
            raise _error(text, start, token, str(error)) from None
        start += len(token) + 1
    for letter, (name, default) in allowed.items():
        if name not in values:
            if default is None:
                raise _error(text, len(text), "", f"{kind!r} needs {letter!r} ({name})")
            values[name] = (default,)
    return BlockPattern(kind, values)


def _split(text: str) -> list[str]:
    return text.split("_")


def _parse_values(letter: str, text: str) -> tuple[Value, ...]:
    if letter == "n":
        if text not in ACTIVATION_TOKENS:
            raise ValueError(f"activation is one of {', '.join('n' + token for token in ACTIVATION_TOKENS)}")
        return (ACTIVATION_TOKENS[text],)
    if letter == "se" and not text:
        return (1,)
    if text.startswith("{") and text.endswith("}"):
        inside = text[1:-1]
        span = re.fullmatch(r"([0-9]{1,6})-([0-9]{1,6})", inside)
        parts = [str(i) for i in range(int(span[1]), int(span[2]) + 1)] if span else inside.split(",")
        values = tuple(_parse_value(letter, part) for part in parts)
        if not values or len(set(values)) != len(values):
            raise ValueError("a set needs distinct values, a range its smaller end first")
        return values
    return (_parse_value(letter, text),)


def _parse_value(letter: str, text: str) -> Value:
    meaning, kind, low, high = _VALID[letter]
    if not re.fullmatch(r"[0-9]*\.?[0-9]+", text, re.ASCII):
        raise ValueError(f"{letter!r} takes {meaning}, or a set like {{1,2}}")
    number = float(text)
    whole = number.is_integer()
    if not low <= number <= high or (kind is int and not whole) or (letter == "k" and number % 2 == 0):
        raise ValueError(f"{letter!r} takes {meaning}")
    return int(number) if whole else number


def _error(text: str, start: int, token: str, problem: str) -> NasError:
    pointer = " " * start + "^" * max(1, len(token))
    return NasError(f"block {text!r}: {problem}\n  {text}\n  {pointer}")
