"""What users write becomes a checked configuration, or one clear message."""

from __future__ import annotations

import pytest

from nas.errors import NasError
from nas.search.config import make_config, parse_quantity, settings_of


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("max_latency", "20ms", 20.0),
        ("max_latency", "0.02 s", 20.0),
        ("max_latency", "1500us", 1.5),
        ("max_latency", "1500µs", 1.5),
        ("max_params", "5.3M", 5.3e6),
        ("max_params", 5300000, 5.3e6),
        ("max_macs", "0.39G", 3.9e8),
        ("max_macs", "390e6", 3.9e8),
    ],
)
def test_quantities_are_read_in_the_unit_they_carry(key: str, text: object, expected: float) -> None:
    assert parse_quantity(key, text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["20", "-5ms", "0ms", "nanms", "infms", "20 parsecs", "ms", "", "1e400ms", True, [20]])
def test_a_latency_budget_needs_a_positive_number_and_a_unit(text: object) -> None:
    with pytest.raises(NasError, match="--max-latency"):
        parse_quantity("max_latency", text)


def test_unknown_keys_are_refused_with_the_nearest() -> None:
    with pytest.raises(NasError, match=r"study\.yaml: unknown key 'stratgy'; did you mean 'strategy'"):
        settings_of({"space": "mbconv", "stratgy": "nsga2"}, "study.yaml")


@pytest.mark.parametrize(
    ("key", "value"), [("budget", "many"), ("budget", 2.5), ("budget", 0), ("seed", -1), ("seed", True), ("space", 3)]
)
def test_wrong_types_and_ranges_are_refused_by_name(key: str, value: object) -> None:
    with pytest.raises(NasError, match=key):
        make_config({"space": "mbconv", key: value})


def test_a_number_with_its_unit_in_the_key_needs_none_in_the_value() -> None:
    assert make_config(settings_of({"space": "mbconv", "max_latency_ms": 20})).max_latency_ms == 20.0
