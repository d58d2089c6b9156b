"""The layers that a space of chains needs, read off its block vocabulary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.errors import NasError
from nas.space import BlockVocabulary, NetworkSpec, SearchSpace
from nas.space.residual_space import ResidualSpace
from nas.space.vocabulary import ABSENT, Group
from nas.supernet.elastic_anatomy import anatomy
from nas.supernet.elastic_choice import Lookup
from nas.supernet.elastic_layer import Design, ElasticLayer

#: weights of the largest blocks together, 4 GB in float32; training takes that several times over
MAX_WEIGHTS = 1_000_000_000


def derived_columns(space: SearchSpace) -> list[Lookup]:
    """Return the derived columns of the vocabulary, as tables over the decisions they follow from.

    Raises:
        NasError: it is not known from which decisions they follow.
    """
    derive = space.vocabulary.derive
    if derive is None:
        return []
    if not isinstance(space, ResidualSpace):
        raise NasError(f"{space.name} derives what its blocks are in a way that a supernet of chains does not know")
    columns = [i for i, decision in enumerate(space.decisions) if decision.name.startswith("block.")]
    counts = [len(space.decisions[column].choices) for column in columns]
    settings = np.zeros((int(np.prod(counts)), len(space.decisions)), dtype=np.int8)
    settings[:, columns] = np.stack(np.unravel_index(np.arange(len(settings)), counts), axis=1)
    return [Lookup(column.reshape(counts), columns) for column in derive(settings).T]


def places(
    space: SearchSpace, vocabulary: BlockVocabulary, spec: NetworkSpec, transforms: bool
) -> Iterator[ElasticLayer]:  # fmt: skip
    """Yield every place of the chain, in order, that some network has a block in.

    Args:
        vocabulary: that of the space, or of its networks at another width.
        spec: a network of the space with the image channels, classes and dropout that the supernet is to have.
        transforms: smaller kernels pass through trained matrices.

    Raises:
        NasError: a block shares nothing, or the largest blocks have more than MAX_WEIGHTS weights.
    """
    found = [(group, ids) for group in vocabulary.groups for ids in group.table.T if (ids != ABSENT).any()]
    known: dict[tuple[object, ...], Design] = {}
    _check_size(space, vocabulary, [ids for _, ids in found])
    for i, (group, ids) in enumerate(found):
        changes: dict[str, Any] = {}
        # What a spec can be told to have otherwise stands in its first and its last block.
        if i == 0:
            changes["in_channels"] = spec.in_channels
        if i == len(found) - 1:
            changes |= {"out_channels": spec.num_classes, "dropout": spec.dropout}
        table, columns, depth = _present(space, group, ids)
        lookup = Lookup(table, columns)
        # A stage repeats its table for every layer.
        key = (lookup.table.tobytes(), *lookup.columns, *changes)
        if key not in known:
            known[key] = _design(vocabulary, lookup, changes)
        yield ElasticLayer(known[key], depth, transforms)


def _design(vocabulary: BlockVocabulary, lookup: Lookup, changes: dict[str, Any]) -> Design:
    """Return what can stand where decisions choose one of the blocks of a vocabulary."""
    distinct, index = np.unique(lookup.table, return_inverse=True)
    anatomies = [anatomy(replace(vocabulary.blocks[block], **changes)) for block in distinct]
    unique = {found: j for j, found in enumerate(dict.fromkeys(anatomies))}
    local = np.array([unique[found] for found in anatomies])[index.reshape(lookup.table.shape)]
    return Design(tuple(unique), Lookup(local, lookup.columns))


def _check_size(space: SearchSpace, vocabulary: BlockVocabulary, found: Sequence[npt.NDArray[np.int32]]) -> None:
    params = np.array([block.params for block in vocabulary.blocks])
    least = sum(int(params[ids[ids != ABSENT]].max()) for ids in found)
    if least > MAX_WEIGHTS:
        raise NasError(
            f"a supernet of {space.name} needs {least:,} weights or more: those of the largest block of every place; "
            f"at most {MAX_WEIGHTS:,} are possible; share those of narrower networks, e.g. with width=0.1, or search a "
            "space with fewer layers"
        )


def _present(
    space: SearchSpace, group: Group, ids: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.int32], list[int], tuple[int, npt.NDArray[np.bool_]] | None]:
    """Take apart which block stands in a place, and the decision whether one does.

    Returns:
        the blocks by the other decisions of the group, the positions of these, and the decision with the choices that
        put a block there.
    """
    table, columns = ids.reshape(group.choices), list(group.columns)
    there = table != ABSENT
    if there.all():
        return table, columns, None
    axes = [axis for axis in range(table.ndim) if np.any(there != there.take([0], axis))]
    if len(axes) != 1:
        raise NasError(f"{space.name}: several decisions together say whether a layer exists, which no supernet shares")
    axis = axes[0]
    present = np.moveaxis(there, axis, 0).reshape(there.shape[axis], -1)[:, 0]
    blocks = table.take(np.flatnonzero(present), axis)
    if np.any(blocks != blocks.take([0], axis)):
        raise NasError(f"{space.name}: layers change with how many there are, which no supernet shares")
    return np.asarray(blocks.take(0, axis)), columns[:axis] + columns[axis + 1 :], (columns[axis], present)
