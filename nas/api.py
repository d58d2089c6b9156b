"""The public functions of the package; `nas` re-exports them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from nas.estimators.base import Estimator
    from nas.hardware import Target
    from nas.scaling.coefficients import Coefficients
    from nas.search.family import FamilyFacts
    from nas.search.loop import OnProgress, OnTraining
    from nas.search.run import Run
    from nas.space import Architecture, Codes, NetworkSpec, SearchSpace
    from nas.space.decision import Choice


def space(name: str | PathLike[str]) -> SearchSpace:
    """Return the search space called `name`, e.g. "mbconv", or declared in the file of that path, e.g. "own.yaml"."""
    from nas.search.spaces import find_space

    return find_space(str(name))


def network(name: str) -> NetworkSpec:
    """Return the published network called `name`, e.g. "efficientnet_b0"."""
    from nas.space.catalogue import load_network

    return load_network(name)


def target(name: str) -> Target:
    """Return the hardware target called `name`, e.g. "pixel4"."""
    from nas.hardware import load_target

    return load_target(name)


def family(
    base: str,
    coefficients: Coefficients | tuple[float, float, float] | None = None,
    phis: Sequence[float] | None = None,
    budgets: Sequence[str] | None = None,
    target: Target | str | None = None,
    law: str | None = None,
    paper: bool = False,
) -> FamilyFacts:
    """Scale a base to a family of exact networks; see `nas scale emit`, whose options these are.

    Args:
        base: what names a network on the command line, e.g. "efficientnet_b0", "run#3".
        coefficients: alpha, beta, gamma; by default those published with the base.
        phis: compound coefficients, 0 to 7 if neither they nor budgets are given.
        budgets: what each member may cost, e.g. ["10ms", "20ms"] on the target or ["400M"] multiply-adds.
        law: file of a scaling law or name of a published family, for accuracy; by default that of the base.
        paper: take the members as they were released.
    """
    from nas.hardware import load_target
    from nas.scaling.coefficients import Coefficients
    from nas.search.family import family_facts

    given = Coefficients(*coefficients) if isinstance(coefficients, tuple) else coefficients
    device = load_target(target) if isinstance(target, str) else target
    return family_facts(base, given, phis, budgets, device, law, paper)


def estimator(name: str) -> Estimator:
    """Return the accuracy estimator called `name`, e.g. "surrogate"."""
    from nas import registry

    found: Estimator = registry.load("estimators", name)()
    return found


def evaluate(
    space: SearchSpace | str,
    codes: npt.ArrayLike | Sequence[Architecture | NetworkSpec | Mapping[str, Choice] | str],
    target: Target | str | None = None,
    estimator: Estimator | str | None = None,
) -> pd.DataFrame:
    """Return one row a code: params, macs, peak_activation_bytes; latency and accuracy if asked for.

    Codes are int[n, D], or a list of whatever `space.encode` takes: code strings, architectures, published networks.
    Predictions come with `<metric>_std` and the ends `_low`, `_high` of a 90 % interval.

    Raises:
        NasError: an unknown name, or codes that do not belong to the space.
    """
    from nas.search.device import targets_of
    from nas.search.problem import Problem

    found = _space(space)
    judge = _estimator(estimator) if isinstance(estimator, str) else estimator
    devices = targets_of(target) if isinstance(target, str) else (target,) if target else ()
    return Problem(found, (), (), judge, devices).evaluate(_codes(found, codes))


def compare(architectures: Sequence[str | NetworkSpec], target: Target | str | None = None) -> pd.DataFrame:
    """Return one row a network: counts, latency predicted on `target`, accuracy published and predicted.

    Architectures are published names, codes, points of a run ("RUN#3") or networks. The columns are those of
    `nas.search.comparison.Comparison.rows`.

    Raises:
        NasError: a name that means nothing.
    """
    from nas.hardware import load_target
    from nas.search.comparison import compare as put_side_by_side
    from nas.search.resolve import Resolved, resolve

    found = [resolve(each) if isinstance(each, str) else Resolved(each.name, each) for each in architectures]
    return put_side_by_side(found, load_target(target) if isinstance(target, str) else target).rows


def search(
    space: str | PathLike[str] = "mbconv",
    target: str | None = None,
    strategy: str = "nsga2",
    estimator: str = "surrogate",
    scheduler: str = "none",
    max_latency_ms: float | None = None,
    max_params: float | None = None,
    max_macs: float | None = None,
    max: Mapping[str, float] | None = None,
    min: Mapping[str, float] | None = None,
    budget: int | None = None,
    seed: int = 0,
    start_from: Sequence[str] = (),
    learn_from: Sequence[str] = (),
    objectives: Sequence[str] = (),
    confidence: float | None = None,
    verify: int = 0,
    data: str | PathLike[str] | None = None,
    oneshot: Mapping[str, Any] | None = None,
    out: str | PathLike[str] | None = None,
    on_progress: OnProgress | None = None,
    on_training: OnTraining | None = None,
) -> Run:
    """Search a space for the best networks on a target; the result is kept in a run directory.

    Args:
        space: name of a space, or path of a space file.
        target: name or profile folder of a target; several are separated by commas.
        scheduler: trains networks shortly first: "asha", "pareto-asha", "hyperband"; "none": all of them fully.
        budget: networks evaluated, those of `start_from` included; with a scheduler, the epochs of so many full
            trainings. By default 20,000, with a one-shot strategy what its settings say.
        max, min: upper and lower bounds by metric, in its own unit, e.g. max={"energy_edgegpu_mj": 20}.
        start_from: networks of the space to be evaluated first: published ones, codes, points of runs ("RUN#3"), whole
            fronts ("RUN"), or those of a CSV file with a column `code`.
        learn_from: runs of the same problem, and CSV files, whose results are known from the start and cost no budget.
        objectives: metrics to optimise, e.g. "error", "macs"; by default accuracy and latency, or MACs.
        confidence: with what probability bounds on a target's predictions are to be met.
        verify: networks of the front that are measured on the real machine at the end.
        data: folder of the data an estimator reads; by default the one NAS_DATA names. With a one-shot strategy the
            images that it trains on; by default the digits of scikit-learn.
        oneshot: settings of a one-shot strategy, e.g. {"epochs": 20}.
        out: the run directory to make; by default an unused name under runs/.
        on_progress: called after every batch.
        on_training: called after every step of training of a one-shot strategy.

    Raises:
        NasError: unknown names, wrong types, budgets that no network meets, a directory that cannot be written.
    """
    from nas.search.config import make_config
    from nas.search.loop import run_search, start_search

    values = {
        "space": str(space), "target": target, "strategy": strategy, "estimator": estimator,
        "scheduler": scheduler, "seed": seed, "confidence": confidence, "verify": verify,
        "max_latency_ms": max_latency_ms, "max_params": max_params, "max_macs": max_macs,
        "max": dict(max or {}), "min": dict(min or {}), "start_from": tuple(start_from),
        "learn_from": tuple(learn_from), "objectives": tuple(objectives), "data": None if data is None else str(data),
    }  # fmt: skip
    values |= {"budget": budget} if budget is not None else {}
    values |= {"oneshot": dict(oneshot)} if oneshot is not None else {}
    run = start_search(make_config(values), None if out is None else Path(out))
    return run_search(run, on_progress, on_training)


def load_run(path: str | PathLike[str]) -> Run:
    """Open an earlier run by its directory, or by its name under runs/."""
    from nas.search.run import Run

    return Run.open(Path(path))


def _codes(space: SearchSpace, given: Any) -> Codes:
    """Checked codes from an integer array, or from a list of what `space.encode` takes."""
    import numpy as np

    if isinstance(given, list | tuple) and given and not isinstance(given[0], list | tuple | np.ndarray):
        given = [space.encode(architecture) for architecture in given]
    return space.check(given)


def _space(given: SearchSpace | str) -> SearchSpace:
    return space(given) if isinstance(given, str) else given


_estimator = estimator
