"""Which part of a data set its authors put an image in, and what else is known of images beside their pixels."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt


class Subset(IntEnum):
    """The official parts of a data set."""

    TRAIN = 0
    VALIDATION = 1
    TEST = 2


#: how authors name their folders and arrays
SUBSET_NAMES = {
    "train": Subset.TRAIN, "training": Subset.TRAIN,
    "val": Subset.VALIDATION, "valid": Subset.VALIDATION, "validation": Subset.VALIDATION,
    "test": Subset.TEST, "testing": Subset.TEST, "t10k": Subset.TEST,
}  # fmt: skip


@dataclass(frozen=True)
class Annotations:
    """What is known of n images.

    Args:
        labels: int[n], indices of `classes`.
        subsets: int8[n], of `Subset`.
        classes: names.
    """

    labels: npt.NDArray[np.int64]
    subsets: npt.NDArray[np.int8]
    classes: tuple[str, ...]


def resolved(subsets: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """Return subsets int8[n] in which the validation images are the test where there is no other, as in ImageNet."""
    if (subsets == Subset.VALIDATION).any() and not (subsets == Subset.TEST).any():
        return np.where(subsets == Subset.VALIDATION, np.int8(Subset.TEST), subsets)
    return subsets
