"""Operations on codes against a recursive enumeration that knows nothing of arrays."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.errors import NasError
from nas.space import Codes, Condition, Decision, SearchSpace

Code = tuple[int, ...]
MakeSpace = Callable[[Sequence[Decision]], SearchSpace]

#: 99.9 % points of the chi-square distribution by degrees of freedom (any table of it)
CHI_SQUARE_999 = {53: 90.573, 95: 143.344}


@st.composite
def forests(draw: st.DrawFn) -> tuple[Decision, ...]:
    """Up to six decisions of one to three choices, each perhaps depending on an earlier one."""
    decisions: list[Decision] = []
    for i in range(draw(st.integers(1, 6))):
        condition = None
        if decisions and draw(st.booleans()):
            parent = draw(st.sampled_from(decisions))
            values = draw(st.sets(st.sampled_from(parent.choices), min_size=0))
            condition = Condition(parent.name, tuple(sorted(values)))
        decisions.append(Decision(f"d{i}", tuple(range(10, 10 + draw(st.integers(1, 3)))), condition))
    return tuple(decisions)


def is_active(decisions: Sequence[Decision], code: Sequence[int], d: int) -> bool:
    """Whether a decision matters, by following the conditions by name."""
    condition = decisions[d].active_if
    if condition is None:
        return True
    parent = next(i for i, decision in enumerate(decisions) if decision.name == condition.parent)
    chosen = decisions[parent].choices[code[parent]]
    return chosen in condition.values and is_active(decisions, code, parent)


def reduced(decisions: Sequence[Decision], code: Sequence[int]) -> Code:
    return tuple(value if is_active(decisions, code, d) else 0 for d, value in enumerate(code))


def enumerated(decisions: Sequence[Decision]) -> set[Code]:
    every = itertools.product(*[range(len(decision.choices)) for decision in decisions])
    return {reduced(decisions, code) for code in every}


def rows(codes: Codes) -> list[Code]:
    return [tuple(int(value) for value in row) for row in codes]


def array(codes: Sequence[Code] | set[Code]) -> Codes:
    return np.array(sorted(codes), dtype=np.int8)


@settings(max_examples=60)
@given(forests())
def test_size_and_listing_are_what_enumeration_finds(make_space: MakeSpace, decisions: tuple[Decision, ...]) -> None:
    space, expected = make_space(decisions), enumerated(decisions)
    listed = rows(space.all_codes())
    assert space.size == len(expected)
    assert len(listed) == len(set(listed))
    assert set(listed) == expected


@settings(max_examples=60)
@given(forests())
def test_canonical_and_active_follow_the_conditions(make_space: MakeSpace, decisions: tuple[Decision, ...]) -> None:
    space = make_space(decisions)
    every = list(itertools.product(*[range(len(decision.choices)) for decision in decisions]))
    codes = np.array(every, dtype=np.int8)
    before = codes.copy()
    canonical = space.canonical(codes)
    assert rows(canonical) == [reduced(decisions, code) for code in every]
    np.testing.assert_array_equal(space.canonical(canonical), canonical)
    np.testing.assert_array_equal(codes, before)
    expected = [[is_active(decisions, code, d) for d in range(len(decisions))] for code in every]
    np.testing.assert_array_equal(space.active(codes), expected)


@settings(max_examples=40)
@given(forests(), st.integers(0, 2**32))
def test_neighbours_are_all_changes_of_one_decision(
    make_space: MakeSpace, decisions: tuple[Decision, ...], seed: int
) -> None:
    space = make_space(decisions)
    (origin,) = rows(space.sample(1, np.random.default_rng(seed)))
    expected = {
        reduced(decisions, (*origin[:d], choice, *origin[d + 1 :]))
        for d, decision in enumerate(decisions)
        for choice in range(len(decision.choices))
    } - {origin}
    found = rows(space.neighbours(origin))
    assert len(found) == len(set(found))
    assert set(found) == expected


@settings(max_examples=40)
@given(forests(), st.sampled_from([None, 0.0, 0.3, 1.0]), st.integers(0, 2**32))
def test_mutation_always_gives_another_network(
    make_space: MakeSpace, decisions: tuple[Decision, ...], rate: float | None, seed: int
) -> None:
    space, rng = make_space(decisions), np.random.default_rng(seed)
    parents = space.sample(50, rng)
    valid = enumerated(decisions)
    for parent, child in zip(rows(parents), rows(space.mutate(parents, rng, rate)), strict=True):
        assert child in valid
        free = any(len(d.choices) > 1 and is_active(decisions, parent, i) for i, d in enumerate(decisions))
        assert (child != parent) == free


def test_mutation_rate_is_the_expected_share_of_changes(mbconv: SearchSpace, rng: np.random.Generator) -> None:
    parents = mbconv.sample(4000, rng)
    changed = (mbconv.mutate(parents, rng, 0.25) != parents).mean()
    # 112,000 Bernoulli draws of 0.25: five standard deviations are 0.0065; a forced first change adds 0.75^28 / 28.
    assert changed == pytest.approx(0.25, abs=0.007)
    everywhere = mbconv.mutate(parents, rng, 1.0)
    assert (everywhere != parents).all()


@settings(max_examples=40)
@given(forests(), st.integers(0, 2**32))
def test_children_of_crossover_are_networks_made_of_their_parents(
    make_space: MakeSpace, decisions: tuple[Decision, ...], seed: int
) -> None:
    space, rng = make_space(decisions), np.random.default_rng(seed)
    a, b = space.sample(40, rng), space.sample(40, rng)
    valid = enumerated(decisions)
    for mother, father, child in zip(rows(a), rows(b), rows(space.crossover(a, b, rng)), strict=True):
        assert child in valid
        for d in range(len(decisions)):
            if is_active(decisions, child, d):
                assert child[d] in (mother[d], father[d])


@settings(max_examples=40)
@given(forests(), st.integers(0, 2**32))
def test_a_decision_is_inherited_from_a_parent_in_which_it_matters(
    make_space: MakeSpace, decisions: tuple[Decision, ...], seed: int
) -> None:
    space, rng = make_space(decisions), np.random.default_rng(seed)
    a, b = space.sample(40, rng), space.sample(40, rng)
    for mother, father, child in zip(rows(a), rows(b), rows(space.crossover(a, b, rng)), strict=True):
        for d in range(len(decisions)):
            given_by = [parent[d] for parent in (mother, father) if is_active(decisions, parent, d)]
            if is_active(decisions, child, d) and given_by:
                assert child[d] in given_by


def test_crossover_takes_from_both_parents_equally_or_as_asked(mbconv: SearchSpace, rng: np.random.Generator) -> None:
    a, b = mbconv.sample(4000, rng), mbconv.sample(4000, rng)
    # About 60,000 coins: five standard deviations are 0.0102 at most.
    for share, child in ((0.5, mbconv.crossover(a, b, rng)), (0.9, mbconv.crossover(a, b, rng, 0.9))):
        assert (child == a)[a != b].mean() == pytest.approx(share, abs=0.0102)


@pytest.mark.parametrize("name", ["nested_space", "tiny_space"])
def test_sampling_is_uniform_over_distinct_networks(name: str, request: pytest.FixtureRequest) -> None:
    space: SearchSpace = request.getfixturevalue(name)
    networks = rows(space.all_codes())
    drawn = rows(space.sample(200 * len(networks), np.random.default_rng(1)))
    counts = dict.fromkeys(networks, 0)
    for code in drawn:
        counts[code] += 1
    chi_square = sum((count - 200) ** 2 / 200 for count in counts.values())
    assert chi_square < CHI_SQUARE_999[len(networks) - 1]


def test_the_hand_counted_space(nested_space: SearchSpace) -> None:
    assert nested_space.size == 3 * (1 + 2 + 2 * (1 + 3 + 3) + 1) == 54


def test_sampling_repeats_with_the_seed(mbconv: SearchSpace) -> None:
    first, again, other = (mbconv.sample(20, np.random.default_rng(seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_codes_are_int8_everywhere(nested_space: SearchSpace, rng: np.random.Generator) -> None:
    codes = nested_space.sample(10, rng)
    produced = [
        codes, nested_space.canonical(codes), nested_space.all_codes(), nested_space.neighbours(codes[0]),
        nested_space.mutate(codes, rng), nested_space.crossover(codes, codes[::-1], rng),
    ]  # fmt: skip
    assert {result.dtype for result in produced} == {np.dtype(np.int8)}


def test_huge_spaces_are_not_listed(mbconv: SearchSpace) -> None:
    with pytest.raises(NasError, match=r"mbconv has 1\.04e\+11 networks, too many to list"):
        mbconv.all_codes()


def test_features_are_one_hot_over_the_decisions_that_matter(nested_space: SearchSpace) -> None:
    codes = nested_space.all_codes()
    features = nested_space.features(codes)
    assert features.shape == (54, 3 + 4 + 2 + 3 + 3)
    assert set(np.unique(features)) == {0.0, 1.0}
    np.testing.assert_array_equal(features.sum(axis=1), nested_space.active(codes).sum(axis=1))
    assert len(np.unique(features, axis=0)) == 54


def test_values_are_the_chosen_numbers(make_space: MakeSpace) -> None:
    space = make_space([Decision("depth", (1, 4)), Decision("ratio", (0.5, 2), Condition("depth", (4,)))])
    np.testing.assert_array_equal(space.values(array({(0, 0), (1, 0), (1, 1)})), [[1, 0], [4, 0.5], [4, 2]])


def test_values_need_numbers(nested_space: SearchSpace) -> None:
    with pytest.raises(NasError, match=r"'body\.op' is not numeric; use features\(\)"):
        nested_space.values(nested_space.all_codes())
