"""Spaces declared in the block notation: a skeleton of stages whose strings leave choices open."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.errors import NasError
from nas.space.block import Block
from nas.space.decision import Choice, Decision
from nas.space.network import NetworkSpec
from nas.space.notation import BlockPattern, parse_block
from nas.space.space import Architecture, SearchSpace
from nas.space.staged_network import LayerSpec, StagedNetwork
from nas.space.vocabulary import BlockVocabulary, VocabularyBuilder


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
        skeleton: StagedNetwork,
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

    def spec(self, code: npt.ArrayLike | Architecture | str, **overrides: Any) -> StagedNetwork:
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
        builder = VocabularyBuilder()
        skeleton = self._skeleton
        shape = skeleton.in_channels, skeleton.resolution

        def constant(layers: Sequence[LayerSpec]) -> tuple[int, int]:
            blocks = skeleton.resolve_all(layers, *shape)
            builder.add((), (), lambda: blocks)
            return blocks[-1].out_channels, blocks[-1].out_size

        shape = constant(skeleton.stem)
        column = 0
        for stage in self._stages:
            choices = stage.open()
            counts = [len(values) for values in choices.values()]

            def blocks_of(*setting: int, stage: BlockPattern = stage, shape: tuple[int, int] = shape) -> list[Block]:
                values = {prop: values[i] for (prop, values), i in zip(stage.open().items(), setting, strict=True)}
                return skeleton.resolve_all(_stage_layers(stage, values), *shape)

            builder.add(range(column, column + len(counts)), counts, blocks_of)
            column += len(counts)
            last = blocks_of(*[0] * len(counts))[-1]
            shape = last.out_channels, last.out_size
        constant(skeleton.head)
        return builder.build()

    def _decisions_of(self, spec: NetworkSpec) -> dict[str, Choice]:
        if not isinstance(spec, StagedNetwork):
            raise NasError(f"not in {self.name}: a {type(spec).__name__} is no network of stages of blocks")
        shared = replace(self._skeleton, stages=spec.stages)
        if spec != shared:
            wrong = next(
                name for name in StagedNetwork.__dataclass_fields__
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
