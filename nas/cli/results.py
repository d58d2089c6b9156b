"""What `nas search`, `nas resume` and `nas show` print of a run."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nas.cli.console import console, front_table, plain_table, print_json, progress_bar, records
from nas.cli.supernet import print_training, training_report, training_shown
from nas.errors import InterruptedSearchError, NoNetworkFoundError

if TYPE_CHECKING:
    from rich.table import Table

    from nas.search.problem import Problem
    from nas.search.run import Run


def finish(run: Run, as_json: bool, rows: int, preview: bool = False) -> None:
    """Bring a run to its budget, write and print its results; with `preview`, first say what is searched."""
    from nas.report.from_run import write_report
    from nas.search.launched import follows
    from nas.search.loop import run_search

    if follows():
        run_search(run)
        return
    try:
        if preview and not as_json:
            print_preview(run.problem)
            print_plan(run)
        with training_shown(run, not as_json) as on_training, progress_bar(run, enabled=not as_json) as on_progress:
            run_search(run, on_progress, on_training)
        report = write_report(run)
    except KeyboardInterrupt:
        # A second Ctrl-C must not cut off the sentence that says how to go on.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        kept = len(run.history())
        so_far = f"{kept} evaluations are kept" if run.config.oneshot is None else "what is trained is kept"
        raise InterruptedSearchError(
            f"interrupted; {so_far}, continue with: nas resume {shlex.quote(str(run.path))}"
        ) from None
    found = not run.front.empty
    if as_json:
        print_json(result_of(run))
        if not found:
            raise NoNetworkFoundError(nothing_found(run))
        return
    out = console()
    if found:
        print_results(run, rows)
    print_end(run)
    out.print(f"Run       {run.path}  (config.yaml, trials.sqlite, front.csv, front.json)")
    out.print(f"Report    {report}")
    if run.config.oneshot is not None:
        out.print(f"Training  {training_report(run)}")
    if not found:
        raise NoNetworkFoundError(nothing_found(run))
    point = shlex.quote(f"{run.path}#1")
    out.print(f"Next      nas show {point} · nas export {point} --format onnx")


def print_preview(problem: Problem) -> None:
    """Say what is about to be searched, before anything is spent."""
    from nas.search.metrics import METRICS, bound_text

    out = console()
    preview, space = problem.preview, problem.space
    size = f"{preview.size:,} networks, {len(space.decisions)} decisions"
    out.print(f"Space     {space.name}: {space.description}; {size}")
    for target in problem.targets:
        of_target = [device for device in problem.devices if device.target == target.name]
        settings = dict.fromkeys(device.fitted.fit.setting for device in of_target)
        out.print(f"Target    {target.name}: {target.profile.description}; {'; '.join(settings)}")
        for device in of_target:
            label = METRICS[device.fitted.metric].label.capitalize()
            out.print(f"{label:9s} predicted; {device.fitted.held_out_text}")
    if problem.estimator is not None and problem.about_estimator is not None:
        out.print(f"Accuracy  {problem.estimator.origin}; {problem.about_estimator.note}")
    out.print(ranges_table(problem))
    if preview.constraints:
        bounds = map(bound_text, preview.constraints)
        n = preview.sampled
        # No success in n draws: the share is below 3/n with 95 % confidence.
        share = f"less than {3 / n:.2%}" if not (preview.feasible or preview.whole) else f"{preview.feasible / n:.1%}"
        basis = "counted" if preview.whole else f"estimated from {n:,} sampled networks"
        out.print(f"Budget    {', '.join(bounds)}: met by {share} of the space, {basis}")
    if later := [bound_text(bound) for bound in problem.constraints if bound not in preview.constraints]:
        out.print(f"Budget    {', '.join(later)}: known of a network when it is evaluated")


def print_plan(run: Run) -> None:
    """Say by what means is searched where the user did not choose or choosing has a price, and what is known."""
    from nas.search.warm_start import source_text

    config, problem = run.config, run.problem
    if run.record.reason:
        console().print(f"Strategy  {config.strategy} chose {run.record.reason}")
    if config.scheduler != "none":
        total = config.budget * problem.full_epochs
        short = ", ".join(map(str, problem.fidelities[:-1]))
        console().print(
            f"Scheduler {config.scheduler}: after {short} epochs the best are chosen for {problem.full_epochs}; the "
            f"budget is that of {config.budget:,} full trainings, {total:,} epochs"
        )
    if config.oneshot is not None:
        print_training(run)
    batches = run.known.batches.tolist()
    for batch, name in enumerate(run.config.learn_from):
        console().print(f"Known     {batches.count(batch):,} results {source_text(name)}; they cost no budget")


def print_end(run: Run) -> None:
    """Say what the budget was spent on."""
    from nas.search.spending import spent_text

    console().print(f"\nDone      {spent_text(run)}")


def nothing_found(run: Run) -> str:
    """Say that no network meets the bounds, and which come nearest."""
    from nas.search.metrics import METRICS, bound_text, nearest_text

    constraints, results = run.problem.constraints, run.results
    if results.empty:
        return "no network found: none was left to evaluate"
    if not constraints:
        return f"no network found: all {len(results)} evaluations failed"
    bounds = ", ".join(map(bound_text, constraints))
    alone = [
        f"; none meets {bound_text(constraint)}, the {'smallest' if constraint.sign > 0 else 'largest'} is "
        f"{METRICS[constraint.metric].text(constraint.sign * (constraint.sign * results[constraint.metric]).min())}"
        for constraint in constraints
        if (constraint.excess(results) > 0).all()
    ]
    nearest = nearest_text(results, constraints)
    return f"no network found among {len(results):,} that meets all bounds ({bounds}){''.join(alone)}; {nearest}"


def ranges_table(problem: Problem) -> Table:
    """Return smallest, median and largest value of every metric over the space, and what they are of."""
    from nas.search.metrics import METRICS

    preview = problem.preview
    table = plain_table("", "min", "median", "max", "origin", text=(0, 4))
    for name, (low, median, high) in preview.ranges.items():
        metric = METRICS[name]
        if metric.of and not metric.confidence:
            # The odds to meet a bound say nothing of the space that the line below the table does not.
            continue
        basis = "min and max of the whole space" if name in preview.exact else f"of {preview.sampled:,} sampled"
        numbers = [metric.number(value) for value in (low, median, high)]
        table.add_row(f"{metric.label} ({metric.unit})", *numbers, f"{problem.origin(name)}; {basis}")
    return table


def print_results(run: Run, rows: int) -> None:
    """Print the front and, beside it, the published networks of the space."""
    from nas.search.published import figures_text, standing_text
    from nas.search.warm_start import source_text

    out = console()
    points, problem = run.front, run.problem
    if points.empty:
        out.print(f"Nothing is evaluated yet; continue with: nas resume {run.path}" if run.results.empty else
                  nothing_found(run))  # fmt: skip
        return
    more = f", {min(rows, len(points))} of them here and all in front.csv" if len(points) > rows else ""
    predicted = any(problem.origin(objective.metric) == "predicted" for objective in problem.objectives)
    volume = f"hypervolume {run.hypervolume:.4f}{' (of predicted values)' if predicted else ''}"
    spread = "; ± half of a 90 % interval" if any(f"{name}_low" in points for name in problem.metrics) else ""
    count = f"{len(points)} point{'s' if len(points) > 1 else ''}"
    out.print(f"\nPareto front: {count}{more}; {volume}{spread}")
    out.print(front_table(run, rows, out))
    if "learned_from" in points and any(points["learned_from"]):
        counts = points["learned_from"][points["learned_from"] != ""].value_counts(sort=False)
        known = [f"{n} {source_text(str(name))}" for name, n in counts.items()]
        out.print(f"* known before the search: {', '.join(known)}")
    for line in [*reported(run), *_verified_lines(run)]:
        out.print(line)
    for _, row in run.published().iterrows():
        out.print(f"{row['name']}  {row['code']}\n  {figures_text(problem, row)}\n  {standing_text(run, row)}")


def _verified_lines(run: Run) -> Iterator[str]:
    """What was measured of points of the front, and how far off the predictions were on the whole."""
    from nas.search.verify import verified, verified_text

    found = verified(run)
    if found is None:
        return
    for _, row in found.iterrows():
        yield f"Measured  #{row['point']} {verified_text(row)}"
    inside = int(found["measured_ms"].between(found["low_ms"], found["high_ms"]).sum())
    off = found["error_percent"].abs()
    yield (
        f"          predictions are off by {off.mean():.1f} % on average, {off.max():.1f} % at most; {inside} of "
        f"{len(found)} measurements are inside the 90 % interval"
    )


def reported(run: Run) -> Iterator[str]:
    """Say of the point that is best in the first objective what the search was not told, such as test accuracy."""
    from nas.search.metrics import METRICS

    points, problem = run.front, run.problem
    if problem.estimator is None or points.empty:
        return
    first = problem.objectives[0]
    figures = points[first.metric].to_numpy()
    best = int(figures.argmax() if first.maximise else figures.argmin())
    values = problem.estimator.report(problem.space.encode(str(points["code"].iloc[best]))[None])
    of_point = f"of #{points.index[best]}, the best in {METRICS[first.metric].label}; the search never saw it"
    for name in values:
        yield f"Reported  {name} {values[name].iloc[0]:.2f} ({problem.estimator.origin}) {of_point}"


def result_of(run: Run) -> dict[str, Any]:
    """Return what `--json` prints."""
    from nas.search.verify import verified

    preview, measured = run.problem.preview, verified(run)
    return {
        "run": str(run.path),
        "config": run.config.model_dump(),
        "space": {
            "name": run.config.space,
            "size": preview.size,
            "ranges": preview.ranges,
            "exact": sorted(preview.exact),
            "sampled": preview.sampled,
            "feasible": preview.feasible if preview.constraints == run.problem.constraints else None,
        },
        "origins": {metric: run.problem.origin(metric) for metric in run.problem.metrics},
        "evaluations": len(run.history()),
        "spent": run.spent,
        "known": len(run.known),
        "hypervolume": run.hypervolume,
        "front": records(run.front),
        "verified": None if measured is None else records(measured),
        "published": records(run.published()),
    }
