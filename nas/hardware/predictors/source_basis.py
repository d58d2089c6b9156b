"""What a new device may be like: latency as a sum of functions of the network that known devices suggest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from nas.errors import NasError
from nas.hardware.predictor import Array, LatencyPredictor
from nas.hardware.predictors.regression_features import features_of
from nas.space import BlockTable, Codes, SearchSpace

#: a device that measurements are predicted from, by name
Source = tuple[str, LatencyPredictor]

#: networks of a space that latencies are centred and scaled on; always the same ones
REFERENCES = 1000
_REFERENCE_SEED = 0
#: of the mean over networks: noise is proportional to latency, but not that of a network that takes almost no time
_LEAST_LEVEL = 0.05
_TINY = 1e-9


@dataclass(frozen=True)
class Features:
    """n networks as the regression sees them.

    Args:
        level: float[n], latency in units of the mean over networks, as the sources have it on average.
        common: float[n, 1], what the latencies of the sources have in common, variance 1 over the space.
        departures: float[n, S], how each source departs from that.
        blocks: float[n, V], how often each block occurs, centred, mean square of the rows 1.
    """

    level: Array
    common: Array
    departures: Array
    blocks: Array

    def __getitem__(self, rows: npt.NDArray[np.integer] | slice) -> Features:
        return Features(self.level[rows], self.common[rows], self.departures[rows], self.blocks[rows])


def reference_codes(space: SearchSpace) -> Codes:
    """Return int8[REFERENCES, D], networks drawn uniformly, the same ones whenever it is called."""
    return space.sample(REFERENCES, np.random.default_rng(_REFERENCE_SEED))


def latencies(space: SearchSpace, codes: Codes, sources: Sequence[Source]) -> tuple[Array, Array]:
    """Return mean and standard deviation, float[n, S] each, of what every source predicts.

    Raises:
        NasError: there is no source, or one says nothing of this space.
    """
    if not sources:
        raise NasError(f"a transfer on {space.name} needs at least one target with a predictor on that space")
    predicted = [predictor.predict(space, codes) for _, predictor in sources]
    return np.stack([mean for mean, _ in predicted], axis=1), np.stack([std for _, std in predicted], axis=1)


def block_counts(space: SearchSpace, codes: Codes) -> Array:
    """Return float[n, V], how often each block occurs in each network; live blocks apart where some may be dead."""
    features = features_of(space)
    return np.concatenate(features.sums([_counting(space)] * features.views, codes), axis=1)


@dataclass(frozen=True)
class SourceBasis:
    """Centres and scales of the features, found on the reference networks.

    Args:
        latency: float[S], mean of every source.
        slopes: float[S], how much of the common part each source has.
        counts: float[V], mean of every block count.
        counts_norm: root mean square length of the centred counts.
        spread: relative standard deviation of the common latency over the space, the unit of everything else.
    """

    latency: Array
    slopes: Array
    counts: Array
    counts_norm: float
    spread: float

    @classmethod
    def of(cls, means: Array, counts: Array) -> SourceBasis:
        """Return the basis that float[R, S] predictions of R networks and their float[R, V] blocks give."""
        latency, blocks = means.mean(axis=0), counts.mean(axis=0)
        norm = float(np.sqrt(((counts - blocks) ** 2).sum(axis=1).mean()))
        relative = means / latency - 1
        common = relative.mean(axis=1)
        slopes = relative.T @ common / max(float(common @ common), _TINY)
        return cls(latency, slopes, blocks, max(norm, _TINY), max(float(common.std()), _TINY))

    def __call__(self, means: Array, counts: Array) -> Features:
        """Return the features of n networks from float[n, S] predictions of the sources and float[n, V] blocks."""
        relative = means / self.latency - 1
        common = relative.mean(axis=1)
        departures = (relative - np.outer(common, self.slopes)) / (self.spread * np.sqrt(len(self.latency)))
        return Features(
            np.maximum(1 + common, _LEAST_LEVEL),
            common[:, None] / self.spread,
            departures,
            (counts - self.counts) / self.counts_norm,
        )


@lru_cache(maxsize=8)
def _counting(space: SearchSpace) -> BlockTable:
    vocabulary = features_of(space).space.vocabulary
    return BlockTable(vocabulary, np.eye(len(vocabulary)))
