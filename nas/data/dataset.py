"""A data set as a search uses it: who trains on which images, and how these are normalised."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from nas.data.augmentation import Augmentation
from nas.data.batches import Batches, Normalisation
from nas.data.images import ImageData, load_images
from nas.data.splits import Indices, Splits, cut, split, stratified
from nas.errors import NasError

Part = Literal["train", "architecture_validation", "validation", "test"]

#: side that the 8 × 8 digits of scikit-learn are enlarged to where nothing else is asked for
DIGITS_SIZE = 32


@dataclass(frozen=True)
class Dataset:
    """Images, their division by role, and the normalisation of those that train.

    Args:
        data: all images.
        splits: disjoint parts of them.
        normalisation: of `splits.train`.
    """

    data: ImageData
    splits: Splits
    normalisation: Normalisation

    @classmethod
    def load(
        cls,
        source: str | Path,
        *,
        seed: int = 0,
        image_size: int | None = None,
        images: int | None = None,
        architecture: float = 0.5,
        validation: float = 0.1,
        test: float = 0.2,
        cache: Path | None = None,
    ) -> Dataset:
        """Read a data set and divide it; see `load_images` and `split`.

        Args:
            image_size: side of the images; None for their own, of `digits` 32.
            images: how many are trained on at most, weights and architecture together, with the classes in proportion;
                None for all.

        Raises:
            NasError: the data cannot be used or divided so.
        """
        if image_size is None and str(source) == "digits":
            image_size = DIGITS_SIZE
        data = load_images(source, cache, image_size)
        splits = split(data, seed, architecture=architecture, validation=validation, test=test)
        if images is not None:
            splits = _reduced(data, splits, images, seed)
        return cls(data, splits, Normalisation.of(data, splits.train))

    def batches(
        self, part: Part, batch_size: int, *, seed: int = 0, device: str | torch.device = "cpu",
        training: bool = True, shard: tuple[int, int] = (0, 1),
    ) -> Batches:  # fmt: skip
        """Return the batches of a part.

        Args:
            training: in random order, with the usual augmentation where Kornia is needed for it; else all in order, as
                they are.

        Raises:
            NasError: there are too few images.
        """
        augmentation = Augmentation.usual(self.data) if training and part == "train" else None
        indices: Indices = getattr(self.splits, part)
        if training and len(indices) < batch_size:
            raise NasError(
                f"{len(indices):,} images for {part.replace('_', ' ')} of {self.data.source} are fewer than a batch of "
                f"{batch_size:,}; take more images or a smaller batch"
            )
        return Batches(
            self.data, indices, batch_size, self.normalisation, seed=seed, device=device, augmentation=augmentation,
            shuffle=training, shard=shard,
        )  # fmt: skip


def _reduced(data: ImageData, splits: Splits, images: int, seed: int) -> Splits:
    """Return the splits with `images` images at most in `train` and `architecture_validation` together."""
    parts = {"train": splits.train, "architecture_validation": splits.architecture_validation}
    total = sum(map(len, parts.values()))
    if images >= total:
        return splits
    if images < len(data.classes):
        raise NasError(f"{images} images to train on are fewer than the {len(data.classes)} classes of {data.source}")
    kept = {
        name: np.sort(cut(stratified(data.labels, part, np.random.default_rng(seed)), 1 - images / total)[1])
        for name, part in parts.items()
    }
    return replace(splits, **kept)
