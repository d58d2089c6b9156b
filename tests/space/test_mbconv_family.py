"""The published spaces of the MBConv family, against the counts published with them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from nas.cost.model import CostModel
from nas.errors import NasError
from nas.space import NetworkSpec, SearchSpace, StagedNetwork
from search_spaces import mbconv_fbnet, mbconv_ofa, mbconv_proxyless, mbconv_v2, nasbench_macro
from search_spaces.published import efficient, mobile

OFA, V2, PROXYLESS = mbconv_ofa.SPACE, mbconv_v2.SPACE, mbconv_proxyless.SPACE
FBNET, MACRO = mbconv_fbnet.SPACE, nasbench_macro.SPACE
SPACES = (OFA, V2, PROXYLESS, FBNET, MACRO)


def ids(space: SearchSpace) -> str:
    return space.name


@pytest.mark.parametrize(
    ("space", "size"),
    [
        # Cai et al. (2020): 9 settings a layer, 2 to 4 layers, five stages; 25 resolutions
        (OFA, (9**2 + 9**3 + 9**4) ** 5 * 25),
        # 2 block types × 3 expansions × 2 kernels × 2 for squeeze-and-excite × 2 widths; depths; stem; resolutions
        (V2, 48**6 * 3 * 5 * 5 * 6 * 7 * 10 * 2 * 5),
        # six blocks a layer, five stages of 1 to 4 layers, two widths of the first; the last layer
        (PROXYLESS, 6 * (6 + 6**2 + 6**3 + 6**4) ** 5 * 2),
        # eight blocks a layer or, in stage 1, none; five stages of 1 to 4 layers; last layer; two heads
        (FBNET, 9 * (8 + 8**2 + 8**3 + 8**4) ** 5 * 8 * 2),
        (MACRO, 3**8),
    ],
)
def test_sizes_are_exact(space: SearchSpace, size: int) -> None:
    assert space.size == size


@pytest.mark.parametrize(
    ("space", "names"),
    [
        (V2, ["efficientnetv2_s", "efficientnetv2_b0", "efficientnetv2_b1"]),
        (PROXYLESS, ["proxylessnas_mobile"]),
        (FBNET, ["fbnet_a", "fbnet_b", "fbnet_c"]),
    ],
)
def test_published_networks_are_points(space: SearchSpace, names: list[str]) -> None:
    published = mobile.NETWORKS | efficient.NETWORKS
    for name in names:
        code = space.encode(published[name])
        assert space.spec(code) == published[name]
        assert space.spec(code).cost() == published[name].cost()


@pytest.mark.parametrize(
    ("space", "network", "params"),
    [
        # torchvision, weights table
        (V2, efficient.NETWORKS["efficientnetv2_s"], 21_458_488),
        # imgclsmob, table of models trained on ImageNet
        (PROXYLESS, mobile.NETWORKS["proxylessnas_mobile"], 4_080_512),
    ],
)
def test_tables_give_the_published_counts(space: SearchSpace, network: NetworkSpec, params: int) -> None:
    assert CostModel(space).params_and_macs(space.encode(network)[None])[0, 0] == params


@pytest.mark.parametrize(("name", "millions"), [("fbnet_a", 244.5), ("fbnet_b", 291), ("fbnet_c", 378)])
def test_tables_give_the_published_macs_of_fbnet(name: str, millions: float) -> None:
    # facebookresearch/mobile-vision, model zoo: 244.5, 291 and 378 M
    macs = CostModel(FBNET).params_and_macs(FBNET.encode(mobile.NETWORKS[name])[None])[0, 1]
    assert macs / 1e6 == pytest.approx(millions, abs=0.05 if isinstance(millions, float) else 0.5)


@pytest.mark.parametrize("space", [OFA, V2, PROXYLESS, FBNET], ids=ids)
def test_tables_agree_with_specs_of_random_networks(space: SearchSpace, rng: np.random.Generator) -> None:
    codes = space.sample(30, rng)
    for code, cost in zip(codes, CostModel(space)(codes).to_dict("records"), strict=True):
        expected = space.spec(code).cost()
        assert {name: expected[name] for name in cost} == cost


@pytest.mark.parametrize("space", SPACES, ids=ids)
def test_neighbours_are_other_networks(space: SearchSpace, rng: np.random.Generator) -> None:
    (code,) = space.sample(1, rng)
    near = space.neighbours(code)
    # every other choice of a decision that matters; a deeper stage takes its new layers from the first choices
    active = space.active(code[None])[0]
    assert len(near) == sum(len(d.choices) - 1 for d, matters in zip(space.decisions, active, strict=True) if matters)
    assert len({space.spec(row) for row in near} | {space.spec(code)}) == len(near) + 1


# --- once-for-all -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ofa_table(data_dir: Path) -> pd.DataFrame:
    return pd.read_csv(data_dir / "ofa_mbv3" / "imagenet_top1.csv.gz")


def integers(column: pd.Series) -> npt.NDArray[np.int64]:
    return np.array([text.split() for text in column], dtype=np.int64)


def test_all_counts_of_once_for_all_networks_agree(ofa_table: pd.DataFrame) -> None:
    """Their column `macs` is our `macs`: convolutions and linear layers, squeeze-and-excite included."""
    kernels, expansions, depths = (integers(ofa_table[name]) for name in ("ks", "e", "d"))
    codes = mbconv_ofa.codes_of(kernels, expansions, depths, ofa_table.r)
    counts = CostModel(OFA).params_and_macs(codes)
    assert len(counts) == 1902
    np.testing.assert_array_equal(counts[:, 0], ofa_table.params)
    np.testing.assert_array_equal(counts[:, 1], ofa_table.macs)


def test_codes_are_those_of_the_networks_described() -> None:
    kernels = np.resize([3, 5, 7], (1, 20))
    expansions = np.resize([6, 3, 4, 4], (1, 20))
    (code,) = mbconv_ofa.codes_of(kernels, expansions, np.array([[2, 3, 4, 2, 2]]), 160)
    spec = OFA.spec(code)
    assert spec == StagedNetwork.from_strings(
        "cn_k3_s2_c16",
        (
            "ir_k3_e1_c16_nre",
            "ir_k3_s2_e6_c24_nre ir_k5_e3_c24_nre",
            "ir_k5_s2_e6_c40_se_nre ir_k7_e3_c40_se_nre ir_k3_e4_c40_se_nre",
            "ir_k7_s2_e6_c80 ir_k3_e3_c80 ir_k5_e4_c80 ir_k7_e4_c80",
            "ir_k3_e6_c112_se ir_k5_e3_c112_se",
            "ir_k5_s2_e6_c160_se ir_k7_e3_c160_se",
        ),
        ("cn_c960", "pool", "fc_c1280", "fc"),
        activation="hardswish", se=mbconv_ofa.SKELETON.se, bias_after_pool=False, resolution=160,
    )  # fmt: skip


def test_layers_that_do_not_exist_are_ignored(rng: np.random.Generator) -> None:
    depths = rng.integers(2, 5, (50, 5))
    a, b = (rng.choice([3, 5, 7], (50, 20)) for _ in range(2))
    expansions = rng.choice([3, 4, 6], (50, 20))
    there = np.arange(20) % 4 < np.repeat(depths, 4, axis=1)
    first, second = (mbconv_ofa.codes_of(ks, expansions, depths, 224) for ks in (a, np.where(there, a, b)))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ks": np.full((2, 20), 4)}, "row 0: stage2.layer1.kernel is 4, must be one of 3, 5, 7"),
        ({"d": np.array([[2] * 5, [2, 2, 5, 2, 2]])}, "row 1: stage4.depth is 5, must be one of 2, 3, 4"),
        ({"r": np.array([224, 225])}, "row 1: resolution is 225, must be one of 128"),
        ({"e": np.full((2, 19), 3)}, r"expand is \[2, 19\], d \[2, 5\]"),
    ],
)
def test_bad_descriptions_are_refused_by_row(change: dict[str, npt.NDArray[np.int64]], message: str) -> None:
    good = {"ks": np.full((2, 20), 3), "e": np.full((2, 20), 3), "d": np.full((2, 5), 2), "r": np.array([224, 224])}
    with pytest.raises(NasError, match=message):
        mbconv_ofa.codes_of(**good | change)


# --- NAS-Bench-Macro --------------------------------------------------------------------------------------------------


def test_all_counts_of_nas_bench_macro_agree(data_dir: Path) -> None:
    """Its "flops" are our `macs`."""
    table = json.loads((data_dir / "nasbench_macro" / "nas-bench-macro_cifar10.json").read_text())
    codes = np.array([MACRO.encode(key) for key in table])
    assert MACRO.format(codes) == list(table)
    assert len(np.unique(codes, axis=0)) == len(table) == MACRO.size
    counts = CostModel(MACRO).params_and_macs(codes)
    np.testing.assert_array_equal(counts[:, 0], [entry["params"] for entry in table.values()])
    np.testing.assert_array_equal(counts[:, 1], [entry["flops"] for entry in table.values()])


def test_networks_of_nas_bench_macro_are_all_different() -> None:
    assert len({MACRO.spec(code) for code in MACRO.all_codes()}) == MACRO.size


def test_encoding_inverts_spec_in_nas_bench_macro(rng: np.random.Generator) -> None:
    for code in MACRO.sample(200, rng):
        np.testing.assert_array_equal(MACRO.encode(MACRO.spec(code)), code)
    assert MACRO.spec("02012100").name == "02012100"


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (("ir_k3_s2_e3_c64 ir_k7_e3_c64", "id", "id"), "its stages have 2, 3, 3 layers"),
        (("ir_s2_e3_c64 ir_k7_e3_c64", "ir_r3_s2_e3_c128", "ir_r3_s2_e3_c256"), "layer 2 is ir_k7.*the space has id"),
    ],
)  # fmt: skip
def test_networks_outside_nas_bench_macro_are_refused(stages: tuple[str, ...], message: str) -> None:
    outside = StagedNetwork.from_strings(
        "cn_k3_s1_c32", stages, ("cn_c1280", "pool", "fc"), resolution=32, num_classes=10
    )
    with pytest.raises(NasError, match=f"not in nasbench-macro: {message}"):
        MACRO.encode(outside)
    with pytest.raises(NasError, match=r"not in nasbench-macro: its networks have the stem"):
        MACRO.encode(mobile.NETWORKS["mobilenetv2"])
