"""ResidualSpace: residual networks whose stages share one kind of block, from ResNet to ConvNeXt."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from functools import cache, cached_property
from operator import methodcaller
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from nas.errors import NasError
from nas.space.block import Block
from nas.space.decision import Choice, Condition, Decision
from nas.space.network import NetworkSpec
from nas.space.residual_network import BLOCK_FIELDS, ResidualNetwork
from nas.space.space import Architecture, SearchSpace
from nas.space.vocabulary import ABSENT, BlockVocabulary, Group, VocabularyBuilder

#: decisions of the whole network, and decisions of its blocks, by the field they set
_NETWORK = ("width", "stem", "downsampling", "norm", "activation")
_BLOCK = ("block", "kernel", "expansion", "activations", "norms", "scaling")
#: what a network takes from the decisions of _NETWORK, in this order; its stem is the only part that needs the last
_AROUND = ("downsampling", "width", "norm", "activation", "stem")

#: a block or several
_Blocks = TypeVar("_Blocks")


class ResidualSpace(SearchSpace):
    """Depths of the stages, width, stem, downsampling, norm, activation, and the design of the block.

    Decisions are called `depth.stage<i>`, `network.<field>` and `block.<field>` after the fields of
    `ResidualNetwork`. A field that the kind of block has no use for does not matter; nor does `scaling` while there
    are three activations, as it was published for the block with one.

    Args:
        name, description: for lists and messages.
        skeleton: gives resolution, input channels, classes and every field that is no decision.
        depths: for each stage the possible numbers of blocks.
        choices: for each of the other decisions its values; the default of the field comes first, so that it is what
            a code holds where the decision does not matter.

    Raises:
        NasError: a field is missing or unknown, has its default not first, or some network is impossible.
    """

    def __init__(
        self,
        name: str,
        skeleton: ResidualNetwork,
        depths: Sequence[Sequence[int]],
        choices: Mapping[str, Sequence[Choice]],
        description: str = "",
    ):
        self.name = name
        self.description = description
        self._skeleton = skeleton
        self._fields = (*_NETWORK, *_BLOCK)
        if set(choices) != set(self._fields):
            odd = sorted(set(choices) ^ set(self._fields))
            raise NasError(f"{name} needs choices for {', '.join(self._fields)}, and no others; see {', '.join(odd)}")
        defaults = {field.name: field.default for field in fields(ResidualNetwork)}
        for field in _BLOCK[1:]:
            if tuple(choices[field])[:1] != (defaults[field],):
                raise NasError(f"{name}: the choices of {field} must begin with {defaults[field]!r}, its default")
        self.decisions = (
            *(Decision(f"depth.stage{i}", tuple(counts)) for i, counts in enumerate(depths, start=1)),
            *(Decision(f"network.{field}", tuple(choices[field])) for field in _NETWORK),
            *(Decision(f"block.{field}", tuple(choices[field]), _condition(field, choices)) for field in _BLOCK),
        )
        self._stages = len(depths)
        self._column = {field: self._stages + i for i, field in enumerate(self._fields)}
        self._refuse_impossible()

    def _refuse_impossible(self) -> None:
        """Build a network for every choice, and one for every stem and downsampling: they decide the feature maps."""
        stem, downsampling = (self._column[field] for field in ("stem", "downsampling"))
        counts = [len(decision.choices) for decision in self.decisions]
        for decision, count in enumerate(counts):
            for choice in range(count):
                d = decision
                code = np.zeros(len(counts), dtype=np.int8)
                code[d] = choice
                # What makes the decision matter comes along.
                while (parent := self._tree.parent[d]) >= 0:
                    code[parent] = min(self._tree.activating[d], default=0)
                    d = parent
                self.spec(code).nodes  # noqa: B018
        for pair in itertools.product(range(counts[stem]), range(counts[downsampling])):
            code = np.zeros(len(counts), dtype=np.int8)
            code[[stem, downsampling]] = pair
            self.spec(code).nodes  # noqa: B018

    def spec(self, code: npt.ArrayLike | Architecture | str, **overrides: Any) -> ResidualNetwork:
        """Return the network of a code, code string or architecture."""
        row = self.encode(code) if isinstance(code, str | Architecture) else np.asarray(code)
        row = self.check(row[None])[0]
        values = [decision.choices[i] for decision, i in zip(self.decisions, row.tolist(), strict=True)]
        settings: dict[str, Any] = dict(zip(self._fields, values[self._stages :], strict=True))
        settings |= {"depths": tuple(values[: self._stages]), "name": self.format(row[None])[0]}
        return replace(self._skeleton, **(settings | overrides))

    def _decisions_of(self, spec: NetworkSpec) -> dict[str, Choice]:
        if not isinstance(spec, ResidualNetwork):
            raise NasError(f"not in {self.name}: a {type(spec).__name__} is no residual network")
        if len(spec.depths) != self._stages:
            raise NasError(f"not in {self.name}: {len(spec.depths)} stages, the space has {self._stages}")
        values = [*spec.depths, *(getattr(spec, field) for field in self._fields)]
        decisions = {decision.name: value for decision, value in zip(self.decisions, values, strict=True)}
        own = self.spec(self._encode_decisions(decisions))
        for field in fields(spec):
            if field.compare and getattr(spec, field.name) != getattr(own, field.name):
                value, held = getattr(spec, field.name), getattr(own, field.name)
                raise NasError(f"not in {self.name}: {field.name} is {value}, such networks of the space have {held}")
        return decisions

    @cached_property
    def vocabulary(self) -> BlockVocabulary:
        return self._vocabulary(self._widths)

    def scaled_vocabulary(self, width: float) -> BlockVocabulary:
        return self._vocabulary([replace(self._skeleton, width=w).scale(width=width).width for w in self._widths])

    @property
    def _widths(self) -> list[int]:
        return [int(value) for value in self.decisions[self._column["width"]].choices]

    def _vocabulary(self, widths: Sequence[int]) -> BlockVocabulary:
        """Return the blocks of networks that have, in place of each of its widths, another."""
        columns = [self._column[field] for field in _BLOCK]
        counts = [len(self.decisions[column].choices) for column in columns]
        settings = np.zeros((int(np.prod(counts)), len(self.decisions)), dtype=np.int8)
        settings[:, columns] = np.stack(np.unravel_index(np.arange(len(settings)), counts), axis=1)
        designs, design_of = np.unique(self.canonical(settings), axis=0, return_inverse=True)

        def derive(codes: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
            """The design of the block as one number, so that no table has rows for settings that do not matter."""
            keys = np.ravel_multi_index(tuple(codes[:, column] for column in columns), counts)
            return design_of.reshape(-1, 1)[keys]

        designed = [self.spec(code) for code in designs]
        around = [self._column[field] for field in _AROUND]
        values = [widths if field == "width" else self.decisions[self._column[field]].choices for field in _AROUND]

        @cache
        def network(design: int, *settings: Choice) -> ResidualNetwork:
            changes: dict[str, Any] = dict(zip(_AROUND, settings, strict=False))
            return replace(designed[design], **changes)

        def looked_up(blocks_of: Callable[[ResidualNetwork], _Blocks]) -> Callable[..., _Blocks]:
            """Return the blocks of a network by its design and the choices around it, once where values are equal."""
            found = cache(lambda design, *settings: blocks_of(network(design, *settings)))
            return lambda design, *chosen: found(design, *(values[i][choice] for i, choice in enumerate(chosen)))

        def settled_by(count: int) -> tuple[list[int], list[int]]:
            """The design and the first `count` of what is around it: positions, and numbers of choices."""
            return [len(self.decisions), *around[:count]], [len(designs), *map(len, values[:count])]

        body, head = settled_by(4), settled_by(3)
        builder = _RepeatingBuilder()
        stem = looked_up(lambda network: (network.stem_block(),))
        builder.add(around, list(map(len, values)), lambda *key: stem(0, *key))
        for stage in range(self._stages):
            builder.add(*body, looked_up(methodcaller("entry_blocks", stage)))
            builder.add_repeated(
                stage, [int(count) - 1 for count in self.decisions[stage].choices], *body,
                looked_up(methodcaller("later_block", stage)),
            )  # fmt: skip
        builder.add(*head, looked_up(lambda network: network.head_blocks()))
        return builder.build(derive)


def _condition(field: str, choices: Mapping[str, Sequence[Choice]]) -> Condition | None:
    """While which other decision holds which values a decision matters."""
    if field == "block":
        return None
    if field == "scaling":
        return Condition("block.activations", tuple(value for value in choices["activations"] if value == 1))
    kinds = tuple(kind for kind in choices["block"] if field in BLOCK_FIELDS.get(str(kind), ()))
    return Condition("block.block", kinds)


class _RepeatingBuilder(VocabularyBuilder):
    """Adds runs of one block without asking for every repetition of it."""

    def add_repeated(
        self, column: int, repeats: Sequence[int], columns: Sequence[int], choices: Sequence[int],
        block_of: Callable[..., Block],
    ) -> None:  # fmt: skip
        """Add a group of `repeats[i]` blocks `block_of(*indices)`, where i is what decision `column` holds."""
        ids = [
            self._blocks.setdefault(block_of(*setting), len(self._blocks))
            for setting in itertools.product(*map(range, choices))
        ]
        # At least one column, empty or not: a table without any has no maximum.
        present = np.arange(max(1, *repeats)) < np.array(repeats)[:, None]
        table = np.where(present[:, None, :], np.array(ids, dtype=np.int32)[:, None], np.int32(ABSENT))
        rows = len(repeats) * len(ids)
        self._groups.append(Group((column, *columns), (len(repeats), *choices), table.reshape(rows, -1)))
