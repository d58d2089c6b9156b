"""Networks that a search is told to start from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nas import registry
from nas.errors import NasError
from nas.search.resolve import resolve
from nas.space import SearchSpace
from nas.space.catalogue import network_names, networks_in


def seed_codes(space: SearchSpace, names: Sequence[str]) -> tuple[str, ...]:
    """Return the code strings of `names` in `space`, each network once, in the order given.

    Args:
        names: published networks, codes of the space, or points of a run's front (RUN#3).

    Raises:
        NasError: a name that means nothing, or a network that is not in the space: says why, and which ones are.
    """
    rows = [_code(space, name) for name in names]
    return tuple(dict.fromkeys(space.format(np.stack(rows)))) if rows else ()


def _code(space: SearchSpace, name: str) -> npt.NDArray[np.int8]:
    prefix, _, rest = name.partition(":")
    try:
        if name in network_names() or "#" in name or prefix in registry.names("spaces"):
            return space.encode(resolve(name).spec)
        return space.encode(rest if prefix == space.name else name)
    except NasError as error:
        inside = ", ".join(networks_in(space)) or "none"
        raise NasError(f"cannot start from {name!r}: {error}; published networks in {space.name}: {inside}") from None
