"""How long a GPU trains on an image, from multiply-adds and activations of the network.

    seconds = a · MACs + b · activations

The activations of a network, elements that its convolutions write, say more of its time than its multiply-adds do:
on GPUs many layers are bound by memory traffic (Radosavovic et al., Designing Network Design Spaces, CVPR 2020). Both
terms are positive, so the time of a larger network is never below that of a smaller one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from nas.errors import NasError, UnknownNameError
from nas.hardware import load_target, target_names
from nas.hardware.calibration import Calibration
from nas.hardware.predictor_file import write_whole
from nas.plain_yaml import read_record
from nas.space import NetworkSpec

#: the file in the folder of a target that says how fast networks are trained on it
TRAINING = "training.yaml"
#: share of new networks that an interval is to hold
LEVEL = 0.9

#: layers whose outputs are counted, as pycls does: those that are kept for the backward pass and written by a kernel
_COUNTED = frozenset({"conv", "linear", "max_pool", "avg_pool"})


def _checked(quantiles: tuple[float, ...]) -> tuple[float, ...]:
    try:
        return Calibration(quantiles).quantiles
    except NasError as error:
        raise ValueError(str(error)) from None


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Quantiles = Annotated[tuple[float, ...], AfterValidator(_checked)]


def activations(spec: NetworkSpec) -> int:
    """Return the elements that convolutions, linear layers and pools write for one image, as pycls counts `acts`."""
    return sum(layer.out_elements for layer in spec.layers() if layer.op in _COUNTED)


class TrainingTime(BaseModel):
    """Time of training on one kind of GPU: two coefficients, and how far they were off for networks left out.

    Args:
        device, conditions: what was measured, and what its seconds hold and do not hold.
        seconds_per_gmac, seconds_per_mega_activation: of one image on one GPU; 1e9 multiply-adds, 1e6 activations.
        networks, families: how many were measured.
        gmacs, mega_activations, activations_per_mac: smallest and largest of the networks measured.
        error_percent: mean error of networks, each predicted from all others.
        new_family_error_percent: mean error of networks, each predicted from the other families.
        new_family: quantiles of log(measured / predicted) of networks of a family left out, see `Calibration`.
        other_gpus: what the ratios of times that the coefficients give were compared with, which they were not fitted
            to.
        other_gpu_ratio: quantiles of log(measured / predicted) of such ratios, of two networks on one GPU.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: str
    conditions: str
    source: str
    licence: str
    seconds_per_gmac: Positive
    seconds_per_mega_activation: Positive
    networks: int
    families: int
    gmacs: tuple[Positive, Positive]
    mega_activations: tuple[Positive, Positive]
    activations_per_mac: tuple[Positive, Positive]
    error_percent: Positive
    new_family_error_percent: Positive
    new_family: Quantiles
    other_gpus: str
    other_gpu_ratio: Quantiles

    def seconds(self, spec: NetworkSpec) -> float:
        """Return the seconds of one GPU on one image, forward and backward."""
        mega = activations(spec) / 1e6
        return self.seconds_per_gmac * _gmacs(spec) + self.seconds_per_mega_activation * mega

    def extrapolates(self, spec: NetworkSpec) -> bool:
        """Whether a network is larger, smaller or of another shape than those measured."""
        gmacs, mega = _gmacs(spec), activations(spec) / 1e6
        ranges = (self.gmacs, self.mega_activations, self.activations_per_mac)
        values = (gmacs, mega, mega / gmacs / 1e3)
        return not all(low <= value <= high for value, (low, high) in zip(values, ranges, strict=True))


def _gmacs(spec: NetworkSpec) -> float:
    return sum(block.macs for block in spec.blocks) / 1e9


@dataclass(frozen=True)
class Clock:
    """Predicts the time of training of networks on the user's GPUs.

    Args:
        times: how time grows with a network.
        calibration: of log(true / predicted).
        factor: of the user's GPU to that of `times`.
        reference: the network that the user measured; its time is known.
        says: where predictions come from, and how far they may be off, in words.
    """

    times: TrainingTime
    calibration: Calibration
    says: str
    factor: float = 1.0
    reference: NetworkSpec | None = None

    def seconds(self, spec: NetworkSpec) -> float:
        """Return the predicted seconds of one GPU on one image."""
        return self.factor * self.times.seconds(spec)

    def interval(self, spec: NetworkSpec, level: float = LEVEL) -> tuple[float, float]:
        """Return the seconds that hold a share `level` of networks like this."""
        return self.quantile(spec, (1 - level) / 2), self.quantile(spec, (1 + level) / 2)

    def quantile(self, spec: NetworkSpec, share: float) -> float:
        """Return the seconds that a share of networks like this does not exceed."""
        seconds = self.seconds(spec)
        return seconds if spec == self.reference else seconds * math.exp(self.calibration.quantile(share))

    def probability_below(self, spec: NetworkSpec, seconds: float) -> float:
        """Return the probability that an image takes at most so many seconds."""
        ratio = math.log(seconds / self.seconds(spec))
        if spec == self.reference:
            # What was measured is compared as it is; rounding must not decide.
            return float(ratio >= -1e-9)
        return float(self.calibration.probability([ratio])[0])

    @property
    def above_percent(self) -> float:
        """How far the upper end of the 90 % interval is above the prediction."""
        return 100 * (math.exp(self.calibration.quantile((1 + LEVEL) / 2)) - 1)


def device_clock(name: str) -> Clock:
    """Return the clock of a GPU whose times of training were measured.

    Args:
        name: a target with a file training.yaml, or the path of its folder.

    Raises:
        UnknownNameError: there is no such target, or none was trained on; says which is near.
    """
    times = read_training_time(name)
    says = (
        f"predicted from {times.networks} networks of {times.families} families measured on {times.device} "
        f"({times.conditions}); a family left out is predicted with a mean error of "
        f"{times.new_family_error_percent:.0f} %"
    )
    return Clock(times, Calibration(times.new_family), says)


def measured_clock(images_per_second: float, reference: NetworkSpec, device: str) -> Clock:
    """Return the clock of a GPU on which the user trained one network.

    Args:
        images_per_second: throughput of training `reference` on one GPU.
        device: whose measurements tell how time grows with a network.

    Raises:
        NasError: the throughput is no positive number, or nothing was measured on that device.
    """
    if not 0 < images_per_second < math.inf:
        raise NasError(f"images per second are {images_per_second:g}, must be a positive number")
    times = read_training_time(device)
    factor = 1 / (images_per_second * times.seconds(reference))
    clock = Clock(times, Calibration(times.other_gpu_ratio), "", factor, reference)
    says = (
        f"given for {reference.name or 'the network measured'}, {images_per_second:g} images/s on one GPU; predicted "
        f"for others by their ratio to it on {times.device}. 90 % of ratios so predicted are within "
        f"+{clock.above_percent:.0f} % of those measured in {times.other_gpus}"
    )
    return replace(clock, says=says)


def training_devices() -> list[str]:
    """Return the names of the installed targets that say how fast networks are trained on them."""
    return [name for name in target_names() if (load_target(name).folder / TRAINING).is_file()]


def read_training_time(name: str) -> TrainingTime:
    """Return what was measured of training on a target.

    Raises:
        UnknownNameError: nothing was, or there is no such target; says which is near.
        NasError: the file is damaged; names the place.
    """
    try:
        path = load_target(name).folder / TRAINING
    except UnknownNameError:
        raise UnknownNameError("training device", name, training_devices()) from None
    if not path.is_file():
        raise UnknownNameError("training device", name, training_devices())
    return read_record(TrainingTime, path)


def write_training_time(times: TrainingTime, folder: Path) -> Path:
    """Write what `read_training_time` reads into the folder of a target; returns the file.

    Raises:
        NasError: the folder cannot be written.
    """
    path = folder / TRAINING
    text = yaml.safe_dump(times.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)
    write_whole(path, text.encode())
    return path
