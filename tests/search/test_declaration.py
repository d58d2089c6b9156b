"""Long declarations in few lines: nothing is lost by folding."""

from __future__ import annotations

import itertools
import re

import pytest

from nas import registry
from nas.search.declaration import DecisionLine, fold
from nas.space import Condition, Decision, SearchSpace


def unfolded(pattern: str) -> list[str]:
    """All names that "stage{1-3,5}.kernel" stands for."""
    parts = re.split(r"\{([^}]+)\}", pattern)
    choices = [
        [number for item in part.split(",") for number in numbers(item)] if i % 2 else [part]
        for i, part in enumerate(parts)
    ]
    return ["".join(words) for words in itertools.product(*choices)]


def numbers(item: str) -> list[str]:
    low, _, high = item.partition("-")
    if not low.isdecimal():
        return [item]
    return [str(i) for i in range(int(low), int(high or low) + 1)]


def test_the_lines_of_mbconv(mbconv: SearchSpace) -> None:
    assert fold(mbconv.decisions) == [
        DecisionLine("stage{1-7}.expand", 7, ("1", "4", "6"), ""),
        DecisionLine("stage{1-7}.kernel", 7, ("3", "5"), ""),
        DecisionLine("stage{1-5,7}.layers", 6, ("1", "2", "3"), ""),
        DecisionLine("stage{1-7}.se", 7, ("0", "1"), ""),
        DecisionLine("stage6.layers", 1, ("1", "2", "3", "4"), ""),
    ]


def test_conditions_on_the_same_place_fold() -> None:
    decisions = [Decision(f"stage{i}.depth", (2, 3, 4)) for i in (1, 2)]
    decisions += [
        Decision(f"stage{i}.layer{j}.kernel", (3, 5), Condition(f"stage{i}.depth", tuple(range(j, 5))))
        for i in (1, 2) for j in (3, 4)
    ]  # fmt: skip
    assert fold(decisions) == [
        DecisionLine("stage{1,2}.depth", 2, ("2", "3", "4"), ""),
        DecisionLine("stage{1,2}.layer3.kernel", 2, ("3", "5"), "depth is 3 or 4"),
        DecisionLine("stage{1,2}.layer4.kernel", 2, ("3", "5"), "depth is 4"),
    ]


def test_a_condition_on_nearly_all_values_names_the_others() -> None:
    inputs = [Decision(f"{cell}.inputs", ("0", "1", "01", "none")) for cell in ("normal", "reduction")]
    ops = [Decision(f"{cell}.op", ("conv", "pool"), Condition(f"{cell}.inputs", ("0", "1", "01")))
           for cell in ("normal", "reduction")]  # fmt: skip
    assert fold([*inputs, *ops])[1] == DecisionLine("{normal,reduction}.op", 2, ("conv", "pool"), "inputs is not none")


def test_places_that_are_no_product_stay_apart() -> None:
    decisions = [Decision(f"cell{i}.op{j}", ("a", "b")) for i, j in ((1, 1), (1, 2), (2, 1), (3, 1), (3, 2))]
    assert [(line.names, line.count) for line in fold(decisions)] == [("cell{1,3}.op{1,2}", 4), ("cell2.op1", 1)]


@pytest.mark.parametrize("name", registry.names("spaces"))
def test_every_decision_is_in_exactly_one_line(name: str) -> None:
    space: SearchSpace = registry.load("spaces", name)
    found = [name for line in fold(space.decisions) for name in unfolded(line.names)]
    assert sorted(found) == sorted(decision.name for decision in space.decisions)
    assert sum(line.count for line in fold(space.decisions)) == len(space.decisions)
