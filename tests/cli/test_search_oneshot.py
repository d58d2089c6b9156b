"""One-shot searches from the command line: what a user types, sees, breaks off and gets wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import nas
from nas.supernet.checkpoint import CHECKPOINT, read_checkpoint

NAS = str(Path(sys.executable).with_name("nas"))
Command = Callable[..., tuple[int, str, str]]

SMALL = [
    "--set", "network.channels=4", "--set", "network.cells=1", "--set", "image_size=8", "--set", "images=64", "--set",
    "batch_size=16", "--set", "validation_images=40", "--set", "recalibration_images=32",
]  # fmt: skip


def search(strategy: str, *more: str) -> list[str]:
    return ["search", "--space", "nasbench201", "--strategy", strategy, "--epochs", "2", "--out", "run", *SMALL, *more]


def test_a_search_says_what_it_trains_and_what_came_of_it(nas_command: Command) -> None:
    code, out, _ = nas_command(*search("spos", "--budget", "4"))
    assert code == 0
    assert "digits: 1,797 train images of 8×8×1, 10 classes: 64 train, 0 architecture validation, 144 val" in out
    assert "Supernet  spos, 2 epochs; networks with num_classes 10, in_channels 1, resolution 8, channels 4" in out
    assert "4 of 4 evaluations" in out
    assert "Reported  oneshot_test_top1" in out
    assert Path("run/supernet/report.html").read_text(encoding="utf-8").count("all epochs are over")
    run = nas.load_run("run")
    assert len(run.trials) == 4
    assert run.problem.origin("oneshot_top1") == "measured"


def test_a_network_is_exported_with_its_shared_weights(nas_command: Command) -> None:
    """Truth is the accuracy that the search measured inside the supernet."""
    assert nas_command(*search("fairnas", "--budget", "2", "--objectives", "oneshot_top1"))[0] == 0
    code, out, _ = nas_command("export", "run#1", "--format", "torch", "--weights", "shared")
    assert code == 0, out
    run = nas.load_run("run")
    estimator, point = run.problem.estimator, run.front.loc[1]
    network = run.problem.space.spec(point["code"], channels=4, cells=1, in_channels=1, resolution=8).build().eval()
    state = torch.load("run/exports/point1-shared.pt", weights_only=True)
    network.load_state_dict(state)
    dataset = estimator.record.load_data()
    kept = estimator.record.validation_images
    from nas.data.splits import stratified

    chosen = stratified(dataset.data.labels, dataset.splits.validation, np.random.default_rng(run.config.seed))[:kept]
    pixels = torch.from_numpy(dataset.data.images[chosen]).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(v)[None, :, None, None] for v in (dataset.normalisation.mean, dataset.normalisation.std))
    with torch.no_grad():
        right = (network((pixels - mean) / std).argmax(1).numpy() == dataset.data.labels[chosen]).mean()
    assert 100 * right == pytest.approx(point["oneshot_top1"])


def test_ctrl_c_in_an_epoch_and_resume_give_what_an_unbroken_search_gives(tmp_path: Path) -> None:
    def arguments(out: str) -> list[str]:
        found = search("gdas", "--set", "eigenvalue_every=0", "--set", "checkpoint_minutes=1e-9", "--json")
        found[found.index("batch_size=16")], found[found.index("2")] = "batch_size=4", "3"
        found[found.index("run")] = out
        return [NAS, *found]

    whole = subprocess.run(arguments("whole"), cwd=tmp_path, capture_output=True, text=True, check=True)
    broken = subprocess.Popen(arguments("broken"), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not (tmp_path / "broken" / "supernet" / CHECKPOINT).exists() and broken.poll() is None:
        time.sleep(0.01)
    broken.send_signal(signal.SIGINT)
    _, err = broken.communicate(timeout=120)
    assert broken.returncode == 130
    assert b"nas resume broken" in err
    assert b"Traceback" not in err
    stopped = read_checkpoint(tmp_path / "broken" / "supernet" / CHECKPOINT)
    assert stopped is not None
    assert not stopped["ended"]
    resumed = subprocess.run([NAS, "resume", "broken", "--json"], cwd=tmp_path, capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(whole.stdout)["front"] == json.loads(resumed.stdout)["front"]
    states = [read_checkpoint(tmp_path / run / "supernet" / CHECKPOINT) for run in ("whole", "broken")]
    assert all(
        torch.equal(states[0]["strategy"]["supernet"][name], tensor)
        for name, tensor in states[1]["strategy"]["supernet"].items()
    )


def test_two_processes_train_one_supernet(tmp_path: Path) -> None:
    """One of them speaks, writes and judges; that their steps are those of one process is tested elsewhere."""
    torchrun = str(Path(sys.executable).with_name("torchrun"))
    command = [
        torchrun,
        "--standalone",
        "--nproc-per-node",
        "2",
        "--no-python",
        NAS,
        *search("gdas", "--set", "eigenvalue_every=0"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Pareto front: 1 point") == 1
    assert len(nas.load_run(tmp_path / "run").trials) == 1


def test_what_is_evaluated_meets_the_bounds(nas_command: Command) -> None:
    code, out, _ = nas_command(
        *search("drnas", "--target", "edgegpu", "--max-latency", "3ms", "--budget", "3", "--json")
    )
    assert code == 0
    assert (nas.load_run("run").trials["latency_ms"] <= 3).all()
    assert json.loads(out)["front"]


def test_settings_of_a_file_and_of_options_come_together(nas_command: Command, tmp_path: Path) -> None:
    settings = {"image_size": 8, "images": 64, "batch_size": 16, "network": {"channels": 4, "cells": 1}, "epochs": 9}
    (tmp_path / "search.yaml").write_text(json.dumps({"space": "nasbench201", "strategy": "spos", "oneshot": settings}))
    code, _, err = nas_command("search", "--config", "search.yaml", "--epochs", "1", "--budget", "2", "--out", "run")
    assert code == 0, err
    kept = nas.load_run("run").config.oneshot
    assert kept is not None
    assert (kept["epochs"], kept["images"], kept["candidates"]) == (1, 64, 2)


def write_image_folder(folder: Path, classes: int, corrupt: int) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for label in range(classes):
        place = folder / f"class{label}"
        place.mkdir(parents=True)
        for i in range(40):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(place / f"{i}.png")
        for i in range(corrupt):
            (place / f"bad{i}.png").write_bytes(b"no image")


@pytest.mark.parametrize(
    ("classes", "corrupt", "words"), [(1, 0, "has one class, class0"), (2, 3, "6 of 86 images (7.0%) are corrupt")]
)
def test_unusable_images_are_refused(
    nas_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, classes: int, corrupt: int, words: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_image_folder(tmp_path / "photos", classes, corrupt)
    code, _, err = nas_command(*search("spos", "--data", "photos"))
    assert code == 2
    assert words in err
    assert "0x" not in err
    assert len(err.strip().splitlines()) == 1
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--space", "mbconv", "--strategy", "nsga2", "--epochs", "3"], "nsga2 does not; these do: bignas, darts"),
        (["--space", "nasbench201", "--strategy", "dartz"], "did you mean 'darts'?"),
        (["--space", "nasbench201", "--strategy", "darts", "--set", "ordr=2"], "did you mean 'order'?"),
        (["--space", "nasbench201", "--strategy", "darts", "--set", "order=3"], "the setting order of darts is 3"),
        (["--space", "nasbench201", "--strategy", "darts", "--set", "order"], "expected KEY=VALUE"),
        (["--space", "nasbench201", "--strategy", "darts", "--epochs", "0"], "the setting epochs of darts is 0"),
        (["--space", "nasbench201", "--strategy", "snas", "--set", "order=2"], "order 2 looks ahead"),
        (["--space", "nasbench201", "--strategy", "darts", "--scheduler", "asha"], "trains once"),
        (["--space", "nasbench201", "--strategy", "spos", "--estimator", "tabular:x"], "leave out --estimator"),
        (["--space", "nasbench101", "--strategy", "darts"], "nasbench101 has no supernet"),
        (["--space", "nasbench201", "--strategy", "spos", "--set", "network.width=0.5"], "have no 'width'"),
        (["--space", "nasbench201", "--strategy", "spos", "--set", "network.chanels=4"], "did you mean 'channels'?"),
        (["--space", "nasbench201", "--strategy", "spos", "--set", "images=40"], "fewer than a batch of 64"),
        (["--space", "nasbench201", "--strategy", "spos", "--set", "device=tpu"], "it can be auto, cpu, cuda"),
        (["--space", "nasbench201", "--strategy", "spos", "--data", "nowhere"], "no images at"),
        (["--space", "nasbench201", "--estimator", "supernet:nowhere"], "nowhere is not a run directory"),
        (["--space", "nasbench201", "--estimator", "supernet"], "write supernet:RUN"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(nas_command: Command, arguments: list[str], words: str) -> None:
    code, out, err = nas_command("search", *arguments, "--out", "run")
    assert (code, out) == (2, "")
    assert words in err
    assert len(err.strip().splitlines()) == 1
    assert not os.listdir()


def test_settings_are_listed_with_their_defaults(nas_command: Command) -> None:
    code, out, _ = nas_command("show", "strategy", "gdas", "--json")
    listed = {row["setting"]: row for row in json.loads(out)["settings"]}
    assert code == 0
    assert listed["temperature"]["default"] == "10"  # Dong & Yang, 2019: from 10 to 0.1
    assert listed["temperature_end"]["default"] == "0.1"
    assert all(row["meaning"] for row in listed.values())
