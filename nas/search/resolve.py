"""From what a user types to an architecture: a published name, a code, or a point of a run's front."""

from __future__ import annotations

from dataclasses import dataclass

from nas import registry
from nas.errors import NasError, suggestion
from nas.scaling.family import family_file, read_family
from nas.search.run import Run
from nas.search.spaces import find_space
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
    """Return the architecture that `RUN#3`, `FAMILY#b4`, a published name, a code or `SPACE:CODE` names.

    SPACE is a registered name or the path of a space file.

    Raises:
        NasError: nothing is called so, or several spaces have the code; says what is near.
    """
    if "#" in text:
        return _member_of_family(text) if family_file(text.rpartition("#")[0]) else _point_of_run(text)
    if text in network_names():
        return Resolved(text, load_network(text))
    space_name, colon, code = text.rpartition(":")
    if colon:
        return _member(find_space(space_name), code)
    spaces = [space for space in map(find_space, registry.names("spaces")) if _has(space, text)]
    if len(spaces) > 1:
        raise NasError(
            f"{text!r} is a code of several spaces; say which: " + ", ".join(f"{s.name}:{text}" for s in spaces)
        )
    if text in registry.names("spaces"):
        raise NasError(f"{text!r} is a space, not a network; name a network of it by {text}:CODE")
    if not spaces:
        near = suggestion(text, [*network_names(), *registry.names("spaces")])
        raise NasError(
            f"{text!r} is no published network, no space, no code, no point of a run (RUN#3) and no member of a "
            f"family (FAMILY#b4){near}"
        )
    return _member(spaces[0], text)


def codes_in_spaces(spec: NetworkSpec) -> dict[str, str]:
    """Return the code string of a network in every registered space that it is a point of."""
    codes = {}
    for space in map(find_space, registry.names("spaces")):
        try:
            codes[space.name] = space.format(space.encode(spec)[None])[0]
        except NasError:
            continue
    return codes


def _has(space: SearchSpace, code: str) -> bool:
    try:
        space.encode(code)
    except NasError:
        return False
    return True


def _member(space: SearchSpace, code: str) -> Resolved:
    spec = space.spec(code)
    return Resolved(f"{space.name}-{code}", spec, space, code)


def _base_of_family(text: str) -> NetworkSpec:
    """The network a family file names; not by a family, which could be that very file."""
    path, hash_mark, _ = text.rpartition("#")
    if hash_mark and family_file(path):
        raise NasError(f"the base of a family is {text!r}, a member of a family; name a network or a code")
    return resolve(text).spec


def _member_of_family(text: str) -> Resolved:
    path, _, name = text.rpartition("#")
    file = family_file(path)
    assert file is not None
    spec = read_family(file, _base_of_family).member(name).spec
    return Resolved(spec.name, spec)


def _point_of_run(text: str) -> Resolved:
    path, _, number = text.rpartition("#")
    run = Run.open(path)
    points = run.front
    if not number.isdecimal() or int(number) not in points.index:
        raise NasError(f"{path} has points #1 to #{len(points)}, not #{number}" if len(points) else
                       f"the front of {path} is empty")  # fmt: skip
    space, code = run.problem.space, str(points.at[int(number), "code"])
    return Resolved(f"point{number}", space.spec(code), space, code, run, int(number))
