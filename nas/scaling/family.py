"""A family of networks: a base scaled to several sizes, kept in a file that names every member exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from nas.errors import NasError, suggestion
from nas.hardware.predictor_file import write_whole
from nas.plain_yaml import read_record
from nas.scaling.coefficients import Coefficients, Multipliers
from nas.scaling.recipe import Recipe
from nas.space import NetworkSpec

#: the file of a family in the folder that `nas scale emit --out` writes
FAMILY_FILE = "family.yaml"
#: finds the network a text names
Resolve = Callable[[str], NetworkSpec]


@dataclass(frozen=True)
class Member:
    """A network of a family.

    Args:
        name: what it is called in the family: "b4", or by its budget, "20ms".
        spec: the network; its dropout is that of the recipe.
        recipe: how to train it, as published or by a rule; None where neither is known.
        phi: its compound coefficient, where the family follows one.
        by: multipliers of the base that it is made by; its resolution is rounded, and may be adjusted to a budget.
        budget: what it was asked to cost, in the unit of the family's budget.
        network: the published network that it is.
    """

    name: str
    spec: NetworkSpec
    recipe: Recipe | None = None
    phi: float | None = None
    by: Multipliers | None = None
    budget: float | None = None
    network: str | None = None


@dataclass(frozen=True)
class Family:
    """Networks of growing size around a base.

    Args:
        base: the text that names the base network.
        base_spec: that network.
        coefficients: what the members follow; None for a published family whose members follow none.
        budget_metric: what the budgets of members bound, e.g. "latency_ms"; None without budgets.
        target: the target of budgets of latency.
        source: where the members were published, for a published family.
    """

    base: str
    base_spec: NetworkSpec
    coefficients: Coefficients | None
    members: tuple[Member, ...]
    budget_metric: str | None = None
    target: str | None = None
    source: str = ""

    def member(self, name: str) -> Member:
        """Return the member of that name.

        Raises:
            NasError: there is none; says which is near.
        """
        by_name = {member.name: member for member in self.members}
        if name not in by_name:
            raise NasError(f"the family has no member {name!r}{suggestion(name, by_name)}")
        return by_name[name]


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _CoefficientsRecord(_Record):
    depth: Positive
    width: Positive
    resolution: Positive


class _MemberRecord(_Record):
    """A member in a file: a published network by its name, or the multipliers and the resolution in pixels."""

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^#\s]+$")]
    network: str | None = None
    phi: Annotated[float, Field(allow_inf_nan=False)] | None = None
    depth: Positive | None = None
    width: Positive | None = None
    resolution_multiplier: Positive | None = None
    resolution: Annotated[int, Field(ge=1, le=100_000)]
    budget: Positive | None = None
    params: int
    macs: int
    recipe: dict[str, Any] | None = None


class _FamilyRecord(_Record):
    base: str
    coefficients: _CoefficientsRecord | None = None
    budget_metric: str | None = None
    target: str | None = None
    source: str = ""
    members: Annotated[list[_MemberRecord], Field(min_length=1, max_length=1000)]


def write_family(family: Family, path: Path) -> Path:
    """Write a family to a YAML file and return its path; an interrupted write leaves what was there before.

    Raises:
        NasError: the file cannot be written.
    """
    record = {
        "base": family.base,
        "coefficients": asdict(family.coefficients) if family.coefficients else None,
        "budget_metric": family.budget_metric,
        "target": family.target,
        "source": family.source,
        "members": [_as_record(member) for member in family.members],
    }
    text = yaml.safe_dump(_told(record), sort_keys=False, allow_unicode=True)
    write_whole(path, text.encode())
    return path


def _as_record(member: Member) -> dict[str, Any]:
    spec, by = member.spec, member.by
    cost = spec.cost()
    record = {"name": member.name, "network": member.network, "phi": member.phi}
    if by is not None:
        record |= {"depth": by.depth, "width": by.width, "resolution_multiplier": by.resolution}
    record |= {"resolution": spec.resolution, "budget": member.budget, "params": cost["params"], "macs": cost["macs"]}
    return _told(record | {"recipe": _told(asdict(member.recipe)) if member.recipe else None})


def _told(record: dict[str, Any]) -> dict[str, Any]:
    """What there is to say; a reader takes what is left out as unknown."""
    return {key: value for key, value in record.items() if value is not None and value != ""}


def family_file(text: str) -> Path | None:
    """Return the file of the family that a path names, itself or its folder; None if it names none."""
    path = Path(text)
    if path.is_dir():
        path = path / FAMILY_FILE
    return path if path.suffix in (".yaml", ".yml") and path.is_file() else None


def read_family(path: Path, resolve: Resolve) -> Family:
    """Return the family in a file, every member made again and compared with the counts in the file.

    Args:
        resolve: finds the base and published members by the texts that name them.

    Raises:
        NasError: the file is no family, its base is unknown, or a member is not the network that was written.
    """
    record = read_record(_FamilyRecord, path, "family of networks")
    base = resolve(record.base)
    coefficients = Coefficients(**record.coefficients.model_dump()) if record.coefficients else None
    members = tuple(_member(member, base, resolve, path) for member in record.members)
    names = [member.name for member in members]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise NasError(f"{path}: two members are called {twice!r}")
    return Family(record.base, base, coefficients, members, record.budget_metric, record.target, record.source)


def _member(record: _MemberRecord, base: NetworkSpec, resolve: Resolve, path: Path) -> Member:
    where = f"{path}, member {record.name!r}"
    by = None
    if record.depth is not None and record.width is not None:
        finer = record.resolution_multiplier or record.resolution / base.resolution
        by = Multipliers(record.depth, record.width, finer)
    if record.network is not None:
        spec = resolve(record.network)
    elif by is not None:
        spec = base.scale(by.depth, by.width, record.resolution)
    else:
        raise NasError(f"{where}: it has neither the name of a network nor a depth and a width")
    found = spec.cost()
    for count in ("params", "macs"):
        if found[count] != getattr(record, count):
            raise NasError(
                f"{where}: the network it describes has {found[count]:,} {count}, the file says "
                f"{getattr(record, count):,}; write the family again with nas scale emit"
            )
    recipe = _recipe(record.recipe, where) if record.recipe else None
    return Member(
        record.name, named(spec, record.network or f"{base.name or record.name}-{record.name}", recipe), recipe,
        record.phi, by, record.budget, record.network,
    )  # fmt: skip


def _recipe(settings: dict[str, Any], where: str) -> Recipe:
    known = Recipe.__dataclass_fields__
    for name in settings:
        if name not in known:
            raise NasError(f"{where}: recipe: unknown setting {name!r}{suggestion(name, known)}")
    try:
        return Recipe(**settings)
    except (TypeError, NasError) as error:
        raise NasError(f"{where}: recipe: {error}") from None


def named(spec: NetworkSpec, name: str, recipe: Recipe | None) -> NetworkSpec:
    """Return a network with its name, and with the dropout of its recipe."""
    dropout = spec.dropout if recipe is None or recipe.dropout is None else recipe.dropout
    return replace(spec, name=name, dropout=dropout)
