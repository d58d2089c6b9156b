"""Splits: disjoint, stratified, repeatable, and the official test is sacred."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from make_images import in_memory

from nas.data.images import ImageData
from nas.data.splits import Splits, split
from nas.data.subsets import Subset
from nas.errors import NasError

PARTS = ("train", "architecture_validation", "validation", "test")


def labelled(*counts: int, subsets: Sequence[int] | None = None) -> ImageData:
    """So many images of each class, in random order."""
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    return in_memory(np.zeros((len(labels), 1, 1, 1), dtype=np.uint8), labels, subsets)


def parts(splits: Splits) -> list[list[int]]:
    return [getattr(splits, name).tolist() for name in PARTS]


@given(
    counts=st.lists(st.integers(1, 40), min_size=2, max_size=6),
    seed=st.integers(0, 1000),
    architecture=st.floats(0, 0.7),
    validation=st.floats(0.05, 0.4),
    test=st.floats(0.05, 0.4),
)
def test_every_image_is_in_one_part_and_every_class_in_proportion(
    counts: list[int], seed: int, architecture: float, validation: float, test: float
) -> None:
    data = labelled(*counts, 40)
    total = len(data)
    tested = round(test * total)
    chosen = round(validation * (total - tested))
    searched = round(architecture * (total - tested - chosen))
    sizes = [total - tested - chosen - searched, searched, chosen, tested]
    assume(sizes[0] > len(counts))
    found = split(data, seed, architecture=architecture, validation=validation, test=test)
    assert [len(part) for part in parts(found)] == sizes
    assert sorted(index for part in parts(found) for index in part) == list(range(total))
    for part, size in zip(parts(found), sizes, strict=True):
        assert part == sorted(part)
        inside = np.bincount(data.labels[part], minlength=len(counts) + 1)
        expected = np.bincount(data.labels) * size / total
        # one image of rounding at each end of the part
        assert (np.abs(inside - expected) < 2).all()
    assert len(np.unique(data.labels[found.train])) == len(counts) + 1


def test_shares_of_large_classes_are_exact() -> None:
    data = labelled(*[500] * 10)
    found = split(data, 3, architecture=0.5, validation=0.1, test=0.2)
    for name, expected in zip(PARTS, (180, 180, 40, 100), strict=True):
        assert np.bincount(data.labels[getattr(found, name)]).tolist() == [expected] * 10
    assert found.describe() == "1,800 train, 1,800 architecture validation, 400 validation, 1,000 test"


def test_a_seed_gives_one_split() -> None:
    data = labelled(30, 40, 50)
    assert parts(split(data, 5)) == parts(split(data, 5))
    assert all(a != b for a, b in zip(parts(split(data, 5)), parts(split(data, 6)), strict=True))


def test_the_test_depends_on_no_other_share() -> None:
    data = labelled(30, 40, 50)
    reference = split(data, 5)
    other = split(data, 5, architecture=0.2, validation=0.3)
    assert other.test.tolist() == reference.test.tolist()
    assert split(data, 5, architecture=0).validation.tolist() == reference.validation.tolist()
    assert len(split(data, 5, architecture=0).architecture_validation) == 0


def test_classes_are_split_at_random() -> None:
    """Each image of a class is about as likely to be in the test as any other."""
    data = labelled(10, 10)
    hits = np.zeros(20)
    for seed in range(400):
        hits[split(data, seed, test=0.2).test] += 1
    # 400 draws of probability 0.2: mean 80, standard deviation 8
    assert (np.abs(hits - 80) < 4 * 8).all()


@pytest.mark.parametrize("seed", [0, 1])
def test_official_test_images_are_for_nothing_else(seed: int) -> None:
    subsets = [Subset.TRAIN] * 80 + [Subset.TEST] * 20
    found = split(labelled(50, 50, subsets=subsets), seed, test=0.5)
    assert found.test.tolist() == list(range(80, 100))
    assert len(found.validation) == 8


def test_official_validation_images_choose() -> None:
    subsets = [Subset.VALIDATION] * 10 + [Subset.TRAIN] * 70 + [Subset.TEST] * 20
    found = split(labelled(50, 50, subsets=subsets), 0, validation=0.5)
    assert found.validation.tolist() == list(range(10))
    assert len(found.train) == len(found.architecture_validation) == 35


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"test": 1.0}, "share of 1 of the images for test; it must be at least 0 and below 1"),
        ({"validation": -0.1}, "share of -0.1 of the images for validation"),
        ({"architecture": float("nan")}, "share of nan of the images for architecture"),
        ({"test": 0.0}, "no image is left for test"),
        ({"validation": 0.0}, "no image is left for validation"),
        ({"architecture": 0.99}, "no image is left for train"),
    ],
)
def test_impossible_shares_are_told(shares: dict[str, float], message: str) -> None:
    with pytest.raises(NasError, match=message):
        split(labelled(6, 6), 0, **shares)
