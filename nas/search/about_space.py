"""What is known of a search space: its decisions, the range of its costs, who is in it, what can be predicted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nas import registry
from nas.errors import NasError
from nas.hardware import Target, load_target, target_names
from nas.search.declaration import DecisionLine, fold
from nas.search.problem import Problem
from nas.space import SearchSpace
from nas.space.catalogue import networks_in


@dataclass(frozen=True)
class TargetOnSpace:
    """What a target's predictor says of a space.

    Args:
        ranges: by metric the limits in the space, None where they are not known; empty where nothing is predicted.
        reached: whether networks at the limits exist.
        note: what the predictions are valid for, or why there are none.
    """

    name: str
    ranges: Mapping[str, tuple[float, float] | None]
    reached: bool
    note: str


@dataclass(frozen=True)
class AboutSpace:
    """All that `nas show SPACE` shows.

    Args:
        problem: the space without estimator and target; its preview has the ranges of the costs.
        published: published networks in the space, with their code strings.
        accuracy: for each estimator that covers the space, what its values mean.
    """

    problem: Problem
    decisions: tuple[DecisionLine, ...]
    published: Mapping[str, str]
    accuracy: Mapping[str, str]
    targets: tuple[TargetOnSpace, ...]


def about_space(space: SearchSpace) -> AboutSpace:
    """Gather what is known of a space; builds its vocabulary, which may take seconds."""
    return AboutSpace(
        problem=Problem(space, ()),
        decisions=tuple(fold(space.decisions)),
        published={name: space.format(code)[0] for name, code in networks_in(space).items()},
        accuracy=_accuracy(space),
        targets=tuple(_on_target(space, load_target(name)) for name in target_names()),
    )


def _accuracy(space: SearchSpace) -> dict[str, str]:
    notes = {}
    for name in registry.names("estimators"):
        try:
            about = Problem(space, (), (), registry.load("estimators", name)()).about_estimator
        except NasError:
            continue
        notes[name] = about.note if about else ""
    return notes


def _on_target(space: SearchSpace, target: Target) -> TargetOnSpace:
    try:
        fits = target.on(space)
        limits = {metric: fitted.predictor.bounds(space) for metric, fitted in fits.items()}
    except NasError as error:
        return TargetOnSpace(target.name, {}, False, str(error))
    valid = dict.fromkeys(fitted.fit.valid_for for fitted in fits.values())
    return TargetOnSpace(target.name, limits, space.bounds_attained, f"valid for {'; '.join(valid)}")
