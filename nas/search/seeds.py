"""Networks that a search is told to start from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nas import registry
from nas.errors import NasError
from nas.search.network_csv import is_csv, read_networks
from nas.search.resolve import resolve
from nas.search.run import Run, is_run
from nas.space import SearchSpace
from nas.space.catalogue import network_names, networks_in


def seed_codes(space: SearchSpace, names: Sequence[str]) -> tuple[str, ...]:
    """Return the code strings of `names` in `space`, each network once, in the order given.

    Args:
        names: published networks, codes of the space, points of a run's front (RUN#3), runs (all points of their
            fronts), or CSV files with a column `code` or `architecture`.

    Raises:
        NasError: a name that means nothing, or a network that is not in the space: says why, and which ones are.
    """
    rows = [code for name in names for code in _codes(space, name)]
    return tuple(dict.fromkeys(space.format(np.stack(rows)))) if rows else ()


def code_of(space: SearchSpace, name: str) -> npt.NDArray[np.int8]:
    """Return int8[D], the code in `space` of a published network, a code string or a point of a run (RUN#3).

    Raises:
        NasError: the name means nothing, or the network is not in the space.
    """
    prefix, _, rest = name.partition(":")
    if name in network_names() or "#" in name or prefix in registry.names("spaces"):
        return space.encode(resolve(name).spec)
    return space.encode(rest if prefix == space.name else name)


def _codes(space: SearchSpace, name: str) -> list[npt.NDArray[np.int8]]:
    try:
        if is_csv(name):
            return [network.code for network in read_networks(name, lambda text: code_of(space, text))]
        if name not in network_names() and is_run(name):
            run = Run.open(name)
            if run.front.empty:
                raise NasError(f"the front of {name} is empty")
            return [space.encode(run.problem.space.spec(code)) for code in run.front["code"]]
        return [code_of(space, name)]
    except NasError as error:
        inside = ", ".join(networks_in(space)) or "none"
        raise NasError(f"cannot start from {name!r}: {error}; published networks in {space.name}: {inside}") from None
