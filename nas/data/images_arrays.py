"""Data sets that come as arrays: MNIST .npz, idx files, CIFAR binary files, and the digits of scikit-learn."""

from __future__ import annotations

import gzip
import io
import math
import re
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.data.images_cache import Images
from nas.data.images_source import Entry, kind_of
from nas.data.subsets import SUBSET_NAMES, Annotations, Subset, resolved
from nas.errors import NasError

#: bytes of pixels that are held in memory
MAX_BYTES = 2**33

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR_PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class Part:
    """Images uint8[n, height, width(, channels)] and labels int[n] of one official subset."""

    subset: Subset
    images: Images
    labels: npt.NDArray[np.integer]


def joined(parts: Sequence[Part], classes: Sequence[str], where: str) -> tuple[Images, Annotations]:
    """Return all parts as images uint8[n, height, width, channels] with what is known of them.

    Args:
        classes: names; empty where only numbers are known.

    Raises:
        NasError: shapes differ, numbers of images and labels differ, or a label is out of range.
    """
    ordered = sorted(parts, key=lambda part: part.subset)
    for part in ordered:
        if part.images.ndim not in (3, 4) or part.images.shape[1:] != ordered[0].images.shape[1:]:
            shapes = " and ".join(str(each.images.shape) for each in ordered)
            raise NasError(f"{where}: arrays of shapes {shapes} are no images of one size")
        if part.images.ndim == 4 and part.images.shape[3] not in (1, 3):
            raise NasError(f"{where}: images of {part.images.shape[3]} channels; 1 or 3 are known, as the last axis")
        if part.labels.shape != part.images.shape[:1]:
            raise NasError(f"{where}: {len(part.images):,} images, but labels of shape {part.labels.shape}")
    images = np.concatenate([part.images for part in ordered])
    labels = np.concatenate([part.labels for part in ordered]).astype(np.int64)
    known = len(classes) or (int(labels.max()) + 1 if len(labels) else 0)
    if len(labels) and not 0 <= labels.min() <= labels.max() < known:
        raise NasError(f"{where}: labels from {labels.min()} to {labels.max()}, but {known} classes")
    subsets = np.concatenate([np.full(len(part.images), part.subset, dtype=np.int8) for part in ordered])
    names = tuple(classes) or tuple(str(label) for label in range(known))
    return images.reshape(*images.shape[:3], -1), Annotations(labels, resolved(subsets), names)


def decode_npz(entries: Iterable[Entry]) -> tuple[Images, Annotations]:
    """Read an .npz of arrays named x_train, y_train, x_test, y_test, or train_images, train_labels, val_images ...

    Raises:
        NasError: it is damaged, holds pickled objects, or no such arrays.
    """
    entry = _only(entries, "npz file")
    arrays = _npz_arrays(entry)
    parts = []
    for name, subset in SUBSET_NAMES.items():
        for images, labels in ((f"x_{name}", f"y_{name}"), (f"{name}_images", f"{name}_labels")):
            if images in arrays and labels in arrays:
                parts.append(Part(subset, _uint8(arrays[images], entry.name), _labels(arrays[labels], entry.name)))
    if not parts:
        held = ", ".join(arrays) or "nothing"
        raise NasError(f"{entry.name} holds {held}; expected x_train, y_train, x_test, y_test (or train_images, ...)")
    return joined(parts, (), entry.name)


def decode_idx(entries: Iterable[Entry]) -> tuple[Images, Annotations]:
    """Read idx files, gzipped or not, as MNIST and Fashion-MNIST come: train-images-idx3-ubyte and so on.

    Raises:
        NasError: a file is damaged, or images lack their labels.
    """
    arrays: dict[tuple[Subset, str], npt.NDArray[np.uint8]] = {}
    named: dict[tuple[Subset, str], str] = {}
    for entry in entries:
        if kind_of(entry.name) != "idx file":
            continue
        words = re.split(r"[-_.]", PurePosixPath(entry.name).name)
        subset = next((SUBSET_NAMES[word] for word in words if word in SUBSET_NAMES), Subset.TRAIN)
        key = (subset, "images" if "images" in words else "labels")
        if key in named:
            raise NasError(f"{named[key]} and {entry.name} are the same part of a data set; give one of them")
        arrays[key], named[key] = _idx(entry), entry.name
    parts = []
    for (subset, what), array in arrays.items():
        other = "labels" if what == "images" else "images"
        if (subset, other) not in arrays:
            raise NasError(f"{named[subset, what]} is without its {other}; give the folder that holds both")
        if what == "images":
            parts.append(Part(subset, array, arrays[subset, "labels"]))
    return joined(parts, (), "idx files")


def decode_cifar(entries: Iterable[Entry]) -> tuple[Images, Annotations]:
    """Read the binary files of CIFAR-10 (data_batch_1.bin ..., test_batch.bin) or CIFAR-100 (train.bin, test.bin).

    A record is a label (CIFAR-100: the coarse one, then the fine one, which is taken) and 3 × 32 × 32 pixels.

    Raises:
        NasError: a file is damaged.
    """
    files, classes = {}, {}
    for entry in entries:
        name = PurePosixPath(entry.name).name
        if name in {"batches.meta.txt", "fine_label_names.txt"}:
            classes[name] = tuple(entry.read().decode("utf-8", errors="replace").split())
        elif kind_of(entry.name) == "CIFAR binary file":
            files[name] = entry.read()
    fine = {"train.bin", "test.bin"} >= set(files)
    parts = [_cifar_part(name, data, 2 if fine else 1) for name, data in sorted(files.items())]
    known = classes.get("fine_label_names.txt", ()) if fine else classes.get("batches.meta.txt", CIFAR10_CLASSES)
    return joined(parts, known, "CIFAR binary files")


def digits() -> tuple[Images, Annotations]:
    """Return the 1,797 handwritten digits of scikit-learn, 8 × 8, grey, without an official test set.

    Raises:
        NasError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise NasError("the data set digits needs scikit-learn: pip install 'nas[data]'") from None
    found = load_digits()
    images = np.rint(found.images * (255 / 16)).astype(np.uint8)  # 17 levels of grey
    return joined([Part(Subset.TRAIN, images, found.target)], (), "digits")


def _only(entries: Iterable[Entry], kind: str) -> Entry:
    found = [entry for entry in entries if kind_of(entry.name) == kind]
    if len(found) != 1:
        raise NasError(f"{len(found)} {kind}s ({', '.join(entry.name for entry in found)}); name one of them")
    return found[0]


def _npz_arrays(entry: Entry) -> dict[str, npt.NDArray[Any]]:
    try:
        data = io.BytesIO(entry.read())
        with zipfile.ZipFile(data) as archive:
            total = sum(member.file_size for member in archive.infolist())
        if total > MAX_BYTES:
            raise NasError(f"{entry.name} unpacks to {total:,} bytes; at most {MAX_BYTES:,} are read")
        data.seek(0)
        with np.load(data, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays}
    except (zipfile.BadZipFile, zlib.error, RuntimeError, OSError, EOFError, ValueError, MemoryError) as error:
        raise NasError(f"{entry.name} is damaged or no plain .npz: {' '.join(str(error).split())}") from None


def _uint8(images: npt.NDArray[Any], where: str) -> Images:
    if images.dtype != np.uint8:
        raise NasError(f"{where}: pixels are {images.dtype}; expected uint8 from 0 to 255")
    return images


def _labels(labels: npt.NDArray[Any], where: str) -> npt.NDArray[np.integer]:
    """Return labels int[n]; a trailing axis of 1 is dropped."""
    flat = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if not np.issubdtype(flat.dtype, np.integer):
        raise NasError(f"{where}: labels are {flat.dtype}; expected whole numbers")
    return flat


def _idx(entry: Entry) -> npt.NDArray[np.uint8]:
    """Return the array of an idx file: two zero bytes, type 8 (uint8), number of axes, their sizes, the values."""
    data = entry.read()
    try:
        if data[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
                data = stream.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise NasError(f"{entry.name} is damaged: {error}") from None
    axes = data[3] if len(data) >= 4 and data[:3] == b"\0\0\x08" else 0
    start = 4 + 4 * axes
    if not axes or len(data) < start:
        raise NasError(f"{entry.name} is no idx file of bytes")
    shape = [int.from_bytes(data[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(axes)]
    held, needed = len(data) - start, math.prod(shape)
    if held != needed:
        raise NasError(f"{entry.name} is damaged: it holds {held:,} values instead of {needed:,}")
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape)


def _cifar_part(name: str, data: bytes, label_bytes: int) -> Part:
    record = label_bytes + _CIFAR_PIXELS
    if not data or len(data) % record:
        raise NasError(f"{name} is damaged: {len(data):,} bytes are no whole number of records of {record:,}")
    table = np.frombuffer(data, dtype=np.uint8).reshape(-1, record)
    pixels = table[:, label_bytes:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Part(Subset.TEST if name.startswith("test") else Subset.TRAIN, pixels, table[:, label_bytes - 1])
