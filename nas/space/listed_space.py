"""A space of which only listed networks may be proposed, such as those that somebody has trained or measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.errors import NasError
from nas.space.decision import Choice
from nas.space.network import NetworkSpec
from nas.space.space import Architecture, Codes, SearchSpace
from nas.space.vocabulary import BlockTable, BlockVocabulary

#: rows compared with the whole list at a time, which bounds the memory it takes
_CHUNK = 1_000


class CodeIndex:
    """Finds codes in a list of codes."""

    def __init__(self, codes: Codes):
        self._keys = _keys(codes)
        self._order = np.argsort(self._keys)

    def rows(self, codes: Codes) -> npt.NDArray[np.int64]:
        """Return int[n], the row of each code in the list, -1 where it is not in it."""
        wanted = _keys(codes)
        place = np.searchsorted(self._keys, wanted, sorter=self._order).clip(max=len(self._keys) - 1)
        rows = self._order[place]
        return np.where(self._keys[rows] == wanted, rows, -1)


def _keys(codes: Codes) -> npt.NDArray[np.bytes_]:
    """One string of bytes a code."""
    return np.ascontiguousarray(codes, dtype=np.int8).view(f"S{codes.shape[1]}").ravel()


class ListedSpace(SearchSpace):
    """Some networks of another space, under the codes they have there.

    The list may be sparse: two of its networks rarely differ in one decision only. So a network is replaced by the
    nearest in the list (`canonical`), and its neighbours and mutants are those in the list that differ in the fewest
    decisions.

    Args:
        base: the whole space.
        codes: int8[n, D], the networks of `base` to keep; repetitions are dropped.

    Raises:
        NasError: the list is empty, or holds what is no code of `base`.
    """

    def __init__(self, base: SearchSpace, codes: npt.ArrayLike):
        listed = base.check(codes)
        if not len(listed):
            raise NasError(f"no network of {base.name} is listed; a space needs at least one")
        self.base = base
        self.name = base.name
        self.surrogate = base.surrogate
        self.decisions = base.decisions
        first = np.unique(listed, axis=0, return_index=True)[1]
        self.listed: Codes = np.ascontiguousarray(listed[np.sort(first)])
        self.description = f"{base.description}; listed networks only"

    # --- networks -------------------------------------------------------------------------------------------------

    @property
    def vocabulary(self) -> BlockVocabulary:
        return self.base.vocabulary

    def spec(self, code: npt.ArrayLike | Architecture | str, **overrides: Any) -> NetworkSpec:
        row = self.encode(code) if isinstance(code, str | Architecture) else self._member(np.asarray(code))
        return self.base.spec(row, **overrides)

    def encode(self, architecture: Architecture | NetworkSpec | Mapping[str, Choice] | str) -> npt.NDArray[np.int8]:
        return self._member(self.base.encode(architecture))

    def _decisions_of(self, spec: NetworkSpec) -> dict[str, Choice]:
        return self.base._decisions_of(spec)

    def _member(self, code: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
        row: npt.NDArray[np.int8] = self.check(code[None])[0]
        return row

    def check(self, codes: npt.ArrayLike) -> Codes:
        """Return `codes` as canonical int8[n, D].

        Raises:
            NasError: they are no codes of the whole space, or one of them is not in the list.
        """
        found = self.base.check(codes)
        missing = np.flatnonzero(self._places.rows(found) < 0)
        if len(missing):
            text = self.base.format(found[missing[:1]])[0]
            raise NasError(f"{text} is not among the {len(self.listed):,} listed networks of {self.name}")
        return found

    def format(self, codes: Codes) -> list[str]:
        return self.base.format(codes)

    def peak_activation_bytes(self, codes: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
        return self.base.peak_activation_bytes(codes)

    def bounds(self, table: BlockTable) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return float[F], the smallest and the largest sums of a table over the listed networks."""
        sums = table.sum(self.listed)
        return sums.min(axis=0), sums.max(axis=0)

    @property
    def bounds_attained(self) -> bool:
        return True

    # --- codes ----------------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        return len(self.listed)

    def all_codes(self) -> Codes:
        return self.listed.copy()

    def sample(self, n: int, rng: np.random.Generator) -> Codes:
        return self.listed[rng.integers(len(self.listed), size=n)]

    def active(self, codes: Codes) -> npt.NDArray[np.bool_]:
        return self.base.active(codes)

    def features(self, codes: Codes) -> npt.NDArray[np.float32]:
        return self.base.features(codes)

    def predictor_features(self, codes: Codes) -> npt.NDArray[np.float64]:
        return self.base.predictor_features(codes)

    def live(self, codes: Codes) -> Codes:
        return self.base.live(codes)

    def canonical(self, codes: Codes) -> Codes:
        """Return for each code itself where it is listed, else the listed one that differs in the fewest decisions."""
        whole = self.base.canonical(codes)
        strange = np.flatnonzero(self._places.rows(whole) < 0)
        for part, distance in self._distances(whole[strange]):
            whole[strange[part]] = self.listed[distance.argmin(axis=1)]
        return whole

    def neighbours(self, code: npt.ArrayLike) -> Codes:
        """Return int8[m, D], the listed networks nearest to `code`, without itself: as many as there are decisions,
        and all others that are as near as the last of them."""
        origin = self.canonical(np.asarray(code, dtype=np.int8).reshape(1, -1))
        ((_, distances),) = self._distances(origin)
        others = np.flatnonzero((self.listed != origin).any(axis=1))
        if len(others) > len(self.decisions):
            limit = np.partition(distances[0, others], len(self.decisions) - 1)[len(self.decisions) - 1]
            others = others[distances[0, others] <= limit]
        return self.listed[others]

    def mutate(self, codes: Codes, rng: np.random.Generator, rate: float | None = None) -> Codes:
        """Mutate in the whole space; return the listed network nearest to each mutant that is not where it came from.

        Of several equally near ones chance takes one.
        """
        if len(self.listed) == 1:
            return codes.copy()
        mutants = self.base.mutate(codes, rng, rate)
        origins = self._places.rows(codes)
        found = np.empty_like(mutants)
        for part, distance in self._distances(mutants):
            rows = np.arange(len(distance))
            known = origins[part] >= 0
            distance[rows[known], origins[part][known]] = np.inf
            # Distances are whole numbers: less than one settles ties and nothing else.
            found[part] = self.listed[(distance + rng.random(distance.shape, dtype=np.float32) / 2).argmin(axis=1)]
        return found

    def crossover(self, a: Codes, b: Codes, rng: np.random.Generator, share: float = 0.5) -> Codes:
        return self.canonical(self.base.crossover(a, b, rng, share))

    @cached_property
    def _places(self) -> CodeIndex:
        return CodeIndex(self.listed)

    @cached_property
    def _one_hot(self) -> npt.NDArray[np.float32]:
        return self.base.features(self.listed)

    def _distances(self, codes: Codes) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
        """Yield slices of `codes` with float32[k, size], how many one-hot features differ from each listed network."""
        squares = self._one_hot.sum(axis=1)
        for start in range(0, len(codes), _CHUNK):
            part = slice(start, start + _CHUNK)
            one_hot = self.base.features(codes[part])
            yield part, squares + one_hot.sum(axis=1, keepdims=True) - 2 * (one_hot @ self._one_hot.T)
