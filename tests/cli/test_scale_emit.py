"""`nas scale emit` as a user types it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from nas.scaling.laws.file import write_law
from nas.scaling.laws.law import fit_law

Run = Callable[..., tuple[int, str, str]]
BY_PHI = ("--base", "efficientnet_b0", "--coefficients", "1.2,1.1,1.15", "--phi", "0..2")


@pytest.fixture
def run(nas_command: Run) -> Run:
    """Run `nas ...` in an empty folder; return its exit code and what it printed on output and error."""
    return nas_command


def emit(run: Run, *arguments: str) -> str:
    code, printed, error = run("scale", "emit", *arguments)
    assert (code, error) == (0, "")
    return printed


def test_a_family_says_what_each_number_is(run: Run) -> None:
    printed = emit(run, *BY_PHI, "--target", "pixel4")
    for text in ("computed", "predicted", "leave-one-out error 5.3 %", "extrapolated for b1 to b2", "scaling law"):
        assert text in printed
    assert re.search(r"b1 +1 +1\.200 +1\.100 +256", printed)


def test_json_has_the_exact_counts(run: Run) -> None:
    result = json.loads(emit(run, *BY_PHI, "--target", "pixel4", "--json"))
    first = result["members"][0]
    assert (first["params"], first["macs"]) == (5_288_548, 385_814_752)
    assert first["latency_ms_low"] < first["latency_ms"] < first["latency_ms_high"]
    assert result["origins"]["params"] == "computed"
    assert result["origins"]["latency_ms"] == result["origins"]["top1"] == "predicted"
    assert result["members"][1]["recipe"]["origin"] == "rule"


def test_the_paper_mode_shows_formula_beside_released(run: Run) -> None:
    result = json.loads(emit(run, "--base", "efficientnet_b0", "--paper", "--json"))
    assert [member["params"] for member in result["members"][6:8]] == [43_040_704, 66_347_960]
    (rows,) = result["beside"].values()
    b7 = rows[7]
    assert (b7["depth_released"], round(b7["depth_formula"], 3)) == (3.1, 2.986)
    assert (b7["width_released"], round(b7["width_formula"], 3)) == (2.0, 1.772)
    assert b7["macs_released"] == 37_745_884_192
    printed = emit(run, "--base", "efficientnet_b0", "--paper")
    assert "3.1 / 2.986 (-4 %)" in printed
    assert "extrapolated for b8 to l2" in printed


def test_budgets_of_latency_stand_beside_the_same_steps_in_macs(run: Run) -> None:
    options = ("--base", "mobilenetv3_small", "--coefficients", "1.2,1.1,1.15", "--target", "pixel4")
    result = json.loads(emit(run, *options, "--budgets", "10ms,20ms", "--json"))
    members = result["members"]
    assert [member["member"] for member in members] == ["10ms", "20ms"]
    assert all(0.97 <= member["latency_ms"] / member["budget"] <= 1 for member in members)
    (rows,) = result["beside"].values()
    assert rows[1]["macs"] == pytest.approx(2 * members[0]["macs"], rel=0.03)
    assert rows[1]["macs"] <= 2 * members[0]["macs"]


def test_members_are_networks_for_every_other_command(run: Run, tmp_path: Path) -> None:
    printed = emit(run, *BY_PHI, "--out", "family")
    assert {path.name for path in (tmp_path / "family").iterdir()} == {"family.yaml", "report.html"}
    report = (tmp_path / "family" / "report.html").read_text()
    assert "72.73" not in report  # no target, no latency
    assert "1.200" in report
    assert 'src="http' not in report
    assert "nas show family#b2" in printed
    code, shown, _ = run("show", "family#b2", "--json")
    assert (code, json.loads(shown)["cost"]["params"]) == (0, 12_255_408)
    code, compared, _ = run("compare", "family#b1", "efficientnet_b1", "--json")
    assert (code, len(json.loads(compared)["networks"])) == (0, 2)


def test_a_law_of_latency_needs_the_latency(run: Run, tmp_path: Path) -> None:
    costs = (10.0, 20.0, 40.0, 80.0, 160.0)
    write_law(fit_law(costs, [60 * cost**-0.5 + 15 for cost in costs], metric="latency_ms"), tmp_path / "law.yaml")
    rows = json.loads(emit(run, *BY_PHI, "--law", "law.yaml", "--target", "pixel4", "--json"))["members"]
    assert [round(row["top1"], 3) for row in rows] == [round(85 - 60 * row["latency_ms"] ** -0.5, 3) for row in rows]
    code, _, error = run("scale", "emit", *BY_PHI, "--law", "law.yaml")
    assert code == 2
    assert "name a target that predicts it" in " ".join(error.split())


def test_released_families_are_listed(run: Run) -> None:
    _, printed, _ = run("list", "families", "--json")
    rows = {row["family"]: row for row in json.loads(printed)}
    assert rows["efficientnet"]["alpha, beta, gamma"] == "1.2, 1.1, 1.15"
    assert "lite4" in rows["efficientnet_lite"]["members"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--base", "efficientnet_b0", "--phi", "-1..3"), "--phi has -1, must not be negative"),
        (("--base", "efficientnet_b0", "--phi", "3..1"), "expected a range such as 0..7"),
        (("--base", "efficientnet_b0", "--phi", "0..7", "--budgets", "1G"), "give one of them"),
        (("--base", "efficientnet_b0", "--budgets", "20ms"), "add --target"),
        (("--base", "efficientnet_b0", "--budgets", "20ms,1G", "--target", "pixel4"), "mixes latency and"),
        (("--base", "efficientnet_b0", "--budgets", "20", "--target", "pixel4"), "--budgets 20 has no unit"),
        (("--base", "efficientnet_b0", "--budgets", "0.1ms", "--target", "pixel4"), "raise the budget"),
        (("--base", "efficientnet_b0", "--coefficients", "1.2,1.1"), "expected alpha,beta,gamma"),
        (("--base", "efficientnet_b0", "--coefficients", "1.2,0.9,1.1"), "coefficient of width is 0.9"),
        (("--base", "efficientnetb0"), "did you mean 'efficientnet_b0'"),
        (("--base", "resnet50"), "no coefficients are published for resnet50"),
        (("--base", "shufflenet", "--paper"), "'shufflenet' is no published network"),
        (("--base", "efficientnet_b0", "--law", "nowhere.yaml"), "nowhere.yaml"),
        (("--base", "efficientnet_b0", "--target", "pixel"), "pixel"),
        (("--base", "efficientnet_b0", "--target", "titan_rtx-b32"), "titan_rtx-b32"),
        (("--base", "efficientnet_b0", "--paper", "--budgets", "1G"), "leave --phi and --budgets out"),
        (("--base", "efficientnet_b0", "--paper", "--phi", "0..2"), "leave --phi and --budgets out"),
        (("--base", "efficientnet_b0", "--budgets", "1G,1 G"), "the budget 1G is given twice"),
    ],
)
def test_bad_input_is_said_and_nothing_is_written(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    code, printed, error = run("scale", "emit", *arguments, "--out", "family")
    assert (code, printed) == (2, "")
    assert message in " ".join(error.split())
    assert "Traceback" not in error
    assert not (tmp_path / "family").exists()
