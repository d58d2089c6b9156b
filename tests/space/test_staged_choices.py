"""What block strings with choices declare, against brute force: every decision, every network, each once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from nas.cost.model import CostModel
from nas.errors import NasError
from nas.space import ABSENT, Condition, StagedNetwork, StagedSpace
from nas.space.staged_network import layer_specs

SKELETON = StagedNetwork.from_strings("cn_k3_s2_c8", (), ("cn_c32", "pool", "fc"), resolution=32, num_classes=10)
GROUPS_WITHOUT_EXPANSION = {"groups": Condition("expand", (1,))}

#: strings of the stages, options, number of networks counted by hand
SMALL: dict[str, tuple[Sequence[str], dict[str, Any], int]] = {
    "shared": (("ir_r{1-3}_k{3,5}_c16", "ir_r{1,2}_s2_e{1,4}_c24_se{0,1}"), {}, 6 * 8),
    "layerwise": (("ir_r{1-3}_k{3,5}_c16", "ir_s2_e{1,4}_c24_se{0,1}"), {"layerwise": True}, (2 + 4 + 8) * 4),
    "several depths": (("ir_r{1,3}_k{3,5}_c16",), {"layerwise": True}, 2 + 8),
    "one stage open": (("ir_r2_c16", "ir_r2_s2_e{1,4}_c24", "cn_c24"), {"layerwise": True}, 4),
    "resolutions": (("ir_r{1,2}_k{3,5}_s2_c16",), {"resolutions": (32, 36, 64)}, 4 * 3),
    "widths": (("ir_r{1,2}_c{8,16}", "ir_s2_e{1,4}_c{24,32}", "cn_k{1,3}_c24"), {}, 4 * 4 * 2),
    "widths of layers": (("ir_r{1,2}_k{3,5}_c{8,16}", "ir_s2_c{24,32}"), {"layerwise": True}, 2 * (2 + 4) * 2),
    "widths of the ends": (("ir_k{3,5}_c16",), {"stem": "cn_k3_s2_c{8,16}", "head": ("cn_c{32,64}", "pool", "fc")}, 8),
    # a Fused-MBConv has no groups, so MBConv has 2 × 2 kernels and groups, the other 2 kernels
    "kinds": (("{ir,er}_k{3,5}_e4_c16_g{1,2}",), {}, 4 + 2),
    "kinds of layers": (("{ir,er}_r{1,2}_k3_e4_c16_g{1,2}",), {"layerwise": True}, 3 + 3 * 3),
    # an identity has neither kernel nor expansion
    "skip": (("{id,ir}_k{3,5}_e{2,4}_c8", "ir_k{3,5}_s2_c16"), {}, 5 * 2),
    "groups": (("ir_k3_e{1,2,4}_c8_g{1,2}",), {"only": GROUPS_WITHOUT_EXPANSION}, 2 + 1 + 1),
    "groups of layers": (
        ("{ir,id}_e{1,2}_c8_g{1,2}", "ir_r{1-2}_s2_e{1,4}_c16_g{1,2}"),
        {"only": GROUPS_WITHOUT_EXPANSION, "layerwise": True},
        4 * (3 + 9),
    ),
    "everything": (
        ("{ir,id}_k{3,5}_e{1,2}_c8_g{1,2}", "{ir,er,ds}_r{1,2}_k{3,5}_s2_c16"),
        {"only": GROUPS_WITHOUT_EXPANSION, "layerwise": True, "resolutions": (32, 33)},
        # stage 1: two kernels × (two groups without expansion, one with it), or the identity
        2 * (2 * 3 + 1) * (6 + 6**2),
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=list(SMALL))
def declared(request: pytest.FixtureRequest) -> tuple[StagedSpace, int]:
    stages, options, size = SMALL[request.param]
    return StagedSpace("small", SKELETON, stages, **options), size


def test_sizes_are_those_counted_by_hand(declared: tuple[StagedSpace, int]) -> None:
    space, size = declared
    assert space.size == len(space.all_codes()) == size


def test_every_code_is_another_network(declared: tuple[StagedSpace, int]) -> None:
    """Also another sequence of primitive operations: two descriptions of one network would not do."""
    space, size = declared
    specs = [space.spec(code) for code in space.all_codes()]
    assert len(set(specs)) == len({(spec.resolution, spec.layers()) for spec in specs}) == size


def test_all_settings_of_all_decisions_give_these_networks(declared: tuple[StagedSpace, int]) -> None:
    """Every setting, with those of decisions that do not matter, is a network of the space, and none is missing."""
    space, size = declared
    settings = np.array(list(itertools.product(*[range(len(decision.choices)) for decision in space.decisions])))
    codes = space.check(settings.reshape(-1, len(space.decisions))[:4000])
    assert {space.spec(code) for code in codes} <= {space.spec(code) for code in space.all_codes()}
    if len(settings) <= 4000:
        assert len(np.unique(codes, axis=0)) == size


def test_encoding_inverts_spec(declared: tuple[StagedSpace, int]) -> None:
    space, _ = declared
    for code in space.all_codes():
        np.testing.assert_array_equal(space.encode(space.spec(code)), code)
        np.testing.assert_array_equal(space.encode(space.spec(code).name), code)
        np.testing.assert_array_equal(space.encode(space.decode(code)), code)


def test_tables_hold_the_blocks_and_costs_of_every_network(declared: tuple[StagedSpace, int]) -> None:
    space, _ = declared
    codes, vocabulary = space.all_codes(), space.vocabulary
    costs = CostModel(space)(codes)
    used: set[int] = set()
    for code, ids, cost in zip(codes, vocabulary.ids(codes), costs.to_dict("records"), strict=True):
        spec, present = space.spec(code), [int(i) for i in ids if i != ABSENT]
        assert [vocabulary.blocks[i] for i in present] == list(spec.blocks)
        assert {name: spec.cost()[name] for name in cost} == cost
        used |= set(present)
    assert used == set(range(len(vocabulary)))


def test_names_of_decisions() -> None:
    space = StagedSpace(
        "named", SKELETON, ("{ir,er}_r{1-2}_k{3,5}_e{2,4}_c{8,16}_se{0,1}",), layerwise=True, resolutions=(32, 64),
        stem="cn_k3_s2_c{8,16}", head=("cn_c{32,64}", "pool", "fc"),
    )  # fmt: skip
    own = ("block", "expand", "kernel", "se")
    assert [decision.name for decision in space.decisions] == [
        "resolution", "stem.width", "stage1.width", "stage1.depth", *[f"stage1.layer1.{word}" for word in own],
        *[f"stage1.layer2.{word}" for word in own], "head.width",
    ]  # fmt: skip


def test_a_layer_matters_where_the_stage_is_that_deep() -> None:
    space = StagedSpace("deep", SKELETON, ("ir_r{2-4}_k{3,5}_c16",), layerwise=True)
    conditions = {decision.name: decision.active_if for decision in space.decisions}
    assert conditions["stage1.layer2.kernel"] is None
    assert conditions["stage1.layer3.kernel"] == Condition("stage1.depth", (3, 4))
    assert conditions["stage1.layer4.kernel"] == Condition("stage1.depth", (4,))


def test_layers_choose_for_themselves() -> None:
    space = StagedSpace("layers", SKELETON, ("ir_r{1-3}_k{3,5}_s2_c16",), layerwise=True)
    code = space.encode({"stage1.depth": 2, "stage1.layer1.kernel": 3, "stage1.layer2.kernel": 5})
    assert space.spec(code).stages == (layer_specs("ir_k3_s2_c16") + layer_specs("ir_k5_c16"),)


def test_overrides_win_over_the_decision_on_the_resolution() -> None:
    space = StagedSpace("sizes", SKELETON, ("ir_k{3,5}_c16",), resolutions=(32, 64))
    (code, *_) = space.all_codes()
    assert space.spec(code).resolution == 32
    assert space.spec(code, resolution=48).resolution == 48
    with pytest.raises(NasError, match="not in sizes: resolution is 48, the space has 32, 64"):
        space.encode(space.spec(code, resolution=48))


@pytest.mark.parametrize(
    ("stages", "options", "message"),
    [
        (("ir_s2_c16",) * 4 + ("ir_s2_c{16,24}",), {"resolutions": (64, 32)}, "stage5: .* over a 1×1 .* resolution"),
        (("ir_c16", "{ir,id}_c24"), {}, "stage2: id.* cannot follow 16 channels"),
        (("{ir,id}_c{8,16}",), {}, "stage1: id_s1_c16 cannot follow 8 channels"),
        (("{ir,id}_s2_c8",), {}, "stage1: id_s2_c8 cannot follow 8 channels"),
        (("{ir,id}_r{1-3}_c8",), {}, "stage1 .*: where an identity stands .* a choice, r{1-4}$"),
        (("ir_e{2.3,2.4}_c16",), {}, "stage1: ir.*e2.3.* and ir.*e2.4.* are the same block on 8 channels"),
        (("ir_c12_g{1,5}",), {}, "stage1: .*5 groups must divide all its widths"),
        (("ir_r{1-2}_c16", "ir_r{1-2}_k{3,5}_c16"), {}, "stage1 and stage2: ir.*k3.* can end the one or begin"),
        (("ir_r{1-2}_c16", "ir_c16", "ir_r{1-2}_c16"), {}, "stage1 and stage3: .* one network would have two codes"),
        (("{ir,id}_c8", "{id,ir}_c8"), {}, "stage1 and stage2: ir.* can end the one or begin the other"),
        (("ir_k{3,5}_c16",), {"only": GROUPS_WITHOUT_EXPANSION}, "groups depends on expand, but is no choice"),
        (("ir_c16_g{1,2}",), {"only": GROUPS_WITHOUT_EXPANSION}, "stage1 .*groups cannot depend on expand in .1."),
        (
            ("{ir,er}_k{3,5}_c16_g{1,2}",), {"only": {"groups": Condition("kernel", (3,))}},
            "groups cannot depend on kernel in .3.; name another choice of the same block types",
        ),
        (("ir_r{1-100}_k{3,5}_e{1,2,3,4}_c{8,16,24,32}_se{0,1}",), {}, "stage1: .* use fewer choices"),
        (("ir_k{3,5}_c16",), {"resolutions": (32, 32)}, "'resolution' lists a choice twice"),
        (("ir_k{3,5}_c16",), {"resolutions": (32, 0)}, "resolution is 0, must be a whole number of at least 1"),
        (("ir_k{3,5}_c16",), {"head": ("cn_c{8,16}", "cn_c{8,16}", "pool", "fc")}, "head: one block at most"),
        (("ir_k{3,5}_c16",), {"head": ("cn_c32", "pool")}, "head: 'pool' gives 32 channels of 1×1, not 10 classes"),
        (("ir_c16", "ir_s2_c16"), {}, "no block string leaves a choice open"),
        (("ir_k{3,5}_c16", "pool"), {}, "stage2: 'pool' belongs in the head"),
        (("fc", "ir_k{3,5}_c16"), {}, "stage1: 'fc' belongs in the head"),
        (("ir_k{3,5}_c16",), {"stem": "pool"}, "stem: 'pool' belongs in the head"),
        (("ir_r{1-2}_k{3,5}_c16",), {"only": {"kernel": Condition("kernel", (3,))}}, "kernel cannot depend on kernel"),
        (("ir_r{1-2}_k{3,5}_c16",), {"only": {"kernel": Condition("layers", (1,))}}, "kernel cannot depend on layers"),
        (("ir_r{1-2}_k{3,5}_c16",), {"only": {"layers": Condition("kernel", (3,))}}, "layers cannot depend on kernel"),
        (("ir_c{8,16}_k{3,5}",), {"only": {"kernel": Condition("channels", (8,))}}, "kernel cannot depend on channels"),
        (("{ir,er}_k{3,5}_c16",), {"only": {"kernel": Condition("kind", ("ir",))}}, "kernel cannot depend on kind"),
        (
            ("ir_k{3,5}_e{1,2}_c16_se{0,1}",),
            {"only": {"se": Condition("expand", (1,)), "expand": Condition("kernel", (3,))}},
            "se cannot depend on expand",
        ),
        (("ir_k{3,5}_c16", "ir_q3_c16"), {}, "stage2: block 'ir_q3_c16': (.|\n)*\\^\\^"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_when_declared(stages: Sequence[str], options: dict[str, Any], message: str) -> None:
    with pytest.raises(NasError, match=message):
        StagedSpace("impossible", SKELETON, stages, **options)
