"""Image data sets as users have them, decoded once to memory-mapped bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.data.images_arrays import decode_cifar, decode_idx, decode_npz, digits
from nas.data.images_cache import Images, ImageWriter, cached, default_cache, writing
from nas.data.images_encoded import arrange, decode_images, fitted, require_pillow
from nas.data.images_source import Source, find_source, first_few, kind_of
from nas.data.subsets import Annotations, Subset
from nas.errors import NasError

#: raised where what is decoded from the same files changes
CACHE_VERSION = 1
#: images converted at once
BLOCK = 4096

_ARRAY_DECODERS = {"npz file": decode_npz, "idx file": decode_idx, "CIFAR binary file": decode_cifar}


@dataclass(frozen=True)
class ImageData:
    """Labelled images.

    Args:
        source: what the user called it.
        images: uint8[n, height, width, channels], memory-mapped, read-only; 1 channel where none has colours, else 3.
        labels: int[n], indices of `classes`.
        subsets: int8[n], the official `Subset` of each image; all TRAIN where the authors made no division.
        classes: names.
        corrupt: files that could not be decoded and are left out, with the fault of each.
        digest: SHA-256 of pixels, labels, subsets and classes: the same data has the same one wherever it lies.
    """

    source: str
    images: Images
    labels: npt.NDArray[np.int64]
    subsets: npt.NDArray[np.int8]
    classes: tuple[str, ...]
    corrupt: tuple[str, ...]
    digest: str

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return self.images.shape[1], self.images.shape[2], self.images.shape[3]

    def describe(self) -> str:
        """Return one line on what it is, corrupt files included."""
        counts = [(int((self.subsets == subset).sum()), subset.name.lower()) for subset in Subset]
        parts = ", ".join(f"{count:,} {name}" for count, name in counts if count)
        height, width, channels = self.shape
        text = f"{self.source}: {parts} images of {width}×{height}×{channels}, {len(self.classes)} classes"
        if not self.corrupt:
            return text
        return f"{text}; {len(self.corrupt):,} corrupt left out: {first_few(self.corrupt)}"


def load_images(
    source: str | Path,
    cache: Path | None = None,
    image_size: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> ImageData:
    """Return a data set of labelled images, decoded now or found in the cache.

    Args:
        source: an image folder (class/*.jpg, or train/class/*.jpg beside test/ or val/), a .tar, .tar.gz or .tar.xz of
            one, a folder or pattern or comma-joined list of those, an .npz of MNIST, a folder of idx or CIFAR binary
            files, or "digits", which scikit-learn brings along.
        cache: where decoded images are kept; nas/images below XDG_CACHE_HOME or ~/.cache where it is None.
        image_size: side of the square that all images are brought to; needed where they differ in size.
        on_progress: told now and then how many images are decoded.

    Raises:
        NasError: the source is not there, of no known format, damaged, unsafe, empty, of one class, or the cache
            cannot be written.
    """
    if image_size is not None and image_size < 1:
        raise NasError(f"an image size of {image_size} pixels; at least 1")
    if str(source) == "digits":
        return _in_memory("digits", *digits(), image_size)
    found = find_source(source)
    kind = found.kind()
    if kind == "image":
        require_pillow("decoding JPEG and PNG images")
        if not found.is_archived:  # what is wrong with the folders is said before hours of decoding
            _check_classes(found.text, arrange([name for name, _ in found.files if kind_of(name) == "image"]))

    def make(folder: Path) -> dict[str, Any]:
        return _decode(found, kind, folder, image_size, on_progress or (lambda count: None))

    key = hashlib.sha256(f"{CACHE_VERSION} {image_size} {found.digest()}".encode()).hexdigest()[:32]
    folder, about = cached(default_cache() if cache is None else Path(cache), key, make)
    return ImageData(
        source=found.text,
        images=np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False),
        labels=np.load(folder / "labels.npy", allow_pickle=False),
        subsets=np.load(folder / "subsets.npy", allow_pickle=False),
        classes=tuple(about["classes"]),
        corrupt=tuple(about["corrupt"]),
        digest=about["digest"],
    )


def check_classes(data: ImageData, num_classes: int) -> None:
    """Check that a network's head can tell the classes of a data set.

    Raises:
        NasError: the data has more classes than the head.
    """
    if len(data.classes) > num_classes:
        raise NasError(
            f"{data.source} has {len(data.classes)} classes, more than the {num_classes} of the network's head; "
            f"give the network {len(data.classes)} classes"
        )


def check_shape(data: ImageData, resolution: int, in_channels: int) -> None:
    """Check that a network takes the images of a data set.

    Raises:
        NasError: they are of another size, or have another number of channels.
    """
    height, width, channels = data.shape
    if channels != in_channels:
        raise NasError(
            f"{data.source} has images of {channels} channel{'s'[: channels > 1]}, but the network takes "
            f"{in_channels}; give the network {channels} input channel{'s'[: channels > 1]}"
        )
    if (height, width) != (resolution, resolution):
        raise NasError(
            f"{data.source} has images of {width}×{height} pixels, but the network takes {resolution}×{resolution}; "
            f"give an image size of {resolution}, or the network another resolution"
        )


def _decode(
    source: Source, kind: str, folder: Path, image_size: int | None, on_progress: Callable[[int], None]
) -> dict[str, Any]:
    """Write images.npy, labels.npy and subsets.npy into a folder and return what else is known."""
    file = folder / "images.npy"
    corrupt: tuple[str, ...] = ()
    with writing(file) as writer:

        def append(images: Images) -> None:
            writer.append(images)
            on_progress(writer.count)

        if kind == "image":
            result = decode_images(source.entries(), append, image_size)
            annotations, corrupt, grey = result.annotations, result.corrupt, result.grey
        else:
            images, annotations = _ARRAY_DECODERS[kind](source.entries())
            grey = False
            for start in range(0, len(images), BLOCK):
                append(resized(images[start : start + BLOCK], image_size))
        _check_classes(source.text, annotations)
        pixels = writer.close()
    if grey:
        pixels = _drop_colours(file)
    np.save(folder / "labels.npy", annotations.labels)
    np.save(folder / "subsets.npy", annotations.subsets)
    return {
        "classes": annotations.classes,
        "corrupt": corrupt,
        "digest": _digest(pixels, annotations),
    }


def _in_memory(source: str, images: Images, annotations: Annotations, image_size: int | None) -> ImageData:
    images = resized(images, image_size)
    images.flags.writeable = False
    return ImageData(
        source=source,
        images=images,
        labels=annotations.labels,
        subsets=annotations.subsets,
        classes=annotations.classes,
        corrupt=(),
        digest=_digest(hashlib.sha256(images.tobytes()).hexdigest(), annotations),
    )


def resized(images: Images, size: int | None) -> Images:
    """Return images uint8[n, height, width, channels] brought to size × size pixels, unchanged where size is None."""
    if size is None or images.shape[1:3] == (size, size):
        return images
    require_pillow("an image size")
    from PIL import Image

    grey = images.shape[3] == 1
    plain = images[..., 0] if grey else images
    scaled = np.stack([np.asarray(fitted(Image.fromarray(image), size)) for image in plain])
    return scaled[..., None] if grey else scaled


def _drop_colours(file: Path) -> str:
    """Rewrite images whose three channels are equal with one, and return the SHA-256 of the pixels."""
    images = np.load(file, mmap_mode="r", allow_pickle=False)
    narrow = file.with_name("grey.npy")
    with writing(narrow) as writer:
        _copy_channel(images, writer)
        pixels = writer.close()
    narrow.replace(file)
    return pixels


def _copy_channel(images: Images, writer: ImageWriter) -> None:
    for start in range(0, len(images), BLOCK):
        writer.append(images[start : start + BLOCK, :, :, :1])


def _digest(pixels: str, annotations: Annotations) -> str:
    found = hashlib.sha256(pixels.encode())
    for array in (annotations.labels, annotations.subsets):
        found.update(array.tobytes())
    found.update("\0".join(annotations.classes).encode(errors="surrogateescape"))
    return found.hexdigest()


def _check_classes(source: str, annotations: Annotations) -> None:
    """Check that there is something to tell apart, and everything to learn it from."""
    counts = np.bincount(annotations.labels[annotations.subsets == Subset.TRAIN], minlength=len(annotations.classes))
    if not len(annotations.labels):
        raise NasError(f"{source} holds no image")
    if not counts.any():
        raise NasError(f"{source} holds test images only; give the training images as well")
    if len(np.unique(annotations.labels)) < 2:
        raise NasError(f"{source} has one class, {annotations.classes[annotations.labels[0]]}; at least two are needed")
    tested = np.unique(annotations.labels[annotations.subsets != Subset.TRAIN])
    unseen = [annotations.classes[label] for label in tested if not counts[label]]
    if unseen:
        raise NasError(f"{source} has test images of classes without training images: {first_few(unseen)}")
