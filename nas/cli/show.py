"""`nas show`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli.console import console, plain_table, print_json

if TYPE_CHECKING:
    from nas.hardware import Target
    from nas.search.resolve import Resolved


def show(
    what: Annotated[str, typer.Argument(help="RUN, RUN#3, a published network, or a code such as 1311-6321-…")],
    target: Annotated[str | None, typer.Option(help="Predict latency on this target.")] = None,
    rows: Annotated[int, typer.Option(help="Points of a front to print.", min=2)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Show a run, or one network as a table of its blocks with the cost of each.

    Example: nas show runs/mbconv-pixel4-nsga2-seed0#3
    """
    from pathlib import Path

    from nas.hardware import load_target
    from nas.search.resolve import resolve
    from nas.search.run import RUNS, Run

    if "#" not in what and ((Path(what) / "config.yaml").is_file() or (RUNS / what / "config.yaml").is_file()):
        _show_run(Run.open(what), rows, as_json)
        return
    found = resolve(what)
    device = load_target(target) if target is not None else found.run.problem.target if found.run else None
    if as_json:
        print_json(_as_json(found, device))
    else:
        _show_network(found, device)


def _show_run(run: Any, rows: int, as_json: bool) -> None:
    from nas.cli.results import print_preview, print_results, result_of

    if as_json:
        print_json(result_of(run))
        return
    out = console()
    evaluated, budget = len(run.history()), run.config.budget
    out.print(f"Run       {run.path}: {run.config.strategy}, seed {run.config.seed}")
    out.print(f"Done      {evaluated} of {budget} evaluations")
    print_preview(run.problem)
    print_results(run, rows)
    if evaluated < budget:
        out.print(f"\nNot finished; continue with: nas resume {run.path}")


def _show_network(found: Resolved, target: Target | None) -> None:
    from nas.search.metrics import METRICS

    out = console()
    title = found.spec.name if found.code in (None, found.spec.name) else f"{found.spec.name} ({found.code})"
    out.print(f"{title}  input {found.spec.resolution}×{found.spec.resolution}×{found.spec.in_channels}"
              + (f"  {found.spec.source}" if found.spec.source else ""))  # fmt: skip
    columns = ["part", "block", "input", "output", "params\ncomputed", "MACs M\ncomputed"]
    columns += [f"{target.name} ms\npredicted"] if target else []
    table = plain_table(*columns, text=(0, 1, 2, 3))
    for row in block_rows(found, target):
        numbers = [f"{row['params']:,}", f"{row['macs'] / 1e6:.2f}"]
        numbers += [f"{row['latency_ms']:.2f}"] if target else []
        table.add_row(row["part"], row["block"], row["input"], row["output"], *numbers)
    out.print(table)
    for name, value in found.spec.cost().items():
        label = {"macs_thop": "MACs (THOP)", "weight_bytes": "weights"}.get(name, name)
        metric = METRICS.get(name)
        text = metric.text(value) if metric else f"{value / 1e6:.2f} M" + ("B" if name == "weight_bytes" else "")
        out.print(f"{metric.label if metric else label:18s}{text}  ({value:,}, computed)")
    for line in _predictions(found, target):
        out.print(line)


def _predictions(found: Resolved, target: Target | None) -> list[str]:
    """What is predicted of the network: accuracy from its run, latency on the target."""
    import numpy as np

    from nas.search.metrics import METRICS

    lines = []
    if found.run is not None:
        row = found.run.front.loc[[found.point]].iloc[0]
        for name in found.run.problem.estimator.metrics if found.run.problem.estimator else ():
            text = f"{METRICS[name].with_interval(row)} {METRICS[name].unit}"
            lines.append(f"{METRICS[name].label:18s}{text}  ({found.run.problem.origin(name)}, 90 % interval)")
    if target is not None:
        mean, std = target.predictor.predict_spec(found.spec)
        low, high = target.predictor.interval(np.array([mean]), np.array([std]))
        lines.append(f"{'latency':18s}{mean:.2f} ms, 90 % interval {low[0]:.2f} to {high[0]:.2f}  "
                     f"(predicted on {target.name}; {target.held_out_text})")  # fmt: skip
    return lines


def block_rows(found: Resolved, target: Target | None) -> list[dict[str, Any]]:
    """Return one row a block: part, block, shapes, params, macs, latency_ms on the target."""
    rows = []
    for part, block in ((node.part, node.block) for node in found.spec.nodes):
        row = {"part": part, "block": block.describe(), "input": block.shape[0], "output": block.shape[1],
               "params": block.params, "macs": block.macs}  # fmt: skip
        rows.append(row | ({"latency_ms": target.predictor.block_ms(block)} if target else {}))
    return rows


def _as_json(found: Resolved, target: Target | None) -> dict[str, Any]:
    result: dict[str, Any] = {"name": found.spec.name, "code": found.code, "source": found.spec.source}
    result |= {"resolution": found.spec.resolution, "cost": found.spec.cost(), "blocks": block_rows(found, target)}
    if found.space is not None and found.code is not None:
        result["decisions"] = dict(found.space.decode(found.space.encode(found.code)).decisions)
    if target is not None:
        mean, std = target.predictor.predict_spec(found.spec)
        result["latency_ms"] = {"target": target.name, "mean": mean, "std": std, "origin": "predicted"}
    return result
