"""Tables of trained networks that coefficients are fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nas.errors import NasError, suggestion
from nas.hardware import Target
from nas.scaling.fitting.built import as_built
from nas.scaling.fitting.cost_growth import PAPER, CostGrowth, growth_of, macs_growth, target_growth
from nas.scaling.fitting.family import FEWEST_PIXELS, in_multiples
from nas.scaling.observations import ACCURACY, read_columns, refuse, top1_of
from nas.space import NetworkSpec

Array = npt.NDArray[np.float64]

#: columns that hold resolution, the first that a table has counts
RESOLUTION = ("resolution_multiplier", "resolution")
#: columns in which accuracy is looked for when none is named: validation, never test
ACCURACY_COLUMNS = (*ACCURACY, "val_top1", "val_accuracy")
#: columns of costs, and what they are called
COSTS = {"macs": "MACs", "latency_ms": "latency"}


@dataclass(frozen=True)
class Observations:
    """Networks that somebody has trained.

    Args:
        multipliers: float[n, 3] relative to the base; a network that was trained several times has several rows.
        accuracy: float[n] in percent.
        costs: float[n] by column of COSTS, where the table has it.
        names: what the rows are called.
        metric: the column that the accuracies are from.
        built: whether depth and resolution are as built, rounding included, see `as_built`.
    """

    multipliers: Array
    accuracy: Array
    costs: dict[str, Array]
    names: tuple[str, ...]
    metric: str = "accuracy"
    built: bool = False

    @property
    def logs(self) -> Array:
        """Log multipliers, float[n, 3]."""
        logs: Array = np.log(self.multipliers)
        return logs

    @property
    def networks(self) -> npt.NDArray[np.int64]:
        """Which network each row is of, int[n] from 0 on."""
        return np.unique(np.round(self.logs, 9), axis=0, return_inverse=True)[1].reshape(-1)


def read_observations(path: Path, base: NetworkSpec | None = None, accuracy: str | None = None) -> Observations:
    """Read a table of trained networks: columns depth, width, resolution, accuracy, and name and costs where known.

    Depth and width are multiples of the base's; resolution is in pixels, or in multiples of the base's (as is the
    column resolution_multiplier, which goes first). Accuracy, top1 or val_top1 are in percent, as is error. Without
    `base` pixels are compared with the row of depth 1 and width 1 that has the fewest. With it, depth is counted as
    built: what the repeats are after rounding up.

    Args:
        accuracy: the column to take, percent of top-1 accuracy (or of error, where its name ends so).

    Raises:
        NasError: the file is damaged, lacks a column, or has a value that cannot be; names the line.
    """
    one_of = (accuracy,) if accuracy else ACCURACY_COLUMNS
    frame = read_columns(path, required=("depth", "width"), one_of=one_of, optional=(*RESOLUTION, *COSTS))
    sizes = next((name for name in RESOLUTION if name in frame), None)
    if sizes is None:
        raise NasError(f"{path} has no column 'resolution' (pixels, or multiples of the base's)")
    for name in ("depth", "width", sizes, *(cost for cost in COSTS if cost in frame)):
        refuse(frame[name] <= 0, frame, name, path, "a positive number")
    for name in ("depth", "width"):
        refuse(frame[name] >= FEWEST_PIXELS, frame, name, path, "a multiple of the base's, not a count")
    column = next(name for name in one_of if name in frame)
    pixels = frame[sizes].to_numpy()
    at_base = pixels[(frame["depth"] == 1) & (frame["width"] == 1)]
    of = float(base.resolution) if base else float(at_base.min()) if at_base.size else None
    names = frame["name"] if "name" in frame else [f"line {line}" for line in frame.index]
    multipliers = np.column_stack([frame["depth"], frame["width"], in_multiples(pixels, of, str(path))])
    return Observations(
        multipliers=multipliers if base is None else as_built(base, multipliers),
        accuracy=np.asarray(top1_of(frame, path, column), dtype=np.float64),
        costs={name: frame[name].to_numpy() for name in COSTS if name in frame},
        names=tuple(map(str, names)),
        metric=column,
        built=base is not None,
    )


def growths_under(
    observations: Observations, base: NetworkSpec | None, cost: str | None = None, target: Target | None = None
) -> list[CostGrowth]:
    """Return the kinds of cost to fit under: the one asked for, and the latency on a target.

    Args:
        cost: "paper", "macs" (exact ones of the base, else of the table), or a column of the table; by default the
            MACs that are known, else the rule of the paper.

    Raises:
        NasError: a target without a base to predict, or a cost that is not known.
    """
    if target is not None and base is None:
        raise NasError(f"latency on {target.name} is predicted of the networks themselves: name the base by --base")
    if cost is None:
        cost = "macs" if base is not None or "macs" in observations.costs else "paper"
    if cost == "paper":
        first = PAPER
    elif cost == "macs" and base is not None:
        first = macs_growth(base)
    else:
        first = observed_growth(observations, cost)
    return [first] + ([target_growth(base, target)] if base is not None and target is not None else [])


def observed_growth(observations: Observations, column: str) -> CostGrowth:
    """Return the exponents of a cost that a table of observations has a column of.

    Raises:
        NasError: there is no such column, or the networks cannot tell the exponents.
    """
    if column not in observations.costs:
        known = [*observations.costs, "paper", "macs"]
        raise NasError(f"the observations have no cost {column!r}{suggestion(column, known)}")
    first = np.unique(observations.networks, return_index=True)[1]
    costs, multipliers = observations.costs[column][first], observations.multipliers[first]
    at_base = costs[np.abs(np.log(multipliers)).max(axis=1) < 1e-9]
    if not at_base.size:
        raise NasError(f"exponents of {column} need the base's row: depth 1, width 1, its resolution")
    return growth_of(column, COSTS[column], multipliers, costs / at_base[0], origin="given")
