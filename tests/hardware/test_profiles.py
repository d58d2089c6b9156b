"""Profile folders: what ships is complete, what is damaged is refused with the file and the field."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nas
from nas.errors import NasError
from nas.hardware import read_target, target_names
from nas.hardware import target as target_module

Damage = Callable[[Path], object]
NEGATIVE = (-np.eye(5)).tolist()


@pytest.fixture
def folder(tmp_path: Path, repo_root: Path) -> Path:
    return Path(shutil.copytree(repo_root / "hardware_profiles" / "pixel4", tmp_path / "pixel4"))


def profile(old: str, new: str) -> Damage:
    """Replace text of profile.yaml."""

    def damage(folder: Path) -> None:
        file = folder / "profile.yaml"
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new), encoding="utf-8")

    return damage


def predictor(**values: Any) -> Damage:
    """Set entries of predictor.json."""

    def damage(folder: Path) -> None:
        file = folder / "predictor.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | values))

    return damage


def test_every_installed_target_reads_and_is_called_after_its_folder() -> None:
    assert "pixel4" in target_names()
    for name in target_names():
        target = nas.target(name)
        assert target.name == name
        assert target.fitted
        assert all(str(value).strip() for value in target.profile.model_dump().values())


def test_a_copy_reads_the_same(folder: Path) -> None:
    copy, shipped = read_target(folder), nas.target("pixel4")
    assert copy.profile == shipped.profile
    digest = hashlib.sha256((folder / "predictor.json").read_bytes()).hexdigest()
    assert copy.fitted[0].digest == shipped.fitted[0].digest == digest
    spec = nas.network("mobilenetv3_small")
    assert copy.fitted[0].predictor.predict_spec(spec) == shipped.fitted[0].predictor.predict_spec(spec)
    assert copy.fitted[0].held_out_text == "leave-one-out error 5.3 % on 10 networks"


def read_whole(folder: Path) -> None:
    """Read a profile and every predictor it names."""
    for fitted in read_target(folder).fitted:
        assert fitted.predictor


UNREADABLE = {
    "no profile": ("profile.yaml", lambda folder: (folder / "profile.yaml").unlink()),
    "no predictor": ("predictor.json", lambda folder: (folder / "predictor.json").unlink()),
    "not YAML": ("profile.yaml", lambda folder: (folder / "profile.yaml").write_text("name: [pixel4,\n soc: }")),
    "not text": ("profile.yaml", lambda folder: (folder / "profile.yaml").write_bytes(b"\xff\xfe\x00name")),
    "YAML that would run code": (
        "profile.yaml",
        lambda folder: (folder / "profile.yaml").write_text("!!python/object/apply:os.getcwd []"),
    ),
    "not JSON": ("predictor.json", lambda folder: (folder / "predictor.json").write_text("{'kind': 1}")),
    "cut off": ("predictor.json", lambda folder: (folder / "predictor.json").write_text('{"kind": "linear-ker')),
}


@pytest.mark.parametrize(("file", "damage"), [pytest.param(*case, id=name) for name, case in UNREADABLE.items()])
def test_files_that_cannot_be_read_are_named(folder: Path, file: str, damage: Damage) -> None:
    damage(folder)
    with pytest.raises(NasError) as caught:
        read_whole(folder)
    assert f"cannot read {folder / file}: " in str(caught.value)


#: damage -> file, what the message must say
WRONG = {
    "wrong type": ("profile.yaml", profile("threads: 1", "threads: many"), "threads: Input should be a valid integer"),
    "missing field": ("profile.yaml", profile("device: Google Pixel 4\n", ""), "device: Field required"),
    "unknown key": ("profile.yaml", profile("soc:", "colour: red\nsoc:"), "colour: Extra inputs are not permitted"),
    "wrong type below": ("profile.yaml", profile("networks: 10", "networks: ten"), "held_out.networks: Input should"),
    "unknown entry": ("predictor.json", predictor(colour="red"), "colour: Extra inputs are not permitted"),
    "unknown kind": (
        "predictor.json",
        predictor(kind="forest"),
        "kind: unknown predictor 'forest'; valid: linear-kernels, lookup",
    ),
    "words for numbers": ("predictor.json", predictor(mean=[1, 2, 3, "x", 5]), "mean.3: Input should be a valid"),
    "unknown feature": (
        "predictor.json",
        predictor(features=["pointwise_mac", "depthwise_macs", "weights", "elementwise", "depthwise_outputs"]),
        "unknown feature 'pointwise_mac'; valid: pointwise_macs, depthwise_macs, weights, elementwise",
    ),
    "too few means": ("predictor.json", predictor(mean=[1.0, 2.0]), "5 features need 5 means and a 5×5 covariance"),
    "small covariance": (
        "predictor.json",
        predictor(covariance=[[1.0, 0.0], [0.0, 1.0]]),
        "5 features need 5 means and a 5×5 covariance",
    ),
    "ragged covariance": (
        "predictor.json",
        predictor(covariance=[*([1.0] * 5 for _ in range(4)), [1.0] * 4]),
        "5 features need 5 means and a 5×5 covariance",
    ),
    "no word on its error": (
        "profile.yaml",
        lambda folder: (folder / "profile.yaml").write_text(
            (folder / "profile.yaml").read_text(encoding="utf-8").split("not_measured:")[0], encoding="utf-8"
        ),
        "needs held_out, published latencies to compare with, or what was not_measured",
    ),
    "no kind": ("predictor.json", lambda folder: (folder / "predictor.json").write_text("{}"), "kind: missing"),
    "another kind's content": ("predictor.json", predictor(kind="lookup"), "covers: Field required"),
    "text": ("profile.yaml", lambda folder: (folder / "profile.yaml").write_text("pixel4"), "valid dictionary"),
    "a list": ("predictor.json", lambda folder: (folder / "predictor.json").write_text("[1]"), "valid dictionary"),
}
CASES = [pytest.param(*case, id=name) for name, case in WRONG.items()]


@pytest.mark.parametrize(("file", "damage", "complaint"), CASES)
def test_what_is_wrong_in_a_profile_is_said(folder: Path, file: str, damage: Damage, complaint: str) -> None:
    damage(folder)
    with pytest.raises(NasError) as caught:
        read_whole(folder)
    assert str(caught.value).startswith(f"{folder / file}: ")
    assert complaint in str(caught.value)


IMPOSSIBLE = {
    "negative variance": (predictor(covariance=NEGATIVE), "predictor.json: .*negative variance"),
    "asymmetric covariance": (predictor(covariance=np.triu(np.ones((5, 5))).tolist()), "not symmetric"),
    "not a number": (predictor(mean=[float("nan")] * 5), r"predictor.json: mean\.0: "),
    "infinite": (predictor(covariance=[[float("inf")] * 5] * 5), r"predictor.json: covariance\.0\.0: "),
    "negative latency": (predictor(mean=[1e-8, -1e-8, 0, 0, 0]), r"mean\.1: .*greater than or equal to 0"),
    "negative noise": (predictor(relative_noise=-0.05), "relative_noise: .*greater than or equal to 0"),
    "negative interval": (predictor(interval_width=-1.9), "interval_width: .*greater than or equal to 0"),
    "a feature twice": (predictor(features=["weights"] * 5), "a feature is named twice"),
}


@pytest.mark.parametrize(("damage", "complaint"), [pytest.param(*case, id=name) for name, case in IMPOSSIBLE.items()])
def test_values_that_cannot_be_are_refused(folder: Path, damage: Damage, complaint: str) -> None:
    damage(folder)
    with pytest.raises(NasError, match=complaint):
        read_whole(folder)


ROW = {"kernels": "conv k3 s2 3>32 @224", "mean": 4.4, "std": 0.4, "count": 949}
BAD_TABLES = {
    "no blocks": ([], "the table has no blocks"),
    "a block twice": ([ROW, ROW], "'conv k3 s2 3>32 @224' is in the table twice"),
    "negative time": ([ROW | {"mean": -1.0}], r"blocks\.0\.mean: .*greater than or equal to 0"),
    "not a number": ([ROW | {"std": float("nan")}], r"blocks\.0\.std: "),
    "measured never": ([ROW | {"count": 0}], r"blocks\.0\.count: .*greater than 0"),
    "a word too many": ([ROW | {"op": "conv"}], r"blocks\.0\.op: Extra inputs are not permitted"),
}


@pytest.mark.parametrize(("blocks", "complaint"), [pytest.param(*case, id=name) for name, case in BAD_TABLES.items()])
def test_a_damaged_table_is_refused(tmp_path: Path, repo_root: Path, blocks: list[Any], complaint: str) -> None:
    folder = Path(shutil.copytree(repo_root / "hardware_profiles" / "pixel1", tmp_path / "pixel1"))
    predictor(blocks=blocks)(folder)
    with pytest.raises(NasError, match=rf"predictor\.json: .*{complaint}"):
        read_whole(folder)


def test_a_target_is_called_after_its_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_module, "_folders", lambda: {"pixel5": folder.rename(folder.with_name("pixel5"))})
    with pytest.raises(NasError, match=r"profile\.yaml: name is 'pixel4', the folder is 'pixel5'"):
        nas.target("pixel5")


def test_an_unknown_target_names_the_nearest() -> None:
    with pytest.raises(NasError, match=r"unknown target 'pixel-4'; did you mean 'pixel4'\?"):
        nas.target("pixel-4")


def test_a_target_unlike_any_lists_them_all() -> None:
    with pytest.raises(NasError, match=r"unknown target 'zx81'; \d+ are valid, such as "):
        nas.target("zx81")
