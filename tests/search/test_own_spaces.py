"""Spaces of the user's own, from a file: searched, kept in the run, and refused where they cannot be."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import nas
from nas import registry
from nas.errors import NasError
from nas.estimators.base import About, Estimator, HasSpace
from nas.search.config import SearchConfig
from nas.search.loop import run_search, start_search
from nas.search.run import Run
from nas.space import Codes

DECLARATION = """\
name: small
description: two stages
resolution: 32
num_classes: 10
stem: cn_k3_s2_c8
stages:
  - ir_r{1-3}_k{3,5}_c8_se{0,1}
  - ir_r{1-3}_k3_s2_e{1,4,6}_c16_se{0,1}
head: [cn_c32, pool, fc]
"""


class MoreIsBetter(Estimator):
    """An accuracy made of the decisions, to have one on any space."""

    metrics = ("top1",)
    origin = "predicted"
    cost_hint = "µs"

    def evaluate(self, problem: HasSpace, codes: Codes, fidelity: int | None = None) -> pd.DataFrame:
        return pd.DataFrame({"top1": 50.0 + codes.sum(axis=1)})

    def about(self, problem: HasSpace) -> About:
        return About("made up", "nowhere", "0" * 64)


@pytest.fixture
def space_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A space file, with an estimator that covers every space."""
    load = registry.load

    def with_estimator(group: str, name: str) -> object:
        return MoreIsBetter if (group, name) == ("estimators", "made_up") else load(group, name)

    monkeypatch.setattr(registry, "load", with_estimator)
    file = tmp_path / "small.yaml"
    file.write_text(DECLARATION)
    return file


def config(file: Path, budget: int = 90) -> SearchConfig:
    return SearchConfig(space=str(file), estimator="made_up", strategy="random", budget=budget)


def test_a_space_from_a_file(space_file: Path) -> None:
    space = nas.space(space_file)
    # By hand: 3 × 2 × 2 settings of the first stage, 3 × 3 × 2 of the second.
    assert space.size == 12 * 18
    assert space.name == "small"


def test_a_run_goes_on_after_its_space_file_is_gone(space_file: Path, tmp_path: Path) -> None:
    whole = run_search(start_search(config(space_file), tmp_path / "whole"))
    run = start_search(config(space_file), tmp_path / "run")
    space_file.unlink()
    resumed = run_search(Run.open(run.path))
    assert resumed.config.space == "small"
    pd.testing.assert_frame_equal(resumed.trials, whole.trials, check_exact=True)


def test_a_changed_file_does_not_change_a_run(space_file: Path, tmp_path: Path) -> None:
    run = start_search(config(space_file), tmp_path / "run")
    space_file.write_text(DECLARATION.replace("c16", "c24"))
    resumed = run_search(Run.open(run.path))
    space = resumed.problem.space
    assert space.spec(resumed.trials.code[0]).nodes[-4].block.out_channels == 16


@pytest.mark.parametrize(("old", "new"), [("c16", "c24"), ("k{3,5}", "k{3,7}"), ("resolution: 32", "resolution: 64")])
def test_a_changed_declaration_in_the_run_is_refused(space_file: Path, tmp_path: Path, old: str, new: str) -> None:
    run = start_search(config(space_file), tmp_path / "run")
    file = run.path / "config.yaml"
    changed = file.read_text().replace(old, new)
    assert changed != file.read_text()
    file.write_text(changed)
    with pytest.raises(NasError, match="the space has changed"):
        run_search(Run.open(run.path))


def test_a_name_that_is_taken_is_refused(space_file: Path) -> None:
    space_file.write_text(DECLARATION.replace("name: small", "name: mbconv"))
    with pytest.raises(NasError, match=r"small\.yaml: a space called 'mbconv' is installed"):
        nas.space(space_file)


def test_a_space_without_accuracy_is_not_searched(space_file: Path, tmp_path: Path) -> None:
    with pytest.raises(NasError, match="spaces that have one: mbconv"):
        nas.search(space_file, out=tmp_path / "run")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.yaml"]


def test_small_spaces_are_described_by_all_their_networks(space_file: Path) -> None:
    from nas.search.problem import Problem

    problem = Problem(nas.space(space_file), ())
    assert problem.preview.whole
    assert problem.preview.sampled == 216
    space = problem.space
    peaks = [space.spec(code).cost()["peak_activation_bytes"] for code in space.all_codes()]
    assert problem.preview.ranges["peak_activation_bytes"][::2] == (min(peaks), max(peaks))
    assert problem.preview.exact == {"params", "macs", "peak_activation_bytes"}


def test_members_of_a_file_are_named_by_its_path(space_file: Path) -> None:
    from nas.search.resolve import resolve

    space = nas.space(space_file)
    code = space.format(space.all_codes()[[100]])[0]
    assert resolve(f"{space_file}:{code}").spec == space.spec(code)
