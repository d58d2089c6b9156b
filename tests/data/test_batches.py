"""Batches: the same for a seed from any step on, augmented as the papers say, and blind to the rest of the program."""

from __future__ import annotations

import sys

import numpy as np
import numpy.typing as npt
import pytest
import torch
from make_images import in_memory, random_images

from nas.data.augmentation import Augmentation
from nas.data.batches import Batches, Normalisation
from nas.data.images import ImageData
from nas.errors import NasError

#: leaves pixels as they are, from 0 to 1
PLAIN = Normalisation((0.0,), (1.0,))
COLOURS = Normalisation((0.0,) * 3, (1.0,) * 3)
ALL = Augmentation(crop_padding=2, flip=True, cutout=3)


@pytest.fixture(scope="module")
def data() -> ImageData:
    """103 images whose label is their number."""
    return in_memory(random_images(103, 6, 6, 3), np.arange(103))


def every(data: ImageData) -> npt.NDArray[np.int64]:
    return np.arange(len(data))


def same(a: list[tuple[torch.Tensor, torch.Tensor]], b: list[tuple[torch.Tensor, torch.Tensor]]) -> bool:
    pairs = zip(a, b, strict=True)
    return all(torch.equal(x, u) and torch.equal(y, v) for (x, y), (u, v) in pairs)


def test_pixels_are_normalised_and_labels_belong_to_them(data: ImageData) -> None:
    usual = Normalisation((0.5, 0.4, 0.3), (0.2, 0.25, 0.5))
    for images, labels in Batches(data, every(data), 10, usual).epoch():
        pixels = data.images[labels.numpy()].astype(np.float64) / 255
        expected = (pixels - usual.mean) / usual.std
        assert images.dtype == torch.float32
        assert images.shape == (10, 3, 6, 6)
        assert np.abs(images.permute(0, 2, 3, 1).numpy() - expected).max() < 1e-6


def test_statistics_are_those_of_the_images_given(data: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.data.batches.BLOCK", 3)
    some = np.array([70, 3, 5, 41])
    found = Normalisation.of(data, some)
    pixels = data.images[some].reshape(-1, 3).astype(np.float64) / 255
    assert found.mean == pytest.approx(pixels.mean(axis=0), rel=1e-12)
    assert found.std == pytest.approx(pixels.std(axis=0), rel=1e-12)
    images = torch.cat([x for x, _ in Batches(data, some, 4, found).epoch()])
    assert images.mean(dim=(0, 2, 3)).numpy() == pytest.approx([0] * 3, abs=1e-6)
    assert images.std(dim=(0, 2, 3), correction=0).numpy() == pytest.approx([1] * 3, abs=1e-6)


def test_a_constant_channel_does_not_divide_by_zero() -> None:
    data = in_memory(np.full((4, 2, 2, 1), 90, dtype=np.uint8), [0, 1, 0, 1])
    (images, _), *_ = Batches(data, np.arange(4), 4, Normalisation.of(data, np.arange(4))).epoch()
    assert images.abs().max() < 1e-4


def test_an_epoch_has_each_image_once_in_an_order_of_its_own(data: ImageData) -> None:
    some = np.arange(3, 103)
    batches = Batches(data, some, 10, COLOURS, seed=4)
    orders = [torch.cat([labels for _, labels in batches.epoch(epoch)]).tolist() for epoch in range(3)]
    assert len(batches) == 10
    assert all(sorted(order) == some.tolist() for order in orders)
    assert orders[0] != orders[1] != orders[2]


def test_a_shuffled_epoch_leaves_out_what_fills_no_batch(data: ImageData) -> None:
    batches = Batches(data, every(data), 10, COLOURS)
    found = [labels.tolist() for _, labels in batches.epoch()]
    assert len(found) == len(batches) == 10
    left_out = set(range(103)) - {label for labels in found for label in labels}
    assert len(left_out) == 3


def test_measuring_takes_all_images_in_order(data: ImageData) -> None:
    batches = Batches(data, every(data), 10, COLOURS, shuffle=False)
    labels = [labels.tolist() for _, labels in batches.epoch()]
    assert len(labels) == len(batches) == 11
    assert [label for batch in labels for label in batch] == list(range(103))


def test_batches_are_a_function_of_seed_epoch_and_step(data: ImageData) -> None:
    def epoch(seed: int, number: int, step: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
        batches = Batches(data, every(data), 10, COLOURS, seed=seed, augmentation=ALL)
        return list(batches.epoch(number, step))

    reference = epoch(7, 2)
    torch.manual_seed(99)
    assert same(epoch(7, 2), reference)
    assert same(epoch(7, 2, step=6), reference[6:])
    assert epoch(7, 2, step=10) == []
    assert not same(epoch(8, 2), reference)
    assert not same(epoch(7, 3), reference)
    assert not torch.equal(reference[0][0], reference[1][0])


def test_the_random_state_of_others_is_not_touched(data: ImageData) -> None:
    torch.manual_seed(3)
    np.random.seed(3)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    for _ in Batches(data, every(data), 10, COLOURS, augmentation=ALL).epoch():
        pass
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # type: ignore[index]


def test_crops_and_flips_are_windows_of_the_padded_image() -> None:
    """Each of the 25 windows, mirrored or not, and nothing else; all about equally often."""
    data = in_memory(random_images(500, 5, 5, 1), np.arange(500))
    batches = Batches(data, np.arange(500), 50, PLAIN, augmentation=Augmentation(crop_padding=2, flip=True))
    seen = np.zeros((5, 5, 2), dtype=int)
    for epoch in range(4):
        for images, labels in batches.epoch(epoch):
            found = np.rint(images.numpy()[:, 0] * 255)
            for image, original in zip(found, data.images[labels.numpy(), :, :, 0], strict=True):
                padded = np.pad(original, 2)
                windows = [
                    (y, x, side)
                    for y in range(5) for x in range(5) for side in range(2)
                    if np.array_equal(image, padded[y : y + 5, x : x + 5][:, :: 1 - 2 * side])
                ]  # fmt: skip
                assert len(windows) == 1
                seen[windows[0]] += 1
    # 2,000 draws of 50 equally likely windows: mean 40, standard deviation 6.3
    assert seen.sum() == 2000
    assert (np.abs(seen - 40) < 4.5 * 6.3).all()


def test_cutout_blanks_a_square_that_borders_may_cut() -> None:
    """DeVries & Taylor, 2017: the centre is anywhere, so the square has from 2 × 2 to 3 × 3 pixels here."""
    data = in_memory(np.full((400, 5, 5, 3), 255, dtype=np.uint8), np.arange(400))
    batches = Batches(
        data, np.arange(400), 100, Normalisation((0.5,) * 3, (0.5,) * 3), augmentation=Augmentation(0, False, 3)
    )
    centres = np.zeros((5, 5), dtype=int)
    for images, _ in batches.epoch():
        assert set(images.unique().tolist()) == {0.0, 1.0}
        for image in images.numpy():
            assert (image == image[0]).all()
            matching = []
            for y in range(5):
                for x in range(5):
                    expected = np.ones((5, 5))
                    expected[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = 0
                    if np.array_equal(image[0], expected):
                        matching.append((y, x))
            assert len(matching) == 1
            centres[matching[0]] += 1
    assert (np.abs(centres - 16) < 4.5 * 4).all()


def test_shards_are_parts_of_the_same_batches(data: ImageData) -> None:
    whole = [labels.tolist() for _, labels in Batches(data, every(data), 10, COLOURS, seed=1).epoch(5)]
    shards = [
        [labels.tolist() for _, labels in Batches(data, every(data), 10, COLOURS, seed=1, shard=(rank, 3)).epoch(5)]
        for rank in range(3)
    ]
    for batch, *held in zip(whole, *shards, strict=True):
        assert sorted(batch) == sorted(label for part in held for label in part)


def test_the_usual_augmentation_mirrors_no_signs(data: ImageData) -> None:
    assert Augmentation.usual(in_memory(random_images(2, 32, 32, 3), [0, 1])) == Augmentation(crop_padding=4, flip=True)
    assert Augmentation.usual(in_memory(random_images(2, 8, 8, 1), [0, 1])) == Augmentation(crop_padding=1, flip=False)


def test_bad_arguments_are_told(data: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NasError, match="103 images are fewer than a batch of 104"):
        Batches(data, every(data), 104, COLOURS)
    with pytest.raises(NasError, match="0 images are fewer"):
        Batches(data, every(data)[:0], 1, COLOURS, shuffle=False)
    with pytest.raises(NasError, match="a batch of 0 images"):
        Batches(data, every(data), 0, COLOURS)
    with pytest.raises(NasError, match="step 11 of an epoch of 10 steps"):
        next(Batches(data, every(data), 10, COLOURS).epoch(0, 11))
    with pytest.raises(NasError, match="must be 0 or more"):
        Augmentation(crop_padding=-1)
    monkeypatch.setitem(sys.modules, "kornia", None)
    assert len(list(Batches(data, every(data), 10, COLOURS).epoch())) == 10
    with pytest.raises(NasError, match=r"augmentation needs Kornia: pip install 'nas\[data\]'"):
        Batches(data, every(data), 10, COLOURS, augmentation=Augmentation(flip=True))
