"""What every registered space promises: one code one network, exact costs for any number of codes, valid moves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hook_counts import counted

import nas
from nas import registry
from nas.cost import CostModel, cost_model
from nas.space import Codes, SearchSpace

SPACES = registry.names("spaces")
#: pairs of codes whose networks are compared
PAIRS = 10_000


@pytest.fixture(scope="module", params=SPACES)
def space(request: pytest.FixtureRequest) -> SearchSpace:
    return nas.space(request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def same_rows(a: npt.NDArray[np.int8], b: npt.NDArray[np.int8]) -> npt.NDArray[np.bool_]:
    return np.asarray((a == b).all(axis=1))


def with_idle_decisions_changed(space: SearchSpace, codes: Codes, rng: np.random.Generator) -> Codes:
    counts = [len(decision.choices) for decision in space.decisions]
    return np.where(space.active(codes), codes, rng.integers(counts, size=codes.shape)).astype(np.int8)


def test_samples_are_canonical_codes(space: SearchSpace, rng: np.random.Generator) -> None:
    codes = space.sample(2000, rng)
    assert codes.shape == (2000, len(space.decisions))
    assert codes.dtype == np.int8
    assert (space.check(codes) == codes).all()
    assert len(np.unique(codes, axis=0)) > min(1000, space.size // 2)


def test_words_and_decisions_and_networks_lead_back_to_the_code(space: SearchSpace, rng: np.random.Generator) -> None:
    for code, text in zip(codes := space.sample(40, rng), space.format(codes), strict=True):
        assert (space.encode(text) == code).all()
        assert (space.encode(space.decode(code)) == code).all()
        assert (space.encode(dict(space.decode(code).decisions)) == code).all()
        assert (space.encode(space.spec(code)) == code).all()


def test_one_code_one_network(space: SearchSpace, rng: np.random.Generator) -> None:
    """Random pairs: strangers, near relatives, and codes that differ only in decisions that do not matter."""
    a = space.sample(PAIRS, rng)
    b = space.sample(PAIRS, rng)
    near = np.arange(PAIRS) % 4 != 0
    b[near] = space.mutate(a[near], rng)
    # A change to a decision that does not matter is none at all.
    idle = np.arange(PAIRS) % 4 == 2
    b[idle] = space.canonical(with_idle_decisions_changed(space, a[idle], rng))
    assert (b[idle] == a[idle]).all()
    equal = same_rows(a, b)
    assert 0 < equal.sum() < PAIRS or not len(space.decisions)
    wrong = [i for i in range(PAIRS) if (space.spec(a[i]) == space.spec(b[i])) != equal[i]]
    assert wrong == []


def test_neighbours_are_the_networks_one_change_away(space: SearchSpace, rng: np.random.Generator) -> None:
    for code in space.sample(3, rng):
        near = space.neighbours(code)
        assert len(near) > 0
        assert (space.check(near) == near).all()
        assert len(np.unique(near, axis=0)) == len(near)
        assert not same_rows(near, code[None]).any()


def test_children_are_canonical_codes(space: SearchSpace, rng: np.random.Generator) -> None:
    a, b = space.sample(500, rng), space.sample(500, rng)
    mutated, crossed = space.mutate(a, rng), space.crossover(a, b, rng)
    for children in (mutated, crossed):
        assert (space.check(children) == children).all()
    assert not same_rows(mutated, a).any()
    assert (space.crossover(a, a, rng) == a).all()


def test_costs_of_many_codes_are_those_of_each_network(space: SearchSpace, rng: np.random.Generator) -> None:
    codes = space.sample(25, rng)
    table = cost_model(space)(codes)
    for code, row in zip(codes, table.to_dict("records"), strict=True):
        cost = space.spec(code).cost()
        assert {name: cost[name] for name in row} == row


def test_costs_are_those_of_the_built_module(space: SearchSpace, rng: np.random.Generator) -> None:
    codes = space.sample(3, rng)
    for code, (params, macs) in zip(codes, cost_model(space).params_and_macs(codes), strict=True):
        assert (params, macs) == counted(space.spec(code))


def test_no_network_costs_less_or_more_than_the_bounds(space: SearchSpace, rng: np.random.Generator) -> None:
    model: CostModel = cost_model(space)
    counts = model.params_and_macs(space.sample(5000, rng))
    for column, (low, high) in enumerate(model.bounds().values()):
        assert low <= counts[:, column].min() <= counts[:, column].max() <= high


def test_every_code_is_listed_where_there_are_few(space: SearchSpace) -> None:
    if space.size > 100_000:
        pytest.skip(f"{space.size:.3g} networks")
    codes = space.all_codes()
    assert len(codes) == len(np.unique(codes, axis=0)) == space.size
    assert (space.check(codes) == codes).all()


def test_a_scaled_network_is_a_network(space: SearchSpace, rng: np.random.Generator) -> None:
    spec = space.spec(space.sample(1, rng)[0])
    assert spec.scale() == spec
    wider, deeper = spec.scale(width=2.0), spec.scale(depth=2.0)
    assert wider.cost()["params"] > 2 * spec.cost()["params"]
    assert deeper.cost()["params"] > spec.cost()["params"]
    larger = spec.scale(resolution=2 * spec.resolution)
    assert larger.cost()["macs"] > 3 * spec.cost()["macs"]


def test_a_space_refuses_what_is_not_in_it(space: SearchSpace) -> None:
    with pytest.raises(nas.NasError):
        space.encode("no-such-code")
    with pytest.raises(nas.NasError):
        space.encode({"no.such.decision": 1})
    with pytest.raises(nas.NasError):
        space.check(np.full((1, len(space.decisions)), 126))
