"""`auto`: the strategy that fits a problem, and why."""

from __future__ import annotations

from collections.abc import Sequence

from nas.cost.objectives import Constraint, Objective
from nas.space import SearchSpace
from nas.strategies.base import Costs, Strategy
from nas.strategies.evolution import RegularizedEvolution
from nas.strategies.grid import GridSearch
from nas.strategies.nsga2 import NSGA2
from nas.strategies.predictor import Predictor

#: evaluations up to which a model is worth its 10 to 100 ms for each, by what an evaluation costs; beyond it, evolution
#: has found what there is to find, or proposing would take longer than evaluating
MODEL_PAYS = {"µs": 500, "s": 5_000, "h": 1_000_000}


def auto(
    space: SearchSpace,
    objectives: Sequence[Objective],
    constraints: Sequence[Constraint],
    seed: int,
    costs: Costs | None = None,
    budget: int | None = None,
    cost_hint: str | None = None,
) -> Strategy:
    """One of the others, chosen by budget, size of the space, cost of an evaluation and objectives; says why.

    Args:
        budget: evaluations to come; None: unknown, few are assumed.
        cost_hint: order of magnitude of one evaluation, "µs", "s" or "h" (`Estimator.cost_hint`); None: seconds.
    """
    kind, reason = choose(space, objectives, budget, cost_hint)
    strategy = kind(space, objectives, constraints, seed, costs)
    strategy.reason = reason
    return strategy


def choose(
    space: SearchSpace, objectives: Sequence[Objective], budget: int | None, cost_hint: str | None
) -> tuple[type[Strategy], str]:
    """Return the class of the strategy and a sentence that says why."""
    pays = MODEL_PAYS.get(cost_hint or "s", MODEL_PAYS["s"])
    spent = "an unknown number of evaluations" if budget is None else f"{budget:,} evaluations"
    cost = f"of about 1 {cost_hint}" if cost_hint else "of unknown cost"
    if budget is not None and space.size <= budget:
        return GridSearch, f"grid: {spent} cover all {space.size:,} networks"
    if budget is None or budget <= pays:
        goal = "the hypervolume of the front" if len(objectives) > 1 else "the objective"
        return Predictor, f"predictor: for {spent} {cost}, a model of {goal} needs the fewest"
    why = f"{spent} {cost} are more than the {pays:,} for which a model pays"
    if len(objectives) > 1:
        return NSGA2, f"nsga2: {why}, and there are {len(objectives)} objectives"
    return RegularizedEvolution, f"evolution: {why}, and there is one objective"
