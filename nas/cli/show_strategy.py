"""`nas show strategy`"""

from __future__ import annotations

import re
from typing import Any

from nas.cli.console import console, plain_table, print_json


def show_strategy(name: str, as_json: bool) -> None:
    """Print what a strategy is and, of a one-shot strategy, what `nas search --set` can set.

    Raises:
        NasError: there is no strategy of that name.
    """
    from nas import registry
    from nas.search.oneshot_settings import oneshot_class

    kind = oneshot_class(name)
    described = registry.load("strategies", name) if kind is None else kind
    text = " ".join((described.__doc__ or "").strip().partition("\n\n")[0].split())
    settings = [] if kind is None else _settings(kind.Settings)
    if as_json:
        print_json({"strategy": name, "description": text, "settings": settings})
        return
    out = console()
    out.print(f"{name}: {text}")
    if kind is None:
        return
    out.print(f"\nSettings, as in: nas search --strategy {name} --set {settings[0]['setting']}=VALUE\n")
    table = plain_table("setting", "default", "", text=(0, 1, 2))
    table.columns[2].no_wrap = False
    for row in settings:
        table.add_row(row["setting"], row["default"], row["meaning"])
    out.print(table)


def _settings(model: Any) -> list[dict[str, str]]:
    """Every setting with its default and what the documentation of its class, or of one above it, says."""
    meanings: dict[str, str] = {}
    for base in reversed(model.__mro__):
        meanings |= _arguments(base.__doc__ or "")
    return [
        {"setting": name, "default": _text(field.get_default(call_default_factory=True)), "meaning": meanings[name]}
        for name, field in model.model_fields.items()
    ]


def _arguments(doc: str) -> dict[str, str]:
    """Return what the section Args of a docstring says of each name."""
    section = doc.partition("Args:\n")[2]
    found: dict[str, str] = {}
    for names, text in re.findall(r"^ {8}([a-z_]+(?:, [a-z_]+)*): (.*(?:\n {12}.*)*)", section, re.MULTILINE):
        found |= dict.fromkeys(names.split(", "), " ".join(text.split()))
    return found


def _text(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, tuple):
        return f"[{', '.join(f'{entry:g}' for entry in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
