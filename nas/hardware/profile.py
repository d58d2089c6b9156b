"""profile.yaml of a target: what the device is, what was measured on it, how, by whom, and how well it is predicted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from nas.hardware.predictor_file import write_whole
from nas.plain_yaml import read_record

#: what a source does not say
NOT_STATED = "not stated"

Share = Annotated[float, Field(ge=0, le=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HeldOut(_Strict):
    """Error of a predictor on measurements it was not fitted on.

    Args:
        protocol: how they were held out, e.g. "leave-one-out", "validation split of the authors".
        noise: how far measurements themselves can be trusted: repeats, or the step they are rounded to.
        pairs: CSV file beside the profile with some measured values and what was predicted of them.
    """

    protocol: str
    networks: int
    mean_absolute_percentage_error: float
    within_5_percent: Share | None = None
    within_10_percent: Share
    spearman: float
    interval_90_coverage: Share
    noise: str
    pairs: str | None = None


class PublishedLatency(_Strict):
    """A whole network measured by others, beside what the predictor says of it."""

    network: str
    published_ms: float
    predicted_ms: float
    source: str


class Conditions(_Strict):
    """How, by whom and when the rows of measurements.csv were measured; a fit to them says the same."""

    processor: str = NOT_STATED
    runtime: str = NOT_STATED
    runtime_commit: str = NOT_STATED
    threads: int | None = None
    precision: str = NOT_STATED
    batch_size: int | None = None
    measured_by: str = NOT_STATED
    measured: str = NOT_STATED
    source: str = NOT_STATED
    licence: str = NOT_STATED

    @property
    def setting(self) -> str:
        """Runtime, threads, precision and batch size in a few words."""
        threads = None if self.threads is None else f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        batch = None if self.batch_size is None else f"batch {self.batch_size}"
        runtime = " ".join(word for word in (self.runtime, self.runtime_commit) if word != NOT_STATED)
        said = (self.processor, runtime, threads, self.precision, batch)
        return ", ".join(word for word in said if word and word != NOT_STATED) or NOT_STATED


class Fit(Conditions):
    """One quantity of the target on some networks: how it was measured, and the predictor fitted to that.

    A predictor without held-out measurements of whole networks has no `held_out`, and says what it makes of
    `published` ones, or that there are none in `not_measured`.

    Args:
        metric: latency_ms, energy_mj, throughput_ips ...; the last word is the unit.
        spaces: where the predictor holds; none: any network.
        predictor: its file, beside the profile.
        measured_macs: multiply-adds of the smallest and the largest network measured; outside, predictions are marked
            as extrapolated.
    """

    metric: str = "latency_ms"
    spaces: tuple[str, ...] = ()
    predictor: str
    fitted_on: str
    valid_for: str
    measured_macs: tuple[float, float] | None = None
    not_measured: str = ""
    held_out: HeldOut | None = None
    published: tuple[PublishedLatency, ...] = ()

    @model_validator(mode="after")
    def _checked(self) -> Fit:
        if self.held_out is None and not self.published and not self.not_measured:
            raise ValueError("needs held_out, published latencies to compare with, or what was not_measured")
        if any(Path(name).name != name for name in (self.predictor, self.held_out and self.held_out.pairs) if name):
            raise ValueError("files stand beside the profile; a path is not allowed")
        return self


class MeasuringSetup(_Strict):
    """How `nas profile measure` measures on this target, so that it can be done again."""

    backend: str
    threads: int = 1
    host: str | None = None
    #: interpreter on the host
    python: str = "python3"


class Profile(_Strict):
    """A device with everything its figures depend on. What a source does not state reads "not stated"."""

    name: str
    description: str
    device: str
    soc: str = NOT_STATED
    clock: str = NOT_STATED
    measuring: MeasuringSetup | None = None
    conditions: Conditions | None = None
    fits: tuple[Fit, ...] = ()

    @model_validator(mode="after")
    def _one_fit_each(self) -> Profile:
        counts = Counter((fit.metric, space) for fit in self.fits for space in fit.spaces or ("any network",))
        for (metric, space), count in counts.items():
            if count > 1:
                raise ValueError(f"{metric} on {space} has {count} fits")
        return self


def read_profile(path: Path) -> Profile:
    """Read a profile.yaml.

    Raises:
        NasError: it cannot be read or is malformed; names the place.
    """
    return read_record(Profile, path)


def write_profile(profile: Profile, path: Path) -> None:
    """Write what `read_profile` reads, without what is left at its default.

    Raises:
        NasError: the folder cannot be written.
    """
    content = profile.model_dump(mode="json", exclude_defaults=True)
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
    write_whole(path, text.encode())
