"""The supernet of a space, whatever its kind."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from nas.errors import NasError, suggestion
from nas.space import SearchSpace
from nas.space.cell_space import CellSpace
from nas.space.decision import word
from nas.space.listed_space import ListedSpace
from nas.supernet.cell_edge import PLAIN, CandidateOptions
from nas.supernet.cell_sites import CellSites
from nas.supernet.cell_supernet import CellSupernet
from nas.supernet.nasbench201 import NasBench201Supernet
from nas.supernet.staged import ElasticSupernet
from nas.supernet.supernet import Site, Supernet


class _Kind(NamedTuple):
    """A class of supernets.

    Args:
        make: the class; called with candidate options where there are candidates.
        sizes: what makes its networks smaller than those of the space.
    """

    make: Callable[..., Supernet]
    sizes: tuple[str, ...]
    has_candidates: bool


_CELLS = _Kind(CellSupernet, ("channels", "cells"), True)
_EDGES = _Kind(NasBench201Supernet, ("channels", "cells"), True)
_CHAINS = _Kind(ElasticSupernet, ("width", "transforms"), False)

#: what can be set of the networks of every supernet
_COMMON = ("num_classes", "in_channels", "resolution", "dropout")

#: fields that are shares, and those that are 0 or 1 for no and yes; the others are counts
_SHARES = ("width", "dropout")
_SWITCHES = ("transforms",)


def make_supernet(space: SearchSpace, options: CandidateOptions = PLAIN, **network: Any) -> Supernet:
    """Return a supernet of a space, randomly initialised, of networks as small as is wanted while they share weights.

    Args:
        space: a CellSpace, a space of operations on the edges of one cell, or one whose networks are chains of blocks.
        options: how the candidates on edges of cells differ from the operations of networks; chains have none.
        network: fields of its networks that are other than in the space: num_classes, in_channels, resolution and
            dropout; channels and cells of cells; width and transforms of chains, see `ElasticSupernet`.

    Raises:
        NasError: the space has no supernet, its networks have no such field, or none can be as the fields say.
    """
    kind = _kind(space)
    for name, value in network.items():
        _check(space, name, value, (*kind.sizes, *_COMMON))
    network |= {name: bool(network[name]) for name in _SWITCHES if name in network}
    return kind.make(space, options, **network) if kind.has_candidates else kind.make(space, **network)


def sites_of(space: SearchSpace) -> tuple[Site, ...]:
    """Return the sites of the supernets of a space, without making one.

    Raises:
        NasError: the space has no supernet.
    """
    if isinstance(space, CellSpace):
        return CellSites(space).sites
    _kind(space)
    return tuple(Site(decision.name, tuple(map(word, decision.choices))) for decision in space.decisions)


def _kind(space: SearchSpace) -> _Kind:
    if isinstance(space, ListedSpace):
        raise NasError(f"only listed networks of {space.name} are possible here; weights are shared by whole spaces")
    if isinstance(space, CellSpace):
        return _CELLS
    if all(re.fullmatch(r"node\d+\.from\d+", decision.name) for decision in space.decisions):
        return _EDGES
    if space.spec(space.sample(1, np.random.default_rng(0))[0]).is_chain:
        return _CHAINS
    raise NasError(
        f"{space.name} has no supernet; there is one of spaces of a normal and a reduction cell (darts, nasnet), of "
        "operations on the edges of a cell (nasbench201), and of chains of blocks (mbconv, convnext)"
    )


def _check(space: SearchSpace, name: str, value: object, known: tuple[str, ...]) -> None:
    if name not in known:
        raise NasError(f"networks of {space.name} have no {name!r} to set in a supernet{suggestion(name, known)}")
    if name in _SWITCHES:
        if value not in (0, 1):
            raise NasError(f"{name} is {value!r}, must be 0 or 1")
        return
    is_share = name in _SHARES
    if isinstance(value, bool) or not isinstance(value, int | float if is_share else int):
        raise NasError(f"{name} is {value!r}, must be a {'' if is_share else 'whole '}number")
    if name == "dropout" and not 0 <= value < 1:
        raise NasError(f"dropout is {value!r}, must be at least 0 and below 1")
