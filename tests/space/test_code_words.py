"""Codes in words: encode, decode and format are inverse, and messages say what is nearest."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import NasError
from nas.space import Architecture, Condition, Decision, SearchSpace
from nas.space.decision import Choice

MakeSpace = Callable[[Sequence[Decision]], SearchSpace]


@st.composite
def staged_decisions(draw: st.DrawFn) -> tuple[Decision, ...]:
    """Two to four stages of two decisions; the second of a stage may depend on the first."""
    values = st.one_of(st.integers(0, 300), st.sampled_from([0.5, 2.5, 3.67]), st.sampled_from(["conv", "pool", "id"]))
    choices = st.lists(values, min_size=1, max_size=4, unique=True)
    decisions: list[Decision] = []
    for i in range(draw(st.integers(2, 4))):
        first = Decision(f"stage{i}.a", tuple(draw(choices)))
        condition = Condition(first.name, first.choices[-1:]) if draw(st.booleans()) else None
        decisions += [first, Decision(f"stage{i}.b", tuple(draw(choices)), condition)]
    return tuple(decisions)


@given(staged_decisions(), st.integers(0, 2**32))
def test_every_description_of_a_code_leads_back_to_it(
    make_space: MakeSpace, decisions: tuple[Decision, ...], seed: int
) -> None:
    space = make_space(decisions)
    codes = space.sample(5, np.random.default_rng(seed))
    for code, text in zip(codes, space.format(codes), strict=True):
        architecture = space.decode(code)
        assert architecture.code == text
        for description in (text, architecture, dict(architecture.decisions)):
            np.testing.assert_array_equal(space.encode(description), code)
        for decision, value in zip(decisions, code, strict=True):
            if decision.name in architecture.decisions:
                assert architecture.decisions[decision.name] == decision.choices[value]


@pytest.mark.parametrize("name", ["nested_space", "tiny_space"])
def test_formatted_codes_are_distinct_and_parse_back(name: str, request: pytest.FixtureRequest) -> None:
    space: SearchSpace = request.getfixturevalue(name)
    codes = space.all_codes()
    texts = space.format(codes)
    assert len(set(texts)) == len(codes)
    np.testing.assert_array_equal([space.encode(text) for text in texts], codes)


@pytest.mark.parametrize("choice", ["skip-connect", "a,b", "a b", "a#1", "", -1])
def test_choices_that_would_blur_code_strings_are_refused(choice: Choice) -> None:
    with pytest.raises(NasError, match="letters, digits"):
        Decision("op", (choice, "other"))


@pytest.mark.parametrize(
    "choices",
    [
        pytest.param([(1.0, 2.5), (1, 2)], id="whole-floats"),
        pytest.param([("skip_connect", "conv"), ("a", "b")], id="words"),
        pytest.param([(0.25, 1), (10, 20)], id="fractions"),
    ],
)
def test_codes_of_unusual_choices_parse_back(make_space: MakeSpace, choices: list[tuple[Choice, ...]]) -> None:
    space = make_space([Decision(f"s.{i}", values) for i, values in enumerate(choices)])
    codes = space.all_codes()
    np.testing.assert_array_equal([space.encode(text) for text in space.format(codes)], codes)


def test_codes_of_one_long_choice_a_stage_parse_back(make_space: MakeSpace) -> None:
    space = make_space([Decision("width", (16, 24)), Decision("resolution", (192, 224))])
    codes = space.all_codes()
    np.testing.assert_array_equal([space.encode(text) for text in space.format(codes)], codes)


def test_a_whole_float_choice_can_be_named(make_space: MakeSpace) -> None:
    space = make_space([Decision("width", (1.0, 1.4))])
    np.testing.assert_array_equal(space.encode({"width": 1.0}), [0])


def test_choices_that_read_the_same_are_refused() -> None:
    with pytest.raises(NasError, match="'kernel' lists a choice twice: 3, 3"):
        Decision("kernel", (3, "3"))


def test_decisions_that_do_not_fit_a_code_are_refused(make_space: MakeSpace, rng: np.random.Generator) -> None:
    with pytest.raises(NasError, match="'width' has 128 choices, at most 127 are possible"):
        Decision("width", tuple(range(128)))
    widest = make_space([Decision("width", tuple(range(127)))])
    assert sorted(widest.all_codes()[:, 0]) == list(range(127))
    assert widest.sample(1000, rng).max() > 100


@pytest.mark.parametrize(
    ("given_name", "nearest"),
    [("stage1.kernal", "stage1.kernel"), ("stage2.expnd", "stage2.expand"), ("stage7.layer", "stage7.layers")],
)
def test_an_unknown_decision_names_the_nearest(mbconv: SearchSpace, given_name: str, nearest: str) -> None:
    with pytest.raises(NasError, match=f"mbconv has no decision '{given_name}'; did you mean '{nearest}'\\?"):
        mbconv.encode({given_name: 3})


def test_an_unknown_choice_lists_what_is_allowed(mbconv: SearchSpace) -> None:
    decisions = dict(mbconv.decode(mbconv.sample(1, np.random.default_rng(0))[0]).decisions)
    with pytest.raises(NasError, match=r"stage3\.kernel is 7, must be one of 3, 5"):
        mbconv.encode(decisions | {"stage3.kernel": 7})


def test_missing_decisions_are_named_and_counted(nested_space: SearchSpace) -> None:
    with pytest.raises(NasError, match=r"'body\.op' of toy is not given \(1 missing\)"):
        nested_space.encode({"body.width": 8})
    with pytest.raises(NasError, match=r"'body\.kernel' of toy is not given \(2 missing\)"):
        nested_space.encode({"body.width": 8, "body.op": "mbconv"})


def test_decisions_that_do_not_matter_need_no_value(nested_space: SearchSpace) -> None:
    np.testing.assert_array_equal(nested_space.encode({"body.width": 24, "body.op": "pool"}), [2, 3, 0, 0, 0])
    ignored = {"body.width": 24, "body.op": "pool", "body.kernel": 5}
    np.testing.assert_array_equal(nested_space.encode(ignored), [2, 3, 0, 0, 0])


@pytest.mark.parametrize("value", [6, 6.0, "6", np.int64(6)])
def test_a_number_may_be_given_in_any_type(mbconv: SearchSpace, value: Choice) -> None:
    decisions = dict(mbconv.decode(np.zeros(28, dtype=np.int8)).decisions)
    assert mbconv.decode(mbconv.encode(decisions | {"stage4.expand": value})).decisions["stage4.expand"] == 6


@pytest.mark.parametrize("text", ["", "1310", "1310-" * 6, "1310-" * 7 + "1310", "131-" + "-".join(["1310"] * 6)])
def test_a_code_string_of_the_wrong_shape_shows_a_right_one(mbconv: SearchSpace, text: str) -> None:
    with pytest.raises(NasError, match=r"is not a code of mbconv; one looks like '(1310-){6}1310'"):
        mbconv.encode(text)


def test_a_code_string_with_a_wrong_choice_names_the_decision(mbconv: SearchSpace) -> None:
    with pytest.raises(NasError, match=r"stage7\.kernel is '4', must be one of 3, 5"):
        mbconv.encode("1310-" * 6 + "1410")


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ([0] * 28, r"integers \[n, 28\], not int64 \[28\]"),
        ([[0] * 27], r"integers \[n, 28\], not int64 \[1, 27\]"),
        ([[0.0] * 28], r"integers \[n, 28\], not float64 \[1, 28\]"),
        ([[0] * 28, [0, 0, 3] + [0] * 25], r"code 1: stage1\.layers is 3, must be 0 to 2"),
        ([[-1] + [0] * 27], r"code 0: stage1\.expand is -1, must be 0 to 2"),
        ([[256] + [0] * 27], r"code 0: stage1\.expand is 256, must be 0 to 2"),
    ],
)
def test_arrays_that_are_no_codes_are_refused(mbconv: SearchSpace, codes: list[object], message: str) -> None:
    with pytest.raises(NasError, match=message):
        mbconv.check(codes)


def test_check_makes_codes_canonical(nested_space: SearchSpace) -> None:
    np.testing.assert_array_equal(nested_space.check([[1, 0, 1, 2, 2]]), [[1, 0, 0, 0, 0]])


def test_an_architecture_of_another_space_is_refused(mbconv: SearchSpace) -> None:
    ours = mbconv.decode(np.zeros(28, dtype=np.int8))
    with pytest.raises(NasError, match="is of the space another, not mbconv"):
        mbconv.encode(Architecture("another", ours.code, ours.decisions))
