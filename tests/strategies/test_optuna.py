"""Samplers of Optuna and OptunaHub as strategies: which work, which say why not, and that resuming changes nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest

from nas import registry
from nas.cost import Constraint, Objective
from nas.errors import NasError
from nas.space import SearchSpace
from nas.strategies.base import Strategy
from nas.testing import MadeUpProblem, check_bound, check_failures, check_search

pytest.importorskip("cmaes")

GAIN = (Objective("gain", maximise=True),)


def load(name: str) -> type[Strategy]:
    strategy: type[Strategy] = registry.load("strategies", name)
    return strategy


#: samplers that need arguments which only a program can give
NOT_ALONE = {"GridSampler", "PartialFixedSampler", "BaseSampler", "BaseGASampler"}
SAMPLERS = sorted(name for name in optuna.samplers.__all__ if name.endswith("Sampler") and name not in NOT_ALONE)


def test_samplers_of_this_optuna_are_the_ones_tried() -> None:
    assert {"TPESampler", "GPSampler", "CmaEsSampler", "NSGAIISampler", "NSGAIIISampler", "QMCSampler"} <= set(SAMPLERS)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_keeps_the_contract(name: str, nested_space: SearchSpace) -> None:
    problem = MadeUpProblem(nested_space, 1, "tight")
    check_search(load(f"optuna:{name}"), problem, (6, 1, 2))
    check_failures(load(f"optuna:{name}"), problem, (4, 1))
    check_bound(load(f"optuna:{name}"), problem, n=6)


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "CmaEsSampler"])
def test_samplers_with_two_objectives(name: str, nested_space: SearchSpace) -> None:
    problem = MadeUpProblem(nested_space, 2)
    first, second = (problem.start(load(f"optuna:{name}")) for _ in range(2))
    codes = first.ask(12)
    first.tell(codes, problem.evaluate(codes))
    for i in range(12):
        second.tell(codes[i : i + 1], problem.evaluate(codes[i : i + 1]))
    proposed = first.ask(1)
    assert len(proposed) == 1
    np.testing.assert_array_equal(second.ask(1), proposed)


def test_brute_force_ends_with_the_space(nested_space: SearchSpace) -> None:
    problem = MadeUpProblem(nested_space, 1)
    strategy, found = problem.start(load("optuna:BruteForceSampler")), 0
    while len(codes := strategy.ask(16)):
        strategy.tell(codes, problem.evaluate(codes))
        found += len(codes)
    assert found == nested_space.size


def test_cma_es_says_that_it_takes_one_objective(nested_space: SearchSpace) -> None:
    with pytest.raises(NasError, match=r"optuna:CmaEsSampler failed on toy with 2 objectives: .*multi-objective"):
        MadeUpProblem(nested_space, 2).start(load("optuna:CmaEsSampler"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("optuna:TPESamplr", "unknown Optuna sampler 'TPESamplr'; did you mean 'TPESampler'"),
        ("optuna:GridSampler", "unknown Optuna sampler 'GridSampler'"),
        ("optunahub:../../evil", "is no name of an OptunaHub package"),
        ("optunahub:/tmp/evil", "is no name of an OptunaHub package"),
        ("optunahub:", "is no name of an OptunaHub package"),
    ],
)
def test_what_is_no_sampler(name: str, message: str) -> None:
    with pytest.raises(NasError, match=message):
        load(name)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("name", ["CmaEsSampler", "GPSampler", "NSGAIISampler", "QMCSampler"])
def test_a_sampler_learns_what_optuna_itself_learns(name: str, mbconv: SearchSpace) -> None:
    """The next suggestion is that of a study of Optuna's own with the same trials, so nothing is lost in the replay."""
    problem = MadeUpProblem(mbconv, 1)
    strategy = problem.start(load(f"optuna:{name}"))
    codes = np.unique(mbconv.sample(16, np.random.default_rng(5)), axis=0)
    gains = problem.evaluate(codes)
    for i in range(len(codes)):
        strategy.tell(codes[i : i + 1], gains[i : i + 1])
    rng = np.random.default_rng((strategy.seed, len(codes)))
    seed = int(rng.integers(2**31))
    sampler = getattr(optuna.samplers, name)
    numeric = name in ("CmaEsSampler", "QMCSampler")

    def suggest(trial: optuna.Trial) -> list[int]:
        return [
            trial.suggest_int(d.name, 0, len(d.choices) - 1)
            if numeric
            else int(trial.suggest_categorical(d.name, [str(i) for i in range(len(d.choices))]))
            for d in mbconv.decisions
        ]

    study = optuna.create_study(direction="minimize", sampler=sampler(seed=strategy.seed))
    for row, gain in zip(codes, gains["gain"], strict=True):
        study.enqueue_trial({d.name: int(c) if numeric else str(c) for d, c in zip(mbconv.decisions, row, strict=True)})
        trial = study.ask()
        _ = trial.relative_params  # given parameters alone would leave the sampler out
        suggest(trial)
        study.tell(trial, -gain)
    study.sampler = sampler(seed=seed)
    wanted = mbconv.canonical(np.array([suggest(study.ask())], dtype=np.int8))
    np.testing.assert_array_equal(strategy.ask(1), wanted)


def test_cma_es_searches_better_than_chance(mbconv: SearchSpace) -> None:
    problem = MadeUpProblem(mbconv, 1)
    chance = problem.evaluate(mbconv.sample(2000, np.random.default_rng(0)))["gain"]
    strategy = problem.start(load("optuna:CmaEsSampler"))
    gains: list[float] = []
    for _ in range(150):
        codes = strategy.ask(1)
        metrics = problem.evaluate(codes)
        gains += metrics["gain"].tolist()
        strategy.tell(codes, metrics)
    # Of 150 drawn at random, the mean of the last 30 is the mean of all; its standard error is a fifth of the spread.
    assert np.mean(gains[-30:]) > chance.mean() + chance.std()


@pytest.mark.parametrize("name", ["TPESampler", "NSGAIISampler", "GPSampler"])
def test_learned_bounds_reach_the_sampler(name: str, nested_space: SearchSpace) -> None:
    strategy = load(f"optuna:{name}")(nested_space, GAIN, (Constraint("cost", 2.0),), 0)
    codes = nested_space.all_codes()[:3]
    metrics = pd.DataFrame({"gain": [1.0, 2.0, np.nan], "cost": [1.0, 5.0, 1.0]})
    strategy.tell(codes, metrics)
    trials = strategy._study.trials  # type: ignore[attr-defined]
    assert [trial.constraints for trial in trials] == [{"cost": -0.5}, {"cost": 1.5}, {}]
    assert [trial.state.name for trial in trials] == ["COMPLETE", "COMPLETE", "FAIL"]


# --- OptunaHub --------------------------------------------------------------------------------------------------------

PACKAGE = '''
import optuna
import optunahub

class Mean(optunahub.samplers.SimpleBaseSampler):
    """Suggests the first choice of everything, then leaves it to chance."""

    def sample_relative(self, study, trial, search_space):
        return {name: found.choices[0] for name, found in search_space.items()} if trial.number == 5 else {}

__all__ = ["Mean"]
'''


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of OptunaHub as it is after a download; returns the folder of its samplers."""
    pytest.importorskip("optunahub")
    monkeypatch.setenv("OPTUNAHUB_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "github.com/optuna/optunahub-registry/main/package/samplers"
    (folder / "mean").mkdir(parents=True)
    (folder / "mean" / "__init__.py").write_text(PACKAGE)
    return folder


def test_an_installed_package_is_a_strategy(hub: Path, nested_space: SearchSpace) -> None:
    strategy = load("optunahub:mean")
    check_search(strategy, MadeUpProblem(nested_space, 2), (6, 1, 2))
    check_failures(strategy, MadeUpProblem(nested_space, 1, "tight"), (6, 1))
    problem = MadeUpProblem(nested_space, 1)
    search = problem.start(load("optunahub:samplers/mean:Mean"))
    told = nested_space.all_codes()[1:6]
    search.tell(told, problem.evaluate(told))
    np.testing.assert_array_equal(search.ask(1), np.zeros_like(told[:1]))  # the trial numbered 5: its own suggestion


def test_a_package_that_is_not_installed_is_not_downloaded(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import optunahub

    monkeypatch.setattr(optunahub, "load_module", lambda *_, **__: pytest.fail("downloads"))
    with pytest.raises(NasError, match=r"samplers/maen is not installed; did you mean 'samplers/mean'.*load_module"):
        load("optunahub:maen")
    with pytest.raises(NasError, match="needs the name of a package"):
        load("optunahub")(None, (), (), 0)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import not_installed_anywhere", "needs the package not_installed_anywhere"),
        ("raise RuntimeError('broken')", "cannot be imported: broken"),
        ("x = 1", "has no sampler"),
        (PACKAGE.replace("__all__", "class Other(Mean): pass\nall"), "several samplers; name one: .*:Mean, .*:Other"),
        (PACKAGE.replace("def sample", "def __init__(self, bins): pass\n    def sample"), "needs arguments: bins"),
    ],
)
def test_packages_that_do_not_work_say_why(hub: Path, source: str, message: str) -> None:
    (hub / "mean" / "__init__.py").write_text(source)
    with pytest.raises(NasError, match=message):
        load("optunahub:mean")


def test_a_sampler_that_fails_is_an_error_not_a_traceback(hub: Path, nested_space: SearchSpace) -> None:
    (hub / "mean" / "__init__.py").write_text(
        PACKAGE.replace("return {name", "raise ValueError('no idea')\n        {name")
    )
    problem = MadeUpProblem(nested_space, 1)
    with pytest.raises(NasError, match="optunahub:mean failed on toy with one objective: no idea"):
        problem.start(load("optunahub:mean")).ask(1)


def test_nothing_of_optuna_is_imported_before_it_is_asked_for() -> None:
    import subprocess

    code = "import sys, nas.strategies.optuna_sampler, nas.strategies.optuna_hub; assert 'optuna' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
