"""What `nas search` is told of the training of a supernet: settings by name, complete and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from nas import registry
from nas.errors import NasError, UnknownNameError, suggestion
from nas.plain_yaml import load_yaml

if TYPE_CHECKING:
    from nas.search.config import SearchConfig
    from nas.strategies.oneshot.base import OneShotStrategy
    from nas.strategies.oneshot.settings import OneShotSettings


def oneshot_class(strategy: str) -> type[OneShotStrategy] | None:
    """Return the class of a one-shot strategy, None for a black-box one.

    Raises:
        NasError: there is no strategy of that name.
    """
    if strategy in registry.names("oneshot_strategies"):
        found: type[OneShotStrategy] = registry.load("oneshot_strategies", strategy)
        return found
    black_box = registry.names("strategies")
    if strategy.partition(":")[0] not in black_box:
        raise UnknownNameError("strategy", strategy, [*black_box, *registry.names("oneshot_strategies")])
    return None


def parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Return settings from texts KEY=VALUE, values as in YAML; `network.channels=8` fills a mapping.

    Raises:
        NasError: no KEY=VALUE, a key twice, or a value that is no YAML.
    """
    settings: dict[str, Any] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not (key and equals and value):
            raise NasError(f"--set is {text!r}, expected KEY=VALUE, such as learning_rate=0.05")
        try:
            content = load_yaml(value)
        except yaml.YAMLError as error:
            raise NasError(f"--set {key}: {' '.join(str(error).split())}") from None
        outer, dot, inner = key.partition(".")
        place = settings.setdefault(outer, {}) if dot else settings
        if not isinstance(place, dict) or (inner or outer) in place:
            raise NasError(f"--set {key} is given twice")
        place[inner or outer] = content
    return settings


def changed_settings(config: SearchConfig) -> dict[str, str]:
    """Return the settings of a one-shot strategy that are not its defaults, as `parse_settings` reads them."""
    kind = oneshot_class(config.strategy)
    if kind is None or config.oneshot is None:
        return {}
    defaults = kind.Settings().model_dump(mode="json")
    changed: dict[str, str] = {}
    for key, value in complete(kind, config.oneshot, config.strategy).model_dump(mode="json").items():
        if isinstance(value, dict):
            changed |= {f"{key}.{inner}": json.dumps(entry) for inner, entry in value.items()}
        elif value != defaults[key] and key != "candidates":  # the budget says that
            changed[key] = json.dumps(value)
    return changed


def complete(strategy: type[OneShotStrategy], given: Mapping[str, Any], name: str) -> OneShotSettings:
    """Return the settings of a strategy, its defaults where nothing is given.

    Args:
        name: of the strategy, for messages.

    Raises:
        NasError: an unknown key (with the nearest valid one), a wrong type or a value out of range.
    """
    try:
        return strategy.Settings.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            known = strategy.Settings.model_fields
            raise NasError(f"the strategy {name} has no setting {key!r}{suggestion(key, known)}") from None
        raise NasError(f"the setting {key} of {name} is {first['input']!r}: {first['msg'].lower()}") from None
