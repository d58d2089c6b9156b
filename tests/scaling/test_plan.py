"""Which member to train: times against those pycls measured, the choice against trying all, honest refusals."""

from __future__ import annotations

import functools
import math
from dataclasses import replace

import pytest

import nas
from nas.errors import NasError
from nas.scaling.emit import emit_released
from nas.scaling.family import Family, Member
from nas.scaling.laws.law import Law, fit_law
from nas.scaling.planning.plan import Schedule, limits, plan_training
from nas.scaling.planning.training_time import Clock, device_clock, measured_clock
from nas.scaling.recipe import Recipe
from nas.scaling.released import published_family

#: hours of 100 epochs on eight V100, MODEL_ZOO.md of pycls
ZOO_HOURS = {"002": 3.3, "016": 10.3, "040": 17.5, "120": 36.9, "160": 50.8, "320": 79.4}


@functools.cache
def law(scale: float = 5.0, epochs: int | None = 100) -> Law:
    """A law error = scale · GMACs^-0.5 + 15 without noise."""
    gmacs = (0.1, 0.4, 1.6, 6.4, 25.6)
    fitted = fit_law([g * 1e9 for g in gmacs], [scale * g**-0.5 + 15 for g in gmacs])
    return replace(fitted, epochs=epochs)


@pytest.fixture(scope="module")
def regnety() -> Family:
    return emit_released(published_family("regnety"))


@pytest.fixture(scope="module")
def clock() -> Clock:
    return device_clock("v100")


def test_hours_are_those_of_the_zoo(regnety: Family, clock: Clock) -> None:
    plan = plan_training(regnety, [Schedule("regnety", law())], clock, 1000)
    hours = {each.member: each.gpu_hours for each in plan.trainings}
    errors = [abs(hours[member].value / (8 * measured) - 1) for member, measured in ZOO_HOURS.items()]
    assert sum(errors) / len(errors) < 0.15
    assert sum(hours[member].low <= 8 * measured <= hours[member].high for member, measured in ZOO_HOURS.items()) >= 5


def test_hours_follow_images_and_epochs(regnety: Family, clock: Clock) -> None:
    one, two = (
        plan_training(regnety, [Schedule("x", law(epochs=epochs), epochs)], clock, 1e6, images).trainings[0]
        for images, epochs in ((1000, 90), (3000, 180))
    )
    assert two.gpu_hours.value == pytest.approx(6 * one.gpu_hours.value)
    # By hand: seconds of an image on one GPU, for every image of every epoch.
    seconds = clock.seconds(nas.network("regnety_002"))
    assert one.gpu_hours.value == pytest.approx(seconds * 1000 * 90 / 3600)


@pytest.mark.parametrize("budget", [30, 60, 120, 250, 500, 1000, 5000])
@pytest.mark.parametrize("confidence", [0.5, 0.9])
def test_the_best_is_that_of_trying_all(regnety: Family, clock: Clock, budget: float, confidence: float) -> None:
    schedules = [Schedule("short", law(6.0), 100), Schedule("long", law(4.0, 350), 350)]
    plan = plan_training(regnety, schedules, clock, budget, confidence=confidence)
    fitting = [each for each in plan.trainings if each.need <= budget]
    assert plan.best.top1.value == max(each.top1.value for each in fitting)
    assert plan.best in fitting
    assert [each.probability >= confidence for each in plan.trainings] == [
        each.need <= budget for each in plan.trainings
    ]
    better = [each for each in plan.trainings if each.top1.value > plan.best.top1.value]
    assert (plan.above is None) == (not better)
    if plan.above is not None:
        assert plan.above.need == min(each.need for each in better) > budget


def test_the_need_is_the_budget_that_suffices(regnety: Family, clock: Clock) -> None:
    for confidence in (0.5, 0.8, 0.95):
        above = plan_training(regnety, [Schedule("x", law())], clock, 200, confidence=confidence).above
        assert above is not None
        again = plan_training(regnety, [Schedule("x", law())], clock, above.need * 1.0001, confidence=confidence)
        assert (again.best.member, above.need) == (above.member, again.best.need)
        assert again.best.probability == pytest.approx(confidence, abs=2e-3)


def test_a_small_budget_takes_the_short_recipe_and_a_large_one_the_long(regnety: Family, clock: Clock) -> None:
    schedules = [Schedule("short", law(6.0), 100), Schedule("long", law(4.0, 350), 350)]
    small, large = (plan_training(regnety, schedules, clock, budget).best for budget in (30, 50_000))
    assert (small.schedule, large.schedule) == ("short", "long")
    assert small.epochs == 100


def test_predicted_accuracy_is_that_of_the_law(regnety: Family, clock: Clock) -> None:
    training = plan_training(regnety, [Schedule("x", law())], clock, 1000).trainings[6]
    macs = nas.network("regnety_040").cost()["macs"]
    assert training.top1.value == pytest.approx(100 - (5 * (macs / 1e9) ** -0.5 + 15), abs=1e-3)
    assert training.top1_origin == "predicted"


def test_published_accuracy_goes_before_the_law(clock: Clock) -> None:
    family = emit_released(published_family("efficientnet"))
    plan = plan_training(family, [Schedule("efficientnet", law(), 350, published=True)], clock, 1000)
    by_name = {each.member: each for each in plan.trainings}
    assert (by_name["b3"].top1.value, by_name["b3"].top1_origin) == (81.6, "published")
    assert by_name["b8"].top1_origin == "predicted"
    assert by_name["b8"].top1_extrapolates
    assert not by_name["b7"].top1_extrapolates
    # B4 for 350 epochs: 0.2053 s for 16 images on one V100, as pycls measured.
    hours = 0.2053 / 16 * 1_281_167 * 350 / 3600
    assert by_name["b4"].gpu_hours.low < hours < by_name["b4"].gpu_hours.high
    notes = " ".join(limits(plan, clock))
    assert "beyond the networks timed on NVIDIA V100 16 GB: b6, b7, b8, l2" in notes
    assert "beyond the networks of the law: b8, l2" in notes


def test_time_is_that_of_the_resolution_in_training(clock: Clock) -> None:
    spec = nas.network("efficientnet_b0")
    members = Member("small", spec, Recipe(resolution=112)), Member("as it is", spec)
    plan = plan_training(Family("efficientnet_b0", spec, None, members), [Schedule("x", law(), 100)], clock, 1000)
    small, whole = plan.trainings
    # A quarter of the pixels but where 7 × 7 become 4 × 4, and in the gates.
    assert small.gpu_hours.value == pytest.approx(whole.gpu_hours.value / 4, rel=0.05)
    assert small.top1 == whole.top1
    assert (small.resolution, small.trained_at, whole.trained_at) == (224, 112, 224)
    assert "small at 112 pixels" in " ".join(limits(plan, clock))


def test_members_that_cannot_be_planned_are_named_with_the_reason(clock: Clock) -> None:
    spec = nas.network("efficientnet_b0")
    members = (
        Member("more", spec, Recipe(epochs=90, pretraining="ImageNet-21k"), network="efficientnet_b0"),
        Member("unknown", spec, network="efficientnet_b0"),
        Member("known", spec, Recipe(epochs=350), network="efficientnet_b0"),
    )
    family = Family("efficientnet_b0", spec, None, members)
    plan = plan_training(family, [Schedule("efficientnet", None, published=True)], clock, 1000)
    assert [each.member for each in plan.trainings] == ["known"]
    assert plan.above is None
    assert "pre-training" in plan.left_out["more"]
    assert "give --epochs" in plan.left_out["unknown"]
    with pytest.raises(NasError, match=r"no member can be planned\. unknown: for how many epochs"):
        plan_training(replace(family, members=members[1:2]), [Schedule("x", law())], clock, 1000)


def test_other_epochs_than_published_leave_a_member_out(clock: Clock) -> None:
    family = emit_released(published_family("efficientnet"))
    with pytest.raises(NasError, match="published with 350 epochs; what 100 leave of the accuracy is not known"):
        plan_training(replace(family, members=family.members[:2]), [Schedule("x", law(), 100, True)], clock, 1000)


def test_too_small_a_budget_names_what_the_cheapest_needs(regnety: Family, clock: Clock) -> None:
    seconds = clock.seconds(nas.network("regnety_002"))
    need = seconds * 1_281_167 * 100 / 3600
    with pytest.raises(NasError, match=rf"5 GPU-hours suffice for no member .* 002 for 100 epochs, needs {need:.3g}"):
        plan_training(regnety, [Schedule("x", law())], clock, 5)


def test_a_measured_network_fits_or_does_not(regnety: Family) -> None:
    known = measured_clock(500, nas.network("regnety_040"), "v100")
    hours = 1_281_167 * 100 / 500 / 3600
    for budget, odds in ((hours * 0.999, 0.0), (hours * 1.001, 1.0)):
        plan = plan_training(regnety, [Schedule("x", law())], known, budget)
        training = next(each for each in plan.trainings if each.member == "040")
        assert training.probability == odds
        assert training.gpu_hours.low == training.gpu_hours.high == pytest.approx(hours)


def test_a_law_of_what_cannot_be_counted_is_refused(regnety: Family, clock: Clock) -> None:
    with pytest.raises(NasError, match="the law is of latency_ms, which is not counted from a network"):
        plan_training(regnety, [Schedule("x", replace(law(), cost="latency_ms"))], clock, 1000)


@pytest.mark.parametrize(
    ("budget", "images", "confidence", "said"),
    [
        (0, 1000, 0.5, "the budget is 0 GPU-hours, must be a positive number"),
        (-5, 1000, 0.5, "the budget is -5 GPU-hours"),
        (math.nan, 1000, 0.5, "the budget is nan"),
        (math.inf, 1000, 0.5, "the budget is inf"),
        (10, 0, 0.5, "an epoch has 0 images"),
        (10, 1000, 0.0, "the confidence is 0, must be between 0 and 1"),
        (10, 1000, 1.0, "the confidence is 1, must be between 0 and 1"),
    ],
)
def test_arguments_out_of_range(
    regnety: Family, clock: Clock, budget: float, images: int, confidence: float, said: str
) -> None:
    with pytest.raises(NasError, match=said):
        plan_training(regnety, [Schedule("x", law())], clock, budget, images, confidence)
