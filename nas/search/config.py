"""What a search is asked to do, from options, a YAML file or Python, checked before anything runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nas.errors import NasError, suggestion
from nas.plain_yaml import load_yaml

_LATENCY_UNITS_MS = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}
_COUNT_UNITS = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9}

#: configuration keys whose values carry a unit, and the field each fills
_WITH_UNIT = {"max_latency": "max_latency_ms", "max_params": "max_params", "max_macs": "max_macs"}


class SearchConfig(BaseModel):
    """Everything the options of `nas search` say.

    Args:
        space: a registered name; before a run is made, also the path of a space file.
        space_declaration: the content of the space file, so that a run can go on when the file is gone.
        estimator: a registered name, or `name:argument` where it takes one.
        data: folder of the data an estimator reads; None: the one it finds itself.
        objectives: metrics to optimise; none: accuracy and latency on the target, or MACs without a target.
        start_from: networks to evaluate first; in the configuration of a run, their code strings.
        budget: networks evaluated, those of `start_from` included.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    space: str
    target: str | None = None
    strategy: str = "nsga2"
    estimator: str = "surrogate"
    data: str | None = None
    #: YAML has lists only
    objectives: tuple[str, ...] = Field(default=(), strict=False)
    max_latency_ms: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    max_params: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    max_macs: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    budget: int = Field(default=20_000, ge=1)
    seed: int = Field(default=0, ge=0)
    #: YAML has lists only
    start_from: tuple[str, ...] = Field(default=(), strict=False)
    space_declaration: dict[str, Any] | None = None

    @property
    def upper_bounds(self) -> dict[str, float]:
        """Metric name -> upper bound, for the bounds that were given."""
        bounds = {"latency_ms": self.max_latency_ms, "params": self.max_params, "macs": self.max_macs}
        return {metric: bound for metric, bound in bounds.items() if bound is not None}


def make_config(settings: Mapping[str, Any], origin: str = "") -> SearchConfig:
    """Return a checked configuration from fields of `SearchConfig`; `origin` names where they stand, for messages.

    Raises:
        NasError: a field is missing, has a wrong type, or a value out of range.
    """
    where = f"{origin}: " if origin else ""
    if "space" not in settings:
        raise NasError(f"{where}no search space given; add --space NAME (see `nas list spaces`)")
    # A latency of 20 means 20.0; no other number is converted silently.
    floats = {key: float(v) if type(v) is int and key.startswith("max_") else v for key, v in settings.items()}
    try:
        return SearchConfig.model_validate(floats)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            raise NasError(f"{where}unknown key {key!r}{suggestion(key, SearchConfig.model_fields)}") from None
        raise NasError(f"{where}{key} is {first['input']!r}: {first['msg'].lower()}") from None


def settings_of(values: Mapping[str, Any], origin: str = "") -> dict[str, Any]:
    """Return fields of `SearchConfig` from keys and values as users write them, without those that are None.

    Budgets carry units: `max_latency: 20ms`, `max_params: 5.3M`, `max_macs: 390M`. The key `out`, a path, is kept.

    Raises:
        NasError: an unknown key (with the nearest valid one), or a bad quantity.
    """
    where = f"{origin}: " if origin else ""
    known = (set(SearchConfig.model_fields) - {"space_declaration"}) | set(_WITH_UNIT) | {"out"}
    settings: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            raise NasError(f"{where}unknown key {key!r}{suggestion(str(key), known)}")
        if key == "out" and not isinstance(value, str | Path | None):
            raise NasError(f"{where}out is {value!r}, expected a path")
        if key == "data" and isinstance(value, Path):
            value = str(value)
        if key == "start_from" and isinstance(value, str):
            value = (value,)
        if key == "objectives" and isinstance(value, str):
            value = tuple(name.strip() for name in value.split(","))
        if value is not None:
            field = _WITH_UNIT.get(key, key)
            settings[field] = parse_quantity(key, value, where) if key in _WITH_UNIT else value
    return settings


def read_settings(path: Path) -> dict[str, Any]:
    """Return the fields of `SearchConfig` that a YAML file sets.

    Raises:
        NasError: it cannot be read, is not YAML, is not a mapping, or holds an unknown key or a bad quantity.
    """
    try:
        content = load_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NasError(f"cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise NasError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise NasError(f"{path} holds {type(content).__name__}, expected keys and values such as `space: mbconv`")
    return settings_of({str(key): value for key, value in content.items()}, str(path))


def parse_quantity(key: str, value: object, where: str = "") -> float:
    """Return a budget as a number: milliseconds for a latency, a plain count otherwise.

    Raises:
        NasError: no number, no or a wrong unit, not positive.
    """
    option = f"{where}{key}" if where else "--" + key.replace("_", "-")
    units = _LATENCY_UNITS_MS if key == "max_latency" else _COUNT_UNITS
    example = "20ms" if key == "max_latency" else "5.3M"
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise NasError(f"{option} is a {type(value).__name__}, expected a number with a unit such as {example}")
    match = re.fullmatch(r"\s*([+-]?[0-9.]+(?:[eE][+-]?\d+)?)\s*([a-zA-Zµ]*)\s*", str(value))
    number = _number(match[1]) if match else None
    if match is None or number is None:
        raise NasError(f"{option} is {value!r}, expected a number with a unit such as {example}")
    if match[2] not in units:
        said = f"has the unknown unit {match[2]!r}" if match[2] else "has no unit"
        valid = ", ".join(unit for unit in units if unit)
        raise NasError(f"{option} {value} {said}; write it as {example} (units: {valid})")
    if not 0 < number < float("inf"):
        raise NasError(f"{option} {value} must be positive, e.g. {example}")
    return number * units[match[2]]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
