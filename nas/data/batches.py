"""Batches of a data set, the same for the same seed, from any step of any epoch on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nas.data.augmentation import Augmentation, seeded
from nas.data.images import ImageData
from nas.errors import NasError

#: images of which statistics are taken at once
BLOCK = 4096


@dataclass(frozen=True)
class Normalisation:
    """What pixels are shifted and divided by, one number a channel, of values from 0 to 1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, data: ImageData, indices: npt.NDArray[np.integer]) -> Normalisation:
        """Return mean and standard deviation of all pixels of some images, exactly; take those that are trained on."""
        channels = data.shape[2]
        counts = np.zeros((channels, 256), dtype=np.int64)
        for start in range(0, len(indices), BLOCK):
            pixels = data.images[np.sort(indices[start : start + BLOCK])].reshape(-1, channels)
            for channel in range(channels):
                counts[channel] += np.bincount(pixels[:, channel], minlength=256)
        values = np.arange(256) / 255
        shares = counts / counts.sum(axis=1, keepdims=True)
        mean = shares @ values
        std = np.sqrt((shares * (values - mean[:, None]) ** 2).sum(axis=1))
        return cls(tuple(mean.tolist()), tuple(np.maximum(std, 1 / 255).tolist()))


class Batches:
    """Batches of images and labels, on the device.

    They are a function of the arguments, the epoch and the step: a run that is resumed from a step sees what it would
    have seen. Torch's random state is left as it was.

    Args:
        data: the images.
        indices: int[n], those of them to take; see `split`.
        batch_size: images of a batch, over all shards.
        normalisation: of the images that are trained on.
        seed: of order and augmentation.
        device: where images and labels go.
        augmentation: random changes; None for the images as they are.
        shuffle: whether the order is random, another one each epoch, and images that do not fill a batch wait for
            another epoch; else all come in order, for measuring.
        shard: of (rank, number): this process takes every number-th image of each batch, from rank on.

    Raises:
        NasError: there are no images, or fewer than a shuffled batch needs, or Kornia is needed and not installed.
    """

    def __init__(
        self,
        data: ImageData,
        indices: npt.NDArray[np.integer],
        batch_size: int,
        normalisation: Normalisation,
        *,
        seed: int = 0,
        device: str | torch.device = "cpu",
        augmentation: Augmentation | None = None,
        shuffle: bool = True,
        shard: tuple[int, int] = (0, 1),
    ):
        self.data, self.indices, self.batch_size, self.seed = data, np.asarray(indices), batch_size, seed
        self.device, self.shuffle, self.shard = torch.device(device), shuffle, shard
        self.augmentation = augmentation or Augmentation()
        if batch_size < shard[1]:
            raise NasError(f"a batch of {batch_size} images; it must have at least {shard[1]}")
        if len(self.indices) < (batch_size if shuffle else 1):
            raise NasError(f"{len(self.indices):,} images are fewer than a batch of {batch_size:,}; make it smaller")
        height, width, _ = data.shape
        self._geometry = self.augmentation.geometry(height, width, self.device)
        # (pixel / 255 - mean) / std as one product and one sum
        scale = [1 / std for std in normalisation.std]
        shift = [-mean / std for mean, std in zip(normalisation.mean, normalisation.std, strict=True)]
        self._scale, self._shift = (
            torch.tensor(values, device=self.device)[None, :, None, None] for values in (scale, shift)
        )

    def __len__(self) -> int:
        """Number of steps of an epoch."""
        full = len(self.indices) // self.batch_size
        return full if self.shuffle else -(-len(self.indices) // self.batch_size)

    def epoch(self, epoch: int = 0, step: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch from a step on.

        Yields:
            images float[batch, channels, height, width], normalised, and labels int[batch].

        Raises:
            NasError: the epoch has fewer steps.
        """
        if not 0 <= step <= len(self):
            raise NasError(f"step {step} of an epoch of {len(self)} steps")
        order = self.indices
        if self.shuffle:
            order = np.random.default_rng([self.seed, epoch]).permutation(order)
        rank, shards = self.shard
        for number in range(step, len(self)):
            rows = order[number * self.batch_size : (number + 1) * self.batch_size][rank::shards]
            yield self._batch(rows, epoch, number)

    def _batch(self, rows: npt.NDArray[np.integer], epoch: int, step: int) -> tuple[Tensor, Tensor]:
        pixels = self._moved(torch.from_numpy(self.data.images[rows]))
        labels = self._moved(torch.from_numpy(self.data.labels[rows]))
        images = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format) / 255
        sequence = np.random.SeedSequence([self.seed, epoch, step, self.shard[0]])
        with seeded(int(sequence.generate_state(1, np.uint64)[0] >> 1)) as generator, torch.no_grad():
            changed = self._geometry(images)
            normal = torch.addcmul(self._shift, changed, self._scale)
            return self.augmentation.blank(normal, generator), labels

    def _moved(self, array: Tensor) -> Tensor:
        """Return a tensor on the device, copied while the device goes on working where it can."""
        if self.device.type != "cuda":
            return array.to(self.device)
        return array.pin_memory().to(self.device, non_blocking=True)
