"""Search spaces by registered name, by file, or from the content of a file that a run has kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas import registry
from nas.errors import NasError
from nas.search.config import SearchConfig
from nas.space import SearchSpace
from nas.space.space_file import read_declaration, space_from

#: what tells the path of a space file from the name of a space
SUFFIXES = (".yaml", ".yml")


def find_space(name: str) -> SearchSpace:
    """Return the space registered as `name`, or declared in the file of that path.

    Raises:
        NasError: there is none of that name, or the file cannot be read or declares no possible space.
    """
    if is_file(name):
        return _declared(read_declaration(Path(name)), name)
    found: SearchSpace = registry.load("spaces", name)
    return found


def is_file(name: str) -> bool:
    """Whether `name` is the path of a space file rather than the name of a space."""
    return name.endswith(SUFFIXES)


def with_declaration(config: SearchConfig) -> SearchConfig:
    """Return the configuration with the content of its space file, where it names one, in place of the path.

    Raises:
        NasError: the file cannot be read or declares no possible space.
    """
    if not is_file(config.space):
        return config
    declaration = read_declaration(Path(config.space))
    space = _declared(declaration, config.space)
    return config.model_copy(update={"space": space.name, "space_declaration": declaration})


def space_of(config: SearchConfig) -> SearchSpace:
    """Return the space of a configuration, from the declaration it holds or by name.

    Raises:
        NasError: the name is not registered, or the declaration is damaged.
    """
    if config.space_declaration is None:
        return find_space(config.space)
    return space_from(config.space_declaration, f"declaration of the space {config.space}")


def _declared(declaration: Mapping[str, Any], origin: str) -> SearchSpace:
    space = space_from(declaration, origin)
    if space.name in registry.names("spaces"):
        raise NasError(f"{origin}: a space called {space.name!r} is installed; choose another name")
    return space
