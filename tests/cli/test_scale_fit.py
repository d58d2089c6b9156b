"""`nas scale fit` and `nas scale design` as a user runs them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import nas
from nas.scaling.fitting.built import as_built

Run = Callable[..., tuple[int, str, str]]

BASE = "efficientnet_b0"


@pytest.fixture
def run(nas_command: Run) -> Run:
    """Run `nas scale ...` in an empty folder; return its exit code and what it printed on output and error."""
    return partial(nas_command, "scale")


@pytest.fixture
def points(tmp_path: Path, rng: np.random.Generator) -> Path:
    """15 networks around EfficientNet-B0 whose accuracy is a known surface, highest where all three grow."""
    mixes = np.vstack([np.eye(3), np.full((1, 3), 1 / 3), (1 - np.eye(3)) / 2])
    multipliers = np.exp(np.vstack([np.zeros((1, 3)), np.log(2) * mixes, np.log(4) * mixes]) / [1, 2, 2])
    logs = np.log(as_built(nas.network(BASE), multipliers))
    shares = logs * [1, 2, 2]
    accuracy = 77 + shares.sum(axis=1) * 3.2 - 1.4 * (shares**2).sum(axis=1) + 0.05 * rng.standard_normal(15)
    frame = pd.DataFrame(multipliers, columns=["depth", "width", "resolution"]).assign(accuracy=accuracy)
    path = tmp_path / "points.csv"
    frame.to_csv(path, index=False)
    return path


def test_a_released_family(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("fit", "--family", "efficientnet", "--html", tmp_path / "family.html")
    assert code == 0
    for said in ("1.210 (1.203 to 1.217)", "1.121 (", "1.184 (", "2.132", "exact MACs: 2.196", "b7", "1.2, 1.1, 1.15"):
        assert said in out
    assert "gamma" in (tmp_path / "family.html").read_text()
    code, out, _ = run("fit", "--family", "efficientnet", "--json")
    found = json.loads(out)
    assert found["coefficients"]["depth"]["value"] == pytest.approx(1.210, abs=5e-4)
    assert [row["name"] for row in found["residuals"]] == [f"b{i}" for i in range(8)]


def test_observations_under_macs_and_latency(run: Run, points: Path, tmp_path: Path) -> None:
    html = tmp_path / "fit.html"
    arguments = ("fit", "--base", BASE, "--observations", points, "--target", "pixel4")
    code, out, _ = run(*arguments, "--html", html)
    assert code == 0
    for said in (
        "15 observations of 15 networks", "10 parameters", "2 × MACs", "2 × latency on pixel4", "computed costs",
        "predicted costs", "leave-one-out error", "left out", "compound is ahead", f"nas scale emit --base {BASE}",
    ):  # fmt: skip
        assert said in out
    assert "compound" in html.read_text()
    code, out, _ = run(*arguments, "--json")
    by_macs, by_latency = json.loads(out)["fits"]
    assert (by_macs["cost"]["origin"], by_latency["cost"]["origin"]) == ("computed", "predicted")
    for fit in (by_macs, by_latency):
        for each in fit["coefficients"].values():
            assert 1 <= each["low"] <= each["value"] <= each["high"]
        values = [each["value"] for each in fit["coefficients"].values()]
        exponents = list(fit["cost"]["exponents"].values())
        assert np.prod(np.array(values) ** exponents) == pytest.approx(2)
    # Width is cheaper in time than in multiply-adds, so more of it is worth its price.
    assert by_latency["coefficients"]["width"]["value"] > by_macs["coefficients"]["width"]["value"]


def test_from_a_design_to_coefficients(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    code, out, _ = run("design", "--base", BASE, "--points", 9, "--target", "pixel4", "--out", path)
    assert code == 0
    assert f"nas scale fit --base {BASE} --observations {path}" in out
    assert "385.8" in out
    code, _, err = run("fit", "--base", BASE, "--observations", path)
    assert (code, "line 2: accuracy is empty" in err) == (2, True)
    table = pd.read_csv(path)
    assert (table["params"][0], table["macs"][0]) == (5_288_548, 385_814_752)
    table.assign(accuracy=70 + np.log(table["macs"]) / 5 + np.arange(9) % 3 / 10).to_csv(path, index=False)
    code, out, _ = run("fit", "--base", BASE, "--observations", path)
    assert code == 0
    assert "without interactions: 7 parameters, 9 observations" in out
    code, _, err = run("design", "--base", BASE, "--points", 9, "--out", path)
    assert (code, "not overwritten" in err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (("fit",), ("nothing to fit to", "--observations")),
        (("fit", "--family", "efficientnet", "--estimator", "surrogate"), ("--family and --estimator", "give one")),
        (("fit", "--family", "eficientnet"), ("did you mean 'efficientnet'",)),
        (("fit", "--family", "none.csv"), ("cannot read none.csv",)),
        (("fit", "--estimator", "surrogate"), ("--base",)),
        (("fit", "--estimator", "surogate", "--base", BASE), ("did you mean 'surrogate'",)),
        (("fit", "--estimator", "surrogate", "--base", "mobilenetv2"), ("mbconv", "nas scale design")),
        (("fit", "--observations", "{points}", "--base", "efficientnet_bo"), ("did you mean 'efficientnet_b",)),
        (("fit", "--observations", "{points}", "--target", "pixel4"), ("--base",)),
        (("fit", "--observations", "{points}", "--base", BASE, "--target", "pixel44"), ("did you mean 'pixel4'",)),
        (("fit", "--observations", "{points}", "--base", BASE, "--target", "a100"), ("a100",)),
        (("fit", "--observations", "{points}", "--factor", "1"), ("factor is 1", "above 1")),
        (("fit", "--observations", "{points}", "--cost", "mac"), ("did you mean 'macs'",)),
        (("fit", "--observations", "{points}", "--accuracy", "top5"), ("top5",)),
        (("fit", "--observations", "{points}", "--html", "/proc/none/x.html"), ("cannot write",)),
        (("design", "--base", BASE, "--points", "3", "--out", "{new}"), ("points is 3", "9 to 21")),
        (("design", "--base", BASE, "--factor", "0.5", "--out", "{new}"), ("factor is 0.5",)),
        (("design", "--base", BASE, "--target", "a100", "--out", "{new}"), ("a100",)),
    ],
)
def test_bad_input(
    run: Run, points: Path, tmp_path: Path, arguments: tuple[str, ...], messages: tuple[str, ...]
) -> None:
    new = tmp_path / "new.csv"
    code, _, err = run(*(word.format(points=points, new=new) for word in arguments))
    assert code == 2
    assert err.count("\n") == 1
    for message in messages:
        assert message in err
    assert not new.exists()
