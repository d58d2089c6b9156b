"""The commands a user types, and what they print."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nas import cli

SEARCH = ["search", "--space", "mbconv", "--target", "pixel4", "--budget", "400", "--out", "run"]


@pytest.fixture
def nas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command in an empty folder; it must succeed; return what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["nas", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        assert stop.value.code == 0, captured.err
        return captured.out

    return run


def test_search_says_what_it_will_do_then_what_it_found(nas: Callable[..., str], tmp_path: Path) -> None:
    printed = nas(*SEARCH, "--max-latency", "30ms")
    before, after = printed.split("Pareto front")
    assert "104,485,552,128 networks" in before
    assert "latency ≤ 30.00 ms: met by" in before
    for word in ("min", "median", "max", "predicted", "computed"):
        assert word in before
    assert "efficientnet_b0" in after
    assert "published" in after
    written = {path.name for path in (tmp_path / "run").iterdir()}
    assert written == {"config.yaml", "trials.sqlite", "front.csv", "front.json", "report.html"}


def test_json_is_json_and_nothing_else(nas: Callable[..., str]) -> None:
    result = json.loads(nas(*SEARCH, "--json"))
    assert result["evaluations"] == 400
    assert result["origins"]["latency_ms"] == "predicted"
    assert {"point", "code", "top1", "top1_low", "top1_high", "latency_ms"} <= set(result["front"][0])
    assert result["published"][0]["published_top1"] == 77.1


def test_a_config_file_says_what_options_say(nas: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(
        "space: mbconv\ntarget: pixel4\nmax_latency: 30ms\nbudget: 400\nseed: 5\nout: from_file\n"
    )
    options = nas(*SEARCH, "--max-latency", "30ms", "--seed", "5", "--json")
    from_file = nas("search", "--config", "study.yaml", "--json")
    assert json.loads(from_file)["front"] == json.loads(options)["front"]
    assert json.loads(from_file)["run"] == "from_file"
    overridden = json.loads(nas("search", "--config", "study.yaml", "--seed", "6", "--out", "other", "--json"))
    assert overridden["config"]["seed"] == 6


def test_resume_of_a_finished_run_changes_nothing(nas: Callable[..., str], tmp_path: Path) -> None:
    nas(*SEARCH)
    before = (tmp_path / "run" / "front.csv").read_bytes()
    assert "400 of 400" in nas("resume", "run")
    assert (tmp_path / "run" / "front.csv").read_bytes() == before


def test_show_draws_a_network_as_a_table_of_stages(nas: Callable[..., str]) -> None:
    nas(*SEARCH)
    printed = nas("show", "run#1")
    for word in ("stem", "stage1", "stage7", "head", "pixel4 ms", "params", "top-1", "90 % interval"):
        assert word in printed
    shown = json.loads(nas("show", "run#1", "--json"))
    assert sum(block["params"] for block in shown["blocks"]) == shown["cost"]["params"]
    assert sum(block["latency_ms"] for block in shown["blocks"]) == pytest.approx(shown["latency_ms"]["mean"])


def test_show_a_run_a_published_network_and_a_code(nas: Callable[..., str]) -> None:
    nas(*SEARCH)
    assert "Pareto front" in nas("show", "run")
    assert "5,288,548" in nas("show", "efficientnet_b0")
    assert "5,288,548" in nas("show", "1311-6321-6521-6331-6531-6541-6311")


@pytest.mark.parametrize(
    ("kind", "word"),
    [("spaces", "mbconv"), ("targets", "pixel4"), ("strategies", "nsga2"), ("estimators", "surrogate"),
     ("networks", "efficientnet_b7")],
)  # fmt: skip
def test_list(nas: Callable[..., str], kind: str, word: str) -> None:
    assert word in nas("list", kind)
    assert any(word in row.values() for row in json.loads(nas("list", kind, "--json")))


def test_report_is_made_again_from_the_run(nas: Callable[..., str], tmp_path: Path) -> None:
    nas(*SEARCH)
    report = tmp_path / "run" / "report.html"
    before = report.read_bytes()
    report.unlink()
    nas("report", "run")
    assert report.read_bytes() == before


def test_export_of_a_point_goes_to_the_run(nas: Callable[..., str], tmp_path: Path) -> None:
    nas(*SEARCH)
    printed = nas("export", "run#1", "--format", "onnx")
    assert (tmp_path / "run" / "exports" / "point1.onnx").is_file()
    assert "maximum difference" in printed
    assert "untrained" in printed
