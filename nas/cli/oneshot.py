"""What the terminal shows while a supernet is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nas.cli.console import console

if TYPE_CHECKING:
    from rich.console import RenderableType

    from nas.strategies.oneshot.fit import FitProgress

_BETWEEN = " · "


def live_lines(progress: FitProgress, width: int = 80) -> list[str]:
    """Return what the epoch before recorded in lines of at most `width` characters, none in the first epoch.

    The first has figures. Loss and accuracy are measured on the batches of that epoch, those that train the weights
    and, behind the stroke, those that train the architecture. Entropy and skip share are computed. What there is no
    room for is left out. The second has the expectation of costs and the derived network, where there are any.
    """
    record = progress.record
    if record is None:
        return []
    figures = ""
    for part in _parts(record):
        longer = f"{figures}{_BETWEEN}{part}" if figures else part
        if len(longer) > width:
            break
        figures = longer
    code = record.get("derived")
    parts = [*_expected(record), f"derived {code}"] if isinstance(code, str) else list(_expected(record))
    network = _BETWEEN.join(parts)
    if len(network) > width:
        network = f"{network[: width - 1]}…"
    return [line for line in (figures, network) if line]


def _parts(record: Mapping[str, Any]) -> Iterator[str]:
    """What is worth to be seen, the most important first."""
    numbers = _numbers(record)
    if "train_loss" in numbers:
        yield f"loss {numbers['train_loss']:.3f}"
    accuracies = [numbers[name] for name in ("train_accuracy", "architecture_accuracy") if name in numbers]
    if accuracies:
        yield f"acc {'/'.join(f'{100 * share:.1f}' for share in accuracies)} %"
    if "entropy" in numbers:
        yield f"entropy {100 * numbers['entropy']:.0f} %"
    if "skip_share" in numbers:
        yield f"skip {100 * numbers['skip_share']:.0f} %"
    if "eigenvalue" in numbers:
        yield f"eigenvalue {numbers['eigenvalue']:.2g}"


def _expected(record: Mapping[str, Any]) -> Iterator[str]:
    """The expectation of costs over networks drawn by the architecture weights; of quantities of hardware predicted."""
    from nas.cost import COST_METRICS
    from nas.search.metrics import METRICS

    for name, value in _numbers(record).items():
        if name.startswith("expected_"):
            metric = METRICS[name.removeprefix("expected_")]
            kind = "" if metric.name in COST_METRICS else " predicted"
            yield f"expected {metric.label} {metric.text(value)}{kind}"


def _numbers(record: Mapping[str, Any]) -> dict[str, float]:
    kinds = {name: value for name, value in record.items() if isinstance(value, int | float)}
    return {name: float(value) for name, value in kinds.items() if not isinstance(value, bool) and math.isfinite(value)}


@contextmanager
def fit_bar(enabled: bool) -> Iterator[Callable[[FitProgress], None] | None]:
    """Show the training of a supernet on standard error; yields the function to be called after every step.

    A bar over the steps of all epochs, below it `live_lines`; a search that is resumed starts where it stands.
    """
    if not enabled:
        yield None
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Bar(Progress):
        """A bar with lines of their own for what is known, as wide as the terminal."""

        def get_renderables(self) -> Iterator[RenderableType]:
            yield self.make_tasks_table(self.tasks)
            for task in self.tasks:
                if latest := task.fields["latest"]:
                    yield Text("\n".join(live_lines(latest, self.console.width)), no_wrap=True)

    bar = Bar(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(),
        console=console(stderr=True),
    )  # fmt: skip
    with bar:
        task = bar.add_task("supernet", total=None, latest=None)
        begun = False

        def update(progress: FitProgress) -> None:
            nonlocal begun
            done, total = progress.epoch * progress.steps + progress.step + 1, progress.epochs * progress.steps
            if not begun:
                # The time left is told from the steps of this run alone, not from those before it was resumed.
                bar.reset(task, total=total, completed=done, latest=progress)
                begun = True
            description = f"supernet, epoch {progress.epoch + 1} of {progress.epochs}"
            bar.update(task, description=description, completed=done, latest=progress)

        yield update
