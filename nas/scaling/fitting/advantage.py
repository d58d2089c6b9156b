"""Whether compound scaling is ahead of scaling one dimension at the same cost, as a response surface has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.scaling.coefficients import DIMENSIONS, Coefficients
from nas.scaling.fitting.cost_growth import CostGrowth
from nas.scaling.fitting.response import ResponseSurface
from nas.scaling.fitting.result import Interval

Array = npt.NDArray[np.float64]

#: how much further than any observation a multiplier may go before it is called extrapolated
SLACK = 1.05


@dataclass(frozen=True)
class Advantage:
    """How far a compound network is ahead of networks of the same cost that are scaled in one dimension.

    Args:
        factor: cost of all of them, in multiples of the base's.
        grown: dimensions that the compound network grows in; one alone where that is the best.
        over: difference in points to each dimension alone, in the order of DIMENSIONS.
        probability: of the compound network being ahead of all three.
        extrapolated: dimensions scaled further, alone, than any observation is.
    """

    factor: float
    grown: tuple[str, ...]
    over: tuple[Interval, Interval, Interval]
    probability: float
    extrapolated: tuple[str, ...] = ()

    @property
    def best_single(self) -> str:
        """The dimension that reaches most alone."""
        return DIMENSIONS[int(np.argmin([each.value for each in self.over]))]

    @property
    def over_best(self) -> Interval:
        """Difference in points to the dimension that reaches most alone."""
        return min(self.over, key=lambda each: each.value)

    @property
    def verdict(self) -> str:
        """Say in words whether compound scaling is ahead: of all three, for which all three intervals have to tell."""
        if len(self.grown) == 1:
            return f"no compound is ahead: the surface is highest where {self.grown[0]} grows alone"
        mixed = "compound" if len(self.grown) == len(DIMENSIONS) else f"{' with '.join(self.grown)}"
        if min(each.low for each in self.over) > 0:
            return f"{mixed} is ahead of every single dimension"
        if min(each.high for each in self.over) < 0:
            return f"{mixed} is behind {self.best_single} alone"
        return f"the observations do not tell {mixed} from {self.best_single} alone"

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "factor": self.factor,
            "grown": list(self.grown),
            "over": {name: each._asdict() for name, each in zip(DIMENSIONS, self.over, strict=True)},
            "best_single": self.best_single,
            "probability": self.probability,
            "extrapolated": list(self.extrapolated),
            "verdict": self.verdict,
        }


def advantage(
    surface: ResponseSurface, draws: Array, growth: CostGrowth, coefficients: Coefficients, factor: float,
    largest: Array,
) -> Advantage:  # fmt: skip
    """Compare the compound network of coefficients at `factor` times the base's cost with single dimensions.

    The compound network is the one of the estimated coefficients, the same for all draws: had every draw its own best
    one, it would be ahead in each by construction.

    Args:
        draws: float[m, p], of the surface's parameters.
        factor: cost in multiples of the base's, by the law of `growth`.
        largest: float[3], largest log multipliers that were observed.
    """
    alone = np.log(growth.spent(np.eye(3), factor))
    mixed = np.log(growth.along(coefficients, factor))
    networks = np.vstack([mixed, alone])
    drawn, estimate = surface.value(networks, draws), surface.value(networks)
    # Rounded, so that a network that grows in one dimension alone is not ahead of itself by a last binary digit.
    gains, gain = (np.round(each[..., :1] - each[..., 1:], 9) + 0.0 for each in (drawn, estimate))
    depth, width, resolution = (Interval.of_draws(gain[i], gains[:, i]) for i in range(3))
    beyond = np.diag(alone) > largest + np.log(SLACK)
    return Advantage(
        factor=factor,
        grown=tuple(name for name, log in zip(DIMENSIONS, mixed, strict=True) if log > 1e-9),
        over=(depth, width, resolution),
        probability=float((gains.min(axis=1) > 0).mean()),
        extrapolated=tuple(name for name, far in zip(DIMENSIONS, beyond, strict=True) if far),
    )
