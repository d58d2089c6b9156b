"""Problem: which networks, judged by which metrics, under which constraints."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from nas import registry
from nas.cost import COST_METRICS, Box, Constraint, Objective, cost_model, losses, violation
from nas.errors import NasError
from nas.estimators.base import About, Estimator
from nas.hardware import Target, load_target
from nas.search.config import SearchConfig
from nas.search.metrics import METRICS, bound_text, constraint_of, nearest_text, objective_of
from nas.search.spaces import space_of
from nas.space import Codes, SearchSpace

#: networks drawn, always with the same seed, to describe a space before a search
PREVIEW_SAMPLE = 20_000


@dataclass(frozen=True)
class Preview:
    """What is known of a problem before anything is spent.

    Args:
        size: number of distinct networks.
        sampled: networks drawn uniformly to describe the rest; all of them where the space is no larger.
        ranges: for each metric minimum, median and maximum.
        exact: metrics whose minimum and maximum hold for the whole space, not for the sample alone.
        feasible: how many of the sampled networks meet all constraints.
    """

    size: int
    sampled: int
    ranges: dict[str, tuple[float, float, float]]
    exact: frozenset[str]
    feasible: int

    @property
    def whole(self) -> bool:
        """Whether every network of the space was looked at."""
        return self.sampled == self.size


@dataclass(frozen=True)
class Problem:
    """A space, the estimator of accuracy, the target of latency, objectives and upper bounds."""

    space: SearchSpace
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...] = ()
    estimator: Estimator | None = None
    target: Target | None = None

    @classmethod
    def from_config(cls, config: SearchConfig) -> Problem:
        """Look everything up by name; by default accuracy is maximised, and latency (without target: MACs) minimised.

        Raises:
            NasError: an unknown name, a latency budget without a target, or a space the estimator cannot be used on.
        """
        registry.load("strategies", config.strategy)
        estimator: Estimator = registry.load("estimators", config.estimator)()
        if config.data is not None:
            estimator = estimator.reading(Path(config.data))
        space = estimator.space_of(space_of(config))
        target = load_target(config.target) if config.target is not None else None
        if target is None and "latency_ms" in config.upper_bounds:
            raise NasError("a latency budget needs a target to hold on; add --target NAME (see `nas list targets`)")
        known = [*estimator.metrics, *(["latency_ms"] if target else []), *COST_METRICS]
        named = config.objectives or (*estimator.metrics[:1], "latency_ms" if target else "macs")
        objectives = tuple(dict.fromkeys(objective_of(name, known) for name in named))
        constraints = tuple(
            constraint_of(name, bound, known, upper)
            for bounds, upper in ((config.upper_bounds, True), (config.min, False))
            for name, bound in bounds.items()
        )
        return cls(space, objectives, constraints, estimator, target)

    def evaluate(self, codes: Codes, fidelity: int | None = None) -> pd.DataFrame:
        """Return one row a code: exact costs, predicted latency and accuracy with std and 90 % interval.

        Args:
            fidelity: epochs of training, one of `fidelities`; None: full training.
        """
        frames = [self.costs(codes)]
        if self.estimator is not None:
            frames.append(self.estimator.evaluate(self, codes, fidelity))
        return pd.concat(frames, axis=1)

    @cached_property
    def fidelities(self) -> tuple[int, ...]:
        """Epochs of training that can be asked for, fewest first, the last one full training; see `Estimator`."""
        return self.estimator.fidelities(self) if self.estimator is not None else ()

    @property
    def full_epochs(self) -> int:
        """What a full training costs, in epochs; 1 where there is one kind of evaluation only."""
        return self.fidelities[-1] if self.fidelities else 1

    def costs(self, codes: Codes) -> pd.DataFrame:
        """Return what needs no estimator: params, macs, peak_activation_bytes, latency_ms on the target."""
        columns: dict[str, npt.NDArray[np.generic]] = {**cost_model(self.space).columns(codes)}
        if self.target is not None:
            mean, std = self.target.predictor.predict(self.space, codes)
            low, high = self.target.predictor.interval(mean, std)
            columns |= {"latency_ms": mean, "latency_ms_std": std, "latency_ms_low": low, "latency_ms_high": high}
        return pd.DataFrame(columns)

    @cached_property
    def about_estimator(self) -> About | None:
        """What the accuracies are and where they come from; None without an estimator."""
        return None if self.estimator is None else self.estimator.about(self)

    def origin(self, metric: str) -> str:
        """Say what kind of number a metric is: computed, predicted or measured."""
        if metric in COST_METRICS:
            return "computed"
        if metric == "latency_ms":
            return "predicted"
        return self.estimator.origin_of(metric) if self.estimator else "predicted"

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics of this problem, without their intervals, in reading order.

        Of what the estimator returns those are in it that are asked for, besides its main one.
        """
        names = list(self.estimator.metrics[:1]) if self.estimator else []
        names += ["latency_ms"] if self.target else []
        asked = [objective.metric for objective in self.objectives]
        asked += [constraint.metric for constraint in self.constraints]
        costs = ("macs", "params", "peak_activation_bytes")
        return list(dict.fromkeys([*names, *(name for name in asked if name not in costs), *costs]))

    @cached_property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Limits over the whole space of the metrics that are sums over blocks; see `SearchSpace.bounds_attained`."""
        bounds: dict[str, tuple[float, float]] = dict(cost_model(self.space).bounds())
        if self.target is not None:
            bounds["latency_ms"] = self.target.predictor.bounds(self.space)
        return bounds

    @cached_property
    def preview(self) -> Preview:
        """Describe the space: ranges of all metrics and the share of networks that meet the constraints."""
        metrics = self._sample_metrics
        ranges = {
            name: (float(metrics[name].min()), float(metrics[name].median()), float(metrics[name].max()))
            for name in self.metrics
        }
        exact = set(self.bounds) if self.space.bounds_attained else set()
        for name in exact:
            low, high = self.bounds[name]
            ranges[name] = (low, ranges[name][1], high)
        if len(metrics) == self.space.size:
            exact = set(self.metrics)
        feasible = int((violation(metrics, self.constraints) == 0).sum())
        return Preview(self.space.size, len(metrics), ranges, frozenset(exact), feasible)

    @cached_property
    def _sample_metrics(self) -> pd.DataFrame:
        if self.space.size <= PREVIEW_SAMPLE:
            return self.evaluate(self.space.all_codes())
        return self.evaluate(self.space.sample(PREVIEW_SAMPLE, np.random.default_rng(0)))

    def box(self) -> Box:
        """Return the range of each objective that hypervolume is measured in, the same for every seed."""
        sampled = losses(self._sample_metrics, self.objectives)
        low, high = np.nanmin(sampled, axis=0), np.nanmax(sampled, axis=0)
        for m, objective in enumerate(self.objectives):
            if objective.metric in self.bounds:
                low[m], high[m] = self.bounds[objective.metric]
        return Box(tuple(map(float, low)), tuple(map(float, high)))

    def check_accuracy(self) -> None:
        """Refuse a space on which the estimator says nothing.

        Raises:
            NasError: names the spaces whose accuracy can be estimated.
        """
        try:
            _ = self.about_estimator
        except NasError as error:
            covered = ", ".join(dict.fromkeys(problem.space.name for problem in estimated_problems())) or "none"
            raise NasError(
                f"a search needs an accuracy estimate: {error}; spaces that have one: {covered}; tables of trained "
                "networks: `nas list benchmarks`; an estimator of your own is found by the entry point nas.estimators"
            ) from None

    def check_feasible(self) -> None:
        """Refuse bounds of which it is known beforehand that no network of the space meets them.

        Raises:
            NasError: names the value that can be reached; where each bound alone can be met, the nearest networks.
        """
        for constraint in self.constraints:
            reachable = self._reachable(constraint)
            if reachable is not None and constraint.sign * reachable > constraint.sign * constraint.bound:
                raise NasError(self._out_of_reach(constraint, reachable))
        if self.preview.whole and not self.preview.feasible:
            metrics = self._sample_metrics
            metrics = metrics.assign(code=self.space.format(self.space.all_codes()))
            raise NasError(
                f"no network of {self.space.name} meets all bounds ({', '.join(map(bound_text, self.constraints))}), "
                f"though each alone can be met; {nearest_text(metrics, self.constraints)}"
            )

    def _reachable(self, constraint: Constraint) -> float | None:
        """The value nearest to a bound, or beyond it, that a network of the space has; None where that is unknown."""
        name, upper = constraint.metric, constraint.sign > 0
        if name in self.bounds:
            return self.bounds[name][0 if upper else 1]
        if self.preview.whole:
            values = self._sample_metrics[name]
            return float(values.min() if upper else values.max())
        return None

    def _out_of_reach(self, constraint: Constraint, reachable: float) -> str:
        metric, upper = METRICS[constraint.metric], constraint.sign > 0
        on = f" on {self.target.name}" if self.target and metric.name == "latency_ms" else ""
        # Rounded towards what can be met, so that the figure named can itself be used as a bound.
        step = constraint.sign * 10**metric.digits
        bound, reached = (f"{value:.10g} {metric.unit}".strip() for value in (
            constraint.bound / metric.scale, math.ceil(reachable / metric.scale * step) / step
        ))  # fmt: skip
        if upper:
            return (
                f"{metric.label} budget {bound} is below the smallest network in {self.space.name}{on} ({reached}); "
                f"raise it to at least {reached}"
            )
        return (
            f"{metric.label} of at least {bound} is above the largest in {self.space.name}{on} ({reached}); "
            f"lower it to at most {reached}"
        )


def estimated_problems() -> Iterator[Problem]:
    """Every registered space with every estimator that says something about its accuracy."""
    for estimator in registry.names("estimators"):
        for name in registry.names("spaces"):
            try:
                problem = Problem(registry.load("spaces", name), (), (), registry.load("estimators", estimator)())
                _ = problem.about_estimator
            except NasError:
                continue
            yield problem
