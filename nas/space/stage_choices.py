"""One block string with open choices: the decisions it stands for, and the layers that settings of them give."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from nas.errors import NasError
from nas.space.decision import Choice, Condition, Decision
from nas.space.notation import BLOCK_TYPES, BlockPattern, parse_block
from nas.space.staged_network import LayerSpec

#: properties all layers of a stage have in common, also where every layer chooses for itself
_OF_THE_STAGE = ("channels", "layers")

#: properties whose decisions have a name of their own
_WORDS = {"kind": "block", "channels": "width"}


@dataclass(frozen=True)
class Stage:
    """The layers one block string describes.

    A property that blocks of the chosen type do not have is no decision there.

    Args:
        part: first word of its decisions: stem, stage1 ..., head.
        notation: the block string.
        layerwise: every layer chooses for itself, and the number of layers is called depth; else all share.
        only: property -> where it is a choice at all: a property of the same layer and values of it; elsewhere it has
            the first of its values. Neither may be the block type, the width or the number of layers.

    Raises:
        NasError: the string is malformed, leaves the stride open, or `only` names what is no choice.
    """

    part: str
    notation: str
    layerwise: bool = False
    only: Mapping[str, Condition] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        try:
            self.pattern  # noqa: B018 - refuses a malformed string
        except NasError as error:
            raise NasError(f"{self.part}: {error}") from None
        if "id" in self.pattern.kinds and max(self.counts) > 1:
            raise NasError(
                f"{self.part} {self.notation!r}: where an identity stands among other layers changes nothing; leave "
                "out 'id' and make the number of layers a choice, r{1-4}"
            )
        if "stride" in self.open:
            raise NasError(f"{self.part} {self.notation!r}: the stride cannot be a choice, later stages depend on it")
        for prop, condition in self.only.items():
            if prop not in self.open:
                continue
            parent, values = condition.parent, set(condition.values)
            among = bool(values) and values < set(self.open.get(parent, ()))
            # Both have to be settled layer by layer, and the one before the other.
            settled = not {prop, parent} & {"kind", *_OF_THE_STAGE} and parent not in self.only
            if not (among and settled and self._takers(parent) <= self._takers(prop)):
                named = ", ".join(map(str, condition.values))
                raise NasError(
                    f"{self.part} {self.notation!r}: {prop} cannot depend on {parent} in {{{named}}}; name another "
                    "choice of the same block types and some of its values"
                )

    @cached_property
    def pattern(self) -> BlockPattern:
        return parse_block(self.notation)

    @cached_property
    def open(self) -> dict[str, tuple[Choice, ...]]:
        """The properties that are choices; those that depend on another come last."""
        found = self.pattern.open()
        return {prop: found[prop] for prop in sorted(found, key=lambda prop: prop in self.only)}

    @property
    def counts(self) -> tuple[int, ...]:
        """The possible numbers of layers."""
        return tuple(int(count) for count in self.pattern.values.get("layers", (1,)))

    @property
    def width(self) -> str | None:
        """Name of the decision on the width, if it is one."""
        return self._name("channels", 0) if "channels" in self.open else None

    @cached_property
    def decisions(self) -> tuple[Decision, ...]:
        if not self.layerwise:
            return tuple(self._decision(prop, 0) for prop in self.open)
        shared = [self._decision(prop, 0) for prop in _OF_THE_STAGE if prop in self.open]
        own = [self._decision(prop, j) for j in range(max(self.counts)) for prop in self.open if self._is_own(prop)]
        return (*shared, *own)

    @property
    def runs(self) -> tuple[range, ...]:
        """The layers, those together that the same decisions settle on inputs of the same shape."""
        most = max(self.counts)
        if self.layerwise:
            return tuple(range(j, j + 1) for j in range(most))
        return (range(1), range(1, most)) if most > 1 else (range(1),)

    def columns(self, run: range) -> tuple[str, ...]:
        """Return the names of the decisions that settle the layers of `run`."""
        needed = [prop for prop in self.open if prop != "layers" or run.stop > min(self.counts)]
        return tuple(self._name(prop, run.start) for prop in needed)

    def layers(self, values: Mapping[str, Choice]) -> tuple[LayerSpec, ...]:
        """Return the layers that a setting of the decisions, by name, gives."""
        return self.layers_of(range(max(self.counts)), values)

    def layers_of(self, run: range, values: Mapping[str, Choice]) -> tuple[LayerSpec, ...]:
        """Return those layers of `run` that exist."""
        count = run.stop if run.stop <= min(self.counts) else int(self._pick("layers", run.start, values))
        if self.layerwise:
            return tuple(self._layer(j, values) for j in run if j < count)
        # Layers that share their choices differ in the stride alone, so two of them stand for all.
        made = [self._layer(j, values) for j in run[:2] if j < count]
        return tuple(made[min(i, 1)] for i, j in enumerate(run) if j < count)

    def settings(self, run: range) -> Iterator[dict[str, Choice]]:
        """Yield every setting of the decisions that settle `run`."""
        choices = {decision.name: decision.choices for decision in self.decisions}
        names = self.columns(run)
        for setting in itertools.product(*(choices[name] for name in names)):
            yield dict(zip(names, setting, strict=True))

    def possible(self, j: int) -> set[LayerSpec]:
        """Return every layer that may stand at position `j`."""
        run = range(j, j + 1)
        return {layer for chosen in self.settings(run) for layer in self.layers_of(run, chosen)}

    @property
    def dispensable(self) -> set[LayerSpec]:
        """The layers that a network may have or not."""
        if len(self.counts) > 1:
            return self.possible(min(self.counts))
        return {layer for layer in self.possible(0) if layer.kind != "id"} if "id" in self.pattern.kinds else set()

    def match(self, layers: tuple[LayerSpec, ...]) -> dict[str, Choice] | None:
        """Return the setting that gives exactly `layers`, None where there is none."""
        if len(layers) not in self.counts:
            return None
        chosen: dict[str, Choice] = {}
        for j, layer in enumerate(layers if self.layerwise else layers[:1]):
            if layer.kind not in self.pattern.kinds:
                return None
            for prop, choices in self.open.items():
                if layer.kind in self._takers(prop) and self._is_choice(prop, vars(layer)):
                    value = len(layers) if prop == "layers" else getattr(layer, prop)
                    if value not in choices:
                        return None
                    chosen[self._name(prop, j)] = value
        return chosen if self.layers(chosen) == layers else None

    def _layer(self, j: int, values: Mapping[str, Choice]) -> LayerSpec:
        kind = str(self._pick("kind", j, values)) if "kind" in self.open else self.pattern.kind
        names = [token.name for token in BLOCK_TYPES[kind].values() if token.name != "layers"]
        # What depends on another property has to wait for it.
        properties: dict[str, Any] = {}
        for prop in sorted(names, key=lambda prop: prop in self.only):
            free = self._is_choice(prop, properties)
            properties[prop] = self._pick(prop, j, values) if free else self.open[prop][0]
        return LayerSpec(kind, **properties | ({"stride": 1} if j and "stride" in properties else {}))

    def _pick(self, prop: str, j: int, values: Mapping[str, Choice]) -> Choice:
        return values[self._name(prop, j)] if prop in self.open else self.pattern.values[prop][0]

    def _is_choice(self, prop: str, properties: Mapping[str, Choice]) -> bool:
        """Whether `prop` may be chosen where the other properties of the layer are these."""
        if prop not in self.open or prop not in self.only:
            return True
        condition = self.only[prop]
        return properties[condition.parent] in condition.values

    def _is_own(self, prop: str) -> bool:
        return self.layerwise and prop not in _OF_THE_STAGE

    def _takers(self, prop: str) -> set[str]:
        """The block types that have a property."""
        if prop in ("kind", *_OF_THE_STAGE):
            return set(self.pattern.kinds)
        return {kind for kind in self.pattern.kinds if prop in {token.name for token in BLOCK_TYPES[kind].values()}}

    def _name(self, prop: str, j: int) -> str:
        word = "depth" if self.layerwise and prop == "layers" else _WORDS.get(prop, prop)
        return f"{self.part}.layer{j + 1}.{word}" if self._is_own(prop) else f"{self.part}.{word}"

    def _decision(self, prop: str, j: int) -> Decision:
        return Decision(self._name(prop, j), self.open[prop], self._condition(prop, j))

    def _condition(self, prop: str, j: int) -> Condition | None:
        if prop in self.only:
            return Condition(self._name(self.only[prop].parent, j), self.only[prop].values)
        takers = tuple(kind for kind in self.pattern.kinds if kind in self._takers(prop))
        if takers != self.pattern.kinds:
            return Condition(self._name("kind", j), takers)
        if self._is_own(prop) and j >= min(self.counts):
            return Condition(self._name("layers", j), tuple(count for count in self.open["layers"] if int(count) > j))
        return None
