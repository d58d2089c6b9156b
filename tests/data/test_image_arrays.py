"""Data sets that come as arrays, written by hand as their authors describe the formats."""

from __future__ import annotations

import gzip
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from make_images import Pixels, random_images, write_files, write_tar

from nas.data.batches import Normalisation
from nas.data.images import load_images
from nas.data.subsets import Subset
from nas.errors import NasError


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def idx(array: Pixels) -> bytes:
    """Two zero bytes, 8 for bytes, the number of axes, their sizes as big-endian 32-bit numbers, the values."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def cifar(labels: list[list[int]], pixels: Pixels) -> bytes:
    """A record is its labels, then 1,024 red, 1,024 green and 1,024 blue values, row by row."""
    planes = [b"".join(image[:, :, channel].tobytes() for channel in range(3)) for image in pixels]
    return b"".join(bytes(label) + plane for label, plane in zip(labels, planes, strict=True))


def mnist_files(pixels: Pixels, labels: list[int]) -> dict[str, bytes]:
    marks = np.array(labels, dtype=np.uint8)
    return {
        "train-images-idx3-ubyte": idx(pixels[:4]), "train-labels-idx1-ubyte": idx(marks[:4]),
        "t10k-images-idx3-ubyte": idx(pixels[4:]), "t10k-labels-idx1-ubyte": idx(marks[4:]),
    }  # fmt: skip


def as_written(name: str, data: bytes) -> dict[str, bytes]:
    return {name: data}


def zipped(name: str, data: bytes) -> dict[str, bytes]:
    return {f"{name}.gz": gzip.compress(data)}


def dotted(name: str, data: bytes) -> dict[str, bytes]:
    return {f"raw/{name.replace('-idx', '.idx')}": data}


@pytest.mark.parametrize("form", [as_written, zipped, dotted])
def test_idx_files(tmp_path: Path, cache: Path, form: Callable[[str, bytes], dict[str, bytes]]) -> None:
    pixels, labels = random_images(6, 5, 4), [3, 0, 1, 2, 1, 0]
    for name, data in mnist_files(pixels, labels).items():
        write_files(tmp_path / "mnist", form(name, data))
    found = load_images(tmp_path / "mnist", cache)
    assert np.array_equal(found.images[..., 0], pixels)
    assert found.labels.tolist() == labels
    assert found.classes == ("0", "1", "2", "3")
    assert found.subsets.tolist() == [0, 0, 0, 0, 2, 2]


def test_cifar10_binary_files(tmp_path: Path, cache: Path) -> None:
    pixels = random_images(6, 32, 32, 3)
    files = {
        "cifar-10-batches-bin/data_batch_1.bin": cifar([[3], [9]], pixels[:2]),
        "cifar-10-batches-bin/data_batch_2.bin": cifar([[0], [1]], pixels[2:4]),
        "cifar-10-batches-bin/test_batch.bin": cifar([[9], [0]], pixels[4:]),
        "cifar-10-batches-bin/readme.html": b"<html>",
    }
    for source in (write_files(tmp_path / "cifar", files), write_tar(tmp_path / "cifar-10-binary.tar.gz", files)):
        found = load_images(source, cache)
        assert np.array_equal(found.images, pixels)
        assert [found.classes[label] for label in found.labels[:4]] == ["cat", "truck", "airplane", "automobile"]
        assert found.subsets.tolist() == [0, 0, 0, 0, 2, 2]


def test_cifar100_binary_files_give_the_fine_labels(tmp_path: Path, cache: Path) -> None:
    pixels = random_images(4, 32, 32, 3)
    names = [f"thing_{i}" for i in range(100)]
    files = {
        "train.bin": cifar([[19, 99], [4, 7], [4, 0]], pixels[:3]), "test.bin": cifar([[1, 7]], pixels[3:]),
        "fine_label_names.txt": "\n".join(names).encode(), "coarse_label_names.txt": b"things",
    }  # fmt: skip
    found = load_images(write_files(tmp_path / "cifar", files), cache)
    assert np.array_equal(found.images, pixels)
    assert found.labels.tolist() == [99, 7, 0, 7]
    assert found.classes == tuple(names)


def test_npz_of_keras_and_of_medmnist(tmp_path: Path, cache: Path) -> None:
    grey, colour = random_images(5, 6, 6), random_images(6, 4, 4, 3)
    np.savez(tmp_path / "a.npz", x_train=grey[:3], y_train=[0, 1, 1], x_test=grey[3:], y_test=[1, 0])
    found = load_images(tmp_path / "a.npz", cache)
    assert np.array_equal(found.images[..., 0], grey)
    assert (found.labels.tolist(), found.subsets.tolist()) == ([0, 1, 1, 1, 0], [0, 0, 0, 2, 2])

    parts = {"train": slice(0, 3), "val": slice(3, 5), "test": slice(5, 6)}
    marks = np.array([[0], [1], [2], [1], [0], [2]])
    arrays = {f"{part}_images": colour[rows] for part, rows in parts.items()}
    np.savez_compressed(tmp_path / "b.npz", **arrays, **{f"{part}_labels": marks[rows] for part, rows in parts.items()})
    found = load_images(tmp_path / "b.npz", cache)
    assert np.array_equal(found.images, colour)
    assert (found.labels.tolist(), found.subsets.tolist()) == (marks[:, 0].tolist(), [0, 0, 0, 1, 1, 2])


def test_digits() -> None:
    data = load_images("digits")
    assert data.shape == (8, 8, 1)
    # the class counts of the data set's description in the UCI repository (optdigits.tes)
    assert np.bincount(data.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert (data.images.min(), data.images.max()) == (0, 255)
    assert (data.subsets == Subset.TRAIN).all()
    larger = load_images("digits", image_size=32)
    assert larger.shape == (32, 32, 1)
    blocks = larger.images.reshape(-1, 8, 4, 8, 4).mean(axis=(2, 4))
    assert np.corrcoef(blocks.ravel(), data.images.ravel())[0, 1] > 0.97
    assert data.digest == load_images("digits").digest != larger.digest


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(NasError, match=r"scikit-learn: pip install 'nas\[data\]'"):
        load_images("digits")


def test_mnist(data_dir: Path, cache: Path) -> None:
    data = load_images(data_dir / "images" / "mnist.npz", cache)
    assert data.shape == (28, 28, 1)
    assert [int((data.subsets == subset).sum()) for subset in Subset] == [60_000, 0, 10_000]
    # LeCun et al.: images of each digit in the training set
    counts = np.bincount(data.labels[data.subsets == Subset.TRAIN]).tolist()
    assert counts == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    # the mean and standard deviation that everybody normalises MNIST with
    found = Normalisation.of(data, np.flatnonzero(data.subsets == Subset.TRAIN))
    assert (round(found.mean[0], 4), round(found.std[0], 4)) == (0.1307, 0.3081)


def test_damaged_arrays_are_told(tmp_path: Path, cache: Path) -> None:
    pixels, labels = random_images(6, 5, 4), [3, 0, 1, 2, 1, 0]
    good = mnist_files(pixels, labels)
    images = "train-images-idx3-ubyte"
    record = cifar([[3]], random_images(1, 32, 32, 3))
    wrong = {
        "cut": ({**good, images: good[images][:-1]}, "is damaged: it holds 79 values instead of 80"),
        "gzip": ({f"{images}.gz": gzip.compress(good[images])[:-9]}, "gz is damaged"),
        "type": ({**good, images: b"\0\0\x0d" + good[images][3:]}, "is no idx file of bytes"),
        "alone": ({images: good[images]}, "is without its labels; give the folder"),
        "twice": ({**good, f"{images}.gz": gzip.compress(good[images])}, "are the same part"),
        "fewer": (
            {**good, "train-labels-idx1-ubyte": idx(np.zeros(3, np.uint8))},
            r"4 images, but labels of shape \(3,",
        ),
        "cifar": ({"data_batch_1.bin": record + b"\0"}, "data_batch_1.bin is damaged: 3,074 bytes"),
        "label": ({"data_batch_1.bin": cifar([[10]], random_images(1, 32, 32, 3))}, "labels from 10 to 10, but 10 cl"),
        "npz": ({"a.npz": b"PK\x03\x04 and so on"}, "a.npz is damaged or no plain .npz"),
    }
    for name, (files, message) in wrong.items():
        with pytest.raises(NasError, match=message):
            load_images(write_files(tmp_path / name, files), cache)
    assert {path.suffix for path in cache.iterdir()} == {".lock"}


def test_npz_with_other_content_is_told(tmp_path: Path, cache: Path) -> None:
    pixels = random_images(4, 5, 5)
    objects = np.array([{}, {}, {}, {}], dtype=object)
    floats = {"x_train": pixels / 255, "y_train": [0, 1, 0, 1]}
    wrong = {
        "objects": ({"x_train": objects, "y_train": [0, 1, 0, 1]}, "objects.npz is damaged or no plain .npz"),
        "floats": (floats, "pixels are float64; expected uint8"),
        "names": ({"pictures": pixels}, "holds pictures; expected x_train, y_train"),
        "labels": ({"x_train": pixels, "y_train": [0.5, 1, 0, 1]}, "labels are float64; expected whole numbers"),
        "shapes": ({"x_train": pixels[0], "y_train": [0, 1, 0, 1, 0]}, "are no images of one size"),
        "channels": ({"x_train": random_images(4, 3, 8, 8), "y_train": [0, 1, 0, 1]}, "8 channels; 1 or 3 are known"),
    }
    for name, (arrays, message) in wrong.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)  # type: ignore[arg-type]
        with pytest.raises(NasError, match=message):
            load_images(tmp_path / f"{name}.npz", cache)
