"""The block notation: valid strings mean what they say, wrong ones are pointed at."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import NasError
from nas.space.notation import Value, parse_block
from nas.space.staged_network import LayerSpec, layer_specs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pool", {}),
        ("fc", {"channels": 0, "activation": ""}),
        ("fc_c1280_nhs", {"channels": 1280, "activation": "hardswish"}),
        ("cn_c32", {"channels": 32, "kernel": 1, "stride": 1, "layers": 1, "activation": ""}),
        ("cn_k3_s2_c32_nr6", {"channels": 32, "kernel": 3, "stride": 2, "activation": "relu6"}),
        ("ir_c24", {"channels": 24, "kernel": 3, "stride": 1, "expand": 1, "layers": 1, "se": 0}),
        ("ir_r2_k5_s2_e6_c40_se", {"channels": 40, "kernel": 5, "stride": 2, "expand": 6, "layers": 2, "se": 1}),
        ("ir_se0_c40", {"se": 0}),
        ("ir_c40_e3.67_se1_nsw", {"expand": 3.67, "se": 1, "activation": "silu"}),
        ("ir_c40_nre", {"activation": "relu"}),
        ("ir_s2_c40_k7_r4", {"stride": 2, "channels": 40, "kernel": 7, "layers": 4}),
        ("ir_c24_g2", {"groups": 2}),
        ("er_r4_s2_e4_c48", {"channels": 48, "kernel": 3, "stride": 2, "expand": 4, "layers": 4, "se": 0}),
        ("ds_c64", {"channels": 64, "kernel": 3, "stride": 1, "layers": 1, "activation": ""}),
        ("ui_a5_k0_e4_c96", {"channels": 96, "start_kernel": 5, "kernel": 0, "expand": 4}),
        ("ui_c96", {"start_kernel": 0, "kernel": 3, "expand": 1}),
        ("id", {"channels": 0, "stride": 1, "layers": 1}),
        ("{ir}_k5_c16", {"kernel": 5}),
    ],
)
def test_fixed_strings(text: str, expected: dict[str, Value]) -> None:
    pattern = parse_block(text)
    assert (pattern.kind,) == pattern.kinds == (text.split("_")[0].strip("{}"),)
    assert pattern.open() == {}
    fixed = pattern.fixed()
    assert {name: fixed[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ir_k{3,5,7}_c16", {"kernel": (3, 5, 7)}),
        ("ir_r{1-4}_c16", {"layers": (1, 2, 3, 4)}),
        ("ir_r{2-2}_c16", {}),
        ("ir_e{1,2.5,6}_c16_se{0,1}", {"expand": (1, 2.5, 6), "se": (0, 1)}),
        ("ir_se{1,0}_c16", {"se": (1, 0)}),
        ("cn_k{1,3}_c16", {"kernel": (1, 3)}),
        ("ui_a{0,3,5}_k{0,3}_c16", {"kernel": (0, 3), "start_kernel": (0, 3, 5)}),
        ("{ir,er}_c16", {"kind": ("ir", "er")}),
        ("{er,ir}_k{3,5}_e4_c16_se{0,1}", {"kind": ("er", "ir"), "kernel": (3, 5), "se": (0, 1)}),
        ("{ir,id}_c16", {"kind": ("ir", "id")}),
        ("{ir,ui}_k{3,5}_a3_c16", {"kind": ("ir", "ui"), "kernel": (3, 5)}),
        ("{cn,ir}_k3_c16", {"kind": ("cn", "ir")}),
    ],
)
def test_sets_and_ranges_keep_their_order(text: str, expected: dict[str, tuple[Value, ...]]) -> None:
    assert parse_block(text).open() == expected


def test_decisions_come_in_one_order_however_the_string_is_written() -> None:
    assert list(parse_block("ir_se{0,1}_r{1-3}_k{3,5}_e{1,6}_c16").open()) == ["expand", "kernel", "layers", "se"]
    everything = "{ui,ir}_a{3,5}_s{1,2}_c{8,16}_g{1,2}_se{0,1}_r{1-2}_k{3,5}_e{1,6}"
    properties = ["kind", "expand", "kernel", "layers", "se", "groups", "channels", "start_kernel", "stride"]
    assert list(parse_block(everything).open()) == properties


def test_the_type_is_a_property_only_where_it_is_open() -> None:
    assert "kind" not in parse_block("ir_c16").values
    pattern = parse_block("{ir,er}_c16_se")
    assert pattern.values["kind"] == ("ir", "er")
    assert pattern.fixed() == {
        "layers": 1, "kernel": 3, "stride": 1, "expand": 1, "channels": 16, "se": 1, "groups": 1, "activation": "",
    }  # fmt: skip
    assert LayerSpec(kind="er", channels=16, kernel=3, groups=2) == LayerSpec(kind="er", channels=16, kernel=3)


#: string with a mistake, the piece the caret must underline ("" = the end), what the message must list
MISTAKES = [
    ("", "", "cn, ir, er, ds, ui, id, pool, fc"),
    ("mb_k3_c16", "mb", "cn, ir, er, ds, ui, id, pool, fc"),
    ("IR_c16", "IR", "cn, ir, er, ds, ui, id, pool, fc"),
    ("ir_q3_c16", "q3", "r, k, s, e, c, se, g, n"),
    ("ir_3_c16", "3", "r, k, s, e, c, se, g, n"),
    ("ir_K3_c16", "K3", "r, k, s, e, c, se, g, n"),
    ("cn_k3_c16_se", "se", "r, k, s, c, n"),
    ("cn_e6_c16", "e6", "r, k, s, c, n"),
    ("pool_c16", "c16", "no tokens"),
    ("fc_k3", "k3", "c, n"),
    ("ir_k3", "", "'c' (channels)"),
    ("cn", "", "'c' (channels)"),
    ("ir_k4_c16", "k4", "an odd whole number from 1 to 31"),
    ("ir_k33_c16", "k33", "an odd whole number from 1 to 31"),
    ("ir_kx_c16", "kx", "an odd whole number from 1 to 31, or a set like {1,2}"),
    ("ir_k{3,4}_c16", "k{3,4}", "an odd whole number from 1 to 31"),
    ("ir_k{3-5}_c16", "k{3-5}", "an odd whole number from 1 to 31"),
    ("ir_k{3,5_c16", "k{3,5", "or a set like {1,2}"),
    ("ir_k3,5_c16", "k3,5", "or a set like {1,2}"),
    ("ir_k{}_c16", "k{}", "or a set like {1,2}"),
    ("ir_k{3,}_c16", "k{3,}", "or a set like {1,2}"),
    ("ir_k{3,3}_c16", "k{3,3}", "a set needs distinct values"),
    ("ir_r{4-1}_c16", "r{4-1}", "a range its smaller end first"),
    ("ir_r0_c16", "r0", "a whole number from 1 to 100"),
    ("ir_r1.5_c16", "r1.5", "a whole number from 1 to 100"),
    ("ir_s3_c16", "s3", "1 or 2"),
    ("ir_e0.25_c16", "e0.25", "a number from 0.5 to 32"),
    ("ir_einf_c16", "einf", "a number from 0.5 to 32"),
    ("ir_enan_c16", "enan", "a number from 0.5 to 32"),
    ("ir_c0", "c0", "a whole number from 1 to 100000"),
    ("ir_c-8", "c-8", "a whole number from 1 to 100000"),
    ("ir_c16_se2", "se2", "0 or 1"),
    ("ir_c16_se0.25", "se0.25", "0 or 1"),
    ("ir_c16_ngelu", "ngelu", "nre, nr6, nsw, nhs"),
    ("ir_c16_n", "n", "nre, nr6, nsw, nhs"),
    ("ir_c16_c24", "c24", "'c' is given twice"),
    ("ir_se_c16_se0", "se0", "'se' is given twice"),
    ("ir_sse_c16", "sse", "1 or 2"),
    ("{ir,mb}_c16", "{ir,mb}", "cn, ir, er, ds, ui, id, pool, fc, or a set like {ir,er}"),
    ("{ir,ir}_c16", "{ir,ir}", "or a set like {ir,er}"),
    ("{ir,}_c16", "{ir,}", "or a set like {ir,er}"),
    ("{}_c16", "{}", "or a set like {ir,er}"),
    ("{ir,er_c16", "{ir,er", "or a set like {ir,er}"),
    ("{ir,pool}_c16", "{ir,pool}", "'pool' and 'fc' are no alternatives"),
    ("{ir,er}_a3_c16", "a3", "'{ir,er}' takes r, k, s, e, c, se, g, n"),
    ("{cn,ds}_e6_c16", "e6", "r, k, s, c, n"),
    ("{ir,ui}_k0_c16", "k0", "an odd whole number from 1 to 31"),
    ("{ir,id}_k3", "", "'c' (channels)"),
    ("{cn,ir}_c16", "", "'k' (kernel)"),
    ("ui_a4_c16", "a4", "0 or an odd whole number up to 31"),
    ("ui_se_c16", "se", "r, a, k, s, e, c, n"),
    ("id_k3", "k3", "r, s, c"),
    ("ir_g0_c16", "g0", "a whole number from 1 to 64"),
    ("er_g2_c16", "g2", "r, k, s, e, c, se, n"),
]


def underlined(message: str) -> tuple[int, int]:
    """Column and length of the carets, relative to the string shown above them."""
    _, shown, carets = message.rsplit("\n", 2)
    margin = len(shown) - len(shown.lstrip())
    return carets.index("^") - margin, carets.count("^")


@pytest.mark.parametrize(("text", "piece", "allowed"), MISTAKES)
def test_a_mistake_is_pointed_at_and_what_is_allowed_is_listed(text: str, piece: str, allowed: str) -> None:
    with pytest.raises(NasError) as caught:
        parse_block(text)
    message = str(caught.value)
    assert message.startswith(f"block {text!r}: ")
    assert allowed in message
    if text:
        assert message.split("\n")[1].strip() == text
        column = text.rindex(piece) if piece else len(text)
        assert underlined(message) == (column, max(1, len(piece)))


@pytest.mark.parametrize(("text", "column"), [("ir__c16", 3), ("ir_c16_", 7), ("cn_k3__c16", 6)])
def test_an_empty_token_is_pointed_at(text: str, column: int) -> None:
    with pytest.raises(NasError) as caught:
        parse_block(text)
    assert underlined(str(caught.value)) == (column, 1)


@pytest.mark.parametrize("text", ["cn_c 16", "cn_c16 ", "cn_c1e3", "cn_c+8", "cn_c16\n", "cn_c\u0663"])
def test_values_are_plain_decimal_numbers(text: str) -> None:
    with pytest.raises(NasError):
        parse_block(text)


def refusal(text: str) -> str | None:
    """What parsing `text` complains of, None where it parses."""
    try:
        parse_block(text)
    except NasError as error:
        return str(error)
    return None


# Hyphens are left out: a range of millions of values takes minutes.
@given(st.text(alphabet="irncpolfksecdsuiag{},._ 0123456789", max_size=30))
def test_any_text_parses_or_is_refused_by_name(text: str) -> None:
    message = refusal(text)
    assert message is None or repr(text) in message
    kinds = {"cn", "ir", "er", "ds", "ui", "id", "pool", "fc"}
    assert message is not None or set(text.split("_")[0].strip("{}").split(",")) <= kinds


@pytest.mark.parametrize(
    "text",
    [
        "cn_k3_s2_c32", "ir_k5_s1_e3.67_c24_se_nre", "ir_k3_s1_e1_c16", "ir_k3_s1_e1_c16_g2", "er_k3_s2_e4_c48_se",
        "ds_k3_s2_c64", "ui_a5_k0_s2_e4_c96", "id_s1", "id_s1_c24", "pool", "fc", "fc_c1280", "fc_c64_nhs",
    ],
)  # fmt: skip
def test_a_layer_prints_as_the_string_that_makes_it(text: str) -> None:
    (layer,) = layer_specs(text)
    assert str(layer) == text
    assert layer_specs(str(layer)) == (layer,)


def test_repeats_share_everything_but_the_stride() -> None:
    first = LayerSpec("ir", channels=40, kernel=5, stride=2, expand=6, se=1)
    after = LayerSpec("ir", channels=40, kernel=5, stride=1, expand=6, se=1)
    assert layer_specs("ir_r3_k5_s2_e6_c40_se") == (first, after, after)


def test_a_network_takes_no_open_choices() -> None:
    with pytest.raises(NasError, match=r"leaves kernel, se open; a network needs single values"):
        layer_specs("ir_k{3,5}_c16_se{0,1}")
