"""Turns the facts of a search run into one self-contained HTML file.

`render` is a pure function of `ReportData`: the same data gives the same bytes. Everything the report shows is in
the data; this module knows nothing of spaces, devices or torch. Layout, style and behaviour are in `template.html`,
`report.css` and the scripts next to this file.
"""

from __future__ import annotations

import dataclasses
import html
import math
import numbers
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Template
from typing import Any, Literal

from nas.report.assets import asset, content_policy, embed, plotly_script, script_text

SCRIPTS = ("plots.js", "network.js", "tables.js", "report.js")

Origin = Literal["measured", "predicted", "published", "computed"]
"""Where a number comes from. `computed` is an exact count, such as parameters or MACs."""

Metrics = Mapping[str, float | None]
Intervals = Mapping[str, tuple[float, float]]
"""The 90 % interval of a metric: (low, high), in the unit of the metric."""


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """The run itself; `command` reproduces it, `created` is an ISO date."""

    name: str
    created: str
    command: str
    version: str


@dataclass(frozen=True, kw_only=True)
class SpaceInfo:
    """The search space: how many distinct networks it holds, from how many decisions."""

    name: str
    size: int
    decisions: int


@dataclass(frozen=True, kw_only=True)
class TargetInfo:
    """A device and a quantity of it; `held_out` says how well that is predicted of networks not seen."""

    name: str
    description: str
    quantity: str
    source: str
    held_out: str


@dataclass(frozen=True, kw_only=True)
class Objective:
    """One objective. The first two are the axes of the front: the one to maximise is drawn upwards."""

    metric: str
    label: str
    unit: str
    direction: Literal["max", "min"]
    origin: Origin
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Column:
    """How a metric is printed: value / scale with `digits` decimals. Without `origin`, that of the objective or of the
    provenance entry of the same name holds; where there is neither, the report says "unstated"."""

    metric: str
    label: str
    unit: str
    digits: int
    scale: float = 1.0
    origin: Origin | None = None


@dataclass(frozen=True, kw_only=True)
class Constraint:
    """metric <= upper, or metric >= lower: one of them, in the unit of the metric itself (before `Column.scale`)."""

    metric: str
    label: str
    unit: str
    upper: float | None = None
    lower: float | None = None


@dataclass(frozen=True, kw_only=True)
class Block:
    """`repeats` equal blocks in a row; params, macs and latency_ms are totals over the repeats."""

    stage: str
    block: str
    in_: str
    out: str
    repeats: int
    params: float
    macs: float
    latency_ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class Point:
    """One network of the front; `index` counts from 1 and is shown as #index.

    Args:
        known_from: where its values come from if they were known before the search.
        given: metrics whose values the user gave, so that they are of no other origin.
    """

    index: int
    code: str
    metrics: Metrics
    export: str
    intervals: Intervals = dataclasses.field(default_factory=dict)
    decisions: Mapping[str, object] = dataclasses.field(default_factory=dict)
    blocks: Sequence[Block] = ()
    known_from: str = ""
    given: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The search after so many evaluations; `best` is the best value so far of the objective drawn upwards."""

    evaluations: int
    hypervolume: float
    best: float | None = None


@dataclass(frozen=True, kw_only=True)
class PublishedNetwork:
    """A network from the literature: `metrics` are our estimates of it, `published` the numbers of its authors."""

    name: str
    code: str
    metrics: Metrics
    published: Metrics
    source: str
    text: str
    intervals: Intervals = dataclasses.field(default_factory=dict)
    dominated_by: Sequence[int] = ()


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where one kind of number comes from."""

    what: str
    origin: Origin
    text: str
    source: str


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """All that a report shows. `cloud` holds evaluated networks as columns, at most a few thousand rows."""

    run: RunInfo
    space: SpaceInfo
    targets: Sequence[TargetInfo]
    objectives: Sequence[Objective]
    columns: Sequence[Column]
    constraints: Sequence[Constraint]
    front: Sequence[Point]
    cloud: Mapping[str, Sequence[float | None]]
    history: Sequence[Progress]
    published: Sequence[PublishedNetwork]
    provenance: Sequence[Provenance]
    baseline_history: Sequence[Progress] = ()


def render(data: ReportData) -> str:
    """The report as one HTML document (about 5 MB, nearly all of it plotly.js), to be written as UTF-8."""
    _check(data)
    plotly, script = plotly_script(), script_text("".join(map(asset, SCRIPTS)))
    return Template(asset("template.html")).substitute(
        policy=content_policy(plotly, script),
        title=html.escape(data.run.name),
        command=html.escape(data.run.command),
        css=asset("report.css"),
        data=embed(_plain(data)),
        plotly=plotly,
        script=script,
    )


def _check(data: ReportData) -> None:
    if not data.objectives:
        raise ValueError("a report needs at least one objective, got none")
    twice = [f"#{index}" for index, count in Counter(point.index for point in data.front).items() if count > 1]
    if twice:
        raise ValueError(f"every point of the front needs its own index; used more than once: {', '.join(twice)}")
    lengths = {metric: len(values) for metric, values in data.cloud.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the columns of the cloud must be equally long, got {lengths}")


def _plain(value: Any) -> Any:
    """JSON-ready copy: NaN and infinity become null; integers that JavaScript cannot hold become strings."""
    if dataclasses.is_dataclass(value):
        return {field.name.rstrip("_"): _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, numbers.Integral):
        return int(value) if abs(int(value)) < 2**53 else str(int(value))
    if isinstance(value, numbers.Real):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "tolist"):  # numpy arrays and scalars, pandas series
        return _plain(value.tolist())
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    raise TypeError(f"a report holds numbers, texts, lists and mappings, got {type(value).__name__}: {value!r}")
