"""Targets: a device, and the predictors fitted to what was measured on it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path

from nas import registry
from nas.errors import NasError, UnknownNameError
from nas.hardware.predictor import AdditivePredictor, LatencyPredictor, read_predictor
from nas.hardware.profile import Fit, Profile, read_profile
from nas.space import Block, NetworkSpec, SearchSpace

PROFILE = "profile.yaml"
#: what comes first of the quantities that a target knows
_FIRST = ("latency_ms", "throughput_ips")


@dataclass(frozen=True)
class Fitted:
    """One quantity of a target on some networks: its record in the profile, and the predictor, read when needed."""

    target: str
    fit: Fit
    path: Path

    @property
    def metric(self) -> str:
        return self.fit.metric

    @cached_property
    def predictor(self) -> LatencyPredictor:
        """Raises NasError: its file is missing or damaged."""
        return read_predictor(self.path)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the predictor's file: a run remembers which predictor it used."""
        try:
            return hashlib.sha256(self.path.read_bytes()).hexdigest()
        except OSError as error:
            raise NasError(f"cannot read {self.path}: {error.strerror}") from None

    def block_ms(self, block: Block) -> float | None:
        """Return the share of one block, None where the predictor charges no single blocks.

        Raises:
            NasError: the predictor says nothing of this block.
        """
        return self.predictor.block_ms(block) if isinstance(self.predictor, AdditivePredictor) else None

    def extrapolates(self, macs: float) -> bool:
        """Whether a network of so many multiply-adds is outside what was measured."""
        measured = self.fit.measured_macs
        return measured is not None and not measured[0] <= macs <= measured[1]

    @property
    def held_out_text(self) -> str:
        """The predictor's held-out error in a few words; without one, what it makes of published latencies."""
        held_out = self.fit.held_out
        if held_out is None:
            compared = (
                f"{p.network} {p.predicted_ms:.1f} ms, published {p.published_ms:g} ms" for p in self.fit.published
            )
            return "; ".join(["no held-out measurements", *compared])
        error = f"{held_out.mean_absolute_percentage_error:.1f} %"
        return f"{held_out.protocol} error {error} on {held_out.networks} networks"


@dataclass(frozen=True)
class Target:
    """A named target: its profile, and the folder with its predictors."""

    profile: Profile
    folder: Path

    @property
    def name(self) -> str:
        return self.profile.name

    @cached_property
    def fitted(self) -> tuple[Fitted, ...]:
        return tuple(Fitted(self.name, fit, self.folder / fit.predictor) for fit in self.profile.fits)

    def on(self, space: SearchSpace) -> dict[str, Fitted]:
        """Return what is known of the networks of a space, by metric: latency first, then throughput, then others.

        A fit for this very space goes before one for any network.

        Raises:
            NasError: nothing is; says on which spaces something is known.
        """
        general = {fitted.metric: fitted for fitted in self.fitted if not fitted.fit.spaces}
        special = {fitted.metric: fitted for fitted in self.fitted if space.name in fitted.fit.spaces}
        return self._sorted(general | special, f"the space {space.name}")

    def of(self, spec: NetworkSpec) -> dict[str, Fitted]:
        """Return what is known of one network, by metric, in the order of `on`.

        Raises:
            NasError: nothing is; says on which spaces something is known.
        """
        general = {fitted.metric: fitted for fitted in self.fitted if not fitted.fit.spaces}
        special = {f.metric: f for f in self.fitted if any(_holds(space, spec) for space in f.fit.spaces)}
        return self._sorted(general | special, f"the network {spec.name}" if spec.name else "this network")

    def _sorted(self, found: dict[str, Fitted], of_what: str) -> dict[str, Fitted]:
        if not found:
            raise NasError(f"the target {self.name} has no data on {of_what}; {self.abilities}")
        order = sorted(found, key=lambda metric: (_FIRST.index(metric) if metric in _FIRST else len(_FIRST), metric))
        return {metric: found[metric] for metric in order}

    @property
    def abilities(self) -> str:
        """What the target can predict, and where, in words."""
        by_place: dict[str, list[str]] = {}
        for fit in self.profile.fits:
            by_place.setdefault(", ".join(fit.spaces) or "any network", []).append(fit.metric)
        known = "; ".join(f"{', '.join(metrics)} on {place}" for place, metrics in by_place.items())
        return f"it predicts {known}" if known else "nothing is fitted to it yet: nas profile fit"


def _holds(space: str, spec: NetworkSpec) -> bool:
    """Whether a network is a point of the space of that name; a space that is not installed holds nothing."""
    if space not in registry.names("spaces"):
        return False
    try:
        registry.load("spaces", space).encode(spec)
    except NasError:
        return False
    return True


def target_names() -> list[str]:
    """Return the names of all installed targets."""
    return sorted(_folders())


def load_target(name: str) -> Target:
    """Return the installed target called `name`, or the one in the folder of that path.

    Raises:
        UnknownNameError: there is neither.
        NasError: its files are damaged.
    """
    folders = _folders()
    if name in folders:
        return _installed(folders[name])
    if (Path(name) / PROFILE).is_file():
        return read_target(Path(name))
    raise UnknownNameError("target", name, folders)


@cache
def _installed(folder: Path) -> Target:
    target = read_target(folder)
    if target.name != folder.name:
        raise NasError(f"{folder / PROFILE}: name is {target.name!r}, the folder is {folder.name!r}")
    return target


def read_target(folder: Path) -> Target:
    """Read a profile folder: profile.yaml, and the predictors it names.

    Raises:
        NasError: a file is missing or malformed; says which and where.
    """
    target = Target(read_profile(folder / PROFILE), folder)
    for fitted in target.fitted:
        if not fitted.path.is_file():
            raise NasError(f"cannot read {fitted.path}: it is missing, and {PROFILE} names it")
    return target


@cache
def _folders() -> dict[str, Path]:
    """Profile folders by name, over all packages registered in the entry-point group `nas.targets`."""
    found: dict[str, Path] = {}
    for entry in registry.names("targets"):
        package = Path(str(files(registry.load("targets", entry))))
        found |= {path.parent.name: path.parent for path in sorted(package.glob(f"*/{PROFILE}"))}
    return found
