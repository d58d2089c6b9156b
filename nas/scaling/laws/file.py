"""Files of scaling laws: the observations and what they were fitted to, from which a law is fitted again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field

from nas.errors import NasError
from nas.hardware.predictor_file import write_whole
from nas.plain_yaml import read_record
from nas.scaling.laws.law import MOST, Law, fit_law

Number = Annotated[float, Field(allow_inf_nan=False)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Observation(_Record):
    name: str = ""
    cost: Number
    error: Number


class _Parameters(_Record):
    a: Number
    b: Number
    c: Number


class _LawRecord(_Record):
    """A law in a file; `error` says "error (%) = a · (cost / unit)^-b + c" to its readers."""

    family: str = ""
    error: str
    cost: str
    unit: Number
    parameters: _Parameters
    residual_std: Number
    cost_range: tuple[Number, Number]
    epochs: Annotated[int, Field(ge=1)] | None = None
    recipe: str = ""
    origin: Literal["published", "given"]
    source: str = ""
    seed: Annotated[int, Field(ge=0)] = 0
    observations: Annotated[list[_Observation], Field(min_length=1, max_length=MOST)]


def write_law(law: Law, path: Path) -> Path:
    """Write a law to a YAML file and return its path; an interrupted write leaves what was there before.

    Raises:
        NasError: the file cannot be written.
    """
    names = law.names or ("",) * len(law.costs)
    record = _LawRecord(
        family=law.family, error="top-1 error in percent = a * (cost / unit) ** -b + c", cost=law.cost, unit=law.unit,
        parameters=_Parameters(a=law.a, b=law.b, c=law.c), residual_std=law.residual_std,
        cost_range=(law.costs[0], law.costs[-1]), epochs=law.epochs, recipe=law.recipe, origin=law.origin,
        source=law.source, seed=law.seed,
        observations=[
            _Observation(name=name, cost=cost, error=error)
            for name, cost, error in zip(names, law.costs, law.errors, strict=True)
        ],
    )  # fmt: skip
    text = yaml.safe_dump(record.model_dump(mode="json", exclude_defaults=True), sort_keys=False, allow_unicode=True)
    write_whole(path, text.encode())
    return path


def read_law(path: Path) -> Law:
    """Return the law in a file, fitted again to its observations: the same parameters and intervals.

    Raises:
        NasError: the file is no law, its observations admit none, or its parameters are not those of its observations.
    """
    record = read_record(_LawRecord, path, "scaling law, as nas scale law --out writes them")
    seen = record.observations
    names = [each.name for each in seen]
    try:
        law = fit_law(
            [each.cost for each in seen], [each.error for each in seen], names if all(names) else (), record.cost,
            family=record.family, origin=record.origin, source=record.source, recipe=record.recipe,
            epochs=record.epochs, seed=record.seed,
        )  # fmt: skip
    except NasError as error:
        raise NasError(f"{path}: {error}") from None
    stated, found = list(record.parameters.model_dump().values()), [law.a, law.b, law.c]
    if record.unit != law.unit or not np.allclose(stated, found, rtol=1e-4, atol=1e-4):
        raise NasError(
            f"{path}: a, b, c are {', '.join(f'{value:.4g}' for value in stated)}, but its observations give "
            f"{', '.join(f'{value:.4g}' for value in found)}; fit it again with nas scale law"
        )
    return law
