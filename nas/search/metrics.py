"""How each metric is called, and in what unit and precision people read it."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Metric:
    """Wording of a metric. Shown values are `value / scale` with `digits` decimals, followed by `unit`."""

    name: str
    label: str
    unit: str
    scale: float = 1.0
    digits: int = 2

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


METRICS = {
    metric.name: metric
    for metric in (
        Metric("top1", "top-1", "%"),
        Metric("latency_ms", "latency", "ms"),
        Metric("macs", "MACs", "M", 1e6, 1),
        Metric("params", "params", "M", 1e6, 2),
        Metric("peak_activation_bytes", "peak activations", "MB", 1e6, 2),
        Metric("weight_bytes", "weights", "MB", 1e6, 2),
    )
}
