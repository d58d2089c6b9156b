"""What `nas search` and `nas resume` show of the training of a supernet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nas.cli.console import console

if TYPE_CHECKING:
    from pathlib import Path

    from nas.search.loop import OnTraining
    from nas.search.run import Run
    from nas.strategies.oneshot.fit import FitProgress


def print_training(run: Run) -> None:
    """Say what is trained on which images."""
    from nas.search.oneshot_settings import changed_settings
    from nas.supernet.record import FOLDER, read_supernet_record

    config = run.config
    assert config.oneshot is not None
    record = read_supernet_record(run.path / FOLDER)
    dataset = record.load_data()
    network = ", ".join(f"{name} {value:g}" for name, value in record.network.items())
    changed = ", ".join(f"{key} {value}" for key, value in changed_settings(config).items())
    out = console()
    out.print(f"Images    {dataset.data.describe()}: {dataset.splits.describe()}")
    epochs = config.oneshot["epochs"]
    out.print(f"Supernet  {config.strategy}, {epochs} epoch{'s'[: epochs > 1]}; networks with {network}")
    if changed:
        out.print(f"Settings  {changed}")


@contextmanager
def training_shown(run: Run, enabled: bool) -> Iterator[OnTraining | None]:
    """Show the training of a one-shot run on standard error, and keep its page up to date.

    Yields the function to be called after every step; None for other runs.
    """
    from nas.cli.oneshot import fit_bar

    if run.config.oneshot is None:
        yield None
        return
    with fit_bar(enabled) as show:

        def update(progress: FitProgress) -> None:
            if show is not None:
                show(progress)
            if progress.step == 0 and progress.epoch:
                training_report(run)

        yield update


def training_report(run: Run) -> Path:
    """Write the page of the training of a run as it stands, and return its path."""
    from nas.report.oneshot import write_page
    from nas.supernet.checkpoint import RECORDS, read_records
    from nas.supernet.factory import sites_of
    from nas.supernet.record import FOLDER

    assert run.config.oneshot is not None
    records = read_records(run.path / FOLDER / RECORDS)
    ended = records[-1].get("ended", "") if records else ""
    sites, epochs = sites_of(run.problem.space), run.config.oneshot["epochs"]
    errors = {device.name: device.fitted.held_out_text for device in run.problem.devices}
    return write_page(run.path, sites, run.path.name, ended, epochs, errors)
