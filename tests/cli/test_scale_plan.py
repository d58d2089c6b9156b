"""`nas scale plan` as a user types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

import nas
from nas.scaling.coefficients import Coefficients
from nas.scaling.emit import emit
from nas.scaling.family import write_family
from nas.scaling.laws.file import write_law
from nas.scaling.laws.law import fit_law

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(nas_command: Run) -> Run:
    """Run `nas scale plan ...` in an empty folder; return its exit code and what it printed on output and error."""
    return partial(nas_command, "scale", "plan")


def write_example_law(path: Path, epochs: int | None, scale: float = 5.0) -> Path:
    gmacs = (0.2, 0.4, 0.8, 1.6, 3.2)
    law = fit_law([g * 1e9 for g in gmacs], [scale * g**-0.5 + 15 for g in gmacs])
    return write_law(replace(law, epochs=epochs), path)


def test_a_published_family_with_its_own_law(run: Run) -> None:
    code, printed, error = run("--budget-gpu-hours", "1000", "--family", "efficientnet")
    assert (code, error) == (0, "")
    star = next(line for line in printed.splitlines() if line.lstrip().startswith("*"))
    assert star.split()[1:3] == ["b3", "350"]
    assert star.rstrip().endswith("81.6   published")
    whole = " ".join(printed.split())
    for text in (
        "Train b3 for 350 epochs",
        "Next b4 for 350 epochs: top-1 82.9 % published",
        "a family left out is predicted with a mean error of 10 %",
        "the optimizer's step and evaluation are not included",
        "what a shorter training leaves of it is not known",
    ):
        assert text in whole


def test_json_holds_every_figure_with_its_origin(run: Run) -> None:
    code, printed, _ = run("--budget-gpu-hours", "1000", "--family", "efficientnet", "--gpus", "4", "--json")
    found = json.loads(printed)
    assert code == 0
    train = found["train"]
    assert (train["member"], train["top1"]["value"], train["top1_origin"]) == ("b3", 81.6, "published")
    assert train["wall_hours"]["value"] == pytest.approx(train["gpu_hours"]["value"] / 4)
    assert found["next"]["member"] == "b4"
    assert found["origins"]["gpu_hours"] == "predicted"
    assert [each["member"] for each in found["trainings"]][:3] == ["b0", "b1", "b2"]


def test_a_base_with_coefficients_and_the_users_own_throughput(run: Run) -> None:
    code, printed, _ = run(
        "--budget-gpu-hours", "300", "--base", "efficientnet_b0", "--coefficients", "1.2,1.1,1.15", "--phi", "0..2",
        "--images-per-second", "1200", "--of", "efficientnet_b0", "--json",
    )  # fmt: skip
    found = json.loads(printed)
    assert code == 0
    b0 = found["trainings"][0]
    assert b0["gpu_hours"]["value"] == pytest.approx(1_281_167 * 350 / 1200 / 3600)
    assert b0["gpu_hours"]["low"] == b0["gpu_hours"]["high"]
    assert {each["top1_origin"] for each in found["trainings"]} == {"predicted"}
    assert "given for efficientnet_b0, 1200 images/s on one GPU; predicted for others" in found["time"]


def test_a_family_file_and_two_laws(run: Run, tmp_path: Path) -> None:
    base = nas.network("mobilenetv3_large")
    write_family(emit(base, "mobilenetv3_large", Coefficients(1.2, 1.1, 1.15), (0, 1, 2)), tmp_path / "mine.yaml")
    write_example_law(tmp_path / "short.yaml", 50)
    write_example_law(tmp_path / "long.yaml", 300, 4.0)
    arguments = ("--family", "mine.yaml", "--law", "short.yaml", "--law", "long.yaml", "--json")
    choices = {}
    for budget in ("30", "2000"):
        code, printed, error = run("--budget-gpu-hours", budget, *arguments)
        assert code == 0, error
        choices[budget] = (json.loads(printed)["train"]["schedule"], json.loads(printed)["train"]["epochs"])
    assert choices == {"30": ("short.yaml", 50), "2000": ("long.yaml", 300)}


def test_epochs_are_asked_for_where_nobody_says_them(run: Run, tmp_path: Path) -> None:
    write_example_law(tmp_path / "law.yaml", None)
    base = nas.network("tinynet_a")
    family = emit(base, "tinynet_a", Coefficients(1.2, 1.1, 1.15), (0, 1))
    members = tuple(replace(member, recipe=None) for member in family.members)
    write_family(replace(family, members=members), tmp_path / "mine.yaml")
    asked = ("--budget-gpu-hours", "500", "--family", "mine.yaml", "--law", "law.yaml")
    code, _, error = run(*asked)
    assert (code, "give --epochs" in error) == (2, True)
    code, printed, _ = run(*asked, "--epochs", "90")
    assert code == 0
    assert "90 as given; the law does not say for which it holds" in " ".join(printed.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["20", "--family", "efficientnet"], "the cheapest, b0 for 350 epochs, needs"),
        (["-20", "--family", "efficientnet"], "must be a positive number"),
        (["20", "--family", "eficientnet"], "did you mean 'efficientnet'?"),
        (["20", "--family", "efficientnet", "--device", "v10"], "did you mean 'v100'?"),
        (["20", "--family", "efficientnet", "--epochs", "10"], "holds for 350 epochs, not for 10"),
        (["20", "--family", "regnetx", "--law", "efficientnet"], "another family has another law"),
        (["20", "--family", "efficientnet", "--law", "none.yaml"], "none.yaml"),
        (["20", "--family", "efficientnet", "--of", "efficientnet_b0"], "go together"),
        (["20", "--family", "efficientnet", "--base", "resnet50"], "either --family, or --base"),
        (["20"], "either --family, or --base"),
        (["20", "--base", "resnet50"], "--base needs --coefficients"),
        (["20", "--family", "regnetx", "--coefficients", "1,1,1"], "go with --base"),
        (["20", "--family", "regnetx", "--phi", "0..3"], "go with --base"),
        (["20", "--base", "fbnet_a", "--coefficients", "1.2,1.1,1.15"], "no law tells"),
        (["20", "--family", "regnetx", "--images-per-second", "0", "--of", "resnet50"], "positive"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(run: Run, tmp_path: Path, arguments: list[str], said: str) -> None:
    code, printed, error = run("--budget-gpu-hours", *arguments)
    assert (code, printed) == (2, "")
    assert said in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []
