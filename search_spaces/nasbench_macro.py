"""`nasbench-macro`: the MBConv macro space of NAS-Bench-Macro (Su et al., 2021) for CIFAR-10.

Eight layers, each the identity (0), MBConv with kernel 3 and expansion 3 (1) or with kernel 5 and expansion 6 (2);
a code string is the benchmark's key. The first layers of the three stages halve the feature map and double the
channels; there "identity" is a strided pointwise convolution with batch normalisation.

The benchmark lists 3^8 = 6,561 networks by the positions of their layers, and so does this space: an identity is a
layer of the network like any other. Where it leaves the shape alone its position changes nothing that is computed:
the 6,561 are 9 x 21 x 21 = 3,969 different functions, and the benchmark holds the same three accuracies for those that
are alike.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.errors import NasError
from nas.space import (
    Architecture,
    BlockVocabulary,
    Decision,
    LayerSpec,
    NetworkSpec,
    SearchSpace,
    StagedNetwork,
    VocabularyBuilder,
)
from nas.space.decision import Choice
from nas.space.staged_network import layer_specs

#: channels and number of layers of the stages
STAGES = ((64, 2), (128, 3), (256, 3))

SKELETON = StagedNetwork.from_strings(
    stem="cn_k3_s1_c32", stages=(), head=("cn_c1280", "pool", "fc"), activation="relu", resolution=32, num_classes=10
)


def _candidates(channels: int, first: bool) -> tuple[LayerSpec, ...]:
    """The three layers of one position; the first of a stage changes the shape."""
    stride = 2 if first else 1
    identity = f"cn_s2_c{channels}_nno" if first else "id"
    texts = (identity, f"ir_k3_s{stride}_e3_c{channels}", f"ir_k5_s{stride}_e6_c{channels}")
    return tuple(layer for text in texts for layer in layer_specs(text))


class NasBenchMacro(SearchSpace):
    """Eight layers of three choices; see the module."""

    name = "nasbench-macro"
    description = "NAS-Bench-Macro: identity, MBConv k3 e3 or MBConv k5 e6 in each of 8 layers, CIFAR-10"
    decisions = tuple(Decision(f"block.{i}", (0, 1, 2)) for i in range(1, 9))

    #: for every position of every stage its three layers
    _stages = tuple(tuple(_candidates(channels, j == 0) for j in range(layers)) for channels, layers in STAGES)

    @cached_property
    def vocabulary(self) -> BlockVocabulary:
        builder = VocabularyBuilder()
        (stem,) = SKELETON.resolve_all(SKELETON.stem, SKELETON.in_channels, SKELETON.resolution)
        builder.add((), (), lambda: (stem,))
        last, column = stem, 0
        for stage in self._stages:
            for candidates in stage:
                shape = last.out_channels, last.out_size
                blocks = [SKELETON.resolve(layer, *shape) for layer in candidates]
                builder.add((column,), (len(blocks),), lambda choice, blocks=blocks: (blocks[choice],))
                last, column = blocks[-1], column + 1
        head = SKELETON.resolve_all(SKELETON.head, last.out_channels, last.out_size)
        builder.add((), (), lambda: head)
        return builder.build()

    def spec(self, code: npt.ArrayLike | Architecture | str, **overrides: Any) -> StagedNetwork:
        row = self.encode(code) if isinstance(code, str | Architecture) else np.asarray(code)
        key = self.decode(row).code
        digits = iter(map(int, key))
        stages = tuple(tuple(candidates[next(digits)] for candidates in stage) for stage in self._stages)
        return replace(SKELETON, **{"stages": stages, "name": key} | overrides)

    def _decisions_of(self, spec: NetworkSpec) -> dict[str, Choice]:
        if not isinstance(spec, StagedNetwork) or replace(spec, stages=()) != SKELETON:
            raise NasError(f"not in {self.name}: its networks have the stem, head and options of {SKELETON}")
        if [len(stage) for stage in spec.stages] != [len(stage) for stage in self._stages]:
            raise NasError(f"not in {self.name}: its stages have {', '.join(str(n) for _, n in STAGES)} layers")
        positions = [candidates for stage in self._stages for candidates in stage]
        layers = [layer for stage in spec.stages for layer in stage]
        for i, (layer, candidates) in enumerate(zip(layers, positions, strict=True), start=1):
            if layer not in candidates:
                raise NasError(
                    f"not in {self.name}: layer {i} is {layer}, the space has {', '.join(map(str, candidates))}"
                )
        return {
            decision.name: candidates.index(layer)
            for decision, layer, candidates in zip(self.decisions, layers, positions, strict=True)
        }


SPACE = NasBenchMacro()
