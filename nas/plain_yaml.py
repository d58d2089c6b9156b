"""YAML as configuration needs it: plain values, no tags, no aliases, no surprises."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from nas.errors import NasError

Model = TypeVar("Model", bound=BaseModel)


class _PlainLoader(yaml.SafeLoader):
    """The safe loader without aliases, which a few lines can blow up to gigabytes, and without repeated keys."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not supported")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        twice = [key for key in keys if keys.count(key) > 1]
        if twice:
            raise yaml.YAMLError(f"key {twice[0]!r} is given twice")
        return super().construct_mapping(node, deep=deep)


def load_yaml(text: str) -> Any:
    """Return the content of a YAML document.

    Raises:
        yaml.YAMLError: it is malformed, nested too deeply, or uses what is not supported.
    """
    try:
        loader = _PlainLoader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except (ValueError, RecursionError, TypeError) as error:
        raise yaml.YAMLError(str(error) or "nested too deeply") from None


def read_record(model: type[Model], path: Path, what: str = "") -> Model:
    """Read a YAML file as `model`.

    Args:
        what: what the file should be, for the message, e.g. "family of networks".

    Raises:
        NasError: it cannot be read or is malformed; names the place.
    """
    try:
        return model.model_validate(load_yaml(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeError) as error:
        raise NasError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    except yaml.YAMLError as error:
        raise NasError(f"cannot read {path}: it is no YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "content"
        no = f" is no {what}" if what else ""
        raise NasError(f"{path}{no}: {place}: {first['msg']}") from None
