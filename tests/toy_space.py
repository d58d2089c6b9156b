"""A space for what needs no networks. Its module has a name of its own, so that other processes find the class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from nas.errors import NasError
from nas.space import Architecture, BlockVocabulary, Decision, NetworkSpec, SearchSpace
from nas.space.decision import Choice


class ToySpace(SearchSpace):
    """Decisions without networks: all that codes, sampling and strategies need."""

    name = "toy"

    def __init__(self, decisions: Sequence[Decision]):
        self.decisions = tuple(decisions)

    @property
    def vocabulary(self) -> BlockVocabulary:
        raise NotImplementedError

    def spec(self, code: npt.ArrayLike | Architecture | str, **overrides: Any) -> NetworkSpec:
        raise NotImplementedError

    def _decisions_of(self, spec: NetworkSpec) -> dict[str, Choice]:
        raise NasError("a toy space has no networks")
