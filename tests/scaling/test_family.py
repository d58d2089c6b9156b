"""Files of families: what is written is read again, and what is wrong in them is said."""

from __future__ import annotations

from pathlib import Path

import pytest

import nas
from nas.errors import NasError
from nas.scaling.coefficients import Coefficients
from nas.scaling.emit import Budget, emit, emit_released, emit_to_budgets
from nas.scaling.family import Family, read_family, write_family
from nas.scaling.released import published_family
from nas.search.resolve import resolve

PAPER = Coefficients(1.2, 1.1, 1.15)
B0 = nas.network("efficientnet_b0")


def some_families() -> list[Family]:
    return [
        emit(B0, "efficientnet_b0", PAPER, [0, 0.5, 3]),
        emit_released(published_family("efficientnet_lite")),
        emit_to_budgets(B0, "efficientnet_b0", PAPER, [Budget("600M", 6e8)], lambda s: float(s.cost()["macs"]), "macs"),
    ]


@pytest.mark.parametrize("family", some_families(), ids=["phi", "released", "budget"])
def test_a_family_is_read_as_it_was_written(family: Family, tmp_path: Path) -> None:
    assert read_family(write_family(family, tmp_path / "family.yaml"), nas.network) == family


def test_a_member_is_an_architecture_like_any_other(tmp_path: Path) -> None:
    write_family(some_families()[0], tmp_path / "family.yaml")
    for text in (f"{tmp_path}#b3", f"{tmp_path / 'family.yaml'}#b3"):
        found = resolve(text)
        assert found.spec.name == "efficientnet_b0-b3"
        assert found.spec == B0.scale(1.2**3, 1.1**3, 340)
        assert found.spec.dropout > B0.dropout
    with pytest.raises(NasError, match=r"no member 'b4'.*'b3'|no member 'b4'.*b0"):
        resolve(f"{tmp_path}#b4")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("params: ", "params: 1", r"member 'b0': the network it describes has 5,288,548 params"),
        ("depth: 1.72", "depth: 2.72", r"member 'b3': the network it describes has"),
        (
            "base: efficientnet_b0",
            "base: efficientnetb0",
            r"unknown network 'efficientnetb0'; did you mean 'efficientnet_b0'",
        ),
        ("name: b3", "name: b0", r"two members are called 'b0'"),
        ("resolution: 340", "resolution: huge", r"members\.2\.resolution"),
        ("dropout: ", "dropuot: ", r"unknown setting 'dropuot'; did you mean 'dropout'"),
        ("members:", "member:", r"no family of networks"),
        ("base:", "\tbase:", r"no YAML"),
    ],
)
def test_what_is_wrong_in_a_file_is_said(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = write_family(some_families()[0], tmp_path / "family.yaml")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(NasError, match=message):
        read_family(path, nas.network)


def test_a_member_that_is_a_family_of_itself_is_refused(tmp_path: Path) -> None:
    path = write_family(some_families()[0], tmp_path / "family.yaml")
    path.write_text(path.read_text().replace("base: efficientnet_b0", f"base: {path}#b0"))
    with pytest.raises(NasError, match="base"):
        resolve(f"{path}#b0")


def test_nothing_is_half_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NasError, match="cannot write"):
        write_family(some_families()[0], tmp_path / "file" / "family.yaml")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
