"""Searches that judge networks with the weights of a supernet, as a user runs them; and supernets that are damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from nas.estimators.shared_weights import SharedWeights
from nas.search.run import Run
from nas.supernet.checkpoint import CHECKPOINT, read_checkpoint, write_checkpoint
from nas.supernet.record import RECORD, read_supernet_record, write_supernet_record

Command = Callable[..., tuple[int, str, str]]

#: networks of a search
BUDGET = 12


def search(nas_command: Command, *options: object, run: str = "first", space: str = "nasbench201") -> tuple[int, str]:
    code, out, err = nas_command(
        "search", "--space", space, "--estimator", f"supernet:{run}", "--budget", BUDGET, *options
    )  # fmt: skip
    return code, out + err


def test_a_search_by_the_name_of_the_run(copied: Path, nas_command: Command) -> None:
    code, said = search(nas_command, "--strategy", "random", "--out", "found")
    assert code == 0, said
    assert "one-shot top-1" in said
    assert "Reported  oneshot_test_top1" in said
    run = Run.open("found")
    assert len(run.trials) == BUDGET
    assert [objective.metric for objective in run.problem.objectives] == ["oneshot_top1", "macs"]
    best = run.trials.nlargest(1, "oneshot_top1")["code"].item()
    assert best in set(run.front["code"])
    assert run.problem.origin("oneshot_top1") == "measured"
    assert "oneshot_test_top1" not in run.trials


def test_an_interrupted_search_goes_on_as_if_it_had_not_been(
    copied: Path, nas_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--strategy", "local", "--objectives", "oneshot_top1")
    assert search(nas_command, *options, "--out", "whole")[0] == 0
    right, calls = SharedWeights.right, 0

    def interrupted(self: SharedWeights, code: Any, part: str) -> float:
        nonlocal calls
        calls += 1
        if calls > 7:
            raise KeyboardInterrupt
        return right(self, code, part)

    with monkeypatch.context() as patch:
        patch.setattr(SharedWeights, "right", interrupted)
        assert search(nas_command, *options, "--out", "halted")[0] == 130
    assert 0 < len(Run.open("halted").trials) < BUDGET
    code, out, err = nas_command("resume", "halted")
    assert code == 0, out + err
    pd.testing.assert_frame_equal(Run.open("halted").trials, Run.open("whole").trials)


def test_weights_that_changed_are_not_mixed_with_others(copied: Path, nas_command: Command) -> None:
    assert search(nas_command, "--strategy", "random", "--out", "found", "--budget", 2)[0] == 0
    state = read_checkpoint(copied / CHECKPOINT)
    assert state is not None
    next(iter(state["strategy"]["supernet"].values())).mul_(1.5)
    write_checkpoint(copied / CHECKPOINT, state)
    code, _, err = nas_command("resume", "found")
    assert code == 2
    assert "the estimator has changed since" in err


def test_unfinished_training_is_said(copied: Path, nas_command: Command) -> None:
    state = read_checkpoint(copied / CHECKPOINT)
    assert state is not None
    write_checkpoint(copied / CHECKPOINT, state | {"ended": "", "epoch": 3})
    code, said = search(nas_command, "--strategy", "random", "--budget", 2)
    assert code == 0
    assert "its training has not ended, 3 epochs are over" in " ".join(said.split())


@pytest.mark.parametrize(
    ("run", "space", "message"),
    [
        ("first", "darts", "the supernet is of nasbench201, not of darts"),
        ("furst", "nasbench201", "furst is not a run directory; runs that have one: first"),
        ("plain", "nasbench201", "plain has no supernet"),
        ("", "nasbench201", "write supernet:RUN"),
    ],
)
def test_runs_that_cannot_be_used(
    run: str, space: str, message: str, copied: Path, nas_command: Command, tmp_path: Path
) -> None:
    (tmp_path / "plain").mkdir()
    code, said = search(nas_command, "--out", "found", run=run, space=space)
    assert code == 2
    assert message in said
    assert "Traceback" not in said
    assert not Path("found").exists()


def cut(folder: Path) -> None:
    content = (folder / CHECKPOINT).read_bytes()
    (folder / CHECKPOINT).write_bytes(content[: len(content) // 2])


def lose_weights(folder: Path) -> None:
    (folder / CHECKPOINT).unlink()


def exchange(folder: Path) -> None:
    """Put the weights of a wider supernet in."""
    record = read_supernet_record(folder)
    write_supernet_record(folder, record.model_copy(update={"network": record.network | {"channels": 6}}))


def empty(folder: Path) -> None:
    write_checkpoint(folder / CHECKPOINT, {"strategy": {}, "ended": ""})


def other_images(folder: Path) -> None:
    record = read_supernet_record(folder)
    write_supernet_record(folder, record.model_copy(update={"data_digest": "0" * 64}))


def moved_images(folder: Path) -> None:
    record = read_supernet_record(folder)
    write_supernet_record(folder, record.model_copy(update={"data": str(folder / "images")}))


def other_space(folder: Path) -> None:
    record = read_supernet_record(folder)
    write_supernet_record(folder, record.model_copy(update={"space_digest": "0" * 64}))


def misspell(folder: Path) -> None:
    text = (folder / RECORD).read_text()
    (folder / RECORD).write_text(text.replace("affine: true", "affine: maybe"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "checkpoint.pt is damaged"),
        (lose_weights, "its training has not begun"),
        (exchange, "checkpoint.pt is damaged: its weights are not of the supernet"),
        (empty, "checkpoint.pt is damaged: its weights are not of the supernet"),
        (other_images, "the images of digits are now others than those the supernet was trained on"),
        (moved_images, "if they moved, say where by --data"),
        (other_space, "the space nasbench201 is another one than when the supernet was made"),
        (misspell, "supernet.yaml is no record of a supernet: affine"),
    ],
)
def test_damage_is_said_before_a_run_is_made(
    damage: Callable[[Path], None], message: str, copied: Path, nas_command: Command
) -> None:
    damage(copied)
    code, said = search(nas_command, "--out", "found")
    assert code == 2
    assert message in " ".join(said.split())
    assert "Traceback" not in said
    assert not Path("found").exists()


def test_images_elsewhere(copied: Path, nas_command: Command) -> None:
    moved_images(copied)
    code, said = search(nas_command, "--strategy", "random", "--data", "digits", "--budget", 2)
    assert code == 0, said
