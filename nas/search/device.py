"""What targets know of the networks of a space, as metrics of a problem."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nas.cost import Constraint
from nas.errors import NasError
from nas.hardware import Fitted, Target, load_target, target_names
from nas.search.metrics import METRICS, chance_name, sure_name
from nas.space import Codes, SearchSpace

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class DeviceMetric:
    """One quantity of one target, e.g. latency_ms; latency_raspi4_ms where there are several targets."""

    name: str
    fitted: Fitted

    @property
    def target(self) -> str:
        return self.fitted.target

    def columns(self, space: SearchSpace, codes: Codes, constraints: Sequence[Constraint]) -> dict[str, Array]:
        """Return prediction, std, ends of the 90 % interval, and for each bound the odds of meeting it.

        `<name>_p` is the probability that a measurement meets the bound; `<name>_q90` what 90 % of measurements are
        within, for bounds that are to be met with that confidence.
        """
        predictor, name = self.fitted.predictor, self.name
        mean, std = predictor.predict(space, codes)
        low, high = predictor.interval(mean, std)
        columns = {name: mean, f"{name}_std": std, f"{name}_low": low, f"{name}_high": high}
        for constraint in constraints:
            bounded = METRICS[constraint.metric]
            if name not in (bounded.name, bounded.of):
                continue
            below = predictor.probability_below(mean, std, constraint.bound)
            columns[chance_name(name)] = below if constraint.sign > 0 else 1.0 - below
            if bounded.confidence:
                level = bounded.confidence if constraint.sign > 0 else 1.0 - bounded.confidence
                columns[bounded.name] = predictor.quantile(mean, std, level)
        return columns


def targets_of(names: str | None) -> tuple[Target, ...]:
    """Return the targets of a list such as "pixel4,raspi4".

    Raises:
        NasError: an unknown name, a damaged profile, or a target named twice.
    """
    listed = [name.strip() for name in names.split(",")] if names else []
    if len(set(listed)) < len(listed):
        raise NasError(f"--target {names} names a target twice")
    return tuple(load_target(name) for name in listed)


def lasting_names(names: str | None) -> str | None:
    """Return the list with the paths of profile folders made absolute: a run can be resumed from anywhere."""
    if names is None:
        return None
    listed = [name.strip() for name in names.split(",")]
    return ",".join(name if name in target_names() else str(Path(name).resolve()) for name in listed)


def device_metrics(targets: Sequence[Target], space: SearchSpace) -> tuple[DeviceMetric, ...]:
    """Return all that targets know of a space, the main quantity of each target first.

    Raises:
        NasError: a target knows nothing of the space.
    """
    known = [list(target.on(space).values()) for target in targets]
    alone = len(targets) == 1
    ordered = [*(fits[0] for fits in known), *(fitted for fits in known for fitted in fits[1:])]
    return tuple(DeviceMetric(fitted.metric if alone else _named(fitted), fitted) for fitted in ordered)


def _named(fitted: Fitted) -> str:
    """latency_ms on raspi4 -> latency_raspi4_ms"""
    quantity, _, unit = fitted.metric.rpartition("_")
    return f"{quantity}_{fitted.target}_{unit}"


def sure_constraints(
    constraints: Iterable[Constraint], devices: Sequence[DeviceMetric], confidence: float | None
) -> tuple[Constraint, ...]:
    """Return the constraints, those of predicted device metrics to be met with `confidence` where one is asked for.

    Raises:
        NasError: a confidence is asked for, and no bound is one of a target's predictions.
    """
    given, names = tuple(constraints), {device.name for device in devices}
    if confidence is None:
        return given
    if not any(constraint.metric in names for constraint in given):
        raise NasError("--confidence goes with a bound on what a target predicts, such as --max-latency 20ms")
    return tuple(
        Constraint(sure_name(c.metric, confidence), c.upper, c.lower) if c.metric in names else c for c in given
    )
