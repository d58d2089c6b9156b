"""How far measurements can be trusted: what the best possible predictor would still err by."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from tables import Table

from nas.space import Codes
from search_spaces.cells.nasbench201_cell import EDGES, OPERATIONS

Array = npt.NDArray[np.float64]

#: networks measured more than once that an estimate needs
MIN_REPEATED = 20


def noise_of(table: Table, column: str) -> str:
    """Say what rounding and repeated measurements show of a column.

    Repeats are rows of one network, or cells of NAS-Bench-201 that differ in the order of their inner nodes alone.
    """
    values = table.values(column)
    known = values[np.isfinite(values)]
    said = []
    if (known == np.round(known)).all():
        said.append(f"whole milliseconds, {100 * np.mean(0.25 / known):.1f} % error by rounding alone")
    deviation = repeat_deviation(table, values)
    if len(deviation) >= MIN_REPEATED:
        best = f"at best {100 * deviation.mean():.1f} % error, {100 * np.mean(deviation <= 0.1):.1f} % within ±10 %"
        said.append(f"{len(deviation):,} repeated rows: {best}")
    return "; ".join(said) or "not known: no network was measured twice"


def repeat_deviation(table: Table, values: Array) -> Array:
    """Return float[k], by how much of its mean each repeated measurement deviates from the true mean, as estimated.

    The mean of n repeats is itself off, which makes deviations from it too small by sqrt(1 - 1/n).
    """
    rows = np.flatnonzero(np.isfinite(values))
    codes = table.codes[rows]
    if table.space.name == "nasbench201":
        codes = _ordered(codes)
    _, group = np.unique(codes, axis=0, return_inverse=True)
    group = group.ravel()
    size = np.bincount(group)[group]
    mean = np.bincount(group, weights=values[rows])[group] / size
    repeated = size > 1
    deviation = np.abs(values[rows] / mean - 1)[repeated]
    return np.asarray(deviation / np.sqrt(1 - 1 / size[repeated]))


def _ordered(codes: Codes) -> Codes:
    """The cells with their inner nodes 1 and 2 in one order, where no edge between them settles it."""
    other = codes[:, [EDGES.index(edge) for edge in _SWAPPED]]
    place = len(OPERATIONS) ** np.arange(len(EDGES))
    free = codes[:, EDGES.index((1, 2))] == OPERATIONS.index("none")
    return np.where((free & (other @ place < codes @ place))[:, None], other, codes)


#: the edges when nodes 1 and 2 change places
_SWAPPED = ((0, 2), (0, 1), (1, 2), (0, 3), (2, 3), (1, 3))
