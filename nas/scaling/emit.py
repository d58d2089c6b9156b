"""Families from coefficients: members by compound coefficient, or by what each may cost."""

from __future__ import annotations

import bisect
import contextlib
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nas.errors import NasError
from nas.scaling.coefficients import Coefficients, Multipliers
from nas.scaling.family import Family, Member, named
from nas.scaling.recipe import recommended
from nas.scaling.released import PublishedFamily
from nas.scaling.scaled import check_scalable, resolution_step, scaled, scaled_resolution
from nas.space import NetworkSpec
from nas.space.catalogue import load_network

#: a member costs at least so much of its budget, where the rounding of channels, repeats and pixels allows it
TOLERANCE = 0.03
#: how far around the compound coefficient that meets a budget depth and width are looked for, and how finely
_AROUND, _STEPS = 0.6, 61
#: how far budgets may lie from the base, in compound coefficients
_SMALLEST, _LARGEST = -12.0, 24.0


@dataclass(frozen=True)
class Budget:
    """What one member may cost: a name to call it by, and the bound in the unit of the cost."""

    name: str
    bound: float


def emit(base: NetworkSpec, base_text: str, coefficients: Coefficients, phis: Sequence[float]) -> Family:
    """Return the family with a member for each compound coefficient, called b0, b1, ... by it.

    Raises:
        NasError: a phi is negative or given twice, or the base cannot be scaled.
    """
    twice = next((phi for phi in phis if list(phis).count(phi) > 1), None)
    if twice is not None:
        raise NasError(f"phi {twice:g} is given twice")
    check_scalable(base, _grown(coefficients))
    members = tuple(_member(base, coefficients.at(phi), phi, f"b{phi:g}") for phi in phis)
    return Family(base_text, base, coefficients, members)


def emit_to_budgets(
    base: NetworkSpec,
    base_text: str,
    coefficients: Coefficients,
    budgets: Sequence[Budget],
    cost: Callable[[NetworkSpec], float],
    metric: str,
    target: str | None = None,
) -> Family:
    """Return the family with a member for each budget: the largest along the coefficients that does not exceed it.

    Of the networks near the coefficients' line whose cost is between 97 and 100 % of the budget, it is the one nearest
    to the line. A budget below the base's cost gives a member smaller than the base.

    Args:
        cost: what a network costs, in the unit of the budgets; must not fall as a network grows.
        metric, target: what that cost is called, and the target that a latency is predicted on.

    Raises:
        NasError: a budget cannot be met, or the base cannot be scaled.
    """
    names = [budget.name for budget in budgets]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise NasError(f"the budget {twice} is given twice")
    check_scalable(base, _grown(coefficients))
    cost = functools.cache(cost)
    members = []
    for budget in budgets:
        spec, by, phi = _largest_within(base, coefficients, budget, cost)
        name = budget.name
        member = Member(name, spec, recommended(base, spec), round(phi, 4), by, budget.bound)
        members.append(_named(base, member))
    return Family(base_text, base, coefficients, tuple(members), metric, target)


def emit_released(release: PublishedFamily) -> Family:
    """Return a published family as it was released."""
    base = load_network(release.base)
    members = tuple(
        Member(
            each.name, each.spec, each.recipe, each.phi, release.multipliers(each), network=each.network,
        )
        for each in release.members
    )  # fmt: skip
    return Family(release.base, base, release.coefficients, members, source=release.source)


def _grown(coefficients: Coefficients) -> list[str]:
    """The dimensions that a family grows in."""
    return [name for name, value in vars(coefficients).items() if value != 1]


def _member(base: NetworkSpec, by: Multipliers, phi: float, name: str) -> Member:
    try:
        spec = scaled(base, by)
    except NasError as error:
        raise NasError(f"the member of phi {phi:g} cannot exist: {error}") from None
    return _named(base, Member(name, spec, recommended(base, spec), phi, by))


def _named(base: NetworkSpec, member: Member) -> Member:
    return Member(**vars(member) | {"spec": named(member.spec, f"{base.name or 'base'}-{member.name}", member.recipe)})


def _largest_within(
    base: NetworkSpec, coefficients: Coefficients, budget: Budget, cost: Callable[[NetworkSpec], float]
) -> tuple[NetworkSpec, Multipliers, float]:
    """The network, its multipliers and its compound coefficient."""
    middle = _crossing(base, coefficients, budget, cost)
    phis = [middle + _AROUND * (2 * i / (_STEPS - 1) - 1) for i in range(_STEPS)]
    candidates: dict[NetworkSpec, tuple[float, float, Multipliers]] = {}
    for depth in _distinct(base, coefficients, phis, "depth"):
        for width in _distinct(base, coefficients, phis, "width"):
            spec = _finest_within(base, depth, width, coefficients.along(middle).resolution, budget.bound, cost)
            if spec is not None:
                by = Multipliers(depth, width, spec.resolution / base.resolution)
                candidates[spec] = (*_off(coefficients, by), by)
    filled = {spec: cost(spec) / budget.bound for spec in candidates}
    close = [spec for spec, share in filled.items() if share >= 1 - TOLERANCE]
    # Where rounding leaves nothing close to the budget, the nearest below it is the answer.
    best = min(close, key=lambda spec: candidates[spec][0]) if close else max(filled, key=lambda spec: filled[spec])
    _, phi, by = candidates[best]
    return best, by, phi


def _distinct(base: NetworkSpec, coefficients: Coefficients, phis: Sequence[float], dimension: str) -> list[float]:
    """Multipliers of one dimension along `phis` that give different networks, of equal ones the middle one."""
    found: dict[NetworkSpec, list[float]] = {}
    for phi in phis:
        factor = getattr(coefficients.along(phi), dimension)
        with contextlib.suppress(NasError):
            found.setdefault(base.scale(**{dimension: factor}), []).append(factor)
    return [1.0 if 1.0 in equal else equal[len(equal) // 2] for equal in found.values()]


def _off(coefficients: Coefficients, by: Multipliers) -> tuple[float, float]:
    """How far multipliers are from those of the nearest compound coefficient, in their logarithms; and that one."""
    logs, line = (np.log(list(vars(each).values())) for each in (by, coefficients))
    phi = float(logs @ line / (line @ line))
    return float(np.linalg.norm(logs - phi * line)), phi


def _crossing(
    base: NetworkSpec, coefficients: Coefficients, budget: Budget, cost: Callable[[NetworkSpec], float]
) -> float:
    """The compound coefficient up to which members stay within a budget."""

    def within(phi: float) -> bool:
        try:
            return cost(scaled(base, coefficients.along(phi))) <= budget.bound
        except NasError:
            # Below some size a network cannot exist; none is too large to be described.
            return phi < 0

    low, high = _SMALLEST, 0.0
    if within(0.0):
        low, high = 0.0, 1.0
        while within(high):
            low, high = high, high + 1
            if high > _LARGEST:
                raise NasError(f"a budget of {budget.name} is more than {_LARGEST:g} steps above the base")
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle) else (low, middle)
    return _existing(base, coefficients, budget, cost, low)


def _existing(
    base: NetworkSpec, coefficients: Coefficients, budget: Budget, cost: Callable[[NetworkSpec], float], phi: float
) -> float:
    """Return `phi` if its member exists and is within the budget; else say what the smallest one costs."""
    try:
        if cost(scaled(base, coefficients.along(phi))) <= budget.bound:
            return phi
    except NasError:
        pass
    smallest = math.inf
    for i in range(_STEPS):
        try:
            smallest = min(smallest, cost(scaled(base, coefficients.along(_SMALLEST * i / (_STEPS - 1)))))
        except NasError:
            break
    name = base.name or "the base"
    raise NasError(f"no network along these coefficients is within {budget.name}: the smallest below {name} costs "
                   f"{smallest:.4g}; raise the budget or name a smaller base")  # fmt: skip


def _finest_within(
    base: NetworkSpec, depth: float, width: float, resolution: float, bound: float, cost: Callable[[NetworkSpec], float]
) -> NetworkSpec | None:
    """The network of this depth and width with the finest resolution within a bound, if any near `resolution`."""

    def cost_at(pixels: int) -> float:
        try:
            return cost(base.scale(depth, width, pixels))
        except NasError:
            return -math.inf

    step = resolution_step(base)
    ideal = scaled_resolution(base, resolution)
    choices = range(max(step, step * round(0.75 * ideal / step)), round(1.33 * ideal) + step, step)
    count = bisect.bisect_right(choices, bound, key=cost_at)
    if count == 0 or cost_at(choices[count - 1]) == -math.inf:
        return None
    return base.scale(depth, width, choices[count - 1])
