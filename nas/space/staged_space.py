"""Spaces declared in the block notation: a skeleton of stages whose strings leave choices open."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.errors import NasError
from nas.space.block import Block
from nas.space.decision import Choice, Condition, Decision
from nas.space.network import NetworkSpec, check_multipliers, round_channels
from nas.space.space import Architecture, SearchSpace
from nas.space.stage_choices import Stage
from nas.space.staged_network import LayerSpec, StagedNetwork
from nas.space.vocabulary import BlockVocabulary, VocabularyBuilder

#: rows x columns of the table of one group of blocks; a larger one would take long to fill
MAX_TABLE = 200_000


@dataclass(frozen=True)
class _Width:
    """Channels of a feature map: known, or what a decision says."""

    values: tuple[int, ...]
    decision: str | None = None

    def of(self, chosen: Mapping[str, Choice]) -> int:
        return int(chosen[self.decision]) if self.decision else self.values[0]


@dataclass(frozen=True)
class _Run:
    """Consecutive layers that the same decisions settle, and the shapes they may be given."""

    stage: Stage
    layers: range
    width: _Width
    sizes: Mapping[int, int]  #: resolution -> height = width of the feature map


class StagedSpace(SearchSpace):
    """A space with one block string a stage; every choice in a string is a decision.

    Without `layerwise` all layers of a stage share their choices, as in MnasNet and EfficientNet:
    `stage1.layers`, `stage1.kernel`, `stage1.expand`, `stage1.se` ... With it every layer has its own, as in
    ProxylessNAS and once-for-all networks: `stage1.depth`, `stage1.layer1.kernel` ...; those of a layer matter only
    where the stage is that deep. A choice of block types is the decision `block`, one of channels `width`.

    One network has one code: what a type of block does not have is no decision there, and two choices that come to
    the same block are refused.

    Args:
        name, description: for lists and messages.
        skeleton: a network whose options all members share; its stages are ignored.
        stages: block strings with choices.
        surrogate: file of the accuracy surrogate fitted for the space.
        layerwise: every layer chooses for itself.
        resolutions: the choices of the decision `resolution`; by default the skeleton's is fixed.
        stem, head: block strings with choices that replace the skeleton's, one a block; decisions `stem.width` ...
        only: property -> where it is a choice at all, e.g. {"groups": Condition("expand", (1,))}; elsewhere it has the
            first of its values.

    Raises:
        NasError: a string is malformed, a network of the space cannot exist, or two of its codes give the same one.
    """

    def __init__(
        self,
        name: str,
        skeleton: StagedNetwork,
        stages: Iterable[str],
        description: str = "",
        surrogate: Path | None = None,
        *,
        layerwise: bool = False,
        resolutions: Sequence[int] = (),
        stem: str | None = None,
        head: Sequence[str] | None = None,
        only: Mapping[str, Condition] | None = None,
    ):
        self.name = name
        self.description = description
        self.surrogate = surrogate
        self.notation = tuple(stages)
        self._skeleton = skeleton
        self._resolutions = tuple(resolutions)
        only = {} if only is None else only
        #: the stages of every part of the network; a stem or head has one a block
        self._parts = {"stem": tuple(Stage("stem", text, only=only) for text in _strings(skeleton.stem, stem))}
        for i, text in enumerate(self.notation, start=1):
            self._parts[f"stage{i}"] = (Stage(f"stage{i}", text, layerwise, only),)
        self._parts["head"] = tuple(Stage("head", text, only=only) for text in _strings(skeleton.head, head))
        self._check_notation(only)
        sizes = (Decision("resolution", self._resolutions),) if self._resolutions else ()
        self.decisions = sizes + tuple(decision for stage in self._stages for decision in stage.decisions)
        if not self.decisions:
            raise NasError("no block string leaves a choice open; write a set such as k{3,5} or a range such as r{1-4}")
        self._check_networks()

    @property
    def _stages(self) -> Iterator[Stage]:
        return (stage for stages in self._parts.values() for stage in stages)

    def spec(self, code: npt.ArrayLike | Architecture | str, **overrides: Any) -> StagedNetwork:
        """Return the network of a code, code string or architecture."""
        row = self.encode(code) if isinstance(code, str | Architecture) else np.asarray(code)
        architecture = self.decode(row)
        chosen = architecture.decisions
        layers = {
            part: tuple(layer for stage in stages for layer in stage.layers(chosen))
            for part, stages in self._parts.items()
        }
        named: dict[str, Any] = {
            "stem": layers.pop("stem"),
            "head": layers.pop("head"),
            "stages": tuple(layers.values()),
            "resolution": chosen.get("resolution", self._skeleton.resolution),
            "name": architecture.code,
        }
        return replace(self._skeleton, **named | overrides)

    @cached_property
    def vocabulary(self) -> BlockVocabulary:
        return self._vocabulary(lambda layer: layer, lambda channels: channels)

    def scaled_vocabulary(self, width: float) -> BlockVocabulary:
        check_multipliers(1, width)
        return self._vocabulary(lambda layer: layer.widened(width), lambda channels: round_channels(channels * width))

    def _vocabulary(
        self, layer_of: Callable[[LayerSpec], LayerSpec], width_of: Callable[[int], int]
    ) -> BlockVocabulary:  # fmt: skip
        """Return the blocks of networks whose layers, and channels between layers, are as the functions have them."""
        builder = VocabularyBuilder()
        position = {decision.name: i for i, decision in enumerate(self.decisions)}
        # Few of the layers differ, and a table repeats them many times.
        resolve = cache(self._skeleton.resolve)

        def blocks_of(run: _Run, chosen: Mapping[str, Choice]) -> Iterator[Block]:
            channels = run.width.of(chosen) if run is self._runs[0] else width_of(run.width.of(chosen))
            size = run.sizes[int(chosen.get("resolution", self._skeleton.resolution))]
            for layer in run.stage.layers_of(run.layers, chosen):
                block = resolve(layer_of(layer), channels, size)
                channels, size = block.out_channels, block.out_size
                yield block

        for run in self._runs:
            deciding = [self.decisions[position[name]] for name in self._columns(run)]

            def setting(*indices: int, run: _Run = run, deciding: Sequence[Decision] = deciding) -> list[Block]:
                chosen = {decision.name: decision.choices[i] for decision, i in zip(deciding, indices, strict=True)}
                return list(blocks_of(run, chosen))

            builder.add(
                [position[decision.name] for decision in deciding],
                [len(decision.choices) for decision in deciding],
                setting,
            )
        return builder.build()

    def _columns(self, run: _Run) -> list[str]:
        """Names of the decisions that settle the blocks of `run`."""
        names = ["resolution"] if self._resolutions else []
        names += [run.width.decision] if run.width.decision else []
        return list(dict.fromkeys([*names, *run.stage.columns(run.layers)]))

    @cached_property
    def _runs(self) -> tuple[_Run, ...]:
        runs: list[_Run] = []
        width = _Width((self._skeleton.in_channels,))
        sizes: Mapping[int, int] = {size: size for size in self._resolutions or (self._skeleton.resolution,)}
        for stage in self._stages:
            for layers in stage.runs:
                runs.append(_Run(stage, layers, width, sizes))
                if layers.start == 0:
                    width, sizes = self._after(runs[-1])
        return tuple(runs)

    def _after(self, run: _Run) -> tuple[_Width, Mapping[int, int]]:
        """The shapes behind the first layer of a stage."""
        first = next(run.stage.settings(run.layers))
        (layer,) = run.stage.layers_of(run.layers, first)
        sizes = {
            resolution: self._resolve(run, layer, run.width.values[0], size).out_size
            for resolution, size in run.sizes.items()
        }
        if run.stage.width:
            return _Width(tuple(int(value) for value in run.stage.open["channels"]), run.stage.width), sizes
        smallest = min(run.sizes.values())
        widths = {self._resolve(run, layer, value, smallest).out_channels for value in run.width.values}
        return (_Width((*widths,)) if len(widths) == 1 else run.width), sizes

    def _resolve(self, run: _Run, layer: LayerSpec, in_channels: int, in_size: int) -> Block:
        try:
            return self._skeleton.resolve(layer, in_channels, in_size)
        except NasError as error:
            raise NasError(f"{run.stage.part}: {error}") from None

    # --- what is refused when a space is declared -----------------------------------------------------------------

    def _check_notation(self, only: Mapping[str, Condition]) -> None:
        for part in ("stem", "head"):
            open_blocks = [stage for stage in self._parts[part] if stage.open]
            if len(open_blocks) > 1 or any("layers" in stage.open for stage in open_blocks):
                raise NasError(f"{part}: one block at most may have choices, and none of the number of layers")
        for part in self._parts.keys() - {"head"}:
            for stage in self._parts[part]:
                if stage.pattern.kind in ("pool", "fc"):
                    raise NasError(f"{part}: {stage.notation!r} belongs in the head")
        for prop in only:
            if not any(prop in stage.open for stage in self._stages):
                raise NasError(f"{prop} depends on {only[prop].parent}, but is no choice anywhere")
        for size in self._resolutions:
            if type(size) is not int or size < 1:
                raise NasError(f"resolution is {size!r}, must be a whole number of at least 1")

    def _check_networks(self) -> None:
        """Refuse networks that cannot exist, and choices that come to the same block."""
        lengths = {decision.name: len(decision.choices) for decision in self.decisions}
        for run in self._runs:
            settings = math.prod(lengths[name] for name in self._columns(run))
            if settings * len(run.layers) > MAX_TABLE:
                raise NasError(
                    f"{run.stage.part}: {len(self._columns(run))} decisions with {settings:,} settings settle a block, "
                    f"at most {MAX_TABLE // len(run.layers):,} are possible; use fewer choices"
                )
            # All layers behind the first of a stage have the same choices on the same shapes.
            if run.layers.start < 2:
                self._check_distinct(run)
        self._check_borders()
        self._check_ending()

    def _check_borders(self) -> None:
        """Refuse stages that can hand a layer on to the next, as the same network would then have two codes."""
        stages = [self._parts[f"stage{i}"][0] for i in range(1, len(self.notation) + 1)]
        for i, stage in enumerate(stages):
            movable = stage.dispensable
            for later in stages[i + 1 :]:
                movable &= later.possible(0)
                if movable and later.dispensable:
                    layer = min(map(str, movable))
                    raise NasError(
                        f"{stage.part} and {later.part}: {layer} can end the one or begin the other, so one network "
                        "would have two codes; give the stages different widths, or one a fixed number of layers"
                    )

    def _check_ending(self) -> None:
        """Refuse networks in which pool and classifier stand elsewhere than in the end; any of them shows it."""
        try:
            last = self.spec(np.zeros(len(self.decisions), dtype=np.int8)).blocks[-1]
        except NasError as error:
            raise NasError(f"stages and head: {error}") from None
        if (last.out_channels, last.out_size) != (self._skeleton.num_classes, 1):
            raise NasError(
                f"head: {self._parts['head'][-1].notation!r} gives {last.out_channels} channels of {last.out_size}×"
                f"{last.out_size}, not {self._skeleton.num_classes} classes; end the head with 'pool' and 'fc'"
            )

    def _check_distinct(self, run: _Run) -> None:
        """Refuse a run of layers that cannot exist or in which two settings come to the same block."""
        first = [run.stage.layers_of(run.layers[:1], chosen) for chosen in run.stage.settings(run.layers)]
        # Feature maps only shrink with the resolution, so what stands at the smallest stands everywhere.
        smallest = min(run.sizes.values())
        for width in run.width.values:
            seen: dict[object, LayerSpec] = {}
            for layer in dict.fromkeys(layer for layers in first for layer in layers):
                block = self._resolve(run, layer, width, smallest)
                twin = seen.setdefault((block.layers(), block.out_channels), layer)
                if twin != layer:
                    raise NasError(f"{run.stage.part}: {twin} and {layer} are the same block on {width} channels")

    # --- encoding -------------------------------------------------------------------------------------------------

    def _decisions_of(self, spec: NetworkSpec) -> dict[str, Choice]:
        if not isinstance(spec, StagedNetwork):
            raise NasError(f"not in {self.name}: a {type(spec).__name__} is no network of stages of blocks")
        decisions: dict[str, Choice] = {}
        shared = replace(self._skeleton, stem=spec.stem, stages=spec.stages, head=spec.head)
        if self._resolutions:
            if spec.resolution not in self._resolutions:
                sizes = ", ".join(map(str, self._resolutions))
                raise NasError(f"not in {self.name}: resolution is {spec.resolution}, the space has {sizes}")
            decisions["resolution"] = spec.resolution
            shared = replace(shared, resolution=spec.resolution)
        if spec != shared:
            wrong = next(
                name for name in StagedNetwork.__dataclass_fields__
                if name not in ("name", "source", "dropout") and getattr(spec, name) != getattr(shared, name)
            )  # fmt: skip
            raise NasError(
                f"not in {self.name}: {wrong} is {getattr(spec, wrong)}, the space has {getattr(shared, wrong)}"
            )
        if len(spec.stages) != len(self.notation):
            raise NasError(f"not in {self.name}: {len(spec.stages)} stages, the space has {len(self.notation)}")
        for (part, stages), layers in zip(self._parts.items(), (spec.stem, *spec.stages, spec.head), strict=True):
            decisions |= self._match(part, stages, layers)
        return decisions

    def _match(self, part: str, stages: Sequence[Stage], layers: tuple[LayerSpec, ...]) -> dict[str, Choice]:
        decisions: dict[str, Choice] = {}
        rest = layers
        for stage in stages:
            # Only the last stage of a part may have a free number of layers, see `_check_notation`.
            count = len(rest) if stage is stages[-1] else stage.counts[0]
            found = stage.match(rest[:count])
            if found is None:
                described = " ".join(str(layer) for layer in layers)
                notation = " ".join(stage.notation for stage in stages)
                raise NasError(f"not in {self.name}: {part} is {described}, the space has {notation}")
            decisions |= found
            rest = rest[count:]
        return decisions


def _strings(layers: Iterable[LayerSpec], replaced: str | Sequence[str] | None) -> Sequence[str]:
    """Block strings of a stem or head: those given, or the skeleton's."""
    if replaced is None:
        return [str(layer) for layer in layers]
    return [replaced] if isinstance(replaced, str) else replaced
