"""`nas show`"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli.console import console, plain_table, print_json
from nas.cli.console import fits as fits_on
from nas.cli.networks import printed_count
from nas.cli.show_space import show_space
from nas.cli.show_strategy import show_strategy
from nas.cli.show_target import show_target
from nas.errors import NasError

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from nas.hardware import Fitted
    from nas.search.network_table import BlockRow
    from nas.search.problem import Problem
    from nas.search.resolve import Resolved
    from nas.space import NetworkSpec


def show(
    what: Annotated[
        str,
        typer.Argument(help="RUN, RUN#3, a space or space file, a published network, a code, `target` or `strategy`."),
    ],
    name: Annotated[
        str | None, typer.Argument(help="After `target` its name or profile folder, after `strategy` its name.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="Predict latency on this target.")] = None,
    blocks: Annotated[bool, typer.Option("--blocks", help="Every block of a network, equal ones not folded.")] = False,
    rows: Annotated[int, typer.Option(help="Points of a front to print.", min=2)] = 20,
    out: Annotated[
        Path | None, typer.Option(help="Targets only: plot predicted against measured in this HTML.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Show a run, a search space, a target, or one network as a table of its blocks with the cost of each.

    Examples: nas show runs/mbconv-pixel4-nsga2-seed0#3; nas show target pixel4 --out pixel4.html
    """
    from nas import registry
    from nas.hardware import load_target
    from nas.search.resolve import resolve
    from nas.search.run import Run, is_run
    from nas.search.spaces import find_space, is_file

    if what == "target" and name is not None:
        show_target(name, out, as_json)
        return
    if what == "strategy" and name is not None:
        show_strategy(name, as_json)
        return
    if name is not None or out is not None:
        raise NasError(f"{name or '--out'} goes with `nas show target NAME` only")
    if "#" not in what and is_run(what):
        _show_run(Run.open(what), rows, as_json)
        return
    if is_file(what) or what in registry.names("spaces"):
        show_space(find_space(what), as_json)
        return
    found = resolve(what)
    if target is not None:
        fits = load_target(target).of(found.spec)
    else:
        fits = {device.name: device.fitted for device in found.run.problem.devices} if found.run else {}
    if as_json:
        print_json(_as_json(found, fits))
    else:
        _show_network(found, fits, blocks)


def _show_run(run: Any, rows: int, as_json: bool) -> None:
    from nas.cli.results import print_plan, print_preview, print_results, result_of
    from nas.search.spending import spent_text

    if as_json:
        print_json(result_of(run))
        return
    out = console()
    # A damaged store is refused before anything is printed.
    spent = spent_text(run)
    out.print(f"Run       {run.path}: {run.config.strategy}, seed {run.config.seed}")
    out.print(f"Done      {spent}")
    print_preview(run.problem)
    print_plan(run)
    print_results(run, rows)
    if not run.ended:
        out.print(f"\nNot finished; continue with: nas resume {run.path}")


def _show_network(found: Resolved, fits: Mapping[str, Fitted], every_block: bool) -> None:
    from nas.search.metrics import METRICS
    from nas.search.network_table import all_rows, folded_rows

    out, spec = console(), found.spec
    rows = all_rows(spec) if every_block else folded_rows(spec)
    charged = charging_blocks(fits)
    table = _block_table(rows, charged, with_input=True)
    title = spec.name if found.code in (None, spec.name) else f"{spec.name} ({found.code})"
    out.print(f"{title}  input {spec.resolution}×{spec.resolution}×{spec.in_channels}"
              + (f"  {spec.source}" if spec.source else ""))  # fmt: skip
    # On a narrow terminal the input is left out: it is what came before.
    out.print(table if fits_on(out, table) else _block_table(rows, charged, with_input=False))
    for name, value in spec.cost().items():
        metric = METRICS.get(name)
        text = metric.text(value) if metric else f"{value / 1e6:.1f} M"
        label = metric.label if metric else "MACs (THOP)"
        out.print(f"{label:18s}{text}  ({value:,}, computed)")
    for line in [*_predictions(found, fits), *_published(found)]:
        out.print(line)


def _block_table(rows: list[BlockRow], charged: Fitted | None, with_input: bool) -> Table:
    columns = [
        "part",
        "block",
        "×",
        *(["input"] if with_input else []),
        "output",
        "params\ncomputed",
        "MACs M\ncomputed",
    ]
    columns += [f"{charged.target} ms\npredicted"] if charged else []
    table = plain_table(*columns, text=(0, 1, 3, 4) if with_input else (0, 1, 3))
    table.columns[1].no_wrap, table.columns[1].overflow = False, "fold"
    for row in rows:
        numbers = [f"{row.params:,}", f"{row.macs / 1e6:.2f}"]
        numbers += [f"{sum(charged.block_ms(block) or 0.0 for block in row.blocks):.2f}"] if charged else []
        times = str(row.repeats) if row.repeats > 1 else ""
        table.add_row(row.part, row.text, times, *([row.input] if with_input else []), row.output, *numbers)
    return table


def _published(found: Resolved) -> list[str]:
    """What others published of the network, and the spaces it is a point of."""
    from nas.search.resolve import codes_in_spaces
    from nas.space.catalogue import published_counts, published_top1

    name, lines = found.spec.name, []
    if figure := published_top1(name):
        lines.append(f"{'top-1':18s}{figure.value:.1f} %  (published under its own recipe: {figure.source})")
    for count in published_counts(name):
        verdict = "agrees" if count.agree else f"DIFFERS from ours, {count.ours:,}"
        lines.append(f"{count.quantity:18s}{printed_count(count)}  (published: {count.source}; {verdict})")
    if found.code is None:
        lines += [f"{'point of':18s}{space}:{code}" for space, code in codes_in_spaces(found.spec).items()]
    return lines


def _predictions(found: Resolved, fits: Mapping[str, Fitted]) -> list[str]:
    """What is predicted of the network: accuracy from its run, latency and more on the target."""
    from nas.search.metrics import METRICS

    lines = []
    if found.run is not None:
        row, problem = found.run.front.loc[[found.point]].iloc[0], found.run.problem
        for name in problem.estimator.metrics if problem.estimator else ():
            if name in row:
                text = f"{METRICS[name].with_interval(row)} {METRICS[name].unit}"
                interval = "" if math.isnan(row.get(f"{name}_low", math.nan)) else ", 90 % interval"
                lines.append(f"{METRICS[name].label:18s}{text}  ({_origin(problem, name, row)}{interval})")
    for fitted in fits.values():
        metric, value = METRICS[fitted.metric], predicted(fitted, found.spec)
        about = f"predicted on {fitted.target}; {fitted.held_out_text}"
        if fitted.extrapolates(sum(block.macs for block in found.spec.blocks)):
            about += f"; extrapolated, valid for {fitted.fit.valid_for}"
        ends = f"{metric.number(value['low'])} to {metric.number(value['high'])}"
        lines.append(f"{metric.label:18s}{metric.text(value['mean'])}, 90 % interval {ends}  ({about})")
    return lines


def predicted(fitted: Fitted, spec: NetworkSpec) -> dict[str, float]:
    """Return mean, std and the ends of the 90 % interval of one network."""
    import numpy as np

    mean, std = fitted.predictor.predict_spec(spec)
    low, high = fitted.predictor.interval(np.array([mean]), np.array([std]))
    return {"mean": mean, "std": std, "low": float(low[0]), "high": float(high[0])}


def charging_blocks(fits: Mapping[str, Fitted]) -> Fitted | None:
    """Return the first prediction of latency that is a sum over blocks."""
    from nas.hardware import AdditivePredictor

    additive = (f for f in fits.values() if f.metric == "latency_ms" and isinstance(f.predictor, AdditivePredictor))
    return next(additive, None)


def _origin(problem: Problem, metric: str, point: pd.Series) -> str:
    """Where a value of a point of a front comes from: a file that the search was given, or the estimator."""
    from nas.search.network_csv import is_csv

    source = str(point.get("learned_from", ""))
    return f"given in {source}" if is_csv(source) else problem.origin(metric)


def block_rows(found: Resolved, charged: Fitted | None) -> list[dict[str, Any]]:
    """Return one row a block: part, block, shapes, params, macs, latency_ms where a target charges single blocks."""
    rows = []
    for part, block in ((node.part, node.block) for node in found.spec.nodes):
        row = {"part": part, "block": block.describe(), "input": block.shape[0], "output": block.shape[1],
               "params": block.params, "macs": block.macs}  # fmt: skip
        rows.append(row | ({"latency_ms": charged.block_ms(block)} if charged else {}))
    return rows


def _as_json(found: Resolved, fits: Mapping[str, Fitted]) -> dict[str, Any]:
    from nas.search.resolve import codes_in_spaces
    from nas.space.catalogue import published_counts, published_top1

    result: dict[str, Any] = {"name": found.spec.name, "code": found.code, "source": found.spec.source}
    result |= {
        "resolution": found.spec.resolution,
        "cost": found.spec.cost(),
        "blocks": block_rows(found, charging_blocks(fits)),
    }
    origins = dict.fromkeys([*found.spec.cost(), "blocks.params", "blocks.macs"], "computed")
    if found.space is not None and found.code is not None:
        result["decisions"] = dict(found.space.decode(found.space.encode(found.code)).decisions)
    else:
        result["codes"] = codes_in_spaces(found.spec)
    if figure := published_top1(found.spec.name):
        result["published_top1"], origins["published_top1"] = figure.value, f"published: {figure.source}"
    for name, fitted in fits.items():
        held_out = fitted.fit.held_out.model_dump() if fitted.fit.held_out else None
        value = {"target": fitted.target, **predicted(fitted, found.spec), "held_out": held_out}
        result[name], origins[name] = value | {"origin": "predicted"}, "predicted"
    if charging_blocks(fits):
        origins["blocks.latency_ms"] = "predicted"
    if found.run is not None:
        row, problem = found.run.front.loc[[found.point]].iloc[0], found.run.problem
        for name in problem.estimator.metrics if problem.estimator else ():
            if name not in row:
                continue
            ends = {end: row[f"{name}_{end}"] for end in ("std", "low", "high") if f"{name}_{end}" in row}
            result[name] = {"mean": row[name]} | ends
            origins[name] = _origin(problem, name, row)
    counts = [asdict(count) | {"agrees": count.agree} for count in published_counts(found.spec.name)]
    return result | {"published_counts": counts, "origins": origins}
