"""The worked example of docs/spaces.md: a space that another package brings, installed beside `nas`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest


@pytest.fixture
def installed(repo_root: Path, tmp_path: Path) -> Path:
    """A folder with the module of the documentation and what an installer writes of its entry points."""
    text = (
        (repo_root / "docs" / "spaces.md").read_text(encoding="utf-8").split("## A space of your own, as a package")[1]
    )
    (module,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (project,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    ((group, entries),) = tomllib.loads(project)["project"]["entry-points"].items()
    (tmp_path / "my_spaces.py").write_text(module)
    metadata = tmp_path / "my_spaces-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-spaces\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, value in entries.items()]
    (metadata / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))
    return tmp_path


def nas(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("nas")), *arguments]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)


def test_the_space_of_the_documentation_is_found_by_name(installed: Path) -> None:
    assert "tiny" in [row["space"] for row in json.loads(nas(installed, "list", "spaces", "--json").stdout)]
    shown = json.loads(nas(installed, "show", "tiny", "--json").stdout)
    # By hand: 2 × 2 settings of the first stage, 3 × 2 × 2 of the second.
    assert shown["size"]["value"] == 4 * 12
    printed = nas(installed, "show", "tiny").stdout
    assert "48 distinct networks" in printed
    code = json.loads(nas(installed, "list", "spaces", "--json").stdout)
    example = next(row["example"] for row in code if row["space"] == "tiny")
    assert nas(installed, "show", f"tiny:{example}").returncode == 0


def test_it_is_not_searched_without_accuracy(installed: Path) -> None:
    refused = nas(installed, "search", "--space", "tiny", "--out", "run")
    assert refused.returncode == 2
    assert "spaces that have one: mbconv" in refused.stderr
    assert not (installed / "run").exists()
