"""`nas profile`: from a table of measurements to a target that is searched for, and what is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import nas
from nas import cli
from nas.hardware import read_target
from nas.hardware.measuring import measure
from nas.hardware.profile import MeasuringSetup, Profile, write_profile
from nas.space import Codes, SearchSpace

COMMANDS = ("measure", "fit", "validate", "transfer", "import")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in an empty folder; returns exit code, output, messages."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nas", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return int(stop.value.code or 0), captured.out, captured.err

    return run


def latency(space: SearchSpace, codes: Codes) -> np.ndarray:
    """A device of 10 G multiply-adds a second that takes 50 µs for a block."""
    specs = [space.spec(code) for code in codes]
    return np.array([spec.cost()["macs"] / 1e7 + 0.05 * len(spec.blocks) for spec in specs])


def make(folder: Path, mbconv: SearchSpace, count: int = 30, **columns: object) -> Path:
    """Write a folder with measured networks of mbconv."""
    folder.mkdir()
    setup = MeasuringSetup(backend="torch")
    write_profile(Profile(name=folder.name, description="d", device="a test", measuring=setup), folder / "profile.yaml")
    codes = mbconv.sample(count, np.random.default_rng(0))
    table = pd.DataFrame({"space": "mbconv", "code": mbconv.format(codes), "latency_ms": latency(mbconv, codes)})
    table.assign(**columns).to_csv(folder / "measurements.csv", index=False)
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_and_json(run: Run, command: str) -> None:
    code, printed, _ = run("profile", command, "--help")
    assert code == 0
    assert f"Example: nas profile {command} " in " ".join(printed.split())
    assert "--json" in printed


def test_help_of_the_group_names_all_commands(run: Run) -> None:
    _, printed, _ = run("profile", "--help")
    assert all(f"\n  {command} " in printed for command in COMMANDS)


def test_what_is_fitted_is_searched_for(run: Run, tmp_path: Path, mbconv: SearchSpace) -> None:
    make(tmp_path / "laptop", mbconv)
    code, printed, message = run("profile", "fit", "laptop", "--kind", "roofline")
    assert code == 0, message
    assert "Latency on mbconv, from 30 networks of mbconv" in printed
    assert "*   roofline: " in printed
    assert "nas profile validate laptop" in printed
    code, printed, message = run("show", "target", "laptop", "--out", "plot.html")
    assert code == 0, message
    assert "5-fold cross-validation" in printed
    assert (tmp_path / "plot.html").stat().st_size > 1000
    code, printed, message = run(
        "search", "--space", "mbconv", "--target", "laptop", "--max-latency", "40ms", "--budget", "100", "--json"
    )
    assert code == 0, message
    front = json.loads(printed)["front"]
    codes = np.array([mbconv.encode(row["code"]) for row in front])
    np.testing.assert_allclose([row["latency_ms"] for row in front], latency(mbconv, codes), rtol=0.05)


def test_json_of_a_fit(run: Run, tmp_path: Path, mbconv: SearchSpace) -> None:
    make(tmp_path / "laptop", mbconv, count=21)
    code, printed, _ = run("profile", "fit", "laptop", "--json")
    assert code == 0
    (fit,) = json.loads(printed)["fits"]
    by_kind = {each["kind"]: each for each in fit["candidates"]}
    assert [kind for kind, each in by_kind.items() if each["chosen"]] == [fit["kind"]]
    assert by_kind["lookup"]["not_fitted_because"] == "no blocks were measured"
    errors = {
        kind: each["cross_validated"]["mean_absolute_percentage_error"]
        for kind, each in by_kind.items()
        if "cross_validated" in each
    }
    assert errors[fit["kind"]] == min(errors.values())
    assert len(errors) == 3
    assert fit["held_out"]["networks"] == 21
    assert len(pd.read_csv(tmp_path / "laptop" / fit["held_out"]["pairs"])) == 21


def measured_as(folder: Path, truth: Callable[[SearchSpace, Codes], np.ndarray]) -> Callable[..., measure.Measured]:
    """Stand in for measuring fresh networks on a device."""

    def fresh(space: SearchSpace, path: Path, number: int, seed: int, on_progress: object) -> measure.Measured:
        codes = space.sample(number, np.random.default_rng(seed + 100))
        times = dict(zip(space.format(codes), truth(space, codes).tolist(), strict=True))
        return measure.Measured(path, {"processor": "a test"}, "a test", times, 2 * number, 0.01, 0.02, 0.01, 0.0)

    return fresh


def test_validation_replaces_the_stated_error(
    run: Run, tmp_path: Path, mbconv: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path / "laptop", mbconv)
    assert run("profile", "fit", "laptop", "--kind", "roofline")[0] == 0
    fitted = read_target(folder).on(mbconv)["latency_ms"]
    # This device has become a fifth slower since.
    monkeypatch.setattr(measure, "measure_fresh", measured_as(folder, lambda s, codes: 1.25 * latency(s, codes)))
    code, printed, message = run("profile", "validate", "laptop", "--networks", "25", "--space", "mbconv", "--json")
    assert code == 0, message
    result = json.loads(printed)
    assert result["error"]["median_absolute_percentage_error"] == pytest.approx(20, abs=1)
    assert result["error"]["interval_90_coverage"] == 0
    assert result["before"]["protocol"] == "5-fold cross-validation"
    assert len(result["networks"]) == 25
    after = read_target(folder).on(mbconv)["latency_ms"]
    assert after.fit.held_out is not None
    assert after.fit.held_out.protocol == "25 fresh networks measured end to end"
    assert after.fit.held_out.within_10_percent == 0
    assert "1.0%" in after.fit.held_out.noise
    assert after.digest == fitted.digest
    assert (folder / str(after.fit.held_out.pairs)).exists()
    assert not (folder / "latency_ms_mbconv_held_out.csv").exists()


def test_validation_is_printed(run: Run, tmp_path: Path, mbconv: SearchSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make(tmp_path / "laptop", mbconv)
    run("profile", "fit", "laptop", "--kind", "roofline")
    monkeypatch.setattr(measure, "measure_fresh", measured_as(folder, latency))
    code, printed, message = run("profile", "validate", "laptop", "--space", "mbconv")
    assert code == 0, message
    assert "50 fresh networks measured end to end" in printed
    assert "two measurements of a network differ by 1.0% (median)" in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["profile"], ["measure", "fit"]),
        (["profile", "fitt", "laptop"], ["fitt"]),
        (["profile", "fit", "absent"], ["absent is no profile folder", "nas profile measure"]),
        (["profile", "fit", "empty"], ["no measurements.csv", "nas profile import"]),
        (["profile", "fit", "laptop", "--kind", "rofline"], ["rofline", "did you mean 'roofline'"]),
        (["profile", "fit", "laptop", "--kind", "lookup"], ["lookup: no blocks were measured"]),
        (["profile", "fit", "laptop", "--metric", "latency"], ["'latency'", "did you mean 'latency_ms'"]),
        (["profile", "fit", "laptop", "--metric", "energy_mj"], ["energy_mj"]),
        (["profile", "fit", "laptop", "--space", "mbcov"], ["mbcov", "did you mean 'mbconv'"]),
        (["profile", "fit", "laptop", "--space", "nasbench201"], ["mbconv", "not of nasbench201"]),
        (["profile", "fit", "few"], ["5 networks are needed, 4 were measured", "roofline", "regression"]),
        (["profile", "validate", "laptop", "--space", "mbconv"], ["no latency on mbconv", "nas profile fit laptop"]),
        (["profile", "validate", "laptop", "--networks", "1"], ["--networks"]),
        (["profile", "validate", "pixel4", "--space", "mbconv"], ["pixel4 is no profile folder"]),
        (["profile", "validate", "imported", "--space", "mbconv"], ["how to measure", "nas profile measure"]),
        (["profile", "validate", "imported"], ["--space"]),
    ],
    ids=lambda value: " ".join(value)[8:60],
)
def test_bad_input(run: Run, tmp_path: Path, mbconv: SearchSpace, arguments: list[str], words: list[str]) -> None:
    make(tmp_path / "laptop", mbconv, count=12)
    make(tmp_path / "few", mbconv, count=4)
    (make(tmp_path / "empty", mbconv) / "measurements.csv").unlink()
    imported = make(tmp_path / "imported", mbconv)
    write_profile(Profile(name="imported", description="d", device="d"), imported / "profile.yaml")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    code, printed, message = run(*arguments)
    assert code == 2
    assert all(word in printed + message for word in words), message
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_fault_in_the_table_is_named_with_its_row(run: Run, tmp_path: Path, mbconv: SearchSpace) -> None:
    folder = make(tmp_path / "laptop", mbconv)
    lines = (folder / "measurements.csv").read_text().splitlines()
    lines[4] = lines[4].rpartition(",")[0] + ",-3"
    (folder / "measurements.csv").write_text("\n".join(lines))
    code, _, message = run("profile", "fit", "laptop")
    assert code == 2
    assert "line 5" in message
    assert "above 0" in message


def test_a_folder_is_a_target_for_the_python_face_too(run: Run, tmp_path: Path, mbconv: SearchSpace) -> None:
    folder = make(tmp_path / "laptop", mbconv)
    run("profile", "fit", "laptop", "--kind", "roofline")
    spec = nas.network("efficientnet_b0")
    known = nas.target(str(folder)).of(spec)["latency_ms"]
    truth = latency(mbconv, mbconv.encode(spec)[None])[0]
    assert known.predictor.predict_spec(spec)[0] == pytest.approx(truth, rel=0.05)
