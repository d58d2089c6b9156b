"""Which scaled networks to train, so that coefficients can be fitted to their accuracies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nas.errors import NasError
from nas.hardware import Target
from nas.hardware.predictor_file import write_whole
from nas.scaling.coefficients import Multipliers
from nas.scaling.fitting.cost_growth import CostGrowth, exact_macs, latency_of, macs_growth
from nas.scaling.fitting.surface import check_factor
from nas.scaling.scaled import scaled
from nas.space import NetworkSpec

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]

#: fewest networks that a surface without interactions can be fitted to, and most that this design has
FEWEST, MOST = 9, 21
#: how far along each direction a cost is looked for, and how closely, in multiples of where the law expects it
SIZES, RESOLVED = 2.0, 0.004

_ALONE = (("depth", (1, 0, 0)), ("width", (0, 1, 0)), ("resolution", (0, 0, 1)))
_EVEN = (("compound", (1 / 3, 1 / 3, 1 / 3)),)
_PAIRS = (
    ("depth+width", (1 / 2, 1 / 2, 0)), ("depth+resolution", (1 / 2, 0, 1 / 2)),
    ("width+resolution", (0, 1 / 2, 1 / 2)),
)  # fmt: skip
_MIXED = (
    ("compound-depth", (2 / 3, 1 / 6, 1 / 6)), ("compound-width", (1 / 6, 2 / 3, 1 / 6)),
    ("compound-resolution", (1 / 6, 1 / 6, 2 / 3)),
)  # fmt: skip
#: (kind, shares of log cost, factors of cost) in the order of their use; the first 15 with the base are the simplex
#: centroid design (Scheffé, 1963) at two costs
_STEPS = tuple(
    (kind, shares, power)
    for group, powers in ((_ALONE, (1, 2)), (_EVEN, (1, 2)), (_PAIRS, (2, 1)), (_MIXED, (2, 1)))
    for power in powers
    for kind, shares in group
)


@dataclass(frozen=True)
class DesignPoint:
    """A network to train: what it is scaled in, by how much, and how many factors of cost that is to be."""

    name: str
    kind: str
    by: Multipliers
    network: NetworkSpec


def design(base: NetworkSpec, points: int = 15, factor: float = 2.0) -> list[DesignPoint]:
    """Return distinct networks to train: the base, each dimension alone and mixes, at one and two factors of MACs.

    Exact MACs are as near to factor and factor² times the base's as rounding allows; of multipliers that round to the
    same network the largest is taken in depth, where rounding goes up, and so describes the network best.

    Args:
        points: networks, FEWEST to MOST; from 15 on interactions can be fitted.

    Raises:
        NasError: the base cannot be scaled in a dimension, or is too small to give so many different networks.
    """
    if not FEWEST <= points <= MOST:
        raise NasError(f"points is {points}, must be {FEWEST} to {MOST}, as a second-order surface needs")
    check_factor(factor)
    growth = macs_growth(base)
    chosen = [DesignPoint("base", "base", Multipliers(), base)]
    for kind, shares, power in _STEPS:
        point = _nearest(base, growth, f"{kind}-x{factor**power:g}", kind, np.array(shares, dtype=float), factor**power)
        if all(point.network != other.network for other in chosen):
            chosen.append(point)
        if len(chosen) == points:
            return chosen
    raise NasError(
        f"{base.name or 'the base'} is too small for {points} different networks at {factor:g} and {factor**2:g} times "
        f"its MACs: rounding leaves {len(chosen)}; ask for fewer points or a larger factor"
    )


def design_table(points: list[DesignPoint], target: Target | None = None) -> pd.DataFrame:
    """Return one row a network: name, kind, multipliers, resolution in pixels, exact params and macs, empty accuracy.

    With a target also latency_ms as predicted. This is the table that `read_observations` reads once it is filled in.

    Raises:
        NasError: the target predicts no latency of such networks.
    """
    import pandas as pd

    base = points[0].network
    latency: Callable[[NetworkSpec], float] | None = latency_of(base, target)[0] if target else None
    own = exact_macs(base)
    rows = [
        {
            "name": point.name, "kind": point.kind, "depth": round(point.by.depth, 4),
            "width": round(point.by.width, 4), "resolution": point.network.resolution,
            "params": sum(block.params for block in point.network.blocks), "macs": int(exact_macs(point.network)),
            "macs_factor": round(exact_macs(point.network) / own, 3),
            **({"latency_ms": round(latency(point.network), 4)} if latency else {}),
            "accuracy": "",
        }
        for point in points
    ]  # fmt: skip
    return pd.DataFrame(rows)


def latency_note(base: NetworkSpec, target: Target) -> str:
    """Say how far off the latencies predicted on a target are."""
    return latency_of(base, target)[1][0]


def check_new(path: Path) -> None:
    """Refuse a path where a file is: raises NasError."""
    if path.exists():
        raise NasError(f"{path} exists and may hold accuracies; it is not overwritten: choose another --out")


def write_design(table: pd.DataFrame, path: Path) -> None:
    """Write the networks to train as CSV, whole or not at all.

    Raises:
        NasError: there is such a file already, which may hold accuracies, or it cannot be written.
    """
    check_new(path)
    write_whole(path, table.to_csv(index=False).encode())


def _nearest(
    base: NetworkSpec, growth: CostGrowth, name: str, kind: str, shares: Array, factor: float
) -> DesignPoint:  # fmt: skip
    """The network nearest to a cost along a direction; the largest multipliers that make it."""
    own = exact_macs(base)

    @cache
    def at(size: float) -> tuple[DesignPoint, float]:
        by = Multipliers(*growth.spent(shares, factor**size).tolist())
        network = scaled(base, by)
        return DesignPoint(name, kind, by, network), exact_macs(network) / own

    below, above = _step(lambda size: at(size)[1] <= factor, 0.0, SIZES)
    # Between the two the cost jumps over the one asked for.
    (under, less), (_, more) = at(below), at(above)
    if factor / less <= more / factor:
        return under
    return at(_step(lambda size: at(size)[1] <= more, above, SIZES)[0])[0]


def _step(holds: Callable[[float], bool], low: float, high: float) -> tuple[float, float]:
    """Return the ends of a short range within which `holds` turns from true, at `low`, to false."""
    while high - low > RESOLVED:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low, high
