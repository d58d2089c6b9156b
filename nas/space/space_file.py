"""Spaces declared in YAML: the block notation with a name and the options of the networks around it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from nas.errors import NasError, suggestion
from nas.plain_yaml import load_yaml
from nas.space.block import NORM_EPS
from nas.space.decision import Condition
from nas.space.staged_network import SqueezeExciteRule, StagedNetwork
from nas.space.staged_space import StagedSpace

Blocks = Annotated[list[str], Field(min_length=1, max_length=100)]
Size = Annotated[int, Field(ge=1, le=4096)]
Count = Annotated[int, Field(ge=1, le=100_000)]
Values = Annotated[list[int | float | str], Field(min_length=1)]
Fraction = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]


class _Declaration(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SqueezeExciteDeclaration(_Declaration):
    """The key `se`: see `SqueezeExciteRule`, whose defaults it has."""

    ratio: float = Field(default=0.25, gt=0, le=1)
    of: Literal["input", "expanded"] = "input"
    divisor: int = Field(default=1, ge=1, le=1024)
    activation: Literal["relu", "relu6", "silu", "hardswish"] = "silu"
    gate: Literal["sigmoid", "hardsigmoid"] = "sigmoid"


class SpaceDeclaration(_Declaration):
    """The keys of a space file.

    Args:
        name: what the space is called in runs.
        stages: a block string a stage; sets and ranges in them are the decisions of the space.
        stem, head: a block string, and one for every block behind the stages; a set is a decision there too.
        resolution: input height = width in pixels; a list is a decision.
        layerwise: every layer of a stage chooses for itself; else they share their choices.
        only: properties that are choices only at some values of another: {groups: {expand: [1]}}.
        in_channels, num_classes, activation, se, norm_eps, padding, dropout, expand_at_one, bias_after_pool,
            norm_after_pool: see `StagedNetwork`.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    stages: Blocks
    description: str = ""
    stem: str = "cn_k3_s2_c32"
    head: Blocks = ["cn_c1280", "pool", "fc"]
    resolution: Annotated[
        list[Size], BeforeValidator(lambda size: size if isinstance(size, list) else [size]), Field(min_length=1)
    ] = [224]
    layerwise: bool = False
    only: dict[str, Annotated[dict[str, Values], Field(min_length=1, max_length=1)]] = {}
    in_channels: Count = 3
    num_classes: Count = 1000
    activation: Literal["relu", "relu6", "silu", "hardswish"] = "relu"
    se: SqueezeExciteDeclaration = SqueezeExciteDeclaration()
    norm_eps: float = Field(default=NORM_EPS, gt=0, le=1)
    padding: Literal["symmetric", "same"] = "symmetric"
    dropout: Fraction = 0.0
    expand_at_one: bool = False
    bias_after_pool: bool = True
    norm_after_pool: bool = False


#: the keys that are fields of `StagedNetwork` as they stand
_OPTIONS = (
    "in_channels", "num_classes", "activation", "norm_eps", "padding", "dropout", "expand_at_one", "bias_after_pool",
    "norm_after_pool",
)  # fmt: skip


def load_space(path: Path | str) -> StagedSpace:
    """Return the space that a YAML file declares.

    Raises:
        NasError: it cannot be read, has an unknown or missing key or a bad value, or declares no possible space; the
            message names the file and the key or stage and points at the wrong token of a block string.
    """
    return space_from(read_declaration(Path(path)), str(path))


def read_declaration(path: Path) -> dict[str, Any]:
    """Return the content of a space file, plain data that JSON can hold; `space_from` checks it.

    Raises:
        NasError: it cannot be read, is not YAML, or is no mapping of keys to values.
    """
    try:
        content = load_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NasError(f"cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise NasError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        found = "nothing" if content is None else type(content).__name__
        raise NasError(f"{path} holds {found}, expected keys and values such as `name: phone`")
    return {str(key): value for key, value in content.items()}


def space_from(declaration: Mapping[str, Any], origin: str) -> StagedSpace:
    """Return the space of a declaration (the keys of a space file); `origin` names where it stands, for messages.

    Raises:
        NasError: see `load_space`.
    """
    try:
        declared = SpaceDeclaration.model_validate(dict(declaration))
    except ValidationError as error:
        raise NasError(f"{origin}: {_message(error)}") from None
    try:
        return _build(declared)
    except NasError as error:
        raise NasError(f"{origin}: {error}") from None


def _build(declared: SpaceDeclaration) -> StagedSpace:
    # The stem and head of the skeleton are replaced by the strings, which may leave choices open.
    skeleton = StagedNetwork(
        stem=(),
        stages=(),
        head=(),
        se=SqueezeExciteRule(**declared.se.model_dump()),
        resolution=declared.resolution[0],
        **{key: getattr(declared, key) for key in _OPTIONS},
    )
    conditions = {
        prop: Condition(parent, tuple(values))
        for prop, condition in declared.only.items()
        for parent, values in condition.items()
    }
    return StagedSpace(
        declared.name,
        skeleton,
        declared.stages,
        declared.description,
        layerwise=declared.layerwise,
        resolutions=declared.resolution if len(declared.resolution) > 1 else (),
        stem=declared.stem,
        head=declared.head,
        only=conditions,
    )


def _message(error: ValidationError) -> str:
    """The first problem of a declaration: key, what is wrong, what would be right."""
    first = error.errors()[0]
    # Positions in lists count from 1, as stages do.
    words = [str(word + 1) if isinstance(word, int) else str(word) for word in first["loc"]]
    key = words[0] if len(words) == 1 else f"{words[0]}, {' '.join(words[1:])}"
    if first["type"] == "extra_forbidden":
        model = SqueezeExciteDeclaration if words[0] == "se" else SpaceDeclaration
        within = "" if len(words) == 1 else f" in {words[0]}"
        return f"unknown key {words[-1]!r}{within}{suggestion(words[-1], model.model_fields)}"
    if first["type"] == "missing":
        return f"the key {key!r} is missing"
    if first["type"] == "literal_error":
        valid = first["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        return f"{key} is {first['input']!r}{suggestion(str(first['input']), valid)}"
    if first["type"] == "too_short":
        return f"{key} is empty, needs at least one entry"
    if first["type"] == "too_long":
        return f"{key} has {first['ctx']['actual_length']} entries, at most {first['ctx']['max_length']} are possible"
    if first["type"] in ("model_type", "dict_type"):
        return f"{key} is {first['input']!r}, must be keys and values, such as {{ratio: 0.25}} of se"
    if first["type"] == "string_pattern_mismatch":
        return f"{key} is {first['input']!r}, must be up to 64 letters, digits, '_', '.' or '-'"
    hint = "; YAML reads 1e-3 as text, write 0.001" if first["type"] == "float_type" else ""
    return f"{key} is {first['input']!r}: {first['msg'].lower()}{hint}"
