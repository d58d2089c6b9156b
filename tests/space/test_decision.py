"""Decisions refuse what cannot be meant, and a tree counts exactly what enumeration finds."""

from __future__ import annotations

import math

import pytest

from nas.errors import NasError
from nas.space.decision import Condition, Decision, DecisionTree


def test_a_decision_needs_choices() -> None:
    with pytest.raises(NasError, match="'kernel' has no choices"):
        Decision("kernel", ())


@pytest.mark.parametrize("choices", [(3, 5, 3), (1, 1.0), ("a", "b", "a")])
def test_a_choice_is_listed_once(choices: tuple[int | float | str, ...]) -> None:
    with pytest.raises(NasError, match="'kernel' lists a choice twice"):
        Decision("kernel", choices)


def test_names_are_distinct() -> None:
    with pytest.raises(NasError, match="same name"):
        DecisionTree([Decision("a", (1, 2)), Decision("a", (3, 4))])


@pytest.mark.parametrize("parent", ["a", "later", "nowhere"])
def test_a_condition_names_an_earlier_decision(parent: str) -> None:
    decisions = [Decision("a", (1, 2), Condition(parent, (1,))), Decision("later", (1, 2))]
    with pytest.raises(NasError, match=f"'a' depends on '{parent}', which does not come before it"):
        DecisionTree(decisions)


def test_a_condition_names_a_value_its_parent_has() -> None:
    decisions = [Decision("depth", (1, 2)), Decision("kernel", (3, 5), Condition("depth", (2, 7)))]
    with pytest.raises(NasError, match=r"'kernel' depends on 'depth' = 7, not one of \(1, 2\)"):
        DecisionTree(decisions)


def test_independent_decisions_multiply() -> None:
    tree = DecisionTree([Decision(f"d{i}", tuple(range(k))) for i, k in enumerate((2, 3, 5, 7))])
    assert tree.size == 2 * 3 * 5 * 7


def test_size_is_exact_beyond_machine_integers() -> None:
    # A chain of one optional layer after another: 1 + 10 (1 + 10 (1 + ...)) settings, a sum of powers of ten.
    depth = 40
    decisions = [Decision("d0", tuple(range(11)))]
    decisions += [
        Decision(f"d{i}", tuple(range(11)), Condition(f"d{i - 1}", tuple(range(1, 11)))) for i in range(1, depth)
    ]
    tree = DecisionTree(decisions)
    assert tree.size == sum(10**i for i in range(depth + 1)) == int("1" * (depth + 1))


def test_siblings_below_one_choice_multiply_and_choices_add() -> None:
    decisions = [
        Decision("op", ("skip", "conv", "mbconv")),
        Decision("kernel", (3, 5, 7), Condition("op", ("conv", "mbconv"))),
        Decision("expand", (3, 4, 6, 8), Condition("op", ("mbconv",))),
    ]
    assert DecisionTree(decisions).size == 1 + 3 + 3 * 4


def test_a_condition_that_no_value_meets_leaves_one_setting() -> None:
    decisions = [Decision("a", (1, 2)), Decision("b", tuple(range(9)), Condition("a", ()))]
    assert DecisionTree(decisions).size == 2


def test_weights_are_the_settings_below_each_choice() -> None:
    decisions = [
        Decision("depth", (1, 2, 3)),
        Decision("second", (3, 5), Condition("depth", (2, 3))),
        Decision("third", (3, 5), Condition("depth", (3,))),
    ]
    tree = DecisionTree(decisions)
    assert tree.weights[0] == [1, 2, 4]
    assert math.prod(tree.weights[1]) == 1
