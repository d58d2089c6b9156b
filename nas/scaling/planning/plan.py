"""Which member of a family to train for a budget of GPU time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from nas.errors import NasError
from nas.scaling.family import Family, Member
from nas.scaling.laws.law import Law
from nas.scaling.planning.training_time import Clock
from nas.space import NetworkSpec
from nas.space.catalogue import PublishedTop1, published_top1

#: training images of ImageNet-1k
IMAGENET_IMAGES = 1_281_167


@dataclass(frozen=True)
class Interval:
    """A predicted value and the ends of its 90 % interval; equal where it is known."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> Interval:
        return Interval(factor * self.value, factor * self.low, factor * self.high)


@dataclass(frozen=True)
class Schedule:
    """A way to train members: what error it leaves, and how long it takes.

    Args:
        name: what the user calls it: the file of the law, or the published family.
        law: top-1 error of networks trained so; None: only of published members it is known.
        epochs: passes over the images; None: those of each member's own recipe.
        published: whether members were published so trained; their accuracy is then the published one.
    """

    name: str
    law: Law | None
    epochs: int | None = None
    published: bool = False

    @property
    def says(self) -> str:
        """Where accuracies and epochs come from, in words."""
        origins = ["published where it is known"] if self.published else []
        if self.law is not None:
            law, unit = self.law, f"{self.law.unit:g}".replace("e+0", "e")
            origins.append(
                f"predicted by the law of {self.name}, error = {law.a:.3g} · ({law.cost} / {unit})^-{law.b:.3g} + "
                f"{law.c:.4g} %, fitted to {len(law.costs)} {law.origin} figures, off by {law.rmse:.2f} points rms"
            )
            if law.recipe:
                origins[-1] += f", of networks trained by {law.recipe}"
        return f"{', else '.join(origins)}. Epochs: {self._lasting}"

    @property
    def _lasting(self) -> str:
        if self.epochs is None:
            return "those of each member's recipe"
        if self.law is None:
            return f"{self.epochs} as given"
        stated = self.law.epochs == self.epochs
        return f"{self.epochs}" if stated else f"{self.epochs} as given; the law does not say for which it holds"


@dataclass(frozen=True)
class Training:
    """A member trained by a schedule.

    Args:
        member, network: its name in the family, and that of the network.
        resolution, trained_at: of the images it is for and of those it is trained on, in pixels.
        gpu_hours: predicted.
        probability: that the budget suffices.
        need: GPU-hours that suffice with the confidence asked for.
        top1: in percent.
        top1_origin: "published" or "predicted".
        time_extrapolates, top1_extrapolates: whether the network is outside what the predictor was fitted to.
    """

    schedule: str
    member: str
    network: str
    epochs: int
    resolution: int
    trained_at: int
    gpu_hours: Interval
    probability: float
    need: float
    top1: Interval
    top1_origin: str
    time_extrapolates: bool
    top1_extrapolates: bool


@dataclass(frozen=True)
class Plan:
    """Every member under every schedule, and which to train.

    Args:
        trainings: in the order of schedules, then members.
        best: the one to train.
        above: the one of least need that is more accurate, if there is one.
        left_out: members that cannot be planned, with the reason.
    """

    trainings: tuple[Training, ...]
    best: Training
    above: Training | None
    left_out: dict[str, str]
    budget_gpu_hours: float
    confidence: float
    images: int


def plan_training(
    family: Family,
    schedules: Sequence[Schedule],
    clock: Clock,
    budget_gpu_hours: float,
    images: int = IMAGENET_IMAGES,
    confidence: float = 0.5,
) -> Plan:
    """Return the most accurate member and schedule that the budget suffices for with probability `confidence`.

    A network trains for images · epochs · seconds of an image.

    Args:
        clock: predicts the seconds of one GPU on one image.
        images: of one epoch.

    Raises:
        NasError: the budget suffices for no member (the cheapest is named), nothing is known of any, an argument is out
            of range, or a law is of something that cannot be counted from the network.
    """
    if not 0 < budget_gpu_hours < math.inf:
        raise NasError(f"the budget is {budget_gpu_hours:g} GPU-hours, must be a positive number")
    if images < 1:
        raise NasError(f"an epoch has {images} images, at least 1 is needed")
    if not 0 < confidence < 1:
        raise NasError(f"the confidence is {confidence:g}, must be between 0 and 1, such as 0.5 or 0.9")
    trainings: list[Training] = []
    left_out: dict[str, str] = {}
    for schedule in schedules:
        for member in family.members:
            reason = _lacks(member, schedule)
            if reason:
                left_out[member.name] = reason
            else:
                trainings.append(_training(member, schedule, clock, budget_gpu_hours, images, confidence))
    if not trainings:
        raise NasError(f"no member can be planned. {'; '.join(_grouped(left_out))}")
    best = _best(trainings, budget_gpu_hours, confidence)
    better = [each for each in trainings if each.top1.value > best.top1.value]
    above = min(better, key=lambda each: each.need, default=None)
    return Plan(tuple(trainings), best, above, left_out, budget_gpu_hours, confidence, images)


def _lacks(member: Member, schedule: Schedule) -> str:
    """Return why a member cannot be planned, "" if it can."""
    recipe = member.recipe
    if schedule.published and recipe and recipe.pretraining:
        return f"pre-training takes time that is not known here ({recipe.pretraining})"
    own = recipe.epochs if recipe else None
    if schedule.epochs is None and own is None:
        return "for how many epochs it is trained is not known, give --epochs"
    if schedule.law is None and _published(member, schedule) is None:
        return "no accuracy is published, and no law is known"
    if schedule.published and own and schedule.epochs not in (None, own):
        return f"published with {own} epochs; what {schedule.epochs} leave of the accuracy is not known"
    return ""


def _published(member: Member, schedule: Schedule) -> PublishedTop1 | None:
    return published_top1(member.network) if schedule.published and member.network else None


def _training(
    member: Member, schedule: Schedule, clock: Clock, budget: float, images: int, confidence: float
) -> Training:
    epochs = schedule.epochs or (member.recipe.epochs if member.recipe else None)
    assert epochs is not None
    trained = trained_as(member)
    # hours of all GPUs for each second that one needs on one image
    hours = images * epochs / 3600
    figure = _published(member, schedule)
    if figure is not None:
        top1, extrapolates = Interval(figure.value, figure.value, figure.value), False
    else:
        assert schedule.law is not None
        top1, extrapolates = _predicted(schedule.law, member.spec)
    return Training(
        schedule.name,
        member.name,
        member.spec.name,
        epochs,
        member.spec.resolution,
        trained.resolution,
        Interval(clock.seconds(trained), *clock.interval(trained)).times(hours),
        clock.probability_below(trained, budget / hours),
        clock.quantile(trained, confidence) * hours,
        top1,
        "published" if figure else "predicted",
        clock.times.extrapolates(trained),
        extrapolates,
    )


def trained_as(member: Member) -> NetworkSpec:
    """Return the network at the resolution its recipe trains it at, the largest one where that grows."""
    resolution = member.recipe.resolution if member.recipe else None
    if resolution is None or resolution == member.spec.resolution:
        return member.spec
    return replace(member.spec.scale(resolution=resolution), name=member.spec.name)


def _predicted(law: Law, spec: NetworkSpec) -> tuple[Interval, bool]:
    """Return top-1 in percent, and whether the network is larger or smaller than those the law was fitted to."""
    counts = spec.cost()
    if law.cost not in counts:
        raise NasError(f"the law is of {law.cost}, which is not counted from a network; fit one of macs or params")
    cost = counts[law.cost]
    error, low, high = (float(each[0]) for each in law.predict([cost]))
    return Interval(100 - error, 100 - high, 100 - low), not min(law.costs) <= cost <= max(law.costs)


def _best(trainings: Sequence[Training], budget: float, confidence: float) -> Training:
    """The most accurate training that fits; of equally accurate ones that of least need."""
    fitting = [each for each in trainings if each.probability >= confidence]
    if fitting:
        return max(fitting, key=lambda each: (each.top1.value, -each.need))
    cheapest = min(trainings, key=lambda each: each.need)
    hours = cheapest.gpu_hours
    raise NasError(
        f"{budget:,g} GPU-hours suffice for no member with {100 * confidence:g} %: the cheapest, "
        f"{cheapest.member} for {cheapest.epochs} epochs, needs {cheapest.need:,.3g} (predicted {hours.value:,.3g}; 90 "
        f"% interval {hours.low:,.3g} to {hours.high:,.3g})"
    )


def limits(plan: Plan, clock: Clock) -> list[str]:
    """Return what must be known to read a plan: what it holds for, and what is beyond what was measured."""
    lines = [
        "an accuracy holds for the recipe, the epochs and the images of its law alone: what a shorter training leaves "
        "of it is not known"
    ]
    smaller = {each.member: each.trained_at for each in plan.trainings if each.trained_at != each.resolution}
    if smaller:
        sizes = ", ".join(f"{name} at {size}" for name, size in smaller.items())
        lines.append(f"hours are for images as large as in training, the largest where they grow: {sizes} pixels")
    time = [each.member for each in plan.trainings if each.time_extrapolates]
    if time:
        lines.append(f"~ hours beyond the networks timed on {clock.times.device}: {', '.join(dict.fromkeys(time))}")
    top1 = [each.member for each in plan.trainings if each.top1_extrapolates]
    if top1:
        lines.append(f"~ top-1 beyond the networks of the law: {', '.join(dict.fromkeys(top1))}")
    return [*lines, *(f"left out: {line}" for line in _grouped(plan.left_out))]


def _grouped(reasons: dict[str, str]) -> list[str]:
    """Members of one reason in one line."""
    groups: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        groups.setdefault(reason, []).append(name)
    return [f"{', '.join(names)}: {reason}" for reason, names in groups.items()]
