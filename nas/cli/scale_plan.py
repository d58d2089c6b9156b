"""`nas scale plan`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli.console import console, fits, plain_table, print_json
from nas.errors import NasError

#: compound coefficients of the members of a base
DEFAULT_PHIS = "0..7"

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from nas.scaling.planning.plan import Interval, Plan, Schedule, Training
    from nas.scaling.planning.training_time import Clock


def plan(
    budget: Annotated[
        float, typer.Option("--budget-gpu-hours", help="GPU-hours there are for training one network, of all GPUs.")
    ],
    family: Annotated[
        str | None, typer.Option(help="Family to choose from: a file of nas scale emit, or a published one.")
    ] = None,
    base: Annotated[str | None, typer.Option(help="Instead of a family: the network to scale.")] = None,
    coefficients: Annotated[str | None, typer.Option(help="alpha,beta,gamma for --base, such as 1.2,1.1,1.15.")] = None,
    phi: Annotated[
        str | None, typer.Option(help="Members for --base: 0..7, or a list such as 0,0.5,1 (default: 0..7).")
    ] = None,
    law: Annotated[
        list[str] | None,
        typer.Option(
            help="What accuracy members reach: a file of nas scale law, or a published family. Of several laws, for "
            "other recipes or epochs, the best is chosen (default: the published family)."
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(help="GPU whose measurements tell the time of training, or how it grows with the network.")
    ] = "v100",
    images_per_second: Annotated[
        float | None, typer.Option(help="Your own GPU: throughput of training that you measured on one ...")
    ] = None,
    of: Annotated[str | None, typer.Option(help="... of this network.")] = None,
    gpus: Annotated[int, typer.Option(help="GPUs that share the work.", min=1)] = 8,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the images, where law and recipe do not say.", min=1)
    ] = None,
    images: Annotated[int, typer.Option(help="Images of one epoch (default: those of ImageNet-1k).")] = 1_281_167,
    confidence: Annotated[
        float, typer.Option(help="How probable it must be that the budget suffices, between 0 and 1.")
    ] = 0.5,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Say which member of a family to train for a budget of GPU-hours, and what the next one would need.

    Examples: nas scale plan --budget-gpu-hours 1000 --family efficientnet;
    nas scale plan --budget-gpu-hours 200 --family b-family --images-per-second 1200 --of efficientnet_b0
    """
    from nas.scaling.planning.plan import plan_training
    from nas.search.quantities import parse_phis
    from nas.search.training_plan import find_clock, find_family, find_schedules, make_family

    if (family is None) == (base is None):
        raise NasError("give either --family, or --base with --coefficients: what shall be chosen from")
    if family is not None:
        if coefficients is not None or phi is not None:
            raise NasError("--coefficients and --phi go with --base; the members of --family are given")
        members = find_family(family)
    else:
        if coefficients is None:
            raise NasError("--base needs --coefficients, such as 1.2,1.1,1.15; nas scale fit fits some")
        members = make_family(str(base), coefficients, parse_phis(phi or DEFAULT_PHIS))
    clock = find_clock(device, images_per_second, of)
    schedules = find_schedules(law or [], members, epochs)
    found = plan_training(members, schedules, clock, budget, images, confidence)
    if as_json:
        print_json(_as_json(found, gpus, clock, schedules))
        return
    _print(found, gpus, clock, schedules)


def _print(found: Plan, gpus: int, clock: Clock, schedules: list[Schedule]) -> None:
    from nas.scaling.planning.plan import limits

    out, best, above = console(), found.best, found.above
    out.print(f"Budget    {found.budget_gpu_hours:,g} GPU-hours; {found.images:,} images an epoch")
    out.print(f"Time      {clock.says}")
    for schedule in schedules:
        out.print(f"Accuracy  {schedule.says}")
    for table in _tables(found, gpus, out):
        out.print(table)
    out.print(
        f"Train     {best.member} for {best.epochs} epochs: {_hours(best.gpu_hours)} GPU-hours, "
        f"top-1 {_percent(best)} % {best.top1_origin}"
    )
    if above is None:
        out.print("Next      none: it is the most accurate of them")
    else:
        out.print(
            f"Next      {above.member} for {above.epochs} epochs: top-1 {_percent(above)} % {above.top1_origin}; "
            f"{_number(above.need)} GPU-hours suffice with {100 * found.confidence:g} %"
        )
    for line in limits(found, clock):
        out.print(f"Note      {line}")


def _tables(found: Plan, gpus: int, shown: Console) -> list[Table]:
    """One row a training, two tables where one is too wide; a star marks the one to choose, ~ what is extrapolated."""
    rows = found.trainings
    which = {
        "": ["*" if each == found.best else "" for each in rows],
        "member": [each.member for each in rows],
        "law": [each.schedule for each in rows],
        "epochs": [f"{each.epochs}" for each in rows],
    }
    if len(set(which["law"])) == 1:
        del which["law"]
    needs = {
        "GPU-hours\npredicted": [_marked(_hours(each.gpu_hours), each.time_extrapolates) for each in rows],
        f"hours on\n{gpus} GPUs": [_number(each.gpu_hours.value / gpus) for each in rows],
        "budget\nsuffices": [_odds(each.probability) for each in rows],
    }
    reaches = {
        "top-1 %": [_marked(_percent(each), each.top1_extrapolates) for each in rows],
        "top-1 is": [each.top1_origin for each in rows],
    }
    whole = _table(which | needs | reaches)
    return [whole] if fits(shown, whole) else [_table(which | needs), _table(which | reaches)]


def _table(columns: dict[str, list[str]]) -> Table:
    words = ("", "member", "law", "top-1 is")
    table = plain_table(*columns, text=tuple(i for i, name in enumerate(columns) if name in words))
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*cells)
    return table


def _marked(text: str, extrapolated: bool) -> str:
    return f"~{text}" if extrapolated else text


def _odds(probability: float) -> str:
    percent = round(100 * probability)
    return "<1 %" if percent == 0 else ">99 %" if percent == 100 else f"{percent} %"


def _hours(hours: Interval) -> str:
    known = hours.low == hours.high
    return _number(hours.value) if known else f"{_number(hours.value)} ({_number(hours.low)}–{_number(hours.high)})"


def _number(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.3g}"


def _percent(training: Training) -> str:
    top1 = training.top1
    return f"{top1.value:.1f}" if top1.low == top1.high else f"{top1.value:.1f} ({top1.low:.1f}–{top1.high:.1f})"


def _as_json(found: Plan, gpus: int, clock: Clock, schedules: list[Schedule]) -> dict[str, Any]:
    from dataclasses import asdict

    from nas.scaling.planning.plan import limits

    def record(training: Training) -> dict[str, Any]:
        return asdict(training) | {"wall_hours": asdict(training.gpu_hours.times(1 / gpus))}

    return {
        "budget_gpu_hours": found.budget_gpu_hours,
        "gpus": gpus,
        "images": found.images,
        "confidence": found.confidence,
        "train": record(found.best),
        "next": None if found.above is None else record(found.above),
        "trainings": [record(each) for each in found.trainings],
        "left_out": found.left_out,
        "time": clock.says,
        "accuracy": {schedule.name: schedule.says for schedule in schedules},
        "notes": limits(found, clock),
        "origins": {
            "gpu_hours": "predicted",
            "wall_hours": "predicted",
            "probability": "predicted",
            "need": "predicted",
        },
    }
