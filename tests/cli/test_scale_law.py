"""`nas scale law` as a user runs it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from nas.scaling.laws.file import read_law

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(nas_command: Run) -> Run:
    """Run `nas scale law ...` in an empty folder; return its exit code and what it printed on output and error."""
    return partial(nas_command, "scale", "law")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Five networks of each of two families, the law 30 · GMACs^-0.5 + 5 and a little noise."""
    path = tmp_path / "results.csv"
    noise = (0.1, -0.1, 0.05, -0.05, 0.0)
    rows = [
        f"{family},{family}{x},{x}e9,{30 * x**-0.5 + 5 + error + shift:.3f}"
        for family, shift in (("a", 0.0), ("b", 2.0))
        for x, error in zip((1, 2, 4, 8, 16), noise, strict=True)
    ]
    path.write_text("family,name,macs,error\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_a_published_family_at_a_cost_asked_for(run: Run, tmp_path: Path) -> None:
    law, page = tmp_path / "law.yaml", tmp_path / "law.html"
    arguments = ("--family", "efficientnet", "--at", "80G", "--out", str(law), "--html", str(page))
    code, printed, _ = run(*arguments)
    assert code == 0
    # The row of B7: exact cost, published error, prediction from the others.
    (row,) = [line.split() for line in printed.splitlines() if line.lstrip().startswith("b7 ") and "37.746" in line]
    assert row[1:3] == ["37.746", "15.70"]
    assert "error = 4.81 · GMACs^-0.530 + 14.98" in printed
    assert "at 80 GMACs" in printed
    assert "inside its interval" in printed
    assert read_law(law).names[-1] == "b7"
    assert "fitted to 8 published networks of efficientnet" in page.read_text(encoding="utf-8")


def test_json_says_what_the_text_says(run: Run, results: Path) -> None:
    code, printed, _ = run(str(results), "--where", "family=a", "--epochs", "90", "--recipe", "plain", "--json")
    (law,) = json.loads(printed)["laws"]
    assert code == 0
    assert law["parameters"]["c"]["low"] < 5 < law["parameters"]["c"]["high"]
    assert (law["epochs"], law["recipe"], law["origin"], law["unit"]) == (90, "plain", "given", 1e9)
    assert [row["macs"] for row in law["observations"]] == [1e9, 2e9, 4e9, 8e9, 16e9]
    largest, (following,) = law["largest_predicted_from_others"], law["predicted"]
    assert (largest["name"], largest["measured"]) == ("a16", 12.5)
    assert following["cost"] == 32e9
    assert following["low"] < 30 * 32**-0.5 + 5 < following["high"]


def test_a_law_for_each_family_of_a_table(run: Run, results: Path, tmp_path: Path) -> None:
    code, printed, _ = run(str(results))
    assert code == 0
    assert [line.split()[1] for line in printed.splitlines() if line.startswith("Law ")] == ["a:", "b:"]
    code, _, error = run(str(results), "--out", str(tmp_path / "law.yaml"))
    assert code == 2
    assert "choose it by --where family=a" in error
    assert not (tmp_path / "law.yaml").exists()


def test_the_table_of_a_long_family_fits_80_columns(run: Run) -> None:
    lines = run("--family", "regnety")[1].splitlines()
    rule = next(i for i, line in enumerate(lines) if "───" in line)
    assert max(map(len, lines[rule - 3 : rule + 13])) <= 80


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give either a table of results, or a published family"),
        (["none.csv"], "cannot read none.csv"),
        (["--family", "effnet"], "did you mean 'efficientnet'?"),
        (["--family", "efficientnet", "--where", "a=b"], "--where and --accuracy are of a table"),
        (["--family", "efficientnet", "--cost", "latency_ms"], "the latency_ms of a network is not counted"),
        (["--family", "efficientnet", "--at", "-3G"], "must be positive"),
        (["--family", "efficientnet", "--at", "80ms"], "unknown unit 'ms'"),
        (["--family", "efficientnet", "--level", "95"], "expected a number between 0 and 1"),
    ],
)
def test_bad_input_is_refused(run: Run, arguments: list[str], said: str) -> None:
    code, printed, error = run(*arguments)
    assert (code, printed) == (2, "")
    assert said in " ".join(error.split())
    assert "Traceback" not in error


def test_a_column_of_another_name_is_read_as_what_its_name_ends_in(run: Run, tmp_path: Path) -> None:
    costs = (1, 2, 4, 8, 16)
    rows = [f"{x}e9,{65 - 30 * x**-0.5:.4f},{35 + 30 * x**-0.5:.4f}" for x in costs]
    (tmp_path / "own.csv").write_text("\n".join(["macs,val_top1,val_err", *rows]))
    exponents = []
    for column in ("val_top1", "val_err"):
        code, printed, _ = run(str(tmp_path / "own.csv"), "--accuracy", column, "--json")
        assert code == 0
        exponents.append(json.loads(printed)["laws"][0]["parameters"]["b"]["value"])
    assert exponents == pytest.approx([0.5, 0.5], abs=1e-3)
