"""SearchSpace: codes (integer arrays) and every operation on them that no concrete space has to write again."""

from __future__ import annotations

import itertools
import numbers
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.errors import NasError, suggestion
from nas.space.decision import Choice, Decision, DecisionTree, word
from nas.space.network import NetworkSpec
from nas.space.vocabulary import BlockMaximum, BlockTable, BlockVocabulary

Codes = npt.NDArray[np.int8]

#: networks a space may have for all of them to be listed
MAX_LISTED = 10_000_000


@dataclass(frozen=True)
class Architecture:
    """One network of a space in words: every decision that matters, by name."""

    space: str
    code: str
    decisions: Mapping[str, Choice]


class SearchSpace(ABC):
    """A set of networks, each named by a row of small integers: `code[d]` indexes `decisions[d].choices`.

    A decision that does not matter in a network (see `Decision.active_if`) is 0 in its code, so one network has one
    code. Codes travel as int8[n, D] arrays; every operation works on all rows at once.
    """

    name: str
    description: str = ""
    #: file with the accuracy surrogate fitted for this space, if one ships
    surrogate: Path | None = None
    #: fields of its networks while they share weights in a search, where those of the space are too large for that
    proxy: Mapping[str, int | float] = MappingProxyType({})
    decisions: tuple[Decision, ...]

    @property
    @abstractmethod
    def vocabulary(self) -> BlockVocabulary:
        """The blocks that can occur, and the mapping from codes to them."""

    def scaled_vocabulary(self, width: float) -> BlockVocabulary:
        """Return the vocabulary of networks × `width`, as `NetworkSpec.scale` has them; its groups are as here.

        Raises:
            NasError: the space does not say, or some such network is impossible.
        """
        raise NasError(f"{self.name} does not say which blocks its networks have at another width")

    @abstractmethod
    def spec(self, code: npt.ArrayLike | Architecture | str, **overrides: Any) -> NetworkSpec:
        """Return the network of a code; `overrides` replace fields of the spec, e.g. `resolution=192`."""

    @abstractmethod
    def _decisions_of(self, spec: NetworkSpec) -> dict[str, Choice]:
        """Return the decisions that give `spec`, or raise NasError saying what is outside the space."""

    def peak_activation_bytes(self, codes: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
        """Return int[n], the largest sum of activations alive at one time, float32, batch 1.

        In a chain of blocks only one tensor passes from block to block, so the peak is that of the greediest block;
        spaces of other graphs say how it is for them.
        """
        return self._peak(codes).astype(np.int64)

    @cached_property
    def _peak(self) -> BlockMaximum:
        peaks = [block.peak_activation_bytes for block in self.vocabulary.blocks]
        return BlockMaximum(self.vocabulary, np.array(peaks, dtype=np.float64))

    def bounds(self, table: BlockTable) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return float[F], the smallest and the largest sums of a table over all networks; see `bounds_attained`."""
        if self.vocabulary.independent or not self.bounds_attained:
            return table.bounds()
        sums = table.sum(self.all_codes())
        return sums.min(axis=0), sums.max(axis=0)

    @property
    def bounds_attained(self) -> bool:
        """Whether some network attains what `bounds` gives; else none is beyond it."""
        return self.vocabulary.independent or self.size <= MAX_LISTED

    # --- counting -------------------------------------------------------------------------------------------------

    @cached_property
    def _tree(self) -> DecisionTree:
        return DecisionTree(self.decisions)

    @property
    def size(self) -> int:
        """Number of distinct networks, exact."""
        return self._tree.size

    @cached_property
    def _counts(self) -> npt.NDArray[np.int64]:
        return np.array([len(decision.choices) for decision in self.decisions])

    # --- codes ----------------------------------------------------------------------------------------------------

    def sample(self, n: int, rng: np.random.Generator) -> Codes:
        """Return int8[n, D], drawn uniformly over distinct networks, with replacement."""
        codes = np.zeros((n, len(self.decisions)), dtype=np.int8)
        for d, weights in enumerate(self._tree.weights):
            total = sum(weights)
            # Weights can exceed 2^63 in large spaces; the division of Python integers is correctly rounded.
            share = [weight / total for weight in weights]
            codes[:, d] = rng.choice(len(weights), size=n, p=share) if len(set(weights)) > 1 else (
                rng.integers(len(weights), size=n, dtype=np.int8)
            )  # fmt: skip
        return self.canonical(codes)

    def canonical(self, codes: Codes) -> Codes:
        """Return the codes with every decision that does not matter set to 0."""
        return np.where(self.active(codes), codes, np.int8(0)) if self._conditional else codes.copy()

    def active(self, codes: Codes) -> npt.NDArray[np.bool_]:
        """Return bool[n, D], which decisions matter in each network."""
        mask = np.ones(codes.shape, dtype=bool)
        # A decision comes after the one it depends on, so one pass settles all.
        for d, parent, activates in self._conditional:
            mask[:, d] = activates[codes[:, parent]] & mask[:, parent]
        return mask

    @cached_property
    def _conditional(self) -> list[tuple[int, int, npt.NDArray[np.bool_]]]:
        """Decisions that depend on another, that other one, and bool[choices], which of its choices activate them."""
        found = []
        for d, (parent, activating) in enumerate(zip(self._tree.parent, self._tree.activating, strict=True)):
            if parent >= 0:
                found.append((d, parent, np.isin(np.arange(self._counts[parent]), sorted(activating))))
        return found

    def all_codes(self) -> Codes:
        """Return int8[size, D], every distinct network once.

        Raises:
            NasError: the space has more than MAX_LISTED networks.
        """
        if self.size > MAX_LISTED:
            raise NasError(f"{self.name} has {self.size:.3g} networks, too many to list")
        codes = np.zeros((1, len(self.decisions)), dtype=np.int8)
        for d, count in enumerate(self._counts):
            # Only where the decision matters does it multiply the codes so far.
            matters = self.active(codes)[:, d]
            grown = np.repeat(codes[matters], count, axis=0)
            grown[:, d] = np.tile(np.arange(count, dtype=np.int8), int(matters.sum()))
            codes = np.concatenate([codes[~matters], grown])
        return codes

    def neighbours(self, code: npt.ArrayLike) -> Codes:
        """Return int8[m, D], all distinct networks one decision away from `code`, without itself.

        Decisions that a change makes matter have their first choice, so the way back may be longer than one step.
        """
        origin = self.canonical(np.asarray(code, dtype=np.int8).reshape(1, -1))
        rows = []
        for d in np.flatnonzero(self.active(origin)[0]):
            for choice in range(self._counts[d]):
                if choice != origin[0, d]:
                    row = origin[0].copy()
                    row[d] = choice
                    rows.append(row)
        if not rows:
            return origin[:0]
        near: Codes = np.unique(self.canonical(np.array(rows, dtype=np.int8)), axis=0)
        return near

    def mutate(self, codes: Codes, rng: np.random.Generator, rate: float | None = None) -> Codes:
        """Change each active decision to another choice with probability `rate` (default 1/D), at least one a row."""
        n, width = codes.shape
        free = (self._counts > 1) & self.active(codes)
        if not free.any():
            return codes.copy()
        chance = rng.random((n, width))
        chance[~free] = 2.0
        change = chance < (1.0 / width if rate is None else rate)
        # Where nothing would change, the decision that came nearest does.
        idle = ~change.any(axis=1)
        change[idle, chance[idle].argmin(axis=1)] = True
        change &= free
        offsets = 1 + (rng.random((n, width)) * (self._counts - 1)).astype(np.int64)
        changed = (codes + offsets) % self._counts
        return self.canonical(np.where(change, changed, codes).astype(np.int8))

    def crossover(self, a: Codes, b: Codes, rng: np.random.Generator, share: float = 0.5) -> Codes:
        """Uniform crossover: every decision of a child comes from one of its two parents, row by row.

        A share of them comes from `a`, by chance. Where a decision matters in one parent alone, it comes from that one.
        """
        in_a, in_b = self.active(a), self.active(b)
        from_a = np.where(in_a == in_b, rng.random(a.shape) < share, in_a)
        return self.canonical(np.where(from_a, a, b))

    def features(self, codes: Codes) -> npt.NDArray[np.float32]:
        """Return float32[n, sum of choices], the one-hot encoding of the decisions that matter."""
        active = self.active(codes)
        columns = [(codes[:, [d]] == np.arange(count)) & active[:, [d]] for d, count in enumerate(self._counts)]
        return np.concatenate(columns, axis=1).astype(np.float32)

    def predictor_features(self, codes: Codes) -> npt.NDArray[np.float64]:
        """Return float[n, F], what a predictor of accuracy should see beyond decisions and costs; here nothing.

        For spaces in which similar decisions can give very different networks, e.g. a cell cut off from its input.
        """
        return np.zeros((len(codes), 0))

    def live(self, codes: Codes) -> Codes:
        """Return int8[n, D], codes without what never reaches the output of a network: here the codes themselves.

        For spaces whose networks can have dead parts, which some inference runtimes leave out and others compute.
        """
        return codes

    def values(self, codes: Codes) -> npt.NDArray[np.float64]:
        """Return float[n, D], the chosen values themselves, 0 where a decision does not matter.

        Raises:
            NasError: a decision of the space is not numeric.
        """
        columns = []
        for d, decision in enumerate(self.decisions):
            if any(isinstance(choice, str) for choice in decision.choices):
                raise NasError(f"decision {decision.name!r} is not numeric; use features()")
            columns.append(np.array(decision.choices, dtype=np.float64)[codes[:, d]])
        return np.where(self.active(codes), np.stack(columns, axis=1), 0.0)

    def check(self, codes: npt.ArrayLike) -> Codes:
        """Return `codes` as canonical int8[n, D].

        Raises:
            NasError: the shape is wrong, or an index is out of range.
        """
        array = np.asarray(codes)
        width = len(self.decisions)
        if array.ndim != 2 or array.shape[1] != width or array.dtype.kind not in "iu":
            raise NasError(f"codes of {self.name} are integers [n, {width}], not {array.dtype} {list(array.shape)}")
        wrong = (array < 0) | (array >= self._counts)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            decision = self.decisions[column]
            raise NasError(
                f"code {row}: {decision.name} is {array[row, column]}, must be 0 to {len(decision.choices) - 1}"
            )
        return self.canonical(array.astype(np.int8))

    # --- words ----------------------------------------------------------------------------------------------------

    def encode(self, architecture: Architecture | NetworkSpec | Mapping[str, Choice] | str) -> npt.NDArray[np.int8]:
        """Return int8[D], the code of an architecture, a code string, named decisions or a network.

        Raises:
            NasError: it is not in the space; says which part.
        """
        if isinstance(architecture, str):
            return self._parse(architecture)
        if isinstance(architecture, NetworkSpec):
            decisions: Mapping[str, Choice] = self._decisions_of(architecture)
        elif isinstance(architecture, Architecture):
            if architecture.space != self.name:
                raise NasError(
                    f"architecture {architecture.code} is of the space {architecture.space}, not {self.name}"
                )
            decisions = architecture.decisions
        elif isinstance(architecture, Mapping):
            decisions = architecture
        else:
            raise NasError(f"{architecture!r} is no code string, architecture, network or mapping of decisions")
        return self._encode_decisions(decisions)

    def decode(self, code: npt.ArrayLike) -> Architecture:
        """Return the architecture of one code."""
        row = self.check(np.asarray(code).reshape(1, -1))[0]
        active = self.active(row[None])[0]
        chosen = {
            decision.name: decision.choices[choice]
            for decision, choice, matters in zip(self.decisions, row, active, strict=True)
            if matters
        }
        return Architecture(self.name, self.format(row[None])[0], chosen)

    def format(self, codes: Codes) -> list[str]:
        """Return a readable string for each code: the chosen values, decisions of one stage together."""
        separator = self._separator
        columns = [words[codes[:, d]] for d, words in enumerate(self._words)]
        parts = [_join([columns[d] for d in members], separator) for members in self._stage_columns]
        return [str(text) for text in _join(parts, "-")]

    @cached_property
    def _words(self) -> list[npt.NDArray[np.str_]]:
        """How the choices of each decision read."""
        return [np.array([word(choice) for choice in decision.choices]) for decision in self.decisions]

    @cached_property
    def _separator(self) -> str:
        """What stands between the choices of one stage: nothing where all are single letters."""
        return "" if all(len(text) == 1 for words in self._words for text in words) else ","

    @cached_property
    def _stage_columns(self) -> list[list[int]]:
        """Positions of the decisions of each stage (what stands before the first dot of their names)."""
        stages: dict[str, list[int]] = {}
        for d, decision in enumerate(self.decisions):
            stages.setdefault(decision.name.split(".")[0], []).append(d)
        return list(stages.values())

    def _parse(self, text: str) -> npt.NDArray[np.int8]:
        example = self.format(np.zeros((1, len(self.decisions)), dtype=np.int8))[0]
        parts = [part.split(",") if self._separator else list(part) for part in text.split("-")]
        if [len(part) for part in parts] != [len(members) for members in self._stage_columns]:
            raise NasError(f"{text!r} is not a code of {self.name}; one looks like {example!r}")
        order = [d for members in self._stage_columns for d in members]
        code = np.zeros(len(order), dtype=np.int8)
        for d, choice in zip(order, itertools.chain(*parts), strict=True):
            code[d] = self._index(d, choice)
        return self._canonical_row(code)

    def _encode_decisions(self, decisions: Mapping[str, Choice]) -> npt.NDArray[np.int8]:
        known = {decision.name: d for d, decision in enumerate(self.decisions)}
        for name in decisions:
            if name not in known:
                raise NasError(f"{self.name} has no decision {name!r}{suggestion(str(name), known)}")
        code = np.zeros(len(known), dtype=np.int8)
        for d, decision in enumerate(self.decisions):
            if decision.name in decisions:
                code[d] = self._index(d, decisions[decision.name])
        code = self._canonical_row(code)
        missing = [
            decision.name
            for decision, matters in zip(self.decisions, self.active(code[None])[0], strict=True)
            if matters and decision.name not in decisions
        ]
        if missing:
            raise NasError(f"decision {missing[0]!r} of {self.name} is not given ({len(missing)} missing)")
        return code

    def _canonical_row(self, code: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
        row: npt.NDArray[np.int8] = self.canonical(code[None])[0]
        return row

    def _index(self, d: int, value: Choice) -> int:
        decision = self.decisions[d]
        words: list[str] = self._words[d].tolist()
        if not isinstance(value, str | numbers.Real) or word(value) not in words:
            raise NasError(f"{decision.name} is {value!r}, must be one of {', '.join(words)}")
        return words.index(word(value))


def _join(columns: list[Any], separator: str) -> Any:
    text = columns[0]
    for column in columns[1:]:
        text = np.char.add(np.char.add(text, separator), column) if separator else np.char.add(text, column)
    return text
