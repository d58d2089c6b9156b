"""The README does not promise what the package does not do: its commands and its Python run as printed."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import nas
from nas import cli

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    """The `nas` commands of the sections whose commands need no tables and no quiet machine, in order."""
    found = commands_of("Networks people know", "One network, every size", "More")
    assert len(found) >= 20
    return found


def commands_of(*titles: str) -> list[str]:
    sections = README.split("\n## ")
    lines = [line for text in sections if text.startswith(titles) for line in text.splitlines()]
    return [re.split(r"\s{2,}#", line.strip())[0] for line in lines if line.startswith("    nas ")]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_run_in_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = nas.network("efficientnet_lite0").build().state_dict()
    torch.save({f"theirs.{name}": tensor for name, tensor in weights.items()}, folder / "theirs.pth")
    for command in commands():
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code == 0, command
    assert (folder / "runs" / "mbconv-pixel4-nsga2-seed0" / "report.html").is_file()


def test_one_training_for_a_whole_space(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands as printed, but for how long they train and how many networks they judge."""
    rng = np.random.default_rng(0)
    for i in range(40):
        path = folder / "photos" / ("cats", "dogs")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    commands = commands_of("One training for a whole space")
    assert len(commands) == 5
    for command in commands:
        short = command
        for option, little in (("--epochs ", "1"), ("--budget ", "3"), ("network.width=", "0.1")):
            short = re.sub(rf"{option}[\d.]+", f"{option}{little}", short)
        if "--strategy spos" in command:
            short += " --budget 3"
        if "--epochs" in command:
            short += " --set images=32 --set batch_size=8 --set eigenvalue_every=0"
        monkeypatch.setattr(sys, "argv", shlex.split(short))
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code == 0, command
    assert len(nas.load_run("runs/nasbench201-local-seed0").trials) == 3


def test_the_python_runs(folder: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert len(names["run"].front) > 0  # type: ignore[attr-defined]


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    makefile = (Path(__file__).parents[1] / "Makefile").read_text(encoding="utf-8")
    for target in ("search", "test"):
        assert f"    make {target}\n" in README
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (Path(__file__).parents[1] / link).exists(), link
