"""Exponents of cost: recovered where known, and true to published counts of scaled networks."""

from __future__ import annotations

import numpy as np
import pytest

import nas
from nas.errors import NasError
from nas.scaling.coefficients import Coefficients, Multipliers
from nas.scaling.fitting.built import as_built
from nas.scaling.fitting.cost_growth import (
    PAPER,
    CostGrowth,
    cost_named,
    growth_of,
    latency_of,
    macs_growth,
    sampled_multipliers,
    target_growth,
)
from nas.scaling.scaled import scaled
from nas.space import StagedNetwork

#: depth, width, resolution of EfficientNet-B1 to B7, and exact multiply-adds, of B0 first (Tan & Le, 2019)
RELEASED = np.array(
    [[1.1, 1.0, 240], [1.2, 1.1, 260], [1.4, 1.2, 300], [1.8, 1.4, 380], [2.2, 1.6, 456], [2.6, 1.8, 528],
     [3.1, 2.0, 600]]
)  # fmt: skip
MACS = np.array(
    [385_814_752, 686_802_832, 993_561_872, 1_827_141_392, 4_393_771_024, 10_266_384_752, 19_067_593_536,
     37_745_884_192]
)  # fmt: skip


@pytest.fixture(scope="module")
def b0() -> StagedNetwork:
    network = nas.network("efficientnet_b0")
    assert isinstance(network, StagedNetwork)
    return network


def test_known_exponents_are_recovered(rng: np.random.Generator) -> None:
    multipliers = rng.uniform(1, 3, (30, 3))
    costs = (multipliers ** [0.9, 1.7, 2.1]).prod(axis=1)
    exact = growth_of("x", "x", multipliers, costs, origin="computed")
    np.testing.assert_allclose(exact.exponents, [0.9, 1.7, 2.1])
    assert exact.residual < 1e-9
    noisy = growth_of("x", "x", multipliers, costs * np.exp(0.05 * rng.standard_normal(30)), origin="computed")
    assert noisy.residual == pytest.approx(0.05, rel=0.4)


def test_exponents_are_that_of_the_law(b0: StagedNetwork) -> None:
    assert PAPER.of(Coefficients(1.2, 1.1, 1.15)) == pytest.approx(1.92, abs=0.005)  # printed in the paper
    shares = np.array([[0.2, 0.3, 0.5], [1, 0, 0]])
    spent = PAPER.spent(shares, 4.0)
    np.testing.assert_allclose(spent[:, 0] * spent[:, 1] ** 2 * spent[:, 2] ** 2, 4)
    assert spent[1].tolist() == [4, 1, 1]
    np.testing.assert_allclose(PAPER.along(Coefficients(2, 1, 1), 8), [8, 1, 1])


def test_depth_as_built_counts_layers(b0: StagedNetwork) -> None:
    built = as_built(b0, np.array([[1.0, 1.0, 1.0], [1.1, 1.0, 240 / 224], [3.1, 2.0, 600 / 224], [1.1, 1.3, 1.0]]))
    # B0 has 16 blocks of inverted residuals, B1 23 and B7 55.
    np.testing.assert_allclose(built[:, 0], [1, 23 / 16, 55 / 16, 23 / 16])
    np.testing.assert_allclose(built[:, 1:], [[1, 1], [1, 240 / 224], [2, 600 / 224], [1.3, 1]])


def test_the_law_of_macs_holds_on_the_released_networks(b0: StagedNetwork) -> None:
    law = macs_growth(b0)
    built = as_built(b0, RELEASED / [1, 1, 224])
    predicted = MACS[0] * (built**law.exponents).prod(axis=1)
    off = np.log(predicted / MACS[1:])
    assert np.sqrt(np.mean(off**2)) < 2 * law.residual
    assert abs(law.exponents - [1, 2, 2]).max() < 0.2
    assert law.residual < 0.08


def test_sampled_networks_fill_the_range() -> None:
    multipliers = sampled_multipliers(200, 16.0)
    cost = (multipliers**PAPER.exponents).prod(axis=1)
    assert multipliers.min() >= 1
    assert (np.histogram(np.log(cost), 4, (0, np.log(16)))[0] > 35).all()
    for dimension in range(3):
        share = PAPER.exponents[dimension] * np.log(multipliers[:, dimension]) / np.log(cost)
        assert share.min() < 0.1
        assert share.max() > 0.75


def test_the_law_of_a_target_holds_on_other_networks(b0: StagedNetwork) -> None:
    target = nas.target("pixel4")
    law = target_growth(b0, target)
    latency, notes = latency_of(b0, target)
    for by in (Multipliers(1.6, 1.2, 1.1), Multipliers(1.0, 1.6, 1.3)):
        built = as_built(b0, np.array([[by.depth, by.width, by.resolution]]))
        predicted = latency(b0) * (built**law.exponents).prod()
        assert predicted == pytest.approx(latency(scaled(b0, by)), rel=3 * law.residual)
    assert law.metric == "latency_ms"
    assert law.origin == "predicted"
    assert "leave-one-out" in " ".join(notes)
    assert set(notes) <= set(law.notes)
    # Depthwise layers and overheads do not grow as pointwise ones do, so width is cheaper in time than in MACs.
    assert law.width < macs_growth(b0).width


def test_a_target_that_knows_a_space_alone_is_refused(b0: StagedNetwork) -> None:
    with pytest.raises(NasError, match="a100"):
        target_growth(b0, nas.target("a100"))


def test_a_base_without_depth_is_refused() -> None:
    flat = StagedNetwork.from_strings("cn_k3_s2_c16", (), ("cn_c32", "pool", "fc"), resolution=64)
    with pytest.raises(NasError, match="cannot be scaled in depth"):
        macs_growth(flat)


def test_costs_that_cannot_be_explained_are_refused(rng: np.random.Generator) -> None:
    multipliers = rng.uniform(1, 3, (20, 3))
    with pytest.raises(NasError, match="does not grow with depth"):
        growth_of("x", "battery", multipliers, multipliers[:, 1] * multipliers[:, 2], origin="given")
    multipliers[:, 2] = 1
    with pytest.raises(NasError, match="must each vary"):
        growth_of("x", "x", multipliers, multipliers[:, 0], origin="given")
    with pytest.raises(NasError, match="positive"):
        growth_of("x", "x", multipliers, -multipliers[:, 0], origin="given")


def test_a_cost_is_named(b0: StagedNetwork) -> None:
    assert cost_named(b0, "paper") == (PAPER, None)
    growth, cost = cost_named(b0, "macs")
    assert isinstance(growth, CostGrowth)
    assert cost is not None
    assert cost(b0) == MACS[0]
    with pytest.raises(NasError, match="did you mean 'macs'"):
        cost_named(b0, "mac")
