"""How each metric is called, and in what unit and precision people read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from nas.cost import Objective
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


class _Metrics(dict[str, Metric]):
    """The metrics known by name; others, such as `energy_edgegpu_mj`, are worded by the parts of their name."""

    def __missing__(self, name: str) -> Metric:
        *words, last = name.split("_")
        if not words or last not in _UNITS:
            return Metric(name, name.replace("_", " "), "")
        unit, digits, larger_is_better = _UNITS[last]
        return Metric(name, " ".join(words), unit, digits=digits, larger_is_better=larger_is_better)


METRICS = _Metrics(
    (metric.name, metric)
    for metric in (
        Metric("top1", "top-1", "%", larger_is_better=True),
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
        raise NasError(f"unknown objective {name!r}{suggestion(name, known)}")
    return Objective(metric, maximise=METRICS[metric].larger_is_better)
