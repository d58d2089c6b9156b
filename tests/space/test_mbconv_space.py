"""The space `mbconv` against Accel-NASBench, which published it with exact counts; and staged spaces at large."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import nas
from nas.errors import NasError
from nas.space import ABSENT, Codes, LayerSpec, SearchSpace, SqueezeExciteRule, StagedNetwork, StagedSpace
from nas.space.catalogue import networks_in

SKELETON = StagedNetwork.from_strings("cn_k3_s2_c8", (), ("cn_c32", "pool", "fc"), resolution=32, num_classes=10)


@pytest.fixture(scope="module")
def accel_nasbench(data_dir: Path) -> pd.DataFrame:
    return pd.read_csv(data_dir / "accel_nasbench" / "imagenet_mbconv.csv.gz")


@pytest.fixture(scope="module")
def accel_codes(accel_nasbench: pd.DataFrame, mbconv: SearchSpace) -> Codes:
    columns = ["expand", "kernel", "layers", "se"]
    rows = zip(*[accel_nasbench[column].str.split() for column in columns], strict=True)
    decisions = [
        {f"stage{i}.{name}": int(values[i - 1]) for name, values in zip(columns, row, strict=True) for i in range(1, 8)}
        for row in rows
    ]
    return np.array([mbconv.encode(named) for named in decisions])


def test_size_is_exact(mbconv: SearchSpace) -> None:
    # 3 expansions × 2 kernels × 3 depths × 2 in six stages, a fourth depth in stage 6 (Ahmad et al., 2024)
    assert mbconv.size == 36**6 * 48 == 104_485_552_128


def test_efficientnet_b0_is_a_point(mbconv: SearchSpace) -> None:
    b0 = nas.network("efficientnet_b0")
    code = mbconv.encode(b0)
    assert mbconv.spec(code) == b0
    np.testing.assert_array_equal(mbconv.encode(mbconv.decode(code)), code)
    # Tan & Le (2019), Table 1: expansion, kernel, layers and squeeze-and-excite of the seven stages
    assert mbconv.format(code[None]) == ["1311-6321-6521-6331-6531-6541-6311"]


def test_b0_is_the_only_published_network_inside(mbconv: SearchSpace) -> None:
    assert list(networks_in(mbconv)) == ["efficientnet_b0"]


def test_all_published_counts_agree(mbconv: SearchSpace, accel_nasbench: pd.DataFrame, accel_codes: Codes) -> None:
    assert len(accel_nasbench) == 4626
    vocabulary = mbconv.vocabulary
    counted = np.array([(block.params, block.macs_thop) for block in vocabulary.blocks] + [(0, 0)], dtype=np.int64)
    counts = counted[vocabulary.ids(accel_codes)].sum(axis=1)
    np.testing.assert_array_equal(counts[:, 0], accel_nasbench.params)
    np.testing.assert_array_equal(counts[:, 1], accel_nasbench.macs)


def test_spec_costs_agree_with_the_published_rows(
    mbconv: SearchSpace, accel_nasbench: pd.DataFrame, accel_codes: Codes
) -> None:
    for i in range(0, 4626, 97):
        cost = mbconv.spec(accel_codes[i]).cost()
        assert (cost["params"], cost["macs_thop"]) == (accel_nasbench.params[i], accel_nasbench.macs[i])


def test_one_network_has_one_code(mbconv: SearchSpace, rng: np.random.Generator) -> None:
    a, b = mbconv.sample(2000, rng), mbconv.sample(2000, rng)
    b[::10] = a[::10]
    same = (a == b).all(axis=1)
    assert same.sum() >= 200
    for first, second, equal in zip(a, b, same, strict=True):
        assert (mbconv.spec(first) == mbconv.spec(second)) == equal


def test_neighbours_are_other_networks(mbconv: SearchSpace, rng: np.random.Generator) -> None:
    (code,) = mbconv.sample(1, rng)
    near = mbconv.neighbours(code)
    # 2 + 1 + 2 + 1 changes in every stage, one more depth in stage 6
    assert len(near) == 7 * 6 + 1
    assert len({mbconv.spec(row) for row in near} | {mbconv.spec(code)}) == len(near) + 1


def test_encode_inverts_spec(mbconv: SearchSpace, rng: np.random.Generator) -> None:
    for code in mbconv.sample(300, rng):
        np.testing.assert_array_equal(mbconv.encode(mbconv.spec(code)), code)


def test_spec_takes_a_code_a_string_or_an_architecture(mbconv: SearchSpace, rng: np.random.Generator) -> None:
    (code,) = mbconv.sample(1, rng)
    architecture = mbconv.decode(code)
    assert mbconv.spec(code) == mbconv.spec(architecture) == mbconv.spec(architecture.code)
    assert mbconv.spec(code).name == architecture.code
    assert mbconv.spec(code, resolution=192).resolution == 192


B0_STAGES = nas.network("efficientnet_b0").stages


@pytest.mark.parametrize(
    ("stage", "layers"),
    [
        (1, (replace(B0_STAGES[0][0], channels=24),)),
        (2, (replace(B0_STAGES[1][0], kernel=7), B0_STAGES[1][1])),
        (3, (B0_STAGES[2][0], replace(B0_STAGES[2][1], expand=4))),
        (4, B0_STAGES[3] + B0_STAGES[3][1:]),
        (5, (replace(B0_STAGES[4][0], stride=2), *B0_STAGES[4][1:])),
        (6, tuple(replace(layer, activation="relu") for layer in B0_STAGES[5])),
        (7, (LayerSpec("cn", channels=320),)),
        (7, ()),
    ],
)
def test_a_network_outside_is_refused_with_the_stage(
    mbconv: SearchSpace, stage: int, layers: tuple[LayerSpec, ...]
) -> None:
    outside = replace(nas.network("efficientnet_b0"), stages=(*B0_STAGES[: stage - 1], layers, *B0_STAGES[stage:]))
    with pytest.raises(NasError, match=f"not in mbconv: stage{stage} is .*, the space has ir_r"):
        mbconv.encode(outside)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resolution": 240}, "resolution is 240, the space has 224"),
        ({"activation": "relu"}, "activation is relu, the space has silu"),
        ({"num_classes": 10}, "num_classes is 10, the space has 1000"),
        ({"se": SqueezeExciteRule(ratio=0.5)}, "se is SqueezeExciteRule.ratio=0.5"),
        ({"stages": B0_STAGES[:6]}, "6 stages, the space has 7"),
        ({"stem": (LayerSpec("cn", channels=16, kernel=3, stride=2),)}, "stem is "),
    ],
)
def test_a_network_outside_is_refused_with_the_difference(
    mbconv: SearchSpace, change: dict[str, object], message: str
) -> None:
    with pytest.raises(NasError, match=f"not in mbconv: {message}"):
        mbconv.encode(replace(nas.network("efficientnet_b0"), **change))


def test_the_vocabulary_maps_codes_to_the_blocks_of_their_specs(tiny_space: StagedSpace) -> None:
    vocabulary = tiny_space.vocabulary
    assert len(set(vocabulary.blocks)) == len(vocabulary) == len(vocabulary.index)
    seen: set[int] = set()
    codes = tiny_space.all_codes()
    for code, ids in zip(codes, vocabulary.ids(codes), strict=True):
        present = [int(i) for i in ids if i != ABSENT]
        assert [vocabulary.blocks[i] for i in present] == list(tiny_space.spec(code).blocks)
        seen |= set(present)
    assert seen == set(range(len(vocabulary)))


def test_the_vocabulary_agrees_with_specs_of_random_networks(mbconv: SearchSpace, rng: np.random.Generator) -> None:
    codes = mbconv.sample(200, rng)
    for code, ids in zip(codes, mbconv.vocabulary.ids(codes), strict=True):
        assert [mbconv.vocabulary.blocks[i] for i in ids if i != ABSENT] == list(mbconv.spec(code).blocks)


def test_a_staged_space_enumerates_its_strings(tiny_space: StagedSpace) -> None:
    first = itertools.product((1, 2), (3, 5), (0, 1))
    second = list(itertools.product((1, 2, 3), (1, 4), (0, 1)))
    expected = {
        StagedNetwork.from_strings(
            "cn_k3_s2_c8", (f"ir_r{r}_k{k}_c8_se{se}", f"ir_r{r2}_k3_s2_e{e2}_c16_se{se2}"), ("cn_c32", "pool", "fc"),
            activation="silu", resolution=32, num_classes=10,
        )
        for r, k, se in first for r2, e2, se2 in second
    }  # fmt: skip
    assert tiny_space.size == len(expected) == 96
    assert {tiny_space.spec(code) for code in tiny_space.all_codes()} == expected


def test_the_stride_is_fixed() -> None:
    with pytest.raises(NasError, match=r"stage1 'ir_s\{1,2\}_c16': the stride cannot be a choice"):
        StagedSpace("open", SKELETON, ("ir_s{1,2}_c16", "ir_k{3,5}_c16"))


def test_a_skeleton_too_small_for_its_strides_is_refused() -> None:
    with pytest.raises(NasError, match=r"stage5: .* raise the resolution"):
        StagedSpace("deep", SKELETON, ("ir_r{1,2}_s2_c16",) * 5)


def test_the_name_of_a_spec_can_be_overridden(tiny_space: StagedSpace) -> None:
    assert tiny_space.spec(tiny_space.all_codes()[0], name="mine").name == "mine"
