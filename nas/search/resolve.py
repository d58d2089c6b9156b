"""From what a user types to an architecture: a published name, a code, or a point of a run's front."""

from __future__ import annotations

from dataclasses import dataclass

from nas import registry
from nas.errors import NasError, suggestion
from nas.search.run import Run
from nas.space import NetworkSpec, SearchSpace
from nas.space.catalogue import load_network, network_names


@dataclass(frozen=True)
class Resolved:
    """An architecture a user named.

    Args:
        label: short name, fit for a file name.
        spec: the network.
        space, code: its space and code string, where it was named by them.
        run, point: the run it comes from and its number on the front.
    """

    label: str
    spec: NetworkSpec
    space: SearchSpace | None = None
    code: str | None = None
    run: Run | None = None
    point: int | None = None


def resolve(text: str) -> Resolved:
    """Return the architecture that `RUN#3`, a published name, or `SPACE:CODE` names.

    Raises:
        NasError: nothing is called so; says what is near.
    """
    if "#" in text:
        return _point_of_run(text)
    if text in network_names():
        return Resolved(text, load_network(text))
    space_name, colon, code = text.partition(":")
    if colon:
        space: SearchSpace = registry.load("spaces", space_name)
        return Resolved(f"{space_name}-{code}", space.spec(code), space, code)
    for space_name in registry.names("spaces"):
        space = registry.load("spaces", space_name)
        try:
            return Resolved(f"{space_name}-{text}", space.spec(text), space, text)
        except NasError:
            continue
    raise NasError(
        f"{text!r} is no published network, no code and no point of a run (RUN#3){suggestion(text, network_names())}"
    )


def _point_of_run(text: str) -> Resolved:
    path, _, number = text.rpartition("#")
    run = Run.open(path)
    points = run.front
    if not number.isdecimal() or int(number) not in points.index:
        raise NasError(f"{path} has points #1 to #{len(points)}, not #{number}" if len(points) else
                       f"the front of {path} is empty")  # fmt: skip
    space, code = run.problem.space, str(points.at[int(number), "code"])
    return Resolved(f"point{number}", space.spec(code), space, code, run, int(number))
