"""Coefficients by a small grid, as Tan & Le (2019, section 3.3, step 1) found alpha, beta, gamma of EfficientNet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nas.errors import NasError
from nas.scaling.coefficients import DIMENSIONS, Coefficients, Multipliers
from nas.scaling.fitting.built import as_built
from nas.scaling.fitting.cost_growth import PAPER, CostGrowth, exact_macs
from nas.scaling.fitting.response import fit_surface
from nas.scaling.fitting.result import FittedCoefficients, Interval
from nas.scaling.fitting.surface import DRAWS, best_coefficients, bounds_in_words, check_factor
from nas.scaling.scaled import check_scalable, scaled
from nas.space import NetworkSpec

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]

#: step of the coefficients on the grid
STEP = 0.05
#: networks that are evaluated, and the fewest that there is anything to choose from
POINTS, FEWEST = 21, 3
#: how far the cost of a network on the grid may be from the one asked for
TOLERANCE = 0.05
#: a surface over the grid is fitted from so many networks on: two more than it has parameters
SURFACE_NETWORKS = 9


@dataclass(frozen=True)
class GridPoint:
    """A network of the grid: its multipliers as built, which are coefficients at phi = 1, and its cost, base = 1."""

    coefficients: Coefficients
    network: NetworkSpec
    cost: float

    @property
    def logs(self) -> Array:
        """Log multipliers, float[3]."""
        each = self.coefficients
        return np.log([each.depth, each.width, each.resolution])


@dataclass(frozen=True)
class GridFit:
    """What a grid shows.

    Args:
        points: the networks, in the order of `accuracy`.
        accuracy: float[n] in percent.
        best: the point of the highest accuracy.
        fitted: the highest point of a surface over the grid; None where the grid is too small for one.
    """

    growth: CostGrowth
    factor: float
    points: tuple[GridPoint, ...]
    accuracy: Array
    best: GridPoint
    fitted: FittedCoefficients | None

    @property
    def table(self) -> pd.DataFrame:
        """One row a network, the best first: coefficients, pixels, cost (base = 1), exact MACs, accuracy."""
        import pandas as pd

        rows = [
            dict(zip(DIMENSIONS, np.exp(point.logs), strict=True))
            | {"pixels": point.network.resolution, "cost": point.cost, "macs": exact_macs(point.network)}
            for point in self.points
        ]
        frame = pd.DataFrame(rows).assign(accuracy=self.accuracy)
        return frame.sort_values("accuracy", ascending=False, kind="stable").reset_index(drop=True)

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "method": "grid",
            "factor": self.factor,
            "cost": self.growth.as_json(),
            "best": dict(zip(DIMENSIONS, np.exp(self.best.logs).tolist(), strict=True)),
            "grid": self.table.to_dict(orient="records"),
            "surface": self.fitted.as_json() if self.fitted else None,
        }


def fit_grid(
    base: NetworkSpec,
    evaluate: Callable[[NetworkSpec], float],
    growth: CostGrowth = PAPER,
    cost: Callable[[NetworkSpec], float] | None = None,
    factor: float = 2.0,
    tolerance: float = TOLERANCE,
    points: int = POINTS,
    seed: int = 0,
    knows: Callable[[NetworkSpec], bool] = lambda _: True,
) -> GridFit:
    """Evaluate networks that cost `factor` times the base, spread over depth, width and resolution, and choose.

    Where there are SURFACE_NETWORKS, a second-order surface is fitted over them in the two directions that leave the
    cost as it is; its highest point comes beside the best network, with intervals.

    Args:
        evaluate: accuracy of a network in percent, say by training it.
        growth, cost: the kind of cost: its law, and its exact value of a network, e.g. `exact_macs`; without `cost`
            it is what the law says.
        tolerance: how far the cost may be from `factor`, as a share of it.
        points: networks to evaluate, at most.
        knows: whether a network can be evaluated; others are left out.

    Raises:
        NasError: the base cannot be scaled, too few networks have such a cost, or an accuracy is no percentage.
    """
    chosen = spread(grid(base, growth, cost, factor, tolerance, knows), points)
    accuracy = np.array([_checked(evaluate(point.network), point) for point in chosen])
    best = chosen[int(np.argmax(accuracy))]
    return GridFit(growth, factor, chosen, accuracy, best, _surface(chosen, accuracy, growth, factor, seed))


def grid(
    base: NetworkSpec,
    growth: CostGrowth,
    cost: Callable[[NetworkSpec], float] | None,
    factor: float,
    tolerance: float = TOLERANCE,
    knows: Callable[[NetworkSpec], bool] = lambda _: True,
) -> tuple[GridPoint, ...]:
    """Return the distinct networks on a grid of coefficients, STEP apart, that cost `factor` times the base.

    Raises:
        NasError: the base cannot be scaled, or fewer than FEWEST networks are left, or all grow in one dimension.
    """
    check_factor(factor)
    check_scalable(base)
    axes = [np.arange(1.0, top + STEP / 2, STEP) for top in factor ** (1 / growth.exponents) * (1 + tolerance)]
    rows = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3).round(6)
    built = as_built(base, rows)
    law = (built**growth.exponents).prod(axis=1)
    # Exact costs are seldom further from the law than three times its residual.
    near = np.abs(np.log(law / factor)) <= np.log1p(tolerance) + 3 * growth.residual
    own = cost(base) if cost else 1.0
    found: dict[NetworkSpec, GridPoint] = {}
    strange = 0
    for row, by, expected in zip(rows[near].tolist(), built[near].tolist(), law[near].tolist(), strict=True):
        network = scaled(base, Multipliers(*row))
        relative = cost(network) / own if cost else expected
        if abs(relative / factor - 1) > tolerance:
            continue
        if knows(network):
            found[network] = GridPoint(Coefficients(*by), network, relative)
        else:
            strange += 1
    grown = [name for name in DIMENSIONS if any(getattr(each.coefficients, name) > 1 for each in found.values())]
    if len(found) < FEWEST or len(grown) < 2:
        unknown = f", beside {strange} that cannot be evaluated" if strange else ""
        raise NasError(
            f"the grid has {len(found)} networks that cost {factor:g} times {base.name or 'the base'} within "
            f"{100 * tolerance:g} %{unknown}"
            + (f"; they grow in {grown[0]} alone, so there is nothing to compare" if len(grown) == 1 else "")
            + (f"; at least {FEWEST} are needed" if len(found) < FEWEST else "")
        )
    return tuple(found.values())


def spread(points: Sequence[GridPoint], n: int) -> tuple[GridPoint, ...]:
    """Return `n` points far from each other: each next one is the farthest from all before (Gonzalez, 1985)."""
    logs = np.array([point.logs for point in points])
    chosen = [int(np.argmin(np.linalg.norm(logs - logs.mean(axis=0), axis=1)))]
    distance = np.linalg.norm(logs - logs[chosen[0]], axis=1)
    while len(chosen) < min(n, len(points)):
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, np.linalg.norm(logs - logs[chosen[-1]], axis=1))
    return tuple(points[i] for i in sorted(chosen))


def _surface(
    points: Sequence[GridPoint], accuracy: Array, growth: CostGrowth, factor: float, seed: int
) -> FittedCoefficients | None:
    """The highest point of a surface, curved in the two directions along equal cost; None for too few networks."""
    if len(points) < SURFACE_NETWORKS:
        return None
    logs = np.array([point.logs for point in points])
    towards_cost, *along = np.linalg.svd(growth.exponents[None])[2]
    # Costs are equal within a tolerance; what that does to accuracy is linear in log cost.
    surface = fit_surface(logs, accuracy, np.column_stack([*along, towards_cost]), curved=2)
    # The grid costs `factor` exactly, and by the law, which has a residual, nearly.
    at = float(np.exp(np.mean(logs @ growth.exponents)))
    best = best_coefficients(surface, surface.estimate[None], growth, factor, at)[0]
    found = best_coefficients(surface, surface.draws(DRAWS, np.random.default_rng(seed)), growth, factor, at)
    depth, width, resolution = (Interval.of_draws(best[i], found[:, i]) for i in range(3))
    return FittedCoefficients(
        coefficients=Coefficients(*best.tolist()),
        intervals=(depth, width, resolution),
        draws=found,
        method=f"highest point of a second-order surface over {len(points)} networks of equal cost",
        growth={growth.label: Interval(factor, factor, factor)},
        residuals=_residuals(logs, accuracy, surface.residuals),
        notes=(*growth.notes, *bounds_in_words(surface, growth, best, found)),
    )


def _residuals(logs: Array, accuracy: Array, residuals: Array) -> pd.DataFrame:
    import pandas as pd

    multipliers = dict(zip(DIMENSIONS, np.exp(logs).T, strict=True))
    return pd.DataFrame(multipliers | {"accuracy": accuracy, "fitted": accuracy - residuals, "residual": residuals})


def _checked(accuracy: float, point: GridPoint) -> float:
    if not 1 < accuracy <= 100:
        raise NasError(f"the accuracy at {point.coefficients} is {accuracy!r}, expected percent, above 1 and up to 100")
    return accuracy
