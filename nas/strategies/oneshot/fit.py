"""Training of a supernet by a one-shot strategy: epochs, checkpoints, records, and the exact resumption of all."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nas.data.batches import Batches
from nas.errors import NasError
from nas.strategies.oneshot.base import Batch, Moment, OneShotStrategy, entropy, skip_share
from nas.strategies.oneshot.placing import memory_format
from nas.strategies.oneshot.processes import averaged_values, check_shares, shard, share_buffers
from nas.supernet.checkpoint import CHECKPOINT, RECORDS, read_checkpoint, write_checkpoint, write_records

#: beside the losses of a step, whether any of the processes was told to stop
INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class FitProgress:
    """State after a step.

    Args:
        epoch, step: both from 0, of the step that is done.
        epochs, steps: of the search, and of an epoch.
        record: of the epoch before, None in the first.
    """

    epoch: int
    step: int
    epochs: int
    steps: int
    record: dict[str, Any] | None


class Fit:
    """Trains the supernet of a strategy, from wherever its checkpoint stands.

    What is done in a step is a function of the state before, the batches and (seed, epoch, step), so nothing random has
    to be kept. After each epoch, every few minutes and on Ctrl-C all that is needed to go on is written to the disk.

    Args:
        strategy: with its supernet.
        train, architecture: batches for the weights, and for what chooses; None where nothing is learnt from those.
        folder: where checkpoint and records are kept.
        seed: of everything random but order and augmentation of the batches, which have their own.

    Raises:
        NasError: of several processes (torchrun) each would have another number of images a step.
    """

    def __init__(
        self, strategy: OneShotStrategy, train: Batches, architecture: Batches | None, folder: Path, seed: int
    ):  # fmt: skip
        self.strategy, self.train, self.architecture = strategy, train, architecture
        self.folder, self.seed = folder, seed
        self.settings = strategy.settings
        self._format = memory_format(strategy.supernet, strategy.settings)
        self.steps = len(train)
        check_shares(train.batch_size)
        #: what was recorded of each epoch that is over
        self.records: list[dict[str, Any]] = []
        #: why the search ended, "" while it has not
        self.ended = ""
        self._epoch = self._step = 0
        self._sums: dict[str, float] = {}
        self._seconds = 0.0

    def run(self, on_progress: Callable[[FitProgress], None] | None = None) -> None:
        """Train to the end, from the checkpoint if there is one.

        Raises:
            NasError: the training diverged, or a checkpoint cannot be read or written.
        """
        self.resume()
        devices = [self.train.device] if self.train.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), _between_steps() as interrupted:
            while not self.ended:
                self._run_epoch(on_progress, interrupted)
            if interrupted():
                # It came while the last epoch was recorded: that is kept, and what follows is not begun.
                raise KeyboardInterrupt

    def resume(self) -> None:
        """Take up the checkpoint, if there is one.

        Raises:
            NasError: it is damaged, or of another search; it is left as it is.
        """
        path = self.folder / CHECKPOINT
        state = read_checkpoint(path, self.train.device)
        if state is None:
            return
        about = state.get("about", {})
        for name, value in self._about().items():
            if about.get(name) != value:
                raise NasError(f"{path} is of another search: its {name} is {about.get(name)}, not {value}")
        try:
            self.strategy.load_state_dict(state["strategy"])
            self._epoch, self._step, self._sums = state["epoch"], state["step"], state["sums"]
            self.records, self.ended, self._seconds = state["records"], state["ended"], state["seconds"]
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise NasError(f"{path} is of another supernet: {' '.join(str(error).split())[:200]}") from None
        # An end between the two files leaves the records an epoch behind.
        self._write_records()

    def save(self) -> None:
        """Write the checkpoint; of several processes the first does."""
        if shard()[0] > 0:
            return
        write_checkpoint(
            self.folder / CHECKPOINT,
            {
                "about": self._about(),
                "strategy": self.strategy.state_dict(), "epoch": self._epoch, "step": self._step, "sums": self._sums,
                "records": self.records, "ended": self.ended, "seconds": self._seconds,
            },
        )  # fmt: skip

    def _run_epoch(
        self, on_progress: Callable[[FitProgress], None] | None, interrupted: Callable[[], bool]
    ) -> None:  # fmt: skip
        self.strategy.supernet.train()
        saved = begun = time.monotonic()
        others = self._architecture_batches()
        for images, labels in self.train.epoch(self._epoch, self._step):
            at = Moment(self._epoch, self._step, self.settings.epochs, self.steps)
            losses = self.strategy.step(self._batch(images, labels), next(others), at, self._rng(at))
            losses = averaged_values(losses | {INTERRUPTED: float(interrupted())}, self.train.device)
            stopping = losses.pop(INTERRUPTED) > 0
            for name, value in losses.items():
                if not math.isfinite(value):
                    raise NasError(
                        f"{name} is {value} in step {at.step} of epoch {at.epoch}: the training diverged; lower the "
                        f"learning rate ({self.settings.learning_rate:g}); the checkpoint before is kept"
                    )
                self._sums[name] = self._sums.get(name, 0.0) + value
            self._step += 1
            if on_progress is not None:
                last = self.records[-1] if self.records else None
                on_progress(FitProgress(at.epoch, at.step, at.epochs, at.steps, last))
            now = time.monotonic()
            if stopping or now - saved > 60 * self.settings.checkpoint_minutes:
                self._seconds += now - begun
                saved = begun = now
                self.save()
            if stopping:
                raise KeyboardInterrupt
        self._end_epoch(begun)

    def _end_epoch(self, begun: float) -> None:
        at = Moment(self._epoch, self.steps - 1, self.settings.epochs, self.steps)
        batch = None if self.architecture is None else self._batch(*next(self.architecture.epoch(0, 0)))
        measured = self.strategy.end_epoch(batch, at, self._rng(Moment(at.epoch, self.steps, at.epochs, self.steps)))
        self._seconds += time.monotonic() - begun
        self.records.append(self._record(measured))
        self._epoch, self._step, self._sums, self._seconds = self._epoch + 1, 0, {}, 0.0
        self.ended = self._stop_reason()
        if self.ended:
            self.records[-1]["ended"] = self.ended
        share_buffers(self.strategy.supernet)
        self.save()
        self._write_records()

    def _write_records(self) -> None:
        if shard()[0] == 0:
            write_records(self.folder / RECORDS, self.records)

    def _about(self) -> dict[str, Any]:
        """What a search is that can go on from a checkpoint of this one."""
        method = type(self.strategy).__name__
        return {"method": method, "seed": self.seed, "epochs": self.settings.epochs, "steps": self.steps}

    def _record(self, measured: dict[str, float]) -> dict[str, Any]:
        strategy = self.strategy
        probabilities = strategy.probabilities()
        record: dict[str, Any] = {"epoch": self._epoch, "seconds": round(self._seconds, 3)}
        record |= {name: total / self.steps for name, total in self._sums.items()}
        record |= {name: value if math.isfinite(value) else None for name, value in measured.items()}
        record["entropy"] = entropy(probabilities)
        record["skip_share"] = skip_share(strategy)
        derived = strategy.derive()
        if strategy.cost is not None:
            of = {"expected": probabilities}
            of |= {} if derived is None else {"derived": strategy.supernet.weights_of(derived)}
            with torch.no_grad():
                record |= {
                    f"{what}_{strategy.cost.metric}": float(strategy.cost.expected(weights))
                    for what, weights in of.items()
                }
        record["derived"] = None if derived is None else strategy.supernet.space.format(derived[None])[0]
        record["weights"] = [[round(value, 6) for value in site.tolist()] for site in probabilities]
        return record

    def _stop_reason(self) -> str:
        if reason := self.strategy.stop_reason(self.records):
            return f"stopped after epoch {self._epoch}: {reason}"
        return "all epochs are over" if self._epoch == self.settings.epochs else ""

    def _architecture_batches(self) -> Any:
        """Yield a batch a step, the same for the same step whether or not the training was interrupted; or None."""
        if self.architecture is None:
            while True:
                yield None
        step = self._epoch * self.steps + self._step
        while True:
            epoch, within = divmod(step, len(self.architecture))
            for images, labels in self.architecture.epoch(epoch, within):
                yield self._batch(images, labels)
                step += 1

    def _batch(self, images: torch.Tensor, labels: torch.Tensor) -> Batch:
        return Batch(images.to(memory_format=self._format), labels)

    def _rng(self, at: Moment) -> torch.Generator:
        """Return the generator of a step, and set those of PyTorch, from which dropout draws."""
        seeds = np.random.SeedSequence([self.seed, at.epoch, at.step]).generate_state(2, np.uint64) >> 1
        torch.manual_seed(int(seeds[0]))
        return torch.Generator().manual_seed(int(seeds[1]))


@contextmanager
def _between_steps() -> Iterator[Callable[[], bool]]:
    """Let a first Ctrl-C wait for the end of a step, half of which no checkpoint could hold; a second does not.

    Yields:
        whether there was one.
    """
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def ask(number: int, frame: object) -> None:
        asked.append(number)
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGINT, before)
