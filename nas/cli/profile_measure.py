"""`nas profile measure`"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli.console import console, print_json

if TYPE_CHECKING:
    from nas.hardware.measuring.measure import Measured
    from nas.hardware.measuring.session import OnProgress
    from nas.hardware.measuring.session import Progress as SessionProgress


class What(StrEnum):
    """What can be measured of a space."""

    NETWORKS = "networks"
    BLOCKS = "blocks"


def measure(
    space: Annotated[str, typer.Option(help="Search space, e.g. mbconv, or a space file.yaml.")],
    out: Annotated[Path, typer.Option(help="Profile folder to make, or to go on with.")],
    backend: Annotated[str, typer.Option(help="Runtime: onnxruntime, executorch (XNNPACK) or torch.")] = "onnxruntime",
    threads: Annotated[int, typer.Option(help="Threads of the runtime, each pinned to a CPU.", min=1)] = 1,
    host: Annotated[
        str | None, typer.Option(help="Measure there, over SSH: user@machine; default: this machine.")
    ] = None,
    what: Annotated[What, typer.Option(help="Whole networks, or every block of the space.")] = What.NETWORKS,
    number: Annotated[int, typer.Option(help="Networks to measure.", min=1)] = 80,
    rounds: Annotated[int, typer.Option(help="Visits to each, spread over the session.", min=1)] = 3,
    seed: Annotated[int, typer.Option(help="Seed of which networks are drawn.", min=0)] = 0,
    remote_python: Annotated[str, typer.Option(help="Python on the host that has the runtime.")] = "python3",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")] = False,
) -> None:
    """Measure latencies of networks or blocks of a space on this machine, or on another over SSH.

    Whatever ends it, what was measured is kept, and the same command goes on.

    Example: nas profile measure --space mbconv --out my_laptop
    """
    from nas.hardware.measuring.measure import Plan, measure_space
    from nas.search.spaces import find_space

    plan = Plan(
        space=space, backend=backend, threads=threads, host=host, what=what.value, number=number, rounds=rounds,
        seed=seed, python=remote_python,
    )  # fmt: skip
    with measuring_bar(f"measuring {space}", not as_json) as on_progress:
        measured = measure_space(find_space(space), plan, out, on_progress)
    if as_json:
        print_json(summary(measured))
    else:
        show_measured(measured)
        typer.echo(f"next: nas profile fit {out}")


def summary(measured: Measured) -> dict[str, object]:
    """Return what a session came to, for JSON."""
    return {key: value for key, value in asdict(measured).items() if key != "folder"} | {
        "folder": str(measured.folder), "items": measured.items
    }  # fmt: skip


def show_measured(measured: Measured) -> None:
    """Print what a session came to."""
    times = measured.latency.values()
    machine = measured.machine
    lines = [
        ("device", f"{machine['processor']}, CPU {', '.join(map(str, machine['cpus'])) or 'not pinned'}"),
        ("runtime", measured.runtime),
        ("measured", f"{measured.items} in {measured.visits} visits: {min(times):.3g} to {max(times):.3g} ms"),
        ("repeatability", _repeatability(measured)),
        ("drift", f"calibration network within {measured.usual_drift:.1%} of its median in 90 % of its visits, "
                  f"at most {measured.largest_drift:.1%}"),
        ("disturbed", f"{measured.disturbed:.0%} of visits, where it was more than 3 % off; repeated"),
    ]  # fmt: skip
    if machine.get("shared"):
        lines.append(("beware", "another measuring session was on the same CPU when this one began"))
    for name, text in lines:
        console().print(f"{name:<14}{text}")


def _repeatability(measured: Measured) -> str:
    if math.isnan(measured.repeatability):
        return "not known: one visit each"
    return f"{measured.repeatability:.1%} between two visits to a network (median)"


@contextmanager
def measuring_bar(title: str, enabled: bool) -> Iterator[OnProgress | None]:
    """Show a progress bar with the time left on standard error; yields the function a session reports to."""
    if not enabled:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    bar = Progress(
        TextColumn("{task.description}"), BarColumn(bar_width=16), MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"), console=console(stderr=True),
    )  # fmt: skip
    with bar:
        task = bar.add_task(title, total=None, state="starting the runtime")

        def update(progress: SessionProgress) -> None:
            state = f"{_minutes(progress.seconds_left)} left · {progress.state}"
            bar.update(task, completed=progress.done, total=progress.done + progress.left, state=state)

        yield update


def _minutes(seconds: float) -> str:
    if math.isnan(seconds):
        return "?"
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
