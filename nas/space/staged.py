"""Spaces declared in the block notation: a skeleton of stages whose strings leave choices open."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.errors import NasError
from nas.space.block import Block
from nas.space.decision import Choice, Decision
from nas.space.network import LayerSpec, NetworkSpec
from nas.space.notation import BlockPattern, parse_block
from nas.space.space import Architecture, SearchSpace
from nas.space.vocabulary import ABSENT, BlockVocabulary, Group


class StagedSpace(SearchSpace):
    """A space with one block string a stage; every choice in a string is a decision `stage<i>.<property>`.

    All layers of a stage share their choices, as in MnasNet and EfficientNet. Widths are fixed, so a stage is
    settled by its own decisions and no two codes give the same network.

    Args:
        name, description: for lists and messages.
        skeleton: a network whose stem, head and options all members share; its stages are ignored.
        stages: block strings with choices.
        surrogate: file of the accuracy surrogate fitted for the space.

    Raises:
        NasError: a string is malformed, or the skeleton cannot be built.
    """

    def __init__(
        self,
        name: str,
        skeleton: NetworkSpec,
        stages: Iterable[str],
        description: str = "",
        surrogate: Path | None = None,
    ):
        self.name = name
        self.description = description
        self.surrogate = surrogate
        self.notation = tuple(stages)
        self._skeleton = skeleton
        self._stages = tuple(parse_block(text) for text in self.notation)
        for text, stage in zip(self.notation, self._stages, strict=True):
            for prop in ("channels", "stride"):
                if len(stage.values.get(prop, (0,))) > 1:
                    raise NasError(f"stage {text!r}: a stage-wise space has one value of {prop} a stage")
        self.decisions = tuple(
            Decision(f"stage{i}.{prop}", choices)
            for i, stage in enumerate(self._stages, start=1)
            for prop, choices in stage.open().items()
        )
        self.spec(np.zeros(len(self.decisions), dtype=np.int8)).blocks  # noqa: B018 - refuses an impossible skeleton

    def spec(self, code: npt.ArrayLike | Architecture | str, **overrides: Any) -> NetworkSpec:
        """Return the network of a code, code string or architecture."""
        row = self.encode(code) if isinstance(code, str | Architecture) else np.asarray(code)
        decisions = self.decode(row).decisions
        stages = tuple(
            _stage_layers(stage, {prop: decisions[f"stage{i}.{prop}"] for prop in stage.open()})
            for i, stage in enumerate(self._stages, start=1)
        )
        named = {"name": self.format(self.check(row[None]))[0]} | overrides
        return replace(self._skeleton, stages=stages, **named)

    @cached_property
    def vocabulary(self) -> BlockVocabulary:
        blocks: dict[Block, int] = {}

        def ids(layers: Iterable[LayerSpec], channels: int, size: int) -> tuple[list[int], int, int]:
            found = []
            for layer in layers:
                block = self._skeleton.resolve(layer, channels, size)
                found.append(blocks.setdefault(block, len(blocks)))
                channels, size = block.out_channels, block.out_size
            return found, channels, size

        stem, channels, size = ids(self._skeleton.stem, self._skeleton.in_channels, self._skeleton.resolution)
        groups = [_constant_group(stem)]
        column = 0
        for stage in self._stages:
            choices = stage.open()
            rows = []
            for setting in itertools.product(*choices.values()):
                layers = _stage_layers(stage, dict(zip(choices, setting, strict=True)))
                row, out_channels, out_size = ids(layers, channels, size)
                rows.append(row)
            channels, size = out_channels, out_size
            columns = tuple(range(column, column + len(choices)))
            groups.append(Group(columns, tuple(len(c) for c in choices.values()), _padded(rows)))
            column += len(choices)
        head, _, _ = ids(self._skeleton.head, channels, size)
        groups.append(_constant_group(head))
        return BlockVocabulary(tuple(blocks), tuple(groups))

    def _decisions_of(self, spec: NetworkSpec) -> dict[str, Choice]:
        shared = replace(self._skeleton, stages=spec.stages)
        if spec != shared:
            wrong = next(
                name for name in NetworkSpec.__dataclass_fields__
                if name not in ("name", "source", "dropout") and getattr(spec, name) != getattr(shared, name)
            )  # fmt: skip
            raise NasError(
                f"not in {self.name}: {wrong} is {getattr(spec, wrong)}, the space has {getattr(shared, wrong)}"
            )
        if len(spec.stages) != len(self._stages):
            raise NasError(f"not in {self.name}: {len(spec.stages)} stages, the space has {len(self._stages)}")
        decisions: dict[str, Choice] = {}
        for i, (pattern, layers) in enumerate(zip(self._stages, spec.stages, strict=True), start=1):
            found = _match(pattern, layers)
            if found is None:
                described = " ".join(str(layer) for layer in layers)
                raise NasError(f"not in {self.name}: stage{i} is {described}, the space has {self.notation[i - 1]}")
            decisions |= {f"stage{i}.{prop}": value for prop, value in found.items()}
        return decisions


def _stage_layers(pattern: BlockPattern, chosen: dict[str, Choice]) -> tuple[LayerSpec, ...]:
    """The layers of one stage once its open properties are chosen."""
    properties: dict[str, Any] = pattern.fixed() | chosen
    repeats = properties.pop("layers", 1)
    first = LayerSpec(pattern.kind, **properties)
    return (first, *[replace(first, stride=1)] * (repeats - 1))


def _match(pattern: BlockPattern, layers: tuple[LayerSpec, ...]) -> dict[str, Choice] | None:
    """The choices under which `pattern` gives exactly `layers`, or None."""
    if not layers:
        return None
    chosen: dict[str, Choice] = {}
    for prop, choices in pattern.open().items():
        value = len(layers) if prop == "layers" else getattr(layers[0], prop)
        if value not in choices:
            return None
        chosen[prop] = value
    return chosen if _stage_layers(pattern, chosen) == layers else None


def _constant_group(ids: list[int]) -> Group:
    return Group((), (), np.array([ids], dtype=np.int32))


def _padded(rows: list[list[int]]) -> npt.NDArray[np.int32]:
    table = np.full((len(rows), max(map(len, rows))), ABSENT, dtype=np.int32)
    for i, row in enumerate(rows):
        table[i, : len(row)] = row
    return table
