"""`nasbench101`: the space of NAS-Bench-101 (Ying et al., 2019), 423,624 cells in one skeleton.

A code says for every vertex of the cell its operation and from which earlier vertices edges come; isomorphic cells
have one code, that of the graph which the benchmark keeps (see `nasbench101_graphs`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.errors import NasError
from nas.space import Architecture, BlockVocabulary, Codes, NetworkSpec, SearchSpace
from nas.space.decision import Choice
from nas.space.layer import FLOAT_BYTES
from search_spaces.cells import nasbench101_edits as edits
from search_spaces.cells.nasbench101_codes import (
    canonical_codes,
    decisions,
    graphs_of,
    id_of_cell,
    ids_of,
    require_ids,
    used_decisions,
)
from search_spaces.cells.nasbench101_graphs import INTERIOR, INVALID, OPERATIONS, OUTPUT, VERTICES, graphs
from search_spaces.cells.nasbench101_memory import peak_channels
from search_spaces.cells.nasbench101_network import STACKS, NasBench101Network, check_cell
from search_spaces.cells.nasbench101_vocabulary import build_vocabulary

SIZE = 423_624

#: how often crossover draws again for children that are no cells
_ATTEMPTS = 20


class NasBench101Space(SearchSpace):
    """All cells of NAS-Bench-101 in one skeleton.

    Cells are neighbours when one has another operation on one vertex, one edge more, or one vertex more with a single
    edge in and out; that does not depend on how vertices are numbered.

    Args:
        name, description: for lists and messages.
        skeleton: a network whose cell is ignored.

    Raises:
        NasError: the skeleton cannot be built, or has too few channels to divide them among five branches.
    """

    def __init__(self, name: str, skeleton: NasBench101Network, description: str = ""):
        self.name = name
        self.description = description
        self.decisions = decisions()
        self._skeleton = skeleton
        star = np.zeros((VERTICES, VERTICES), dtype=int)
        star[0, 1:OUTPUT] = star[1:OUTPUT, OUTPUT] = 1
        widest = replace(skeleton, matrix=_tuples(star), operations=(OPERATIONS[0],) * INTERIOR)
        widest.nodes  # noqa: B018 - refuses an impossible skeleton

    @property
    def size(self) -> int:
        """Number of distinct cells, exact."""
        return SIZE

    # --- codes ----------------------------------------------------------------------------------------------------

    def sample(self, n: int, rng: np.random.Generator) -> Codes:
        """Return int8[n, 26], drawn uniformly over distinct cells, with replacement."""
        return canonical_codes()[rng.integers(SIZE, size=n)]

    def all_codes(self) -> Codes:
        """Return int8[423624, 26], every distinct cell once, in the order in which the benchmark finds them."""
        return canonical_codes().copy()

    def canonical(self, codes: Codes) -> Codes:
        """Return the code of the canonical graph for each code.

        Raises:
            NasError: a code has no path from input to output, or more than 9 edges on such paths.
        """
        return canonical_codes()[require_ids(codes)]

    def active(self, codes: Codes) -> npt.NDArray[np.bool_]:
        """Return bool[n, 26], which decisions matter: all edges, and the operations of the vertices in use."""
        return used_decisions(codes)

    def neighbours(self, code: npt.ArrayLike) -> Codes:
        """Return int8[m, 26], all distinct cells one edit away from `code`, without itself."""
        (cell,) = require_ids(np.asarray(code).reshape(1, -1))
        return canonical_codes()[edits.neighbours(int(cell))]

    def mutate(self, codes: Codes, rng: np.random.Generator, rate: float | None = None) -> Codes:
        """Make random edits, as many as decisions would change with probability `rate` (default 1/26), at least one."""
        width = len(self.decisions)
        steps = np.maximum(rng.binomial(width, 1.0 / width if rate is None else rate, size=len(codes)), 1)
        return canonical_codes()[edits.walk(require_ids(codes), steps, rng)]

    def crossover(self, a: Codes, b: Codes, rng: np.random.Generator, share: float = 0.5) -> Codes:
        """Uniform crossover of the codes, row by row, a share of each by chance from `a`.

        It is drawn again where the child is no cell, up to 20 times; then the child is the first parent.
        """
        children = require_ids(a)
        waiting = np.arange(len(a))
        for _ in range(_ATTEMPTS):
            mixed = np.where(rng.random((len(waiting), a.shape[1])) < share, a[waiting], b[waiting])
            found = ids_of(mixed)
            children[waiting[found != INVALID]] = found[found != INVALID]
            waiting = waiting[found == INVALID]
        return canonical_codes()[children]

    # --- networks -------------------------------------------------------------------------------------------------

    def encode_cell(self, matrix: Sequence[Sequence[int]], operations: Sequence[str]) -> npt.NDArray[np.int8]:
        """Return int8[26], the code of a cell given as the benchmark's tools give it.

        Args:
            matrix: V × V for V up to 7, 1 where there is an edge to a later vertex; idle vertices are left out.
            operations: of all V vertices, "input" first, "output" last, e.g. "conv3x3-bn-relu" between.

        Raises:
            NasError: that is no cell of the benchmark.
        """
        code: npt.NDArray[np.int8] = canonical_codes()[id_of_cell(matrix, operations)]
        return code

    def spec(self, code: npt.ArrayLike | Architecture | str, **overrides: Any) -> NasBench101Network:
        """Return the network of a code, code string or architecture; `overrides` replace its fields."""
        row = self.encode(code) if isinstance(code, str | Architecture) else np.asarray(code)
        row = self.check(row[None])[0]
        matrices, labels = graphs_of(row[None])
        kept = np.flatnonzero(matrices[0].any(axis=0) | matrices[0].any(axis=1))
        operations = tuple(OPERATIONS[labels[0, vertex - 1]] for vertex in kept[1:-1])
        named = {"name": self.format(row[None])[0]} | overrides
        return replace(
            self._skeleton, matrix=_tuples(matrices[0][np.ix_(kept, kept)]), operations=operations, **named
        )  # fmt: skip

    def _decisions_of(self, spec: NetworkSpec) -> dict[str, Choice]:
        if not isinstance(spec, NasBench101Network):
            raise NasError(f"not in {self.name}: a {type(spec).__name__} is no network of NAS-Bench-101")
        for name in ("resolution", "in_channels", "num_classes", "channels", "cells"):
            if getattr(spec, name) != getattr(self._skeleton, name):
                there = getattr(self._skeleton, name)
                raise NasError(f"not in {self.name}: {name} is {getattr(spec, name)}, the space has {there}")
        check_cell(spec.matrix, spec.operations)
        code = self.encode_cell(spec.matrix, ("input", *spec.operations, "output"))
        canonical = self.spec(code)
        if canonical != spec:
            # The first branches get the channels that remain, so another numbering may be another network.
            raise NasError(
                f"not in {self.name}: the vertices of the cell are numbered otherwise than in the space, "
                f"which has it as {canonical.name}"
            )
        return dict(self.decode(code).decisions)

    @cached_property
    def vocabulary(self) -> BlockVocabulary:
        return build_vocabulary(self._skeleton, len(self.decisions))

    def peak_activation_bytes(self, codes: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
        """Return int[n], the largest sum of activations alive at one time, float32, batch 1."""
        peaks: npt.NDArray[np.int64] = self._shape_peaks[graphs().shape[require_ids(codes)]]
        return peaks

    @cached_property
    def _shape_peaks(self) -> npt.NDArray[np.int64]:
        """The peak of every shape; operations do not matter, as all of them read one tensor and write another.

        Only one tensor passes from cell to cell, so the peak is that of a cell or of a block of the skeleton.
        """
        skeleton = self._skeleton
        fixed = [skeleton.stem, *(skeleton.downsample(stack) for stack in range(1, STACKS)), *skeleton.head]
        peak = np.full(len(graphs().shapes), max(block.peak_activation_bytes for block in fixed))
        entry = skeleton.channels
        for stack in range(STACKS):
            channels, size = skeleton.stack_shape(stack)
            for in_channels in {entry, channels} if skeleton.cells > 1 else {entry}:
                cell = peak_channels(graphs().shapes, in_channels, channels)
                peak = np.maximum(peak, FLOAT_BYTES * size**2 * cell)
            entry = channels
        return peak


def _tuples(matrix: npt.NDArray[Any]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(edge) for edge in row) for row in matrix)


SPACE = NasBench101Space(
    "nasbench101",
    NasBench101Network(matrix=((0, 1), (0, 0)), operations=()),
    description="NAS-Bench-101 cells for CIFAR-10",
)
