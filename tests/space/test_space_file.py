"""Spaces declared in YAML: the shipped example, and what is said about each mistake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.errors import NasError
from nas.space import SqueezeExciteRule, StagedNetwork, StagedSpace
from nas.space.decision import Condition
from nas.space.space_file import load_space, read_declaration, space_from

SMALL = {"name": "small", "stages": ["ir_r{1-2}_k{3,5}_s2_c16"], "resolution": 32}


@pytest.fixture(scope="module")
def example(repo_root: Path) -> Path:
    return repo_root / "search_spaces" / "examples" / "phone.yaml"


def test_the_example_is_the_space_it_describes(example: Path) -> None:
    space = load_space(example)
    # resolutions, then the stages: layers × kernels × expansions, block types and widths, squeeze-and-excite
    assert space.size == 3 * (3 * 2 * 2) * (2 * 3 * 2 * 2 * 2) * (3 * 2 * 2 * 2) * (3 * 3 * 2 * 2)
    smallest = space.spec(np.zeros(len(space.decisions), dtype=np.int8))
    assert smallest == StagedNetwork.from_strings(
        "cn_k3_s2_c16",
        ("ir_k3_c16", "ir_k3_s2_e3_c24", "ir_k3_s2_e3_c32", "ir_r2_k3_s2_e3_c80", "ir_k3_s2_e3_c160"),
        ("cn_c960", "pool", "fc"),
        activation="hardswish", norm_eps=1e-3, resolution=160,
        se=SqueezeExciteRule(0.25, "expanded", 8, "relu", "hardsigmoid"),
    )  # fmt: skip


def test_every_key_arrives_in_the_networks() -> None:
    content = {
        "name": "full", "description": "all keys", "stem": "cn_k5_s2_c{8,16}", "head": ["cn_c{32,64}", "pool", "fc_c24",
        "fc"], "stages": ["ir_r{1-2}_e{1,2}_c16_g{1,2}_se"], "resolution": [24, 32], "layerwise": True,
        "only": {"groups": {"expand": [1]}}, "in_channels": 1, "num_classes": 7, "activation": "silu", "dropout": 0.5,
        "se": {"ratio": 0.5, "of": "expanded", "divisor": 4, "activation": "relu6", "gate": "hardsigmoid"},
        "norm_eps": 0.01, "padding": "same", "expand_at_one": True, "bias_after_pool": False, "norm_after_pool": False,
    }  # fmt: skip
    skeleton = StagedNetwork.from_strings(
        "cn_k5_s2_c8", (), ("cn_c32", "pool", "fc_c24", "fc"), in_channels=1, num_classes=7, activation="silu",
        se=SqueezeExciteRule(0.5, "expanded", 4, "relu6", "hardsigmoid"), norm_eps=0.01, padding="same", resolution=24,
        dropout=0.5, expand_at_one=True, bias_after_pool=False,
    )  # fmt: skip
    expected = StagedSpace(
        "full", skeleton, ("ir_r{1-2}_e{1,2}_c16_g{1,2}_se",), "all keys", layerwise=True, resolutions=(24, 32),
        stem="cn_k5_s2_c{8,16}", head=("cn_c{32,64}", "pool", "fc_c24", "fc"),
        only={"groups": Condition("expand", (1,))},
    )  # fmt: skip
    space = space_from(content, "test")
    assert (space.name, space.description, space.decisions) == (expected.name, "all keys", expected.decisions)
    for code in space.all_codes():
        assert space.spec(code) == expected.spec(code)
        assert space.spec(code).dropout == 0.5


def test_a_declaration_survives_json(example: Path) -> None:
    declaration = read_declaration(example)
    again = space_from(json.loads(json.dumps(declaration)), "a run")
    assert again.decisions == load_space(example).decisions


def test_one_resolution_is_no_decision() -> None:
    names = [decision.name for decision in space_from(SMALL, "small.yaml").decisions]
    assert names == ["stage1.kernel", "stage1.layers"]
    assert space_from(SMALL | {"resolution": [32]}, "small.yaml").decisions[0].name == "stage1.kernel"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stge": 1}, "unknown key 'stge'; did you mean 'stages'?"),
        ({"se": {"ration": 0.5}}, "unknown key 'ration' in se; did you mean 'ratio'?"),
        ({"se": {"of": "inputs"}}, "se, of is 'inputs'; did you mean 'input'?"),
        ({"se": {"ratio": 2.0}}, "se, ratio is 2.0: input should be less than or equal to 1"),
        ({"activation": "rely"}, "activation is 'rely'; did you mean 'relu'?"),
        ({"padding": "valid"}, "padding is 'valid'; valid: same, symmetric"),
        ({"name": "a/b"}, "name is 'a/b', must be up to 64 letters, digits"),
        ({"num_classes": 0}, "num_classes is 0: input should be greater"),
        ({"num_classes": True}, "num_classes is True: input should be a valid integer"),
        ({"resolution": [32, "64"]}, "resolution, 2 is '64': input should be a valid integer"),
        ({"resolution": [32, 32]}, "decision 'resolution' lists a choice twice: 32, 32"),
        ({"resolution": []}, "resolution is empty, needs at least one entry"),
        ({"layerwise": "yes"}, "layerwise is 'yes': input should be a valid boolean"),
        ({"norm_eps": "1e-3"}, "norm_eps is '1e-3': input should be a valid number; YAML reads 1e-3 as text"),
        ({"stages": "ir_c8"}, "stages is 'ir_c8': input should be a valid list"),
        ({"stages": ["ir_c8", 3]}, "stages, 2 is 3: input should be a valid string"),
        ({"stages": ["ir_c8", "ir_k4_c8"]}, "stage2: block 'ir_k4_c8': 'k' takes an odd whole number"),
        ({"stages": ["ir_c8", "ir_k{3,5}_s2_c8"], "resolution": 2}, "stage2: ir_k3_s2_e1_c8 strides over a 1×1"),
        ({"stages": ["ir_c8"]}, "no block string leaves a choice open"),
        ({"stem": "cn_k3"}, "stem: block 'cn_k3': 'cn' needs 'c' (channels)"),
        ({"head": ["cn_c8", "pool", "fx"]}, "head: block 'fx': block type is one of cn, ir"),
        ({"head": ["cn_c8", "fc"]}, "stages and head: fc cannot stand here: 'fc' blocks, and no others, come after"),
        ({"head": ["cn_c8", "pool"]}, "head: 'pool' gives 8 channels of 1×1, not 1000 classes"),
        ({"stages": ["ir_k{3,5}_c8"] * 101}, "stages has 101 entries, at most 100"),
        ({"se": 5}, "se is 5, must be keys and values"),
        ({"only": ["se"]}, "only is ['se'], must be keys and values"),
        ({"only": {"kernel": {"expand": []}}}, "only, kernel expand is empty, needs at least one entry"),
        ({"only": {"groups": {"expand": [1]}}}, "groups depends on expand, but is no choice anywhere"),
    ],
)
def test_a_mistake_is_named_with_file_and_key(change: dict[str, Any], message: str) -> None:
    with pytest.raises(NasError) as error:
        space_from(SMALL | change, "my.yaml")
    assert str(error.value).startswith(f"my.yaml: {message}")


@pytest.mark.parametrize("key", ["name", "stages"])
def test_a_missing_key_is_named(key: str) -> None:
    with pytest.raises(NasError, match=f"my.yaml: the key '{key}' is missing"):
        space_from({name: value for name, value in SMALL.items() if name != key}, "my.yaml")


def test_a_wrong_token_is_pointed_at() -> None:
    with pytest.raises(NasError) as error:
        space_from(SMALL | {"stages": ["ir_r{1-2}_k4_c16"]}, "my.yaml")
    text, pointer = str(error.value).splitlines()[1:]
    assert text[pointer.index("^") : pointer.rindex("^") + 1] == "k4"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "is not valid YAML"),
        ("- a\n- b", "holds list, expected keys and values such as `name: phone`"),
        ("", "holds nothing, expected keys"),
        ("name: a\nname: b", "key 'name' is given twice"),
        ("name: &x a\nstages: [*x]", "aliases"),
    ],
)
def test_a_file_that_is_no_declaration_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(NasError, match=r"space\.yaml") as error:
        load_space(path)
    assert message in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(NasError, match=r"cannot read .*none\.yaml: No such file"):
        load_space(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(NasError, match=r"binary\.yaml is not valid YAML"):
        load_space(tmp_path / "binary.yaml")
