"""Exact counts, vectorised totals, objectives and Pareto utilities."""

from nas.cost.model import COST_METRICS, CostModel, cost_model
from nas.cost.objectives import Constraint, Objective, losses, violation
from nas.cost.pareto import Box, front, is_on_front, pareto_rank

__all__ = [
    "COST_METRICS",
    "Box",
    "Constraint",
    "CostModel",
    "Objective",
    "cost_model",
    "front",
    "is_on_front",
    "losses",
    "pareto_rank",
    "violation",
]
