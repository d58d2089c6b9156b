"""Families by compound coefficient and by budget."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import nas
from nas.errors import NasError
from nas.hardware import load_target
from nas.scaling.coefficients import Coefficients
from nas.scaling.emit import TOLERANCE, Budget, emit, emit_released, emit_to_budgets
from nas.scaling.released import published_family
from nas.scaling.table import family_table
from nas.space import NetworkSpec

PAPER = Coefficients(1.2, 1.1, 1.15)
B0 = nas.network("efficientnet_b0")


def macs(network: NetworkSpec) -> float:
    return float(network.cost()["macs"])


def latency(network: NetworkSpec) -> float:
    return load_target("pixel4").of(B0)["latency_ms"].predictor.predict_spec(network)[0]


def test_the_member_of_phi_zero_is_the_base() -> None:
    family = emit(B0, "efficientnet_b0", PAPER, [0, 1])
    assert [member.name for member in family.members] == ["b0", "b1"]
    assert family.members[0].spec == B0


def test_a_member_is_scaled_by_hand() -> None:
    """Stage 4 of B0 has 3 layers of 80 channels; phi 2 makes that ceil(3 × 1.44) = 5 of 80 × 1.21 = 96.8, so 96."""
    member = emit(B0, "efficientnet_b0", PAPER, [2]).members[0]
    stage = [node.block for node in member.spec.nodes if node.part == "stage4"]
    assert len(stage) == 5
    assert {block.out_channels for block in stage} == {96}
    assert member.spec.resolution == 296


def test_counts_of_a_family_are_those_of_the_torch_modules() -> None:
    family = emit(nas.network("mobilenetv3_small"), "mobilenetv3_small", PAPER, [0, 1.5])
    rows = family_table(family)
    for member in family.members:
        module = member.spec.build()
        assert rows.at[member.name, "params"] == sum(p.numel() for p in module.parameters())
    assert rows["macs_growth"].iloc[0] == 1


def test_released_families_are_the_released_networks() -> None:
    family = emit_released(published_family("efficientnet"))
    rows = family_table(family)
    assert list(rows.index[:8]) == [f"b{i}" for i in range(8)]
    assert rows["params"].iloc[:3].tolist() == [5_288_548, 7_794_184, 9_109_994]
    assert rows["resolution"].tolist() == [224, 240, 260, 300, 380, 456, 528, 600, 672, 800]
    assert [member.recipe.dropout for member in family.members[:8] if member.recipe] == [
        0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5
    ]  # fmt: skip
    assert rows["published_top1"].iloc[:8].tolist() == [77.1, 79.1, 80.1, 81.6, 82.9, 83.6, 84.0, 84.3]


@pytest.mark.parametrize("base", ["efficientnet_b0", "mobilenetv3_small"])
def test_steps_of_latency_are_within_three_percent_of_the_budgets(base: str) -> None:
    network = nas.network(base)
    first = latency(network)
    budgets = [Budget(f"step{i}", first * 2**i) for i in range(1, 4)]
    family = emit_to_budgets(network, base, PAPER, budgets, latency, "latency_ms", "pixel4")
    shares = np.array([latency(m.spec) / b.bound for m, b in zip(family.members, budgets, strict=True)])
    assert (shares <= 1).all()
    assert (shares >= 1 - TOLERANCE).all()
    sizes = [member.by for member in family.members]
    for smaller, larger in itertools.pairwise(sizes):
        assert smaller is not None
        assert larger is not None
        assert all(a < b for a, b in zip(vars(smaller).values(), vars(larger).values(), strict=True))


@pytest.mark.parametrize(("base", "steps"), [("convnext_tiny", (0.5, 2)), ("darts_v2", (2, 4)), ("regnetx_008", (3,))])
def test_budgets_of_macs_on_every_kind_of_network_above_and_below_the_base(base: str, steps: tuple[float, ...]) -> None:
    network = nas.network(base)
    budgets = [Budget(f"{step}x", step * macs(network)) for step in steps]
    family = emit_to_budgets(network, base, PAPER, budgets, macs, "macs")
    for member, budget in zip(family.members, budgets, strict=True):
        assert 1 - TOLERANCE <= macs(member.spec) / budget.bound <= 1
        assert member.phi is not None
        assert (member.phi > 0) == (budget.bound > macs(network))


def test_the_budget_of_the_base_gives_the_base() -> None:
    family = emit_to_budgets(B0, "efficientnet_b0", PAPER, [Budget("same", macs(B0))], macs, "macs")
    assert family.members[0].spec == B0


def test_a_member_lies_near_the_line_of_the_coefficients() -> None:
    """A family that grows in resolution alone keeps the base's stages."""
    finer = Coefficients(1, 1, 1.2)
    member = emit_to_budgets(B0, "efficientnet_b0", finer, [Budget("3x", 3 * macs(B0))], macs, "macs").members[0]
    assert member.spec.scale(resolution=224) == B0
    assert math.isclose(member.spec.resolution, 224 * math.sqrt(3), rel_tol=0.03)


def test_a_budget_that_no_network_meets_is_refused_with_the_cheapest() -> None:
    with pytest.raises(NasError, match=r"within 0\.1ms: the smallest below efficientnet_b0 costs \d"):
        emit_to_budgets(B0, "efficientnet_b0", PAPER, [Budget("0.1ms", 0.1)], latency, "latency_ms")
    with pytest.raises(NasError, match="more than 24 steps above"):
        emit_to_budgets(B0, "efficientnet_b0", PAPER, [Budget("1e18", 1e18)], macs, "macs")


def test_impossible_families_are_refused() -> None:
    with pytest.raises(NasError, match="phi is -1"):
        emit(B0, "efficientnet_b0", PAPER, [-1])
    with pytest.raises(NasError, match="phi 2 is given twice"):
        emit(B0, "efficientnet_b0", PAPER, [2, 2.0])
