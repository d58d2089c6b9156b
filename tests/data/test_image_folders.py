"""Image folders and archives of them: the pixels, classes and subsets that were written are those that are read."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from make_images import png, random_images, two_classes, write_files, write_tar
from PIL import Image

from nas.data.images import check_classes, check_shape, load_images
from nas.data.images_encoded import arrange
from nas.data.subsets import Subset
from nas.errors import NasError


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_a_folder_a_class(tmp_path: Path, cache: Path) -> None:
    pixels = random_images(6, 5, 7, 3)
    data = load_images(write_files(tmp_path / "set", two_classes(pixels)), cache)
    assert data.classes == ("ant", "bee")
    assert data.shape == (5, 7, 3)
    assert data.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert np.array_equal(data.images, pixels[[0, 2, 4, 1, 3, 5]])
    assert data.subsets.tolist() == [Subset.TRAIN] * 6
    assert isinstance(data.images, np.memmap)
    assert not data.images.flags.writeable
    assert data.corrupt == ()


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tar.xz", "tar.bz2", "tgz"])
def test_an_archive_is_the_folder_it_holds(tmp_path: Path, cache: Path, suffix: str) -> None:
    files = dict(sorted(two_classes(random_images(6, 4, 4, 3)).items()))
    folder = load_images(write_files(tmp_path / "set", files), cache)
    archive = load_images(write_tar(tmp_path / f"set.{suffix}", files), cache)
    assert archive.digest == folder.digest
    assert np.array_equal(archive.images, folder.images)


def test_train_and_test_archives_together(tmp_path: Path, cache: Path) -> None:
    pixels = random_images(8, 4, 4, 3)
    files = two_classes(pixels, ("train/ant", "train/bee", "test/ant", "test/bee"))
    (tmp_path / "both").mkdir()
    for part in ("train", "test"):
        held = {name: data for name, data in files.items() if name.startswith(part)}
        write_tar(tmp_path / "both" / f"set_{part}.tar.xz", held)
    sources = [
        str(tmp_path / "both"),
        str(tmp_path / "both" / "set_*.tar.xz"),
        f"{tmp_path / 'both' / 'set_train.tar.xz'},{tmp_path / 'both' / 'set_test.tar.xz'}",
    ]
    for data in (load_images(source, cache) for source in sources):
        assert data.classes == ("ant", "bee")
        by_subset = {subset: sorted(data.labels[data.subsets == subset].tolist()) for subset in Subset}
        assert by_subset == {Subset.TRAIN: [0, 0, 1, 1], Subset.VALIDATION: [], Subset.TEST: [0, 0, 1, 1]}
        test_ants = data.images[(data.subsets == Subset.TEST) & (data.labels == 0)]
        assert np.array_equal(test_ants, pixels[[2, 6]])


@pytest.mark.parametrize(
    ("names", "classes", "labels", "subsets"),
    [
        (["b/1.png", "a/1.png"], ("a", "b"), [1, 0], [0, 0]),
        (["top/in/a/1.png", "top/in/b/1.png"], ("a", "b"), [0, 1], [0, 0]),
        (["set/train/a/1.png", "set/train/b/1.png", "set/test/a/1.png"], ("a", "b"), [0, 1, 0], [0, 0, 2]),
        (["train/a/images/1.png", "train/b/2.png", "val/a/3.png"], ("a", "b"), [0, 1, 0], [0, 0, 2]),
        (["train/a/1.png", "val/b/1.png", "test/b/2.png"], ("a", "b"), [0, 1, 1], [0, 1, 2]),
        (["Training/a/1.png", "Testing/b/1.png"], ("a", "b"), [0, 1], [0, 2]),
        (["test/1.png", "control/1.png"], ("control", "test"), [1, 0], [0, 0]),
    ],
)
def test_classes_and_subsets_follow_the_folders(
    names: list[str], classes: tuple[str, ...], labels: list[int], subsets: list[int]
) -> None:
    found = arrange(names)
    assert found.classes == classes
    assert found.labels.tolist() == labels
    assert found.subsets.tolist() == subsets


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["1.png", "2.png"], "2 images lie in no class folder: 1.png, 2.png"),
        (["a/1.png", "b/2.png", "3.png"], "1 images lie in no class folder: 3.png"),
        (["train/1.png", "test/2.png"], "lie in no class folder"),
        (["train/a/1.png", "train/b/1.png", "test/1.png"], "lie in no class folder: test/1.png"),
        (["train/a/1.png", "test/b/1.png", "more/c/2.png"], "outside of the train and test folders: more/c/2.png"),
    ],
)
def test_images_without_a_class_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(NasError, match=message):
        arrange(names)


def test_grey_images_have_one_channel(tmp_path: Path, cache: Path) -> None:
    pixels = random_images(4, 4, 4)
    data = load_images(write_files(tmp_path / "set", two_classes(pixels)), cache)
    assert np.array_equal(data.images, pixels[[0, 2, 1, 3], :, :, None])


def test_grey_among_colours_becomes_three_equal_channels(tmp_path: Path, cache: Path) -> None:
    grey, colour = random_images(1, 4, 4)[0], random_images(1, 4, 4, 3)[0]
    data = load_images(write_files(tmp_path / "set", {"a/1.png": png(grey), "b/1.png": png(colour)}), cache)
    assert np.array_equal(data.images[0], np.stack([grey] * 3, axis=2))
    assert np.array_equal(data.images[1], colour)


def test_pixels_of_16_bits_keep_the_upper_8(tmp_path: Path, cache: Path) -> None:
    pixels = np.arange(16, dtype=np.uint16).reshape(4, 4) * 4096 + 77
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    data = load_images(write_files(tmp_path / "set", {"a/1.png": file.getvalue(), "b/1.png": file.getvalue()}), cache)
    assert np.array_equal(data.images[0, :, :, 0], np.arange(16).reshape(4, 4) * 16)


def test_jpeg(tmp_path: Path, cache: Path) -> None:
    files = {}
    for name, colour in (("blue", (20, 40, 220)), ("red", (200, 30, 50))):
        file = io.BytesIO()
        Image.new("RGB", (16, 16), colour).save(file, "JPEG")
        files[f"{name}/1.JPEG"] = file.getvalue()
    data = load_images(write_files(tmp_path / "set", files), cache)
    assert np.abs(data.images[0].astype(int) - (20, 40, 220)).max() <= 3
    assert np.abs(data.images[1].astype(int) - (200, 30, 50)).max() <= 3


def test_sizes_that_differ_need_an_image_size(tmp_path: Path, cache: Path) -> None:
    wide = np.zeros((20, 40, 3), dtype=np.uint8)
    wide[:, 10:30] = 100  # the square in the middle
    wide[:, :10] = 255
    files = {"a/1.png": png(wide), "b/1.png": png(np.full((24, 24, 3), 7, dtype=np.uint8))}
    folder = write_files(tmp_path / "set", files)
    with pytest.raises(NasError, match=r"a/1.png is 40×20, b/1.png is 24×24 pixels; give an image size, such as 20"):
        load_images(folder, cache)
    for size in (5, 20, 40):
        data = load_images(folder, cache, image_size=size)
        assert data.shape == (size, size, 3)
        margin = size // 5 if size != 20 else 0  # scaling mixes the border with what lies beyond
        assert (data.images[0][:, margin : size - margin] == 100).all()
        assert (data.images[1] == 7).all()


def test_few_corrupt_images_are_left_out_and_named(tmp_path: Path, cache: Path) -> None:
    files = two_classes(random_images(200, 4, 4, 3))
    files["ant/000.png"] = files["ant/000.png"][:40]
    files["bee/001.png"] = b"no image"
    data = load_images(write_files(tmp_path / "set", files), cache)
    assert len(data) == len(data.images) == 198
    assert [text.split(" (")[0] for text in data.corrupt] == ["ant/000.png", "bee/001.png"]
    assert "198 train images of 4×4×3, 2 classes; 2 corrupt left out: ant/000.png" in data.describe()
    assert load_images(tmp_path / "set", cache).corrupt == data.corrupt

    files["bee/003.png"] = b""
    with pytest.raises(NasError, match=r"3 of 200 images \(1.5%\) are corrupt, more than 1 %: ant/000.png .*bee/003"):
        load_images(write_files(tmp_path / "set", files), cache)


def test_what_is_no_image_is_passed_over(tmp_path: Path, cache: Path) -> None:
    files = two_classes(random_images(4, 4, 4, 3))
    extra = {"README.txt": b"read me", "ant/._000.png": b"", ".DS_Store": b"", "__MACOSX/ant/000.png": b""}
    data = load_images(write_files(tmp_path / "set", {**files, **extra}), cache)
    assert (len(data), data.classes, data.corrupt) == (4, ("ant", "bee"), ())


def test_linked_class_folders(tmp_path: Path, cache: Path) -> None:
    write_files(tmp_path / "whole", two_classes(random_images(6, 4, 4, 3), ("ant", "bee", "cow")))
    subset = tmp_path / "subset"
    subset.mkdir()
    (subset / "ant").symlink_to(tmp_path / "whole" / "ant")
    (subset / "cow").symlink_to(tmp_path / "whole" / "cow")
    (subset / "cow" / "round").symlink_to(subset)
    assert load_images(subset, cache).classes == ("ant", "cow")


def test_bad_sources_are_told(tmp_path: Path, cache: Path) -> None:
    write_files(tmp_path / "flowers", two_classes(random_images(2, 4, 4, 3), ("rose",)))
    write_files(tmp_path / "zipped", {"set.zip": b"PK"})
    write_files(
        tmp_path / "pickled", {"cifar-10-batches-py/data_batch_1": b"", "cifar-10-batches-py/batches.meta": b""}
    )
    write_files(tmp_path / "tested", two_classes(random_images(4, 4, 4, 3), ("test/a", "test/b")))
    write_files(tmp_path / "unseen", two_classes(random_images(6, 4, 4, 3), ("train/a", "train/b", "test/c")))
    write_files(tmp_path / "mixed", {"mnist.npz": b"", "a/1.png": b""})
    write_tar(tmp_path / "nested.tar", {"n01.tar": b"", "n02.tar": b""})
    (tmp_path / "empty").mkdir()
    for name, message in {
        "flower": "no images at .*; did you mean 'flowers'",
        "*.png": r"no images at .*\*.png; known is an image folder",
        "flowers": "has one class, rose; at least two",
        "zipped": "holds no images; known is .*; .zip files: unpack it and give the folder",
        "pickled": "Python pickles, which are never read .*cifar-10-binary.tar.gz",
        "tested": "test images only",
        "unseen": "test images of classes without training images: c",
        "mixed": r"several kinds \(image a/1.png, npz file mnist.npz\); name the files of one",
        "nested.tar": "archives inside an archive",
        "empty": "holds no images",
    }.items():
        with pytest.raises(NasError, match=message):
            load_images(tmp_path / name, cache)
    with pytest.raises(NasError, match="image size of 0 pixels"):
        load_images("digits", cache, image_size=0)
    assert not list(cache.glob("*"))  # and .part folders are gone


def test_a_head_of_too_few_classes(tmp_path: Path, cache: Path) -> None:
    data = load_images(write_files(tmp_path / "set", two_classes(random_images(6, 4, 4, 3), ("a", "b", "c"))), cache)
    check_classes(data, 3)
    check_classes(data, 10)
    with pytest.raises(NasError, match="has 3 classes, more than the 2 of the network's head"):
        check_classes(data, 2)


def test_a_network_of_another_input(tmp_path: Path, cache: Path) -> None:
    data = load_images(write_files(tmp_path / "set", two_classes(random_images(4, 8, 8))), cache)
    check_shape(data, 8, 1)
    with pytest.raises(
        NasError, match="images of 1 channel, but the network takes 3; give the network 1 input channel"
    ):
        check_shape(data, 8, 3)
    with pytest.raises(NasError, match="8×8 pixels, but the network takes 32×32; give an image size of 32"):
        check_shape(data, 32, 1)
