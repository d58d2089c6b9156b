"""What a regression over whole networks sees of them: the work of their blocks, and their decisions."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from nas.hardware.predictors.features import FUSED_ACTIVATIONS, PASSES, POOLS
from nas.space import Block, BlockTable, Codes, ListedSpace, SearchSpace
from nas.space.layer import Layer

Array = npt.NDArray[np.float64]

#: what is counted of a block: multiply-adds of dense and of depthwise kernels, weights read, elements that kernels with
#: weights and those without read and write, kernels with weights
WORK = ("dense_macs", "depthwise_macs", "weights", "traffic", "elementwise", "kernels")


def _work(layer: Layer) -> tuple[int, ...]:
    elements = layer.in_elements + layer.out_elements
    if layer.op in ("conv", "linear"):
        depthwise = layer.is_depthwise
        return (0 if depthwise else layer.macs, layer.macs if depthwise else 0, layer.params, elements, 0, 1)
    unfused = layer.op in POOLS | PASSES or (layer.op == "act" and layer.function not in FUSED_ACTIVATIONS)
    return (0, 0, 0, 0, elements if unfused else 0, 0)


def _of_block(block: Block) -> list[float]:
    layers = [_work(layer) for layer in block.layers()] or [(0,) * len(WORK)]
    return [float(sum(column)) for column in zip(*layers, strict=True)]


class NetworkFeatures:
    """Features of the networks of one space.

    A network is seen as its code describes it and, where its space knows dead parts, as what is live of it besides
    (`SearchSpace.live`): runtimes differ in which of the two they execute. Each way of looking is a view.

    Attributes:
        work: float[V, len(WORK)], of each block of the vocabulary.
        shapes: float[V, B], standardised logarithms of the work, channels and sizes of each block.
        views: 1 or 2.
        digest: changes when the numbers of any block do: coefficients fitted before no longer apply.
    """

    def __init__(self, space: SearchSpace):
        self.space = space
        blocks = space.vocabulary.blocks
        self.work = np.array([_of_block(block) for block in blocks])
        sides = [[block.in_channels, block.out_channels, block.in_size, block.out_size] for block in blocks]
        logs = np.log1p(np.concatenate([self.work, np.array(sides, dtype=np.float64)], axis=1))
        logs = logs[:, np.ptp(logs, axis=0) > 1e-9]
        self.shapes = (logs - logs.mean(axis=0)) / logs.std(axis=0)
        self.views = 1 + self._has_dead_parts()
        conditional = [d for d, decision in enumerate(space.decisions) if decision.active_if is not None]
        self._conditional = np.array(conditional, dtype=np.intp)
        of_choice = np.repeat(np.arange(len(space.decisions)), [len(d.choices) for d in space.decisions])
        of_view = np.append(of_choice, self._conditional)
        #: int[H], the decision of each column of `one_hot`, those of the second view counted on
        self.decision_of = np.concatenate([of_view + view * len(space.decisions) for view in range(self.views)])
        numbers = np.concatenate([self.work, sides], axis=1)
        self.digest = sha256(np.ascontiguousarray(numbers).astype("<f8").tobytes()).hexdigest()[:16]

    def _has_dead_parts(self) -> bool:
        codes = self.space.sample(256, np.random.default_rng(0))
        return bool((self.space.live(codes) != codes).any())

    def seen(self, codes: Codes) -> list[Codes]:
        """Return the codes of each view."""
        return [codes, self.space.live(codes)][: self.views]

    def counts(self, codes: Codes) -> Array:
        """Return float[n, views · V], how often each block occurs; for fitting, as it takes much memory."""
        width = len(self.work)
        counted = []
        for view in self.seen(codes):
            ids = self.space.vocabulary.ids(view)
            keys = (np.arange(len(ids))[:, None] * (width + 1) + ids)[ids >= 0]
            counts = np.bincount(keys, minlength=len(ids) * (width + 1))
            counted.append(counts.reshape(len(ids), width + 1)[:, :width])
        return np.concatenate(counted, axis=1).astype(np.float64)

    def sums(self, tables: list[BlockTable], codes: Codes) -> list[Array]:
        """Return the sums of one table a view."""
        return [table.sum(view) for table, view in zip(tables, self.seen(codes), strict=True)]

    def one_hot(self, codes: Codes) -> Array:
        """Return float[n, H], decisions as 0 and 1, with a column for a decision that does not matter."""
        columns = []
        for view in self.seen(codes):
            columns += [self.space.features(view), ~self.space.active(view)[:, self._conditional]]
        return np.concatenate(columns, axis=1, dtype=np.float64)


@lru_cache(maxsize=8)
def features_of(space: SearchSpace) -> NetworkFeatures:
    """Return the features of a space; making them takes a while in spaces of many blocks."""
    return NetworkFeatures(space.base if isinstance(space, ListedSpace) else space)
