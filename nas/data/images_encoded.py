"""Images in files of their own, JPEG, PNG and others, in a folder a class."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from nas.data.images_cache import Images
from nas.data.images_source import Entry, first_few, kind_of
from nas.data.subsets import SUBSET_NAMES, Annotations, Subset, resolved
from nas.errors import NasError

if TYPE_CHECKING:
    from PIL import Image

#: pixels of the largest image that is decoded, and bytes of the largest file
MAX_PIXELS = 2**26
MAX_BYTES = 2**28
#: more images than this share cannot be corrupt
MAX_CORRUPT = 0.01
#: images that are decoded at once, and bytes of their pixels
BLOCK = 512
BLOCK_BYTES = 2**27

_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "PPM", "TIFF")


@dataclass(frozen=True)
class EncodedResult:
    """What `decode_images` found.

    Args:
        annotations: of the images that were decoded.
        corrupt: name and fault of those that could not be.
        grey: whether no image has colours; the three channels are equal then.
    """

    annotations: Annotations
    corrupt: tuple[str, ...]
    grey: bool


def decode_images(
    entries: Iterable[Entry], append: Callable[[Images], None], image_size: int | None = None
) -> EncodedResult:
    """Decode images to RGB and hand them on in blocks uint8[k, height, width, 3].

    Args:
        entries: files; those that are no images by their names are passed over.
        append: takes the blocks.
        image_size: side of the square that images are brought to: the largest centred square, scaled (bilinear, area
            averaged where it shrinks); None where all have one size.

    Raises:
        NasError: images differ in size and none is given, more than 1 % are corrupt, one is a decompression bomb,
            or they do not lie in a folder a class.
    """
    names: list[str] = []
    corrupt: list[str] = []
    grey = True
    form = _Form(image_size)
    files = ((entry.name, _read(entry)) for entry in entries if kind_of(entry.name) == "image")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while block := list(islice(files, form.block)):
            images = []
            for (name, _), (image, detail) in zip(block, pool.map(partial(_decode, form=form), block), strict=True):
                if image is None:
                    corrupt.append(f"{name} ({detail})")
                    continue
                grey = grey and detail == "grey"
                names.append(name)
                images.append(image)
            if images:
                append(np.stack(images))
                form = form.after(names[0], images[0])
    _check_corrupt(corrupt, len(names))
    return EncodedResult(arrange(names), tuple(corrupt), grey)


def arrange(names: Sequence[str]) -> Annotations:
    """Return class and subset of images by their paths: `class/image`, or `train/class/image` and so on.

    Folders that all images lie in are passed over, and so are folders below a class. Classes are in alphabetical order.

    Raises:
        NasError: images lie in no class folder, or some in train and test folders and some not.
    """
    folders = [PurePosixPath(name).parts[:-1] for name in names]
    while folders and len({parts[:1] for parts in folders}) == 1 and min(map(len, folders)) > 1:
        if folders[0][0].lower() in SUBSET_NAMES:
            break
        folders = [parts[1:] for parts in folders]
    subsets = [SUBSET_NAMES.get(parts[0].lower()) if len(parts) > 1 else None for parts in folders]
    divided = any(subset is not None for subset in subsets)
    classes = [parts[divided : divided + 1] for parts in folders]
    lost = [name for name, found in zip(names, classes, strict=True) if not found]
    if not divided and all(found[0].lower() in SUBSET_NAMES for found in classes if found):
        lost = list(names)
    if lost:
        raise NasError(
            f"{len(lost):,} images lie in no class folder: {first_few(lost)}; arrange them as class/image, or as "
            "train/class/image and test/class/image"
        )
    outside = [name for name, subset in zip(names, subsets, strict=True) if divided and subset is None]
    if outside:
        raise NasError(f"{len(outside):,} images lie outside of the train and test folders: {first_few(outside)}")
    found, labels = np.unique([name for (name,) in classes], return_inverse=True)
    return Annotations(
        labels=labels.astype(np.int64),
        subsets=resolved(np.array([Subset.TRAIN if subset is None else subset for subset in subsets], dtype=np.int8)),
        classes=tuple(map(str, found)),
    )


def fitted(image: Image.Image, size: int) -> Image.Image:
    """Return the largest centred square of an image, scaled to a side of `size`."""
    from PIL import Image, ImageOps

    return ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)


def require_pillow(wanted_for: str) -> None:
    """Raise a NasError where Pillow is not installed."""
    try:
        import PIL  # noqa: F401
    except ImportError:
        raise NasError(f"{wanted_for} needs Pillow: pip install 'nas[data]'") from None


@dataclass(frozen=True)
class _Form:
    """What an image must be, or is brought to.

    Args:
        image_size: side of the square that images are brought to; None where all must be as the first one.
        first: name of the first image that was decoded, by itself; empty before.
        size: its width and height.
        block: number of images to decode next.
    """

    image_size: int | None
    first: str = ""
    size: tuple[int, int] = (0, 0)
    block: int = 1

    def after(self, first: str, image: Images) -> _Form:
        """Return the form once the first image is known."""
        if self.first:
            return self
        block = min(BLOCK, max(1, BLOCK_BYTES // image.nbytes))
        return _Form(self.image_size, first, (image.shape[1], image.shape[0]), block)

    def check(self, name: str, size: tuple[int, int]) -> None:
        """Check width and height of an image, as its header has them, before it is decoded.

        Raises:
            NasError: it is a decompression bomb, or not of the size of the first one where it should be.
        """
        if size[0] * size[1] > MAX_PIXELS:
            raise _bomb(name)
        if self.first and self.image_size is None and size != self.size:
            raise NasError(
                f"images differ in size: {self.first} is {self.size[0]}×{self.size[1]}, {name} is {size[0]}×{size[1]} "
                f"pixels; give an image size, such as {min(*self.size, *size)}, that all are brought to"
            )


def _bomb(name: str) -> NasError:
    return NasError(f"{name} has more than {MAX_PIXELS:,} pixels, a decompression bomb; refused")


def _read(entry: Entry) -> bytes:
    if entry.size > MAX_BYTES:
        raise NasError(f"{entry.name} has {entry.size:,} bytes; an image file of more than {MAX_BYTES:,} is refused")
    return entry.read()


def _decode(named: tuple[str, bytes], form: _Form) -> tuple[Images | None, str]:
    """Return the pixels uint8[height, width, 3] and "grey" or "colour", or None and what is wrong with the file.

    Args:
        named: name and bytes of the file.
    """
    from PIL import Image, UnidentifiedImageError

    name, data = named
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            form.check(name, image.size)
            if form.image_size is not None:
                image.draft("RGB", (form.image_size, form.image_size))
            grey = image.mode in {"1", "L", "LA"} or image.mode.startswith("I;16")
            plain = _rgb(image)
            pixels = np.asarray(plain if form.image_size is None else fitted(plain, form.image_size))
            return pixels, "grey" if grey else "colour"
    except NasError:
        raise
    except Image.DecompressionBombError:
        raise _bomb(name) from None
    except UnidentifiedImageError:  # whose message is the address of the bytes in memory
        return None, "no image of a known format"
    except Exception as error:  # whatever a decoder raises on bytes that are no image
        return None, " ".join(str(error).split())[:80] or type(error).__name__


def _rgb(image: Image.Image) -> Image.Image:
    """Return an image in 8-bit RGB: grey three times, transparency dropped, 16 bits cut to the upper 8."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in {"I", "F"}:
        raise ValueError("pixels of 32 bits")
    return image.convert("RGB")


def _check_corrupt(corrupt: list[str], good: int) -> None:
    if len(corrupt) > MAX_CORRUPT * (good + len(corrupt)):
        share = len(corrupt) / (good + len(corrupt))
        raise NasError(
            f"{len(corrupt):,} of {good + len(corrupt):,} images ({share:.1%}) are corrupt, more than 1 %: "
            f"{first_few(corrupt)}"
        )
