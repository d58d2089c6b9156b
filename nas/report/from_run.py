"""Reads a run directory into the data of its report."""

from __future__ import annotations

import shlex
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from nas.report import html
from nas.search.metrics import METRICS
from nas.search.network_csv import is_csv
from nas.search.oneshot_settings import changed_settings
from nas.search.problem import Problem
from nas.search.run import Run
from nas.search.spending import spent_text
from nas.search.warm_start import source_text

#: evaluated networks drawn in the background; more only make the file heavier
MAX_CLOUD = 5000


def write_report(run: Run) -> Path:
    """Write report.html of a run and return its path.

    Raises:
        NasError: the run cannot be read, or the report cannot be written.
    """
    return run.write("report.html", html.render(report_data(run)))


def report_data(run: Run) -> html.ReportData:
    """Return all that the report of a run shows."""
    problem = run.problem
    history = run.hypervolume_history()
    return html.ReportData(
        run=html.RunInfo(
            name=run.path.name, created=run.record.created, command=command(run), version=run.record.versions["nas"]
        ),
        space=html.SpaceInfo(
            name=problem.space.name, size=problem.space.size, decisions=len(problem.space.decisions)
        ),
        targets=[
            html.TargetInfo(
                name=device.target, description=target.profile.description, source=device.fitted.fit.source,
                quantity=METRICS[device.fitted.metric].label, held_out=device.fitted.held_out_text,
            )
            for target in problem.targets for device in problem.devices if device.target == target.name
        ],
        objectives=[
            html.Objective(
                metric=o.metric, label=METRICS[o.metric].label, unit=METRICS[o.metric].unit,
                direction="max" if o.maximise else "min", origin=_origin(problem, o.metric),
                note=_note(problem, o.metric),
            )
            for o in problem.objectives
        ],
        columns=[
            html.Column(
                metric=m.name, label=m.label, unit=m.unit, digits=m.digits, scale=m.scale,
                origin=_origin(problem, m.name),
            )
            for m in (METRICS[name] for name in problem.metrics)
        ],
        constraints=[
            html.Constraint(
                metric=c.metric, label=METRICS[c.metric].label, unit=METRICS[c.metric].unit,
                **{"upper" if c.sign > 0 else "lower": c.bound},
            )
            for c in problem.constraints
        ],
        front=_points(run),
        cloud=_cloud(run),
        history=[
            html.Progress(evaluations=int(e), hypervolume=float(h), best=float(b) if b == b else None)
            for e, h, b in history.itertuples(index=False)
        ],
        published=_published(run),
        provenance=[*_provenance(problem), *_verified(run), *_spending(run)],
    )  # fmt: skip


def command(run: Run) -> str:
    """Return the command that does the search of a run again."""
    config = run.config
    words = ["nas", "search", "--space", config.space]
    for code in config.start_from:
        words += ["--start-from", code]
    for name in config.learn_from:
        words += ["--learn-from", name]
    words += ["--target", config.target] if config.target else []
    words += ["--confidence", f"{config.confidence:.10g}"] if config.confidence else []
    words += ["--verify", str(config.verify)] if config.verify else []
    words += ["--estimator", config.estimator] if config.oneshot is None else []
    words += ["--data", config.data] if config.data else []
    words += ["--objectives", ",".join(config.objectives)] if config.objectives else []
    words += ["--scheduler", config.scheduler] if config.scheduler != "none" else []
    words += ["--strategy", config.strategy, "--budget", str(config.budget), "--seed", str(config.seed)]
    for key, value in changed_settings(config).items():
        words += ["--set", f"{key}={value}"]
    words += ["--max-latency", f"{config.max_latency_ms:g}ms"] if config.max_latency_ms else []
    words += ["--max-params", f"{config.max_params:.10g}"] if config.max_params else []
    words += ["--max-macs", f"{config.max_macs:.10g}"] if config.max_macs else []
    for option, bounds in (("--max", config.max), ("--min", config.min)):
        for metric, bound in bounds.items():
            words += [option, f"{metric}={bound:.10g}"]
    return shlex.join(words)


def _origin(problem: Problem, metric: str) -> html.Origin:
    return cast(html.Origin, problem.origin(metric))


def _note(problem: Problem, metric: str) -> str:
    if device := problem.device_of(metric):
        return device.fitted.held_out_text
    if problem.estimator is not None and problem.about_estimator is not None:
        if metric == problem.estimator.metrics[0]:
            return problem.about_estimator.note
        if metric in problem.estimator.metrics:
            return problem.about_estimator.source
    return "exact count over the network's layers"


def _points(run: Run) -> list[html.Point]:
    space = run.problem.space
    points = []
    for index, row in run.front.iterrows():
        number, code = int(str(index)), str(row["code"])
        points.append(
            html.Point(
                index=number,
                code=code,
                metrics=_metrics(run.problem, row),
                intervals=_intervals(run.problem, row),
                decisions=space.decode(space.encode(code)).decisions,
                blocks=_blocks(run.problem, code),
                export=f"nas export {shlex.quote(f'{run.path}#{number}')} --format onnx",
                known_from=source_text(str(row["learned_from"])) if row.get("learned_from") else "",
                given=_given(run.problem, row),
            )
        )
    return points


def _given(problem: Problem, row: pd.Series) -> list[str]:
    """The metrics of a point that come from a file of the user's."""
    told = problem.estimator.metrics if problem.estimator is not None else ()
    return [name for name in told if is_csv(str(row.get("learned_from", "")))]


def _metrics(problem: Problem, row: pd.Series) -> dict[str, float]:
    return {name: float(row[name]) for name in problem.metrics}


def _intervals(problem: Problem, row: pd.Series) -> dict[str, tuple[float, float]]:
    return {
        name: (float(row[f"{name}_low"]), float(row[f"{name}_high"]))
        for name in problem.metrics
        if f"{name}_low" in row
    }


def _blocks(problem: Problem, code: str) -> list[html.Block]:
    """Blocks of a network, equal ones in a row together."""
    rows, device = [], problem.main_device
    nodes = problem.space.spec(code).nodes
    for (part, block), group in groupby((node.part, node.block) for node in nodes):
        repeats = len(list(group))
        share = device.fitted.block_ms(block) if device and device.fitted.metric == "latency_ms" else None
        rows.append(
            html.Block(
                stage=part,
                block=block.describe(),
                in_=block.shape[0],
                out=block.shape[1],
                repeats=repeats,
                params=repeats * block.params,
                macs=repeats * block.macs,
                latency_ms=None if share is None else repeats * share,
            )
        )
    return rows


def _cloud(run: Run) -> dict[str, list[float]]:
    trials = run.trials
    if trials.empty:
        return {}
    step = max(1, -(-len(trials) // MAX_CLOUD))
    return {name: np.asarray(trials[name].iloc[::step], dtype=float).tolist() for name in run.problem.metrics}


def _published(run: Run) -> list[html.PublishedNetwork]:
    from nas.search.published import standing_text

    networks = []
    for _, row in run.published().iterrows():
        published: dict[str, Any] = {} if pd.isna(row["published_top1"]) else {"top1": float(row["published_top1"])}
        networks.append(
            html.PublishedNetwork(
                name=row["name"],
                code=row["code"],
                metrics=_metrics(run.problem, row),
                intervals=_intervals(run.problem, row),
                published=published,
                source=row["source"],
                text=standing_text(run, row),
                dominated_by=row["dominated_by"],
            )
        )
    return networks


def _verified(run: Run) -> list[html.Provenance]:
    """What was measured of points of the front."""
    from nas.search.verify import verified, verified_text

    found = verified(run)
    rows = [] if found is None else [row for _, row in found.iterrows()]
    return [
        html.Provenance(
            what=f"latency of #{row['point']}", origin="measured", text=verified_text(row), source=str(row["target"])
        )
        for row in rows
    ]


def _spending(run: Run) -> list[html.Provenance]:
    """What a scheduler spent the budget on."""
    scheduler, full = run.config.scheduler, run.problem.full_epochs
    if scheduler == "none":
        return []
    text = f"counted in full trainings of {full} epochs; {spent_text(run)}"
    return [html.Provenance(what="evaluations", origin="computed", text=text, source=f"scheduler {scheduler}")]


def _provenance(problem: Problem) -> list[html.Provenance]:
    rows = [
        html.Provenance(
            what="parameters, multiply-adds, activation memory",
            origin="computed",
            text="exact; multiply-adds of convolution and linear layers; float32 activations at batch 1",
            source="closed form of each block, tested against the built network",
        )
    ]
    if problem.estimator is not None and problem.about_estimator is not None:
        rows.append(
            html.Provenance(
                what=", ".join(METRICS[name].label for name in problem.estimator.metrics if name in problem.metrics),
                origin=problem.estimator.origin,
                text=problem.about_estimator.note,
                source=problem.about_estimator.source,
            )
        )
    for device in problem.devices:
        fit = device.fitted.fit
        missing = f"; not measured: {fit.not_measured}" if fit.not_measured else ""
        rows.append(
            html.Provenance(
                what=f"{METRICS[device.fitted.metric].label} on {device.target}",
                origin="predicted",
                text=f"{device.fitted.held_out_text}; fitted on {fit.fitted_on}{missing}",
                source=f"{fit.source}; {fit.setting}, measured {fit.measured}",
            )
        )
    return rows
