"""How each metric is called, and in what unit and precision people read it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from nas.cost import Constraint, Objective, violation
from nas.errors import NasError, suggestion


@dataclass(frozen=True)
class Metric:
    """Wording of a metric. Shown values are `value / scale` with `digits` decimals, followed by `unit`."""

    name: str
    label: str
    unit: str
    scale: float = 1.0
    digits: int = 2
    larger_is_better: bool = False
    #: the metric that this one is a quantile of, or the probability to meet a bound on
    of: str = ""
    #: for a quantile the share of measurements that are within it
    confidence: float = 0.0

    def text(self, value: float) -> str:
        """Return the value with its unit, "–" where it is unknown."""
        return "–" if pd.isna(value) else f"{self.number(value)} {self.unit}".strip()

    def number(self, value: float) -> str:
        return "–" if pd.isna(value) else f"{value / self.scale:.{self.digits}f}"

    def difference(self, value: float) -> str:
        """Return a signed difference, e.g. "+0.80 points top-1" or "-3.10 ms latency"."""
        unit = "points" if self.unit == "%" else self.unit
        return f"{value / self.scale:+.{self.digits}f} {unit} {self.label}"

    def with_interval(self, row: pd.Series) -> str:
        """Return value ± half of its 90 % interval, or the value alone where there is no interval."""
        low, high = row.get(f"{self.name}_low"), row.get(f"{self.name}_high")
        if low is None or high is None or pd.isna(low):
            return self.number(row[self.name])
        return f"{self.number(row[self.name])} ± {self.number((high - low) / 2)}"


#: last word of a metric's name -> unit, decimals, whether more is better
_UNITS = {"ms": ("ms", 2, False), "mj": ("mJ", 2, False), "ips": ("images/s", 0, True), "seconds": ("s", 0, False)}


def chance_name(name: str) -> str:
    """Return what the probability is called that a measurement of a metric meets its bound."""
    return f"{name}_p"


def sure_name(name: str, confidence: float) -> str:
    """Return what the quantile of a metric is called that a measurement is within with some confidence."""
    return f"{name}_q{100 * confidence:.10g}"


class _Metrics(dict[str, Metric]):
    """The metrics known by name; others, such as `energy_edgegpu_mj`, are worded by the parts of their name."""

    def __missing__(self, name: str) -> Metric:
        if sure := re.fullmatch(r"(.+)_q([0-9.]+)", name):
            label = f"{self[sure[1]].label}, {sure[2]} % sure"
            return replace(self[sure[1]], name=name, label=label, of=sure[1], confidence=float(sure[2]) / 100)
        if name.endswith("_p"):
            of = name.removesuffix("_p")
            label = f"{self[of].label} in budget"
            return Metric(name, label, "%", scale=0.01, digits=0, larger_is_better=True, of=of)
        *words, last = name.split("_")
        if not words or last not in _UNITS:
            return Metric(name, name.replace("_", " "), "")
        unit, digits, larger_is_better = _UNITS[last]
        return Metric(name, " ".join(words), unit, digits=digits, larger_is_better=larger_is_better)


METRICS = _Metrics(
    (metric.name, metric)
    for metric in (
        Metric("top1", "top-1", "%", larger_is_better=True),
        Metric("oneshot_top1", "one-shot top-1", "%", larger_is_better=True),
        Metric("latency_ms", "latency", "ms"),
        Metric("macs", "MACs", "M", 1e6, 1),
        Metric("params", "params", "M", 1e6, 2),
        Metric("peak_activation_bytes", "peak activations", "MB", 1e6, 2),
        Metric("weight_bytes", "weights", "MB", 1e6, 2),
    )
)


def objective_of(name: str, known: Sequence[str] | None = None) -> Objective:
    """Return what is to be optimised when a user says `name`, one of the metrics `known`; `error` is 100 - top1.

    Raises:
        NasError: no such metric.
    """
    metric = "top1" if name == "error" else name
    if known is not None and metric not in known:
        raise NasError(f"unknown objective {name!r}{suggestion(name, _with_error(known))}")
    return Objective(metric, maximise=METRICS[metric].larger_is_better)


def _with_error(known: Sequence[str]) -> list[str]:
    return [*known, *(["error"] if "top1" in known else [])]


def constraint_of(name: str, bound: float, known: Sequence[str], upper: bool) -> Constraint:
    """Return what `--max name=bound` (`upper`) or `--min name=bound` asks for; `error` is 100 - top1.

    Raises:
        NasError: no such metric among `known`, or a bound on the side where the metric is good.
    """
    option, other = ("--max", "--min") if upper else ("--min", "--max")
    metric = "top1" if name == "error" else name
    if metric not in known:
        raise NasError(f"unknown metric {name!r} in {option}{suggestion(name, known)}")
    if upper == (METRICS[metric].larger_is_better and name != "error"):
        better = "more" if upper else "less"
        raise NasError(f"{option} {name} bounds it where it is good: {better} is better; write {other} {name}=VALUE")
    if name == "error":
        if bound >= 100.0:
            raise NasError(f"{option} error={bound:g} bounds nothing: an error is at most 100 %")
        return Constraint(metric, lower=100.0 - bound)
    return Constraint(metric, upper=bound) if upper else Constraint(metric, lower=bound)


def bound_text(constraint: Constraint) -> str:
    """Return a bound in words, e.g. "latency ≤ 20.00 ms"."""
    metric = METRICS[constraint.metric]
    return f"{metric.label} {'≤' if constraint.sign > 0 else '≥'} {metric.text(constraint.bound)}"


def nearest_text(networks: pd.DataFrame, constraints: Sequence[Constraint], n: int = 3) -> str:
    """Name the `n` networks (rows with a `code`) that violate the bounds least, with the values that are bounded."""
    nearest = networks.iloc[np.argsort(violation(networks, constraints), kind="stable")[:n]]
    bounded = [METRICS[constraint.metric] for constraint in constraints]
    described = [
        f"{row['code']} ({', '.join(f'{metric.label} {metric.text(row[metric.name])}' for metric in bounded)})"
        for _, row in nearest.iterrows()
    ]
    return f"nearest: {'; '.join(described)}"
