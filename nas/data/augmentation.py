"""Random changes of training images, in whole batches on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from nas.data.images import ImageData
from nas.errors import NasError


@dataclass(frozen=True)
class Augmentation:
    """What is done to training images; nothing by default.

    Args:
        crop_padding: pixels of black put around an image before a random window of its size is cut out (He et al.,
            2016, sec. 4.2: 4 on CIFAR-10).
        flip: whether half of the images are mirrored; not for digits and letters.
        cutout: side of the square that is blanked to the mean, its centre anywhere in the image (DeVries & Taylor,
            2017, sec. 3.2: 16 on CIFAR-10); 0 for none.
    """

    crop_padding: int = 0
    flip: bool = False
    cutout: int = 0

    def __post_init__(self) -> None:
        if self.crop_padding < 0 or self.cutout < 0:
            raise NasError(f"crop padding {self.crop_padding} and cutout {self.cutout} must be 0 or more pixels")

    @classmethod
    def usual(cls, data: ImageData) -> Augmentation:
        """Return crops after padding by an eighth, and flips where images have colours: grey ones are often signs."""
        height, width, channels = data.shape
        return cls(crop_padding=min(height, width) // 8, flip=channels == 3)

    def geometry(self, height: int, width: int, device: torch.device) -> Callable[[Tensor], Tensor]:
        """Return the function that crops and flips images float[batch, channels, height, width] from 0 to 1.

        Raises:
            NasError: Kornia is not installed.
        """
        if not self.crop_padding and not self.flip:
            return _unchanged
        try:
            from kornia import augmentation
        except ImportError:
            raise NasError("augmentation needs Kornia: pip install 'nas[data]'") from None
        steps = []
        if self.crop_padding:
            # Cutting windows out one by one is faster on a CPU, sampling all at once on other devices.
            mode = "slice" if device.type == "cpu" else "resample"
            steps.append(augmentation.RandomCrop((height, width), padding=self.crop_padding, cropping_mode=mode))
        if self.flip:
            steps.append(augmentation.RandomHorizontalFlip())
        return augmentation.AugmentationSequential(*steps)

    def blank(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return normalised images float[batch, channels, height, width] with a square of each set to 0, the mean."""
        if not self.cutout:
            return images
        batch, _, height, width = images.shape
        inside = [
            _stretch(batch, size, self.cutout, generator).to(images.device, non_blocking=True)
            for size in (height, width)
        ]
        square = inside[0][:, None, :, None] & inside[1][:, None, None, :]
        return images.masked_fill(square, 0.0)


def _unchanged(images: Tensor) -> Tensor:
    return images


def _stretch(batch: int, size: int, length: int, generator: torch.Generator) -> Tensor:
    """Return bool[batch, size]: a stretch around a random centre, cut at the borders."""
    start = torch.randint(size, (batch, 1), generator=generator) - length // 2
    place = torch.arange(size)
    return (place >= start) & (place < start + length)


@contextmanager
def seeded(seed: int) -> Iterator[torch.Generator]:
    """Give Torch's generator of the CPU a seed, and its state back afterwards; random draws elsewhere do not notice.

    Kornia draws from it, whatever device the images are on.
    """
    state = torch.get_rng_state()
    try:
        yield torch.default_generator.manual_seed(seed)
    finally:
        torch.set_rng_state(state)
