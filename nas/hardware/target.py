"""Targets: a device with everything a latency depends on, and the predictor fitted to its measurements."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from nas import registry
from nas.errors import NasError, UnknownNameError
from nas.hardware.lookup import LookupParameters, LookupPredictor
from nas.hardware.predictor import LatencyPredictor, LinearParameters, LinearPredictor
from nas.plain_yaml import load_yaml

Model = TypeVar("Model", bound=BaseModel)


class HeldOut(BaseModel):
    """Error of the predictor on measurements it was not fitted on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    protocol: str
    networks: int
    mean_absolute_percentage_error: float
    within_10_percent: float
    spearman: float
    interval_90_coverage: float
    noise_floor: str


class PublishedLatency(BaseModel):
    """A whole network measured by others, beside what the predictor says of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: str
    published_ms: float
    predicted_ms: float
    source: str


class Profile(BaseModel):
    """profile.yaml: what was measured, on what, by whom, when, and how well the predictor does.

    What the source does not state reads "not stated". A predictor without held-out measurements of whole networks has
    no `held_out`, and says what it makes of `published` ones.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    description: str
    device: str
    soc: str
    processor: str
    runtime: str
    runtime_commit: str
    threads: int
    precision: str
    batch_size: int
    measured_by: str
    measured: str
    source: str
    licence: str
    fitted_on: str
    valid_for: str
    #: multiply-adds of the smallest and the largest network measured; outside, predictions are marked as extrapolated
    measured_macs: tuple[float, float] | None = None
    not_measured: str
    held_out: HeldOut | None = None
    published: tuple[PublishedLatency, ...] = ()

    @model_validator(mode="after")
    def _checked(self) -> Profile:
        if self.held_out is None and not self.published:
            raise ValueError("needs held_out, or published latencies to compare with")
        return self


class _AnyParameters(BaseModel):
    """The part of predictor.json that says which predictor the rest is for."""

    kind: Literal["linear-kernels", "lookup"]


@dataclass(frozen=True)
class Target:
    """A named target with its profile and latency predictor."""

    profile: Profile
    predictor: LatencyPredictor
    #: SHA-256 of the predictor's file: a run remembers which predictor it used
    digest: str

    @property
    def name(self) -> str:
        return self.profile.name

    def extrapolates(self, macs: float) -> bool:
        """Whether a network of so many multiply-adds is outside what was measured."""
        measured = self.profile.measured_macs
        return measured is not None and not measured[0] <= macs <= measured[1]

    @property
    def held_out_text(self) -> str:
        """The predictor's held-out error in a few words; without one, what it makes of published latencies."""
        held_out = self.profile.held_out
        if held_out is None:
            compared = (
                f"{p.network} {p.predicted_ms:.1f} ms, published {p.published_ms:g} ms" for p in self.profile.published
            )
            return f"no held-out measurements; {'; '.join(compared)}"
        error = f"{held_out.mean_absolute_percentage_error:.1f} %"
        return f"{held_out.protocol} error {error} on {held_out.networks} networks"


def target_names() -> list[str]:
    """Return the names of all installed targets."""
    return sorted(_folders())


@cache
def load_target(name: str) -> Target:
    """Return the target called `name`.

    Raises:
        UnknownNameError: there is none of that name.
        NasError: its files are damaged.
    """
    folders = _folders()
    if name not in folders:
        raise UnknownNameError("target", name, folders)
    target = read_target(folders[name])
    if target.name != name:
        raise NasError(f"{folders[name] / 'profile.yaml'}: name is {target.name!r}, the folder is {name!r}")
    return target


def read_target(folder: Path) -> Target:
    """Read a profile folder: profile.yaml and predictor.json.

    Raises:
        NasError: a file is missing or malformed; says which and where.
    """
    profile_file, predictor_file = folder / "profile.yaml", folder / "predictor.json"
    profile = _parse(Profile, profile_file, load_yaml)
    predictor = _read_predictor(predictor_file)
    digest = hashlib.sha256(predictor_file.read_bytes()).hexdigest()
    return Target(profile, predictor, digest)


def _read_predictor(path: Path) -> LatencyPredictor:
    if _parse(_AnyParameters, path, json.loads).kind == "lookup":
        return LookupPredictor(_parse(LookupParameters, path, json.loads))
    return LinearPredictor(_parse(LinearParameters, path, json.loads))


def _parse(model: type[Model], path: Path, parse: Callable[[str], Any]) -> Model:
    try:
        return model.model_validate(parse(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise NasError(f"{path}: {place or 'content'}: {first['msg']}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, json.JSONDecodeError, RecursionError) as error:
        raise NasError(f"cannot read {path}: {error}") from None


@cache
def _folders() -> dict[str, Path]:
    """Profile folders by name, over all packages registered in the entry-point group `nas.targets`."""
    found: dict[str, Path] = {}
    for entry in registry.names("targets"):
        package = Path(str(files(registry.load("targets", entry))))
        found |= {path.parent.name: path.parent for path in sorted(package.glob("*/profile.yaml"))}
    return found
