"""Spaces of listed networks: nothing else is ever proposed, and the operations of strategies still lead somewhere."""

from __future__ import annotations

import numpy as np
import pytest

import nas
from nas.cost import cost_model
from nas.errors import NasError
from nas.space import CodeIndex, Codes, ListedSpace, SearchSpace


@pytest.fixture(scope="module")
def listed(mbconv: SearchSpace) -> ListedSpace:
    return ListedSpace(mbconv, mbconv.sample(200, np.random.default_rng(1)))


def as_set(codes: Codes) -> set[tuple[int, ...]]:
    return {tuple(row) for row in codes.tolist()}


def hamming(a: Codes, b: Codes) -> np.ndarray:
    return np.asarray((a[:, None] != b[None]).sum(axis=2))


def test_holds_each_network_once(mbconv: SearchSpace) -> None:
    codes = mbconv.sample(5, np.random.default_rng(3))
    space = ListedSpace(mbconv, np.concatenate([codes, codes[::-1]]))
    assert space.size == 5
    assert (space.all_codes() == codes).all()
    assert mbconv.size > 10**11


def test_everything_stays_in_the_list(listed: ListedSpace, rng: np.random.Generator) -> None:
    inside = as_set(listed.all_codes())
    codes = listed.sample(300, rng)
    assert as_set(codes) <= inside
    mutants = listed.mutate(codes, rng)
    assert as_set(mutants) <= inside
    assert (mutants != codes).any(axis=1).all()
    assert as_set(listed.crossover(codes, codes[::-1], rng)) <= inside
    assert as_set(listed.canonical(listed.base.sample(50, rng))) <= inside
    assert (listed.canonical(codes) == codes).all()


def test_replaces_a_network_by_a_nearest_one(listed: ListedSpace, rng: np.random.Generator) -> None:
    codes = listed.base.sample(50, rng)
    found = listed.canonical(codes)
    assert ((found != codes).sum(axis=1) == hamming(codes, listed.all_codes()).min(axis=1)).all()


def test_neighbours_are_the_nearest(listed: ListedSpace) -> None:
    for code in listed.all_codes()[:20]:
        near = listed.neighbours(code)
        distances = np.sort(hamming(code[None], listed.all_codes())[0])[1:]
        limit = distances[len(listed.decisions) - 1]
        assert len(near) == (distances <= limit).sum() >= len(listed.decisions)
        assert tuple(code) not in as_set(near)
        assert hamming(code[None], near).max() == limit


def test_mutation_reaches_the_whole_list(listed: ListedSpace, rng: np.random.Generator) -> None:
    seen = codes = listed.all_codes()[:1]
    for _ in range(100):
        codes = listed.mutate(np.repeat(codes, 2, axis=0), rng)[:64]
        seen = np.concatenate([seen, codes])
    assert len(as_set(seen)) > 0.9 * listed.size


def test_costs_and_words_are_those_of_the_whole_space(listed: ListedSpace) -> None:
    codes = listed.all_codes()
    assert cost_model(listed)(codes).equals(cost_model(listed.base)(codes))
    assert listed.format(codes) == listed.base.format(codes)
    low, high = cost_model(listed).bounds()["macs"]
    macs = cost_model(listed.base)(codes)["macs"]
    assert (low, high) == (macs.min(), macs.max())
    text = listed.format(codes[:1])[0]
    assert (listed.encode(text) == codes[0]).all()
    assert (listed.encode(listed.spec(text)) == codes[0]).all()
    assert (listed.encode(listed.decode(codes[0])) == codes[0]).all()


def test_refuses_a_network_that_is_not_listed(listed: ListedSpace, rng: np.random.Generator) -> None:
    stranger = listed.base.sample(1, rng)
    with pytest.raises(NasError, match="not among the 200 listed networks of mbconv"):
        listed.check(stranger)
    with pytest.raises(NasError, match="not among the 200"):
        listed.encode(listed.base.format(stranger)[0])
    with pytest.raises(NasError, match="no network"):
        ListedSpace(listed.base, listed.all_codes()[:0])


def test_finds_rows_of_codes(mbconv: SearchSpace, rng: np.random.Generator) -> None:
    codes = np.unique(mbconv.sample(500, rng), axis=0)
    order = rng.permutation(len(codes))
    assert (CodeIndex(codes[order]).rows(codes) == np.argsort(order)).all()
    assert (CodeIndex(codes[:-5]).rows(codes[-5:]) == -1).all()
    # Codes that end in zeros, or differ in zeros alone, are different codes.
    few = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 0, 0]], dtype=np.int8)
    assert CodeIndex(few).rows(few[::-1]).tolist() == [4, 3, 2, 1, 0]


def test_predictors_see_what_they_see_in_the_whole_space() -> None:
    """In NAS-Bench-201 that is more than nothing: which paths of the cell are open."""
    whole = nas.space("nasbench201")
    codes = whole.sample(50, np.random.default_rng(5))
    features = ListedSpace(whole, codes).predictor_features(codes)
    assert features.shape[1] > 0
    np.testing.assert_array_equal(features, whole.predictor_features(codes))
