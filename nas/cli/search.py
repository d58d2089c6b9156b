"""`nas search`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli.results import finish


def search(
    space: Annotated[str | None, typer.Option(help="Search space, e.g. mbconv, or a space file.yaml.")] = None,
    target: Annotated[
        str | None, typer.Option(help="Hardware target, e.g. pixel4; several: pixel4,raspi4; or a profile folder.")
    ] = None,
    strategy: Annotated[
        str | None, typer.Option(help="Strategy, e.g. nsga2 (default), evolution, auto; see `nas list strategies`.")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Short trainings first: asha, pareto-asha, hyperband, or asha:3 (keep a third); none (default)."
        ),
    ] = None,
    estimator: Annotated[
        str | None,
        typer.Option(help="Accuracy: surrogate (default) or a table, e.g. tabular:nasbench-macro."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="One-shot strategies: images to train on (default: digits). Tables: their folder (default: $NAS_DATA)."
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="One-shot strategies: epochs that train the supernet.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="One-shot strategies: a setting, e.g. order=2, network.channels=8; see `nas show strategy darts`.",
        ),
    ] = None,
    objectives: Annotated[
        str | None, typer.Option(help="Metrics to optimise, e.g. error,macs (default: error and latency or MACs).")
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(help="Probability with which bounds on a target's predictions are to be met, e.g. 0.9."),
    ] = None,
    verify: Annotated[
        int | None, typer.Option(help="Measure so many networks of the front on the real machine at the end.")
    ] = None,
    max_latency: Annotated[str | None, typer.Option(help="Upper bound with unit, e.g. 20ms.")] = None,
    max_params: Annotated[str | None, typer.Option(help="Upper bound, e.g. 5.3M.")] = None,
    max_macs: Annotated[str | None, typer.Option(help="Upper bound, e.g. 390M.")] = None,
    upper: Annotated[
        list[str] | None,
        typer.Option("--max", metavar="METRIC=VALUE", help="Upper bound, e.g. peak_activation_bytes=2M; repeatable."),
    ] = None,
    lower: Annotated[
        list[str] | None,
        typer.Option("--min", metavar="METRIC=VALUE", help="Lower bound, e.g. top1=75; repeatable."),
    ] = None,
    budget: Annotated[
        int | None,
        typer.Option(
            help="Networks to evaluate (default 20000); with a scheduler, the epochs of so many full trainings."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed (default 0); same seed, same result.")] = None,
    start_from: Annotated[
        list[str] | None,
        typer.Option(
            help="Evaluate first: a published network, a code, RUN#3, the front of RUN, or FILE.csv; repeatable."
        ),
    ] = None,
    learn_from: Annotated[
        list[str] | None,
        typer.Option(help="Know the results of RUN or FILE.csv from the start, at no budget; repeatable."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run directory to make; default: a new one under runs/.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file with the same names; options win over it.")] = None,
    rows: Annotated[int, typer.Option(help="Points of the front to print.", min=2)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")] = False,
) -> None:
    """Search a space for the networks with the best trade-off of accuracy and cost.

    Example: nas search --space mbconv --target pixel4 --max-latency 20ms
    """
    from nas.search.config import make_config, merged, read_settings, settings_of
    from nas.search.loop import start_search

    options = {
        "space": space, "target": target, "strategy": strategy, "estimator": estimator, "max_latency": max_latency,
        "max_params": max_params, "max_macs": max_macs, "budget": budget, "seed": seed, "out": out,
        "start_from": start_from or None, "learn_from": learn_from or None, "max": upper or None, "min": lower or None,
        "data": data, "objectives": objectives, "confidence": confidence, "verify": verify, "scheduler": scheduler,
        "epochs": epochs, "set": settings or None,
    }  # fmt: skip
    fields = merged(read_settings(config) if config is not None else {}, settings_of(options))
    folder = fields.pop("out", None)
    run = start_search(make_config(fields, str(config or "")), Path(folder) if folder is not None else None)
    finish(run, as_json, rows, preview=True)
