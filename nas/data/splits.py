"""Which images train, which choose, and which only report."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from nas.data.images import ImageData
from nas.data.subsets import Subset
from nas.errors import NasError

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Splits:
    """Four disjoint sets of images, each int[n] of indices in ascending order, together all of them.

    Args:
        train: trains weights.
        architecture_validation: trains what chooses an architecture: architecture weights, a controller, an
            evolution. May be empty, where nothing is searched.
        validation: chooses among finished networks.
        test: reports, nothing else.
    """

    train: Indices
    architecture_validation: Indices
    validation: Indices
    test: Indices

    def describe(self) -> str:
        return ", ".join(f"{len(getattr(self, part.name)):,} {part.name.replace('_', ' ')}" for part in fields(self))


def split(
    data: ImageData, seed: int, *, architecture: float = 0.5, validation: float = 0.1, test: float = 0.2
) -> Splits:
    """Divide a data set so that each part has the classes in the same proportions, up to one image a class.

    Official test images are the test, and no others are; official validation images are the validation. What has no
    official part gets one by the seed. Every class is trained on, however few images it has. The test depends on the
    seed and `test` alone, and the validation not on `architecture`, so a search and the training that follows agree
    on them where they use one seed.

    Args:
        architecture: share of what remains beside validation and test; one half, as in DARTS, where 0.5.
        validation: share of the images that are not test; not used where there are official validation images.
        test: share of all images; not used where there are official test images.

    Raises:
        NasError: a share is not between 0 and 1, or validation, test or train would be empty.
    """
    for name, share in (("architecture", architecture), ("validation", validation), ("test", test)):
        if not 0 <= share < 1:
            raise NasError(f"a share of {share:g} of the images for {name}; it must be at least 0 and below 1")
    official = {subset: np.flatnonzero(data.subsets == subset) for subset in Subset}
    rest = stratified(data.labels, official[Subset.TRAIN], np.random.default_rng(seed))
    tested, rest = (official[Subset.TEST], rest) if len(official[Subset.TEST]) else cut(rest, test)
    chosen, rest = (official[Subset.VALIDATION], rest) if len(official[Subset.VALIDATION]) else cut(rest, validation)
    searched, trained = cut(rest, architecture)
    found = Splits(*(np.sort(part).astype(np.int64) for part in (trained, searched, chosen, tested)))
    for name, part in (("train", trained), ("validation", chosen), ("test", tested)):
        if not len(part):
            raise NasError(f"{data.source}: no image is left for {name} ({found.describe()}); give other shares")
    return found


def stratified(labels: npt.NDArray[np.int64], indices: Indices, rng: np.random.Generator) -> Indices:
    """Return indices in an order of which every stretch has the classes in proportion, and the start all of them.

    An image that is the r-th of n of its class, in random order, is placed at r / n.
    """
    shuffled = rng.permutation(indices)
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    _, first, counts = np.unique(labels[by_class], return_index=True, return_counts=True)
    rank = np.arange(len(by_class)) - np.repeat(first, counts)
    place = rank / np.repeat(counts, counts)
    ties = rng.random(len(by_class))
    return by_class[np.lexsort((ties, place))]


def cut(ordered: Indices, share: float) -> tuple[Indices, Indices]:
    """Return the last `share` of indices, and those before."""
    kept = len(ordered) - round(share * len(ordered))
    return ordered[kept:], ordered[:kept]
