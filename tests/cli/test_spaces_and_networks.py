"""What is printed of spaces and published networks: lists, one of each, several side by side."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import nas as package
from nas import cli, registry
from nas.space import VocabularyBuilder, catalogue
from nas.space.catalogue import PublishedCount, network_names

Run = Callable[..., str]
B0 = "1311-6321-6521-6331-6531-6541-6311"


@pytest.fixture
def nas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in an empty folder; check its exit code; return what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["nas", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        assert stop.value.code == code, captured.err
        return captured.out

    return run


def test_listing_spaces_builds_no_vocabulary(nas: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a vocabulary is built")

    monkeypatch.setattr(VocabularyBuilder, "add", refuse)
    rows = json.loads(nas("list", "spaces", "--json"))
    assert [row["space"] for row in rows] == registry.names("spaces")
    assert next(row for row in rows if row["space"] == "mbconv")["size"] == 104_485_552_128
    for row in rows:
        space = package.space(row["space"])
        assert space.format(space.encode(row["example"])[None]) == [row["example"]]


def test_networks_are_listed_with_exact_counts(nas: Run) -> None:
    rows = {row["network"]: row for row in json.loads(nas("list", "networks", "--json"))}
    assert sorted(rows) == network_names()
    # Integers of torchvision's documentation.
    assert rows["efficientnet_b0"]["params"] == 5_288_548
    assert rows["mobilenetv2"]["params"] == 3_504_872
    printed = nas("list", "networks")
    assert all(re.search(rf"^{re.escape(name)} .*\b{row['params']:,}\b", printed, re.MULTILINE)
               for name, row in rows.items())  # fmt: skip


@pytest.mark.parametrize("pattern", ["efficientnet_lite*", "net_lite", "EfficientNet_Lite?"])
def test_a_pattern_chooses_networks(nas: Run, pattern: str) -> None:
    names = [row["network"] for row in json.loads(nas("list", "networks", pattern, "--json"))]
    assert names == [f"efficientnet_lite{i}" for i in range(5)]


def counts(*rows: tuple[str, int, int, str]) -> list[PublishedCount]:
    return [PublishedCount("efficientnet_b0", "params", row[0], row[1], "somebody", *row[2:]) for row in rows]


@pytest.mark.parametrize(
    ("rows", "verdicts", "code"),
    [
        ([("5288548", 1, 5_288_548, ""), ("5.29", 10**6, 5_288_548, "")], ["equal", "equal as printed"], 0),
        ([("5.288548", 10**6, 5_288_548, "")], ["equal"], 0),
        ([("5288549", 1, 5_288_548, "")], ["MISS"], 1),
        ([("5.3", 10**6, 5_100_000, "")], ["MISS"], 1),
        ([("5288548", 1, 5_288_548, ""), ("5.5", 10**6, 5_288_548, "a wider stem")], ["equal", "differs"], 0),
    ],
)
def test_a_missed_count_fails_the_check(
    nas: Run, monkeypatch: pytest.MonkeyPatch, rows: list[tuple[str, int, int, str]], verdicts: list[str], code: int
) -> None:
    monkeypatch.setattr(catalogue, "published_counts", lambda: counts(*rows))
    found = json.loads(nas("list", "networks", "--check", "--json", code=code))
    assert [row["verdict"] for row in found["counts"]] == verdicts
    assert found["networks_equal_as_integers"] == ("equal" in verdicts)
    printed = nas("list", "networks", "--check", code=code)
    assert all(verdict in printed for verdict in verdicts)


def test_a_space_is_shown_with_all_that_is_known(nas: Run) -> None:
    printed = nas("show", "mbconv")
    for words in (
        "104,485,552,128",
        "stage{1-7}.kernel",
        "3, 5",
        "min and max of the whole space",
        B0,
        "5.27 to 107.22 ms",
    ):
        assert words in printed
    shown = json.loads(nas("show", "mbconv", "--json"))
    assert shown["size"] == {"value": 104_485_552_128, "origin": "computed"}
    assert shown["published"] == {"efficientnet_b0": B0}
    assert [len(d["choices"]) for d in shown["decisions"]] == [
        len(d.choices) for d in package.space("mbconv").decisions
    ]
    assert {row["origin"] for row in shown["ranges"].values()} == {"computed"}


def test_a_network_is_shown_with_what_others_published(nas: Run) -> None:
    shown = json.loads(nas("show", "efficientnet_b0", "--target", "pixel4", "--json"))
    assert shown["codes"]["mbconv"] == B0
    assert shown["published_top1"] == 77.1
    assert {"params", "macs", "published_top1", "latency_ms", "blocks.latency_ms"} <= set(shown["origins"])
    assert all(row["agrees"] for row in shown["published_counts"])
    printed = nas("show", "efficientnet_b0")
    assert f"mbconv:{B0}" in printed
    assert "published under its own recipe" in printed


def test_equal_blocks_are_folded_unless_asked_for(nas: Run) -> None:
    folded, whole = nas("show", "efficientnet_b0"), nas("show", "efficientnet_b0", "--blocks")
    assert (folded.count("ir_k"), whole.count("ir_k")) == (12, 16)


def test_networks_side_by_side(nas: Run, tmp_path: Path) -> None:
    names = ["efficientnet_b0", "efficientnet_b7", "mobilenetv2", f"mbconv:{B0}"]
    printed = nas("compare", *names, "--target", "pixel4")
    assert list(tmp_path.iterdir()) == []
    for words in ("computed", "published", "predicted", "leave-one-out error", "* efficientnet_b7: outside"):
        assert words in printed
    shown = json.loads(nas("compare", *names, "--target", "pixel4", "--json"))
    rows = {row["network"]: row for row in shown["networks"]}
    assert rows["efficientnet_b0"]["params"] == 5_288_548
    assert rows["mobilenetv2"]["latency_note"] == ""
    assert rows["mobilenetv2"]["top1"] is None
    assert rows[B0]["top1"] == rows["efficientnet_b0"]["top1"]
    assert set(shown["origins"].values()) == {"computed", "published", "predicted"}


def test_a_network_that_was_not_measured_says_so(nas: Run) -> None:
    printed = nas("compare", "efficientnet_b0", "--target", "raspi4")
    assert "not covered" in printed
    assert "no data on the network efficientnet_b0" in printed


def test_plots_of_a_comparison_open_offline(nas: Run, tmp_path: Path) -> None:
    nas("compare", "efficientnet_b0", "mobilenetv2", "--target", "pixel4", "--out", "plots/compare.html")
    page = (tmp_path / "plots" / "compare.html").read_text()
    assert "efficientnet_b0" in page
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=.http", page)


def test_imported_weights_are_exported(nas: Run, tmp_path: Path) -> None:
    torch.manual_seed(3)
    state = package.network("mobilenetv3_small").build().state_dict()
    torch.save({f"theirs.{i}.{key.rpartition('.')[2]}": state[key] for i, key in enumerate(state)}, "theirs.pt")
    nas("import-weights", "mobilenetv3_small", "theirs.pt", "--out", "ours.pt")
    assert (
        json.loads(nas("import-weights", "mobilenetv3_small", "ours.pt", "--out", "b.pt", "--json"))["params"] > 10**6
    )
    assert "ours.pt" in nas("export", "mobilenetv3_small", "--format", "torch", "--weights", "ours.pt", "--out", "out")
    written = torch.load(tmp_path / "out" / "mobilenetv3_small.pt", weights_only=True)
    assert all(torch.equal(written[key], value) for key, value in state.items())


def test_ctrl_c_while_starting_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt")
    code = "import sys\nfrom nas.cli import main\nsys.argv = ['nas', 'list', 'spaces']\nmain()"
    process = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert process.returncode == 130
    assert process.stderr.strip() == "nas: interrupted"


def test_the_full_list_of_networks_takes_seconds() -> None:
    before = os.times().children_user
    subprocess.run([str(Path(sys.executable).with_name("nas")), "list", "networks"], check=True, capture_output=True)
    assert os.times().children_user - before < 3
