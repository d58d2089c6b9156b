"""How cost grows with depth, width and resolution: the exponents that compound scaling shares a budget out by."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.errors import NasError, suggestion
from nas.hardware import Fitted, Target
from nas.scaling.coefficients import DIMENSIONS, Coefficients, Multipliers
from nas.scaling.fitting.built import as_built
from nas.scaling.scaled import check_scalable, scaled
from nas.space import NetworkSpec

Array = npt.NDArray[np.float64]

#: networks that exponents are fitted to, which cost up to LARGEST times as much as the base by the paper's rule
NETWORKS = 40
LARGEST = 16.0
#: exponents below this say that the cost does not follow the dimension at all
LEAST = 0.05


@dataclass(frozen=True)
class CostGrowth:
    """Cost in proportion to depth^p · width^q · resolution^s, of multipliers as built (see `as_built`).

    Args:
        metric: what costs: "macs", "latency_ms", or the column of a table.
        label: the same for people, e.g. "latency on pixel4".
        depth, width, resolution: the exponents p, q, s.
        origin: where they come from: "assumed", or fitted to costs that are "computed", "predicted" or "measured".
        networks: how many networks they are fitted to; 0: none.
        residual: root mean square of log(cost) around the law, which is about the relative error.
        notes: what has to be known to trust them.
    """

    metric: str
    label: str
    depth: float
    width: float
    resolution: float
    origin: str = "assumed"
    networks: int = 0
    residual: float = 0.0
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value in zip(DIMENSIONS, self.exponents, strict=True):
            if not LEAST <= value < math.inf:
                raise NasError(f"{self.label} does not grow with {name} (exponent {value:.3g}): it cannot bound it")

    @property
    def exponents(self) -> Array:
        """The exponents, float[3], in the order of DIMENSIONS."""
        return np.array([self.depth, self.width, self.resolution])

    def of(self, coefficients: Coefficients) -> float:
        """Return how many times as costly a member is as the one whose phi is smaller by one."""
        return float(np.prod(_array(coefficients) ** self.exponents))

    def along(self, coefficients: Coefficients, factor: float) -> Array:
        """Return multipliers float[3] of the member of a family that costs `factor` times as much as the base."""
        logs = np.log(_array(coefficients))
        return np.asarray(np.exp(logs * np.log(factor) / (self.exponents @ logs)))

    def spent(self, shares: Array, factor: float | Array) -> Array:
        """Return multipliers float[..., 3] that raise cost `factor` times, the dimensions taking `shares` of its log.

        Factors are one or float[..., 1]; shares float[..., 3] are not negative and sum to 1: depth^p = factor^share.
        """
        multipliers: Array = factor ** (shares / self.exponents)
        return multipliers

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        exponents = dict(zip(DIMENSIONS, self.exponents.tolist(), strict=True))
        others = {key: value for key, value in asdict(self).items() if key not in DIMENSIONS}
        return others | {"exponents": exponents, "notes": list(self.notes)}

    def __str__(self) -> str:
        law = f"depth^{self.depth:.2f} · width^{self.width:.2f} · resolution^{self.resolution:.2f}"
        if not self.networks:
            return f"{self.label} ~ {law}, {self.origin}"
        return (
            f"{self.label} ~ {law}, fitted to {self.origin} costs of {self.networks} networks, "
            f"residual {100 * self.residual:.1f} %"
        )


#: FLOPs as Tan & Le assume them in eq. 3: doubling depth doubles them, doubling width or resolution quadruples them
PAPER = CostGrowth("macs", "MACs", 1.0, 2.0, 2.0, "assumed in the paper")


def macs_growth(base: NetworkSpec) -> CostGrowth:
    """Return the exponents of exact multiply-adds of scaled networks of a base.

    Raises:
        NasError: the base cannot be scaled in a dimension.
    """
    fitted = _sampled(base, exact_macs)
    return growth_of("macs", "MACs", *fitted, origin="computed")


def target_growth(base: NetworkSpec, target: Target) -> CostGrowth:
    """Return the exponents of the latency that a target predicts of scaled networks of a base.

    Raises:
        NasError: the base cannot be scaled in a dimension, or the target predicts no latency of it.
    """
    latency, notes = latency_of(base, target)
    fitted = _for_any_network(target)
    outside = 0

    def cost(network: NetworkSpec) -> float:
        nonlocal outside
        outside += fitted.extrapolates(exact_macs(network))
        return latency(network)

    multipliers, costs = _sampled(base, cost)
    if outside:
        notes += (f"{outside} of {len(costs)} networks are outside of what was measured on {target.name}",)
    label = f"latency on {target.name}"
    return growth_of("latency_ms", label, multipliers, costs, origin="predicted", notes=notes)


def cost_named(
    base: NetworkSpec, cost: str, target: Target | None = None
) -> tuple[CostGrowth, Callable[[NetworkSpec], float] | None]:
    """Return a law of cost and the exact cost of a network: latency on a target if there is one, else "macs".

    By the rule of the paper, "paper", cost is what the law says, and there is no other.

    Raises:
        NasError: the cost is neither, or what `macs_growth` and `target_growth` raise.
    """
    if target is not None:
        return target_growth(base, target), latency_of(base, target)[0]
    if cost not in ("macs", "paper"):
        raise NasError(f"unknown cost {cost!r}{suggestion(cost, ('macs', 'paper'))} Latency is that of a --target.")
    return (macs_growth(base), exact_macs) if cost == "macs" else (PAPER, None)


def latency_of(base: NetworkSpec, target: Target) -> tuple[Callable[[NetworkSpec], float], tuple[str, ...]]:
    """Return a function that predicts latency in ms of networks like the base, and the error of its predictor.

    Raises:
        NasError: the target has no predictor for any network, or it does not cover the base.
    """
    fitted = _for_any_network(target)
    fitted.predictor.predict_spec(base)
    return lambda network: fitted.predictor.predict_spec(network)[0], (
        f"latency is predicted on {target.name}: {fitted.held_out_text}",
    )


def _for_any_network(target: Target) -> Fitted:
    """The latency predictor that is bound to no space: scaled networks leave every space."""
    for fitted in target.fitted:
        if fitted.metric == "latency_ms" and not fitted.fit.spaces:
            return fitted
    raise NasError(
        f"the target {target.name} cannot predict the latency of scaled networks, which are no part of a space: "
        f"{target.abilities}; choose one that predicts latency on any network: nas list targets"
    )


def growth_of(
    metric: str, label: str, multipliers: Array, costs: Array, *, origin: str, notes: tuple[str, ...] = ()
) -> CostGrowth:
    """Return the exponents that explain costs float[n] of networks at multipliers float[n, 3] by least squares.

    Costs are multiples of the base's: log cost = p log depth + q log width + s log resolution.

    Raises:
        NasError: a cost is not positive, or the networks do not vary in all dimensions.
    """
    if not (np.isfinite(costs) & (costs > 0)).all():
        raise NasError(f"exponents of {label} need positive costs, one is {costs[~(costs > 0)][:1]}")
    logs = np.log(multipliers)
    solution, _, rank, _ = np.linalg.lstsq(logs, np.log(costs), rcond=1e-6)
    if rank < len(DIMENSIONS):
        raise NasError(
            f"exponents of {label} cannot be told from these networks: depth, width and resolution must each vary; "
            "name the base by --base to use its exact MACs"
        )
    residual = np.log(costs) - logs @ solution
    spread = float(np.sqrt(residual @ residual / max(1, len(costs) - len(DIMENSIONS))))
    p, q, s = map(float, solution)
    return CostGrowth(metric, label, p, q, s, origin, len(costs), spread, notes)


def exact_macs(network: NetworkSpec) -> float:
    """Return the multiply-adds of a network."""
    return float(sum(block.macs for block in network.blocks))


def sampled_multipliers(n: int = NETWORKS, largest: float = LARGEST) -> Array:
    """Return float[n, 3], multipliers that fill the costs from 1 to `largest` times the base and all mixes evenly.

    Points of the R3 sequence (Roberts, 2018): they avoid the few multipliers at which repeats are rounded alike.
    """
    ratio = 1.2207440846057596  # the root of x^4 = x + 1
    points = (np.arange(1, n + 1)[:, None] / ratio ** np.arange(1, 4)) % 1.0
    cuts = np.sort(points[:, 1:], axis=1)
    shares = np.column_stack([cuts[:, 0], cuts[:, 1] - cuts[:, 0], 1 - cuts[:, 1]])
    return PAPER.spent(shares, largest ** points[:, :1])


def _sampled(base: NetworkSpec, cost: Callable[[NetworkSpec], float]) -> tuple[Array, Array]:
    """Multipliers float[n, 3] of scaled networks, as built, and their costs float[n], the base's being 1."""
    check_scalable(base)
    multipliers = sampled_multipliers()
    networks = [scaled(base, Multipliers(*row)) for row in multipliers.tolist()]
    return as_built(base, multipliers), np.array([cost(network) for network in networks]) / cost(base)


def _array(coefficients: Coefficients) -> Array:
    return np.array([coefficients.depth, coefficients.width, coefficients.resolution])
