"""Closed-form counts against the built modules: parameters, hooks on every layer, and THOP itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hook_counts import counted
from hypothesis import given, settings
from hypothesis import strategies as st

import nas
from nas.cost import COST_METRICS, CostModel, cost_model
from nas.space import BlockMaximum, BlockTable, NetworkSpec, SearchSpace, StagedNetwork, StagedSpace
from nas.space.catalogue import network_names


def totals(spec: NetworkSpec) -> tuple[int, int]:
    cost = spec.cost()
    return cost["params"], cost["macs"]


@pytest.mark.parametrize("name", network_names())
def test_published_networks_cost_what_the_module_costs(name: str) -> None:
    spec = nas.network(name)
    assert totals(spec) == counted(spec)


@settings(max_examples=15)
@given(st.integers(0, 2**32))
def test_random_networks_cost_what_the_module_costs(mbconv: SearchSpace, seed: int) -> None:
    spec = mbconv.spec(mbconv.sample(1, np.random.default_rng(seed))[0])
    assert totals(spec) == counted(spec)


@settings(max_examples=40)
@given(
    st.sampled_from([1, 3, 5, 7]), st.sampled_from([1, 2]), st.sampled_from([1, 1.3, 2.3, 6]), st.integers(1, 33),
    st.sampled_from(["", "_se"]), st.sampled_from(["", "_nre", "_nhs"]), st.integers(1, 3), st.integers(7, 65),
)  # fmt: skip
def test_any_block_string_costs_what_the_module_costs(
    kernel: int, stride: int, expand: float, channels: int, se: str, activation: str, repeats: int, resolution: int
) -> None:
    stage = f"ir_r{repeats}_k{kernel}_s{stride}_e{expand}_c{channels}{se}{activation}"
    spec = StagedNetwork.from_strings(
        f"cn_k3_s2_c{channels}", (stage,), ("cn_c24_nr6", "pool", "fc_c20_nhs", "fc"),
        in_channels=1, resolution=resolution, num_classes=7,
    )  # fmt: skip
    assert totals(spec) == counted(spec)


def random_and_published(space: SearchSpace) -> list[NetworkSpec]:
    codes = space.sample(3, np.random.default_rng(7))
    names = ("efficientnet_b0", "mobilenetv3_small", "mobilenetv3_large_minimalistic")
    return [space.spec(code) for code in codes] + [nas.network(name) for name in names]


@pytest.mark.filterwarnings("ignore:distutils")
def test_macs_thop_is_what_thop_prints(mbconv: SearchSpace) -> None:
    import thop

    for spec in random_and_published(mbconv):
        image = torch.zeros(1, 3, spec.resolution, spec.resolution)
        macs, params = thop.profile(spec.build(), inputs=(image,), verbose=False)
        assert (int(params), int(macs)) == (spec.cost()["params"], spec.cost()["macs_thop"])


def test_a_convolution_counted_by_hand() -> None:
    spec = StagedNetwork.from_strings("cn_k3_s2_c8", (), ("pool", "fc"), resolution=9, num_classes=5)
    # 3·8·9 weights on 5 × 5 outputs, 2·8 of the normalisation; 8·5 weights and 5 biases
    cost = spec.cost()
    assert cost["params"] == 216 + 16 + 45
    assert cost["macs"] == 216 * 25 + 40
    assert cost["macs_thop"] == 216 * 25 + 40 + 4 * 8 * 25 + (25 + 1) * 8
    assert cost["weight_bytes"] == 4 * 277
    # image and feature map are alive together while the convolution runs
    assert cost["peak_activation_bytes"] == 4 * (3 * 81 + 8 * 25)


def expected_row(spec: NetworkSpec) -> dict[str, int]:
    blocks = spec.blocks
    return {
        "params": sum(block.params for block in blocks),
        "macs": sum(block.macs for block in blocks),
        "peak_activation_bytes": max(block.peak_activation_bytes for block in blocks),
    }


def test_the_cost_model_adds_up_the_blocks_of_each_spec(mbconv: SearchSpace, rng: np.random.Generator) -> None:
    codes = mbconv.sample(300, rng)
    table = CostModel(mbconv)(codes)
    assert list(table.columns) == list(COST_METRICS)
    assert table.to_dict("records") == [expected_row(mbconv.spec(code)) for code in codes]
    assert {str(dtype) for dtype in table.dtypes} == {"int64"}


def test_the_cost_model_is_exact_on_a_whole_space(tiny_space: StagedSpace) -> None:
    codes = tiny_space.all_codes()
    assert CostModel(tiny_space)(codes).to_dict("records") == [expected_row(tiny_space.spec(code)) for code in codes]


def test_the_cost_model_takes_no_codes(mbconv: SearchSpace) -> None:
    table = cost_model(mbconv)(mbconv.sample(0, np.random.default_rng(0)))
    assert list(table.columns) == list(COST_METRICS)
    assert len(table) == 0


def test_the_cost_model_is_built_once(mbconv: SearchSpace) -> None:
    assert cost_model(mbconv) is cost_model(mbconv)


def test_bounds_are_the_extremes_of_a_whole_space(tiny_space: StagedSpace) -> None:
    table = CostModel(tiny_space)(tiny_space.all_codes())
    expected = {name: (table[name].min(), table[name].max()) for name in ("params", "macs")}
    assert CostModel(tiny_space).bounds() == expected


def test_bounds_of_mbconv_are_attained(mbconv: SearchSpace) -> None:
    # Every choice only adds: least expansion, kernel, depth and no gate; most of each.
    smallest, largest = (mbconv.spec("-".join(stages)) for stages in (
        ["1310"] * 7, ["6531"] * 5 + ["6541", "6531"]
    ))  # fmt: skip
    bounds = CostModel(mbconv).bounds()
    for metric in ("params", "macs"):
        assert bounds[metric] == (smallest.cost()[metric], largest.cost()[metric])


@pytest.mark.parametrize("max_rows", [1, 50, 4096])
def test_sums_do_not_depend_on_how_groups_are_merged(
    tiny_space: StagedSpace, monkeypatch: pytest.MonkeyPatch, max_rows: int
) -> None:
    monkeypatch.setattr(BlockTable, "MAX_ROWS", max_rows)
    vocabulary, codes = tiny_space.vocabulary, tiny_space.all_codes()
    # Powers of two: a sum shows which blocks are in it and how often.
    values = 2.0 ** (2 * np.arange(len(vocabulary)))[:, None]
    sums = BlockTable(vocabulary, values).sum(codes)[:, 0]
    expected = [sum(4 ** vocabulary.index[block] for block in tiny_space.spec(code).blocks) for code in codes]
    assert max(expected) < 2**53
    assert sums.tolist() == expected


def test_maxima_see_every_block(tiny_space: StagedSpace) -> None:
    vocabulary, codes = tiny_space.vocabulary, tiny_space.all_codes()
    for values in (np.arange(len(vocabulary)), np.arange(len(vocabulary))[::-1]):
        maxima = BlockMaximum(vocabulary, values.astype(float))(codes)
        expected = [max(values[vocabulary.index[block]] for block in tiny_space.spec(code).blocks) for code in codes]
        assert maxima.tolist() == expected


def test_counts_are_python_integers() -> None:
    assert {type(value) for value in nas.network("efficientnet_b7").cost().values()} == {int}
