"""Small image data sets on disk, made for a test."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from nas.data.images import ImageData
from nas.data.subsets import Subset

Pixels = npt.NDArray[np.uint8]


def random_images(number: int, *shape: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (number, *shape), dtype=np.uint8)


def png(pixels: Pixels) -> bytes:
    """A lossless file of pixels [height, width] or [height, width, 3]."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def write_tar(path: Path, files: Mapping[str, bytes]) -> Path:
    """An archive; how it is compressed follows from its name."""
    modes = {".gz": "w:gz", ".xz": "w:xz", ".bz2": "w:bz2"}
    with tarfile.open(path, modes.get(path.suffix, "w")) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def two_classes(pixels: Pixels, folders: Sequence[str] = ("ant", "bee")) -> dict[str, bytes]:
    """Files of images that go to each folder in turn, in the order of the folders."""
    return {f"{folders[i % len(folders)]}/{i:03}.png": png(image) for i, image in enumerate(pixels)}


def in_memory(
    images: Pixels, labels: Sequence[int] | npt.NDArray[np.integer], subsets: Sequence[int] | None = None
) -> ImageData:
    """A data set without files."""
    marked = np.full(len(images), Subset.TRAIN) if subsets is None else np.array(subsets)
    classes = tuple(str(label) for label in range(int(np.max(labels)) + 1))
    return ImageData("made", images, np.asarray(labels, dtype=np.int64), marked.astype(np.int8), classes, (), "")
