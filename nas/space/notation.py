"""The one-line block notation, for networks and, with sets and ranges, for spaces.

`ir_r2_k5_s2_e6_c40_se` is two MBConv layers, kernel 5, the first with stride 2, expansion 6, 40 channels, with
squeeze-and-excite. A value may be a set, `k{3,5}`, or a range of integers, `r{1-4}`: then it is a decision. So may
the type of the block: `{ir,er}_k{3,5}_e4_c32`. The idea of one string a block is timm's; sets and ranges are ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from nas.errors import NasError

Value = int | float | str

#: short names of activations in the notation
ACTIVATION_TOKENS = {"re": "relu", "r6": "relu6", "sw": "silu", "hs": "hardswish", "no": "none"}


@dataclass(frozen=True, slots=True)
class Token:
    """A letter of the notation: the property it sets, the values it takes, what holds where it is left out.

    Args:
        default: None where it has to be given.
        low, high: bounds of a number, both possible.
        whole, odd: which numbers between them are possible; an odd one may be 0 too where `low` is.
    """

    name: str
    default: Value | None
    meaning: str
    low: float = 0
    high: float = 0
    whole: bool = True
    odd: bool = False

    def takes(self, number: float) -> bool:
        fits = not (self.odd and number and number % 2 == 0) and (number.is_integer() or not self.whole)
        return self.low <= number <= self.high and fits


_KERNEL = Token("kernel", 3, "an odd whole number from 1 to 31", 1, 31, odd=True)
_KERNEL_OR_NONE = Token("kernel", 3, "0 or an odd whole number up to 31", 0, 31, odd=True)
_LAYERS = Token("layers", 1, "a whole number from 1 to 100", 1, 100)
_STRIDE = Token("stride", 1, "1 or 2", 1, 2)
_EXPAND = Token("expand", 1, "a number from 0.5 to 32", 0.5, 32, whole=False)
_CHANNELS = Token("channels", None, "a whole number from 1 to 100000", 1, 100_000)
_CHANNELS_OR_NONE = replace(_CHANNELS, default=0)
_SE = Token("se", 0, "0 or 1", 0, 1)
_GROUPS = Token("groups", 1, "a whole number from 1 to 64", 1, 64)
_ACTIVATION = Token("activation", "", "")

#: for every block type the tokens it may have
BLOCK_TYPES: dict[str, dict[str, Token]] = {
    # convolution, normalisation, activation
    "cn": {"r": _LAYERS, "k": replace(_KERNEL, default=1), "s": _STRIDE, "c": _CHANNELS, "n": _ACTIVATION},
    # MBConv, the inverted residual of MobileNetV2; g groups its pointwise convolutions
    "ir": {
        "r": _LAYERS, "k": _KERNEL, "s": _STRIDE, "e": _EXPAND, "c": _CHANNELS, "se": _SE, "g": _GROUPS,
        "n": _ACTIVATION,
    },
    # Fused-MBConv of EfficientNetV2
    "er": {"r": _LAYERS, "k": _KERNEL, "s": _STRIDE, "e": _EXPAND, "c": _CHANNELS, "se": _SE, "n": _ACTIVATION},
    # depthwise separable convolution of MobileNetV1
    "ds": {"r": _LAYERS, "k": _KERNEL, "s": _STRIDE, "c": _CHANNELS, "n": _ACTIVATION},
    # universal inverted bottleneck of MobileNetV4; a and k are the kernels of its depthwise convolutions, 0 for none
    "ui": {
        "r": _LAYERS, "a": replace(_KERNEL_OR_NONE, name="start_kernel", default=0), "k": _KERNEL_OR_NONE,
        "s": _STRIDE, "e": _EXPAND, "c": _CHANNELS, "n": _ACTIVATION,
    },
    # identity
    "id": {"r": _LAYERS, "s": _STRIDE, "c": _CHANNELS_OR_NONE},
    "pool": {},
    "fc": {"c": _CHANNELS_OR_NONE, "n": _ACTIVATION},
}  # fmt: skip

#: the order in which tokens are listed
_LETTERS = ("r", "a", "k", "s", "e", "c", "se", "g", "n")

#: the order of decisions; properties not listed come after these
_ORDER = ("kind", "expand", "kernel", "layers", "se", "groups", "channels")

_TOKEN = re.compile(r"(se|[a-z])(.*)", re.DOTALL)


@dataclass(frozen=True)
class BlockPattern:
    """A parsed block string: the possible block types, and for every property its possible values.

    With several types `values["kind"]` holds them, and the properties are those of all types together.
    """

    kinds: tuple[str, ...]
    values: dict[str, tuple[Value, ...]] = field(hash=False)

    @property
    def kind(self) -> str:
        """The block type; the first where it is open."""
        return self.kinds[0]

    def fixed(self) -> dict[str, Value]:
        """Return the properties that have one possible value; a single block type is not among them."""
        return {name: values[0] for name, values in self.values.items() if len(values) == 1}

    def open(self) -> dict[str, tuple[Value, ...]]:
        """Return the properties that are a choice, in the order kind, expand, kernel, layers, se, then the rest."""
        names = sorted(self.values, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))
        return {name: self.values[name] for name in names if len(self.values[name]) > 1}


def parse_block(text: str) -> BlockPattern:
    """Parse one block string.

    Raises:
        NasError: points at the token that is wrong and lists what is allowed there.
    """
    head, *tokens = text.split("_")
    kinds = _parse_kinds(text, head)
    allowed = _allowed_tokens(kinds)
    values: dict[str, tuple[Value, ...]] = {"kind": kinds} if len(kinds) > 1 else {}
    start = len(head) + 1
    for token in tokens:
        match = _TOKEN.fullmatch(token)
        if match is None or match[1] not in allowed:
            raise _error(text, start, token, f"{head!r} takes {', '.join(allowed) or 'no tokens'}")
        name = allowed[match[1]][0].name
        if name in values:
            raise _error(text, start, token, f"{match[1]!r} is given twice")
        try:
            values[name] = _parse_values(match[1], match[2], allowed[match[1]])
        except ValueError as error:
            raise _error(text, start, token, str(error)) from None
        start += len(token) + 1
    for letter, variants in allowed.items():
        name = variants[0].name
        if name not in values:
            # Where two types differ in what holds by default, nothing holds by default.
            default, *others = {token.default for token in variants}
            if default is None or others:
                raise _error(text, len(text), "", f"{head!r} needs {letter!r} ({name})")
            values[name] = (default,)
    return BlockPattern(kinds, values)


def _parse_kinds(text: str, head: str) -> tuple[str, ...]:
    kinds = tuple(head[1:-1].split(",")) if head.startswith("{") and head.endswith("}") else (head,)
    if not set(kinds) <= set(BLOCK_TYPES) or len(set(kinds)) != len(kinds):
        raise _error(text, 0, head, f"block type is one of {', '.join(BLOCK_TYPES)}, or a set like {{ir,er}}")
    if len(kinds) > 1 and any("r" not in BLOCK_TYPES[kind] for kind in kinds):
        raise _error(text, 0, head, "'pool' and 'fc' are no alternatives of other block types")
    return kinds


def _allowed_tokens(kinds: tuple[str, ...]) -> dict[str, list[Token]]:
    """The tokens of several block types together: under each letter what it is in the types that have it."""
    letters = sorted({letter for kind in kinds for letter in BLOCK_TYPES[kind]}, key=_LETTERS.index)
    return {letter: [BLOCK_TYPES[kind][letter] for kind in kinds if letter in BLOCK_TYPES[kind]] for letter in letters}


def _parse_values(letter: str, text: str, variants: list[Token]) -> tuple[Value, ...]:
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
        values = tuple(_parse_value(letter, part, variants) for part in parts)
        if not values or len(set(values)) != len(values):
            raise ValueError("a set needs distinct values, a range its smaller end first")
        return values
    return (_parse_value(letter, text, variants),)


def _parse_value(letter: str, text: str, variants: list[Token]) -> Value:
    if not re.fullmatch(r"[0-9]*\.?[0-9]+", text, re.ASCII):
        raise ValueError(f"{letter!r} takes {variants[0].meaning}, or a set like {{1,2}}")
    number = float(text)
    for token in variants:
        if not token.takes(number):
            raise ValueError(f"{letter!r} takes {token.meaning}")
    return int(number) if number.is_integer() else number


def _error(text: str, start: int, token: str, problem: str) -> NasError:
    pointer = " " * start + "^" * max(1, len(token))
    return NasError(f"block {text!r}: {problem}\n  {text}\n  {pointer}")
