"""`nas list targets` and `nas show target` over the shipped profiles."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nas import cli

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command; return its exit code and what it printed on standard output and error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nas", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return call


def test_targets_of_a_space_are_those_that_predict_on_it(run: Run) -> None:
    code, printed, _ = run("list", "targets", "--space", "mbconv-ofa", "--json")
    rows = json.loads(printed)
    assert code == 0
    assert {"v100", "titan_rtx-b64", "pixel4"} <= {row["target"] for row in rows}
    assert "zcu102" not in {row["target"] for row in rows}
    assert all("mbconv-ofa" in row["spaces"] or row["spaces"] == ["any"] for row in rows)
    assert len(rows) < len(json.loads(run("list", "targets", "--json")[1]))


def test_every_target_is_named_once_and_no_line_is_wider_than_100(run: Run) -> None:
    lines = run("list", "targets")[1].splitlines()
    named = [line.split()[0] for line in lines[1:-1] if not line.startswith(" ")]
    assert len(named) == len(set(named)) > 40
    assert max(map(len, lines)) <= 100
    energy = [line for line in lines if "energy_mj" in line]
    assert len(energy) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["list", "targets", "--space", "mbcon"], "unknown space 'mbcon'; did you mean 'mbconv'?"),
        (["list", "spaces", "--space", "mbconv"], "--space goes with `nas list targets` only"),
        (["show", "target", "zcu120"], "did you mean 'zcu102'?"),
    ],
)
def test_bad_input_is_refused(run: Run, arguments: list[str], said: str) -> None:
    code, _, error = run(*arguments)
    assert code == 2
    assert said in error


def test_a_target_shows_error_beside_noise_and_a_plot(run: Run, tmp_path: Path) -> None:
    code, printed, _ = run("show", "target", "pixel2", "--out", str(tmp_path / "plot.html"))
    assert code == 0
    for word in ("HELP", "whole milliseconds", "repeated rows", "mbconv-fbnet-cifar100", "90 % interval"):
        assert word in printed
    assert "predicted, 90 % interval" in (tmp_path / "plot.html").read_text(encoding="utf-8")
