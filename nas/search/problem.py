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
from nas.hardware import Target
from nas.search.config import SearchConfig
from nas.search.device import DeviceMetric, device_metrics, sure_constraints, targets_of
from nas.search.metrics import METRICS, bound_text, chance_name, constraint_of, nearest_text, objective_of
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
        ranges: for each metric minimum, median and maximum; without accuracies that take long to evaluate.
        exact: metrics whose minimum and maximum hold for the whole space, not for the sample alone.
        constraints: the bounds on metrics that are known of the sample.
        feasible: how many of the sampled networks meet these.
    """

    size: int
    sampled: int
    ranges: dict[str, tuple[float, float, float]]
    exact: frozenset[str]
    constraints: tuple[Constraint, ...]
    feasible: int

    @property
    def whole(self) -> bool:
        """Whether every network of the space was looked at."""
        return self.sampled == self.size


@dataclass(frozen=True)
class Problem:
    """A space, the estimator of accuracy, the targets of latency, objectives and bounds."""

    space: SearchSpace
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...] = ()
    estimator: Estimator | None = None
    targets: tuple[Target, ...] = ()

    @classmethod
    def from_config(cls, config: SearchConfig, estimator: Estimator | None = None) -> Problem:
        """Look everything up by name; `estimator` stands for the one that is named, with its data.

        By default accuracy is maximised, and the main quantity of each target (without target: MACs) minimised.

        Raises:
            NasError: an unknown name, a latency budget without a target, or a space the estimator cannot be used on or
                the target knows nothing of.
        """
        if config.oneshot is None:
            registry.load("strategies", config.strategy)
        if estimator is None:
            estimator = _estimator_of(config)
        space = estimator.space_of(space_of(config))
        targets = targets_of(config.target)
        bounds = _bounds_on_all(config, targets)
        devices = device_metrics(targets, space)
        known = [*estimator.metrics, *(device.name for device in devices), *COST_METRICS]
        default = [device.name for device in devices[: len(targets)]] or ["macs"]
        named = config.objectives or (*estimator.metrics[:1], *default)
        objectives = tuple(dict.fromkeys(objective_of(name, known) for name in named))
        constraints = sure_constraints(
            (
                constraint_of(name, bound, known, upper)
                for side, upper in ((bounds, True), (config.min, False))
                for name, bound in side.items()
            ),
            devices, config.confidence,
        )  # fmt: skip
        problem = cls(space, objectives, constraints, estimator, targets)
        if twice := {device.name for device in problem.devices} & set(estimator.metrics):
            raise NasError(
                f"{min(twice)} is in the table {config.estimator} as measured; leave its target out of --target and "
                "name the metric in --objectives"
            )
        return problem

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
        """Return what needs no estimator: params, macs, peak_activation_bytes, and what is predicted on the targets."""
        columns: dict[str, npt.NDArray[np.generic]] = {**cost_model(self.space).columns(codes)}
        for device in self.devices:
            columns |= device.columns(self.space, codes, self.constraints)
        return pd.DataFrame(columns)

    @cached_property
    def devices(self) -> tuple[DeviceMetric, ...]:
        """What is predicted on the targets: the main quantity of each, and what is optimised or bounded.

        Without objectives all that they know.
        """
        known = device_metrics(self.targets, self.space)
        if not self.objectives:
            return known
        asked = {objective.metric for objective in self.objectives}
        asked |= {METRICS[constraint.metric].of or constraint.metric for constraint in self.constraints}
        main = len(self.targets)
        return tuple(device for i, device in enumerate(known) if i < main or device.name in asked)

    @property
    def main_device(self) -> DeviceMetric | None:
        """The main quantity of the first target, None without target."""
        return self.devices[0] if self.devices else None

    def device_of(self, metric: str) -> DeviceMetric | None:
        """Return the prediction on a target that a metric is or is derived from; None where it is something else."""
        name = METRICS[metric].of or metric
        return next((device for device in self.devices if device.name == name), None)

    @cached_property
    def about_estimator(self) -> About | None:
        """What the accuracies are and where they come from; None without an estimator."""
        return None if self.estimator is None else self.estimator.about(self)

    def origin(self, metric: str) -> str:
        """Say what kind of number a metric is: computed, predicted or measured."""
        if metric in COST_METRICS:
            return "computed"
        if self.device_of(metric) is not None:
            return "predicted"
        return self.estimator.origin_of(metric) if self.estimator else "predicted"

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics of this problem, without their intervals, in reading order.

        Of what the estimator returns those are in it that are asked for, besides its main one.
        """
        names = list(self.estimator.metrics[:1]) if self.estimator else []
        bounded = {METRICS[constraint.metric].of or constraint.metric for constraint in self.constraints}
        for device in self.devices:
            names += [device.name, *([chance_name(device.name)] if device.name in bounded else [])]
        asked = [objective.metric for objective in self.objectives]
        asked += [constraint.metric for constraint in self.constraints]
        costs = ("macs", "params", "peak_activation_bytes")
        return list(dict.fromkeys([*names, *(name for name in asked if name not in costs), *costs]))

    @cached_property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Limits over the whole space of the metrics that are sums over blocks; see `SearchSpace.bounds_attained`."""
        bounds: dict[str, tuple[float, float]] = dict(cost_model(self.space).bounds())
        for device in self.devices:
            limits = device.fitted.predictor.bounds(self.space)
            bounds |= {} if limits is None else {device.name: limits}
        return bounds

    @cached_property
    def preview(self) -> Preview:
        """Describe the space: ranges of all metrics and the share of networks that meet the constraints."""
        metrics = self._sample_metrics
        ranges = {
            name: (float(metrics[name].min()), float(metrics[name].median()), float(metrics[name].max()))
            for name in self.metrics
            if name in metrics
        }
        exact = set(self.bounds) if self.space.bounds_attained else set()
        for name in exact:
            low, high = self.bounds[name]
            ranges[name] = (low, ranges[name][1], high)
        if len(metrics) == self.space.size:
            exact = set(ranges)
        constraints = tuple(constraint for constraint in self.constraints if constraint.metric in metrics)
        feasible = int((violation(metrics, constraints) == 0).sum())
        return Preview(self.space.size, len(metrics), ranges, frozenset(exact), constraints, feasible)

    @cached_property
    def _sample_metrics(self) -> pd.DataFrame:
        """What is known of a sample for nothing: costs, and accuracies that take microseconds."""
        evaluate = self.evaluate if self.estimator is None or self.estimator.cost_hint == "µs" else self.costs
        if self.space.size <= PREVIEW_SAMPLE:
            return evaluate(self.space.all_codes())
        return evaluate(self.space.sample(PREVIEW_SAMPLE, np.random.default_rng(0)))

    def box(self) -> Box:
        """Return the range of each objective that hypervolume is measured in, the same for every seed.

        Raises:
            NasError: nothing is known of an objective before networks are evaluated.
        """
        ends = np.array([self._ends(objective) for objective in self.objectives])
        return Box(tuple(map(float, ends[:, 0])), tuple(map(float, ends[:, 1])))

    def _ends(self, objective: Objective) -> tuple[float, float]:
        """The least and the greatest loss by an objective, of the space or of a sample of it."""
        name, metrics = objective.metric, self._sample_metrics
        if name in self.bounds:
            return self.bounds[name]
        if name not in metrics:
            limits = self._limits(name)
            if limits is None:
                raise NasError(
                    f"the range of {name} is not known: it takes too long to evaluate a sample of {self.space.name}, "
                    "and the accuracy estimator says no limits (Estimator.limits)"
                )
            metrics = pd.DataFrame({name: limits})
        sampled = losses(metrics, [objective])
        return float(np.nanmin(sampled)), float(np.nanmax(sampled))

    def _limits(self, metric: str) -> tuple[float, float] | None:
        return None if self.estimator is None else self.estimator.limits(metric)

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
        if self.estimator is not None:
            self.estimator.check_ready()

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
            metrics, known = self._sample_metrics, self.preview.constraints
            metrics = metrics.assign(code=self.space.format(self.space.all_codes()))
            raise NasError(
                f"no network of {self.space.name} meets all bounds ({', '.join(map(bound_text, known))}), "
                f"though each alone can be met; {nearest_text(metrics, known)}"
            )

    def _reachable(self, constraint: Constraint) -> float | None:
        """The value nearest to a bound, or beyond it, that a network of the space has; None where that is unknown."""
        name, upper = constraint.metric, constraint.sign > 0
        # What is met with confidence above one half is met by the prediction itself.
        if METRICS[name].confidence >= 0.5 and METRICS[name].of in self.bounds:
            name = METRICS[name].of
        if name in self.bounds:
            return self.bounds[name][0 if upper else 1]
        if name not in self._sample_metrics:
            limits = self._limits(name)
            return None if limits is None else limits[0 if upper else 1]
        if self.preview.whole:
            values = self._sample_metrics[name]
            return float(values.min() if upper else values.max())
        return None

    def _out_of_reach(self, constraint: Constraint, reachable: float) -> str:
        metric, upper = METRICS[constraint.metric], constraint.sign > 0
        device = self.device_of(metric.name)
        on = f" on {device.target}" if device else ""
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


def _estimator_of(config: SearchConfig) -> Estimator:
    estimator: Estimator = registry.load("estimators", config.estimator)()
    return estimator if config.data is None else estimator.reading(Path(config.data))


def _bounds_on_all(config: SearchConfig, targets: tuple[Target, ...]) -> dict[str, float]:
    """Return the upper bounds, a latency budget as that of every target where there are several.

    Raises:
        NasError: a latency budget without a target.
    """
    bounds = dict(config.upper_bounds)
    if "latency_ms" in bounds and not targets:
        raise NasError("a latency budget needs a target to hold on; add --target NAME (see `nas list targets`)")
    if "latency_ms" in bounds and len(targets) > 1:
        budget = bounds.pop("latency_ms")
        bounds = {f"latency_{target.name}_ms": budget for target in targets} | bounds
    return bounds


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
