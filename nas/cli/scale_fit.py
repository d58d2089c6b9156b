"""`nas scale fit`"""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli.console import console, plain_table, print_json
from nas.errors import NasError

if TYPE_CHECKING:
    from rich.table import Table

    from nas.scaling.fitting.grid import GridFit
    from nas.scaling.fitting.result import FittedCoefficients
    from nas.scaling.fitting.surface import SurfaceFit, UnderCost
    from nas.space import NetworkSpec

#: rows of a residual table that are all printed; of longer ones those furthest off
ROWS = 24
_GREEK = ("alpha  depth", "beta   width", "gamma  resolution")


def fit(
    base: Annotated[
        str | None, typer.Option(help="The network that is scaled: a published one, RUN#3 or a code.")
    ] = None,
    observations: Annotated[
        Path | None, typer.Option(help="CSV of trained networks: depth, width, resolution, accuracy.")
    ] = None,
    family: Annotated[
        str | None, typer.Option(help="A published family, or a CSV with phi, depth, width, resolution.")
    ] = None,
    estimator: Annotated[
        str | None, typer.Option(help="Evaluate a small grid around the base by this accuracy estimator.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="Fit under the latency on this target as well.")] = None,
    cost: Annotated[
        str | None,
        typer.Option(help="macs (exact), paper (depth·width²·resolution²), or a column (default: macs if known)."),
    ] = None,
    factor: Annotated[float, typer.Option(help="How many times as costly each member is as the one before.")] = 2.0,
    accuracy: Annotated[
        str | None, typer.Option(help="Column of the observations to fit (default: accuracy, top1, error or val_top1).")
    ] = None,
    space: Annotated[str | None, typer.Option(help="Space of the estimator (default: all that are installed).")] = None,
    points: Annotated[int, typer.Option(help="Networks of the grid to evaluate.", min=3)] = 21,
    seed: Annotated[int, typer.Option(help="Seed of the draws behind the intervals.", min=0)] = 0,
    html: Annotated[Path | None, typer.Option(help="Write plots to this HTML file, which opens offline.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Fit alpha, beta, gamma of compound scaling, with 95 % intervals.

    From trained networks (--observations, see nas scale design), from a family (--family), or by a grid (--estimator).

    Example: nas scale fit --base efficientnet_b0 --observations points.csv --target pixel4 --html fit.html
    """
    ways = {"--observations": observations, "--family": family, "--estimator": estimator}
    given = [option for option, value in ways.items() if value is not None]
    if len(given) != 1:
        raise NasError(
            f"{' and '.join(given)} are different ways to fit; give one" if given else
            "nothing to fit to; give --observations CSV (nas scale design says what to train), --family or --estimator"
        )  # fmt: skip
    spec = _network(base)
    if family is not None:
        if target is not None or cost is not None:
            raise NasError("--target and --cost go with --observations or --estimator: a family is fitted as it is")
        _family(family, spec, base, seed, html, as_json)
    elif observations is not None:
        _observations(observations, spec, base, accuracy, cost, target, factor, seed, html, as_json)
    else:
        assert estimator is not None
        _grid(estimator, spec, base, space, cost, target, factor, points, seed, html, as_json)


def _network(base: str | None) -> NetworkSpec | None:
    from nas.search.resolve import resolve

    return None if base is None else resolve(base).spec


def _family(
    family: str, spec: NetworkSpec | None, base: str | None, seed: int, html: Path | None, as_json: bool
) -> None:
    from nas.scaling.fitting.family import fit_published, read_family_table
    from nas.scaling.released import published_family

    if family.endswith(".csv") or "/" in family:
        fitted = read_family_table(Path(family), spec, seed)
    else:
        fitted, base = fit_published(family, seed), published_family(family).base
    if html is not None:
        from nas.report.scaling_fit import write_family_fit

        write_family_fit(fitted, f"Coefficients of the family {family}", html)
    if as_json:
        print_json({"family": family} | fitted.as_json())
        return
    out = console()
    out.print(f"Fit       {fitted.method}")
    out.print(_coefficients(["95 % interval"], [fitted]))
    for name, growth in fitted.growth.items():
        out.print(f"Growth    {name}: {growth.text()} times per step of phi")
    out.print(_family_residuals(fitted))
    _close(fitted.notes, html, f"--base {base or 'ARCH'} --coefficients {_text(fitted)}")


def _observations(
    path: Path, spec: NetworkSpec | None, base: str | None, accuracy: str | None, cost: str | None,
    target: str | None, factor: float, seed: int, html: Path | None, as_json: bool,
) -> None:  # fmt: skip
    from nas.hardware import load_target
    from nas.scaling.fitting.surface import fit_observations
    from nas.scaling.fitting.table import growths_under, read_observations

    table = read_observations(path, spec, accuracy)
    device = load_target(target) if target is not None else None
    found = fit_observations(table, growths_under(table, spec, cost, device), factor, seed)
    if html is not None:
        from nas.report.scaling_fit import write_surface_fit

        write_surface_fit(found, f"Compound scaling fitted to {path.name}", html)
    if as_json:
        print_json({"observations_file": str(path), "base": base} | found.as_json())
        return
    _print_surface(found)
    notes = dict.fromkeys(note for each in found.by_cost for note in each.fitted.notes)
    under = found.by_cost[-1]
    _close(tuple(notes), html, f"--base {base or 'ARCH'} --coefficients {_text(under.fitted)} --phi 0..7")


def _grid(
    estimator: str, spec: NetworkSpec | None, base: str | None, space: str | None, cost: str | None,
    target: str | None, factor: float, points: int, seed: int, html: Path | None, as_json: bool,
) -> None:  # fmt: skip
    from nas import registry
    from nas.hardware import load_target
    from nas.scaling.fitting.cost_growth import cost_named
    from nas.scaling.fitting.estimator import EstimatedAccuracy, fit_by_estimator
    from nas.search.spaces import find_space

    if spec is None:
        raise NasError("a grid is built around a base network: name it by --base")
    judge = registry.load("estimators", estimator)()
    spaces = [find_space(name) for name in ([space] if space else registry.names("spaces"))]
    evaluate = EstimatedAccuracy.of(judge, spaces)
    growth, exact = cost_named(spec, cost or "macs", load_target(target) if target is not None else None)
    found = fit_by_estimator(spec, evaluate, growth, exact, factor, points, seed)
    if html is not None:
        from nas.report.scaling_fit import write_grid_fit

        write_grid_fit(found, f"Compound scaling of {base} by a grid", html)
    if as_json:
        print_json({"base": base, "estimator": estimator, "accuracy_origin": judge.origin} | found.as_json())
        return
    _print_grid(found, f"{estimator}, {judge.origin}")
    chosen = _text(found.fitted) if found.fitted else ",".join(str(found.best.coefficients).split(", "))
    _close(found.fitted.notes if found.fitted else growth.notes, html, f"--base {base} --coefficients {chosen}")


def _print_surface(found: SurfaceFit) -> None:
    out, table, surface = console(), found.observations, found.surface
    networks = int(table.networks.max()) + 1
    out.print(
        f"Fit       second-order surface of {table.metric} in log multipliers, "
        f"{'with' if surface.interactions else 'without'} interactions: {len(surface.estimate)} parameters, "
        f"{len(table.accuracy)} observations of {networks} networks"
    )
    seeds = "" if found.seed_noise is None else f"; {found.seed_noise:.2f} between trainings of one network"
    out.print(
        f"Error     residuals {surface.noise:.2f} points ({surface.freedom} degrees of freedom), "
        f"networks left out {found.left_out_error:.2f}{seeds}"
    )
    for under in found.by_cost:
        out.print(f"Cost      {under.growth}")
    heads = [f"{found.factor:g} × {under.growth.label}" for under in found.by_cost]
    out.print(_coefficients(heads, [under.fitted for under in found.by_cost]))
    for under in found.by_cost:
        _print_advantage(under)
    _print_residuals(found)


def _print_advantage(under: UnderCost) -> None:
    out = console()
    out.print(f"Compound against one dimension at equal {under.growth.label}, points of accuracy on the surface (95 %)")
    table = plain_table("", *(f"{each.factor:g} × base" for each in under.advantages))
    for i, name in enumerate(("depth", "width", "resolution")):
        cells = [f"{each.over[i].text(2)}{' *' if name in each.extrapolated else ''}" for each in under.advantages]
        table.add_row(f"over {name}", *cells)
    table.add_row("ahead of all three", *(f"{100 * each.probability:.0f} % of draws" for each in under.advantages))
    out.print(table)
    if any(each.extrapolated for each in under.advantages):
        out.print("          * scaled further than any observation: extrapolated")
    for each in under.advantages:
        out.print(f"Verdict   at {each.factor:g} × the {under.growth.label}: {each.verdict}")


def _print_residuals(found: SurfaceFit) -> None:
    rows = found.by_network
    shown = rows if len(rows) <= ROWS else rows.loc[rows["residual"].abs().nlargest(ROWS).index]
    title = "" if len(shown) == len(rows) else f" (the {ROWS} furthest off of {len(rows)})"
    console().print(f"Networks{title}: means of runs, points; left out: when fitted to the others")
    table = plain_table("network", "runs", "depth", "width", "resol.", "given", "fitted", "resid.", "left\nout")
    table.columns[0].no_wrap, table.columns[0].overflow = False, "fold"
    for row in shown.to_dict(orient="records"):
        numbers = [f"{row[name]:.3f}" for name in ("depth", "width", "resolution")]
        numbers += [f"{row[name]:.2f}" for name in ("accuracy", "fitted")]
        numbers += [f"{row[name]:+.2f}" if isfinite(row[name]) else "–" for name in ("residual", "left_out")]
        table.add_row(row["name"], f"{row['runs']}", *numbers)
    console().print(table)


def _print_grid(found: GridFit, origin: str) -> None:
    out = console()
    out.print(f"Grid      {len(found.points)} networks of {found.factor:g} × the {found.growth.label} of the base")
    out.print(f"Cost      {found.growth}")
    table = plain_table("alpha", "beta", "gamma", "pixels", "cost", "MACs M", f"accuracy\n{origin}", text=())
    for row in found.table.head(ROWS).to_dict(orient="records"):
        coefficients = [f"{row[name]:.2f}" for name in ("depth", "width", "resolution")]
        table.add_row(
            *coefficients, f"{row['pixels']:.0f}", f"{row['cost']:.3f}", f"{row['macs'] / 1e6:.1f}",
            f"{row['accuracy']:.2f}",
        )  # fmt: skip
    out.print(table)
    out.print(f"Best      {found.best.coefficients} of the networks above")
    if found.fitted is None:
        out.print("Surface   none: the grid has too few networks for one")
    else:
        out.print(f"Surface   {found.fitted.method}")
        out.print(_coefficients([f"{found.factor:g} × {found.growth.label}"], [found.fitted]))


def _coefficients(heads: list[str], fits: list[FittedCoefficients]) -> Table:
    """One row a coefficient, one column a fit: estimate and 95 % interval."""
    table = plain_table("", *heads)
    for i, name in enumerate(_GREEK):
        table.add_row(name, *(each.intervals[i].text() for each in fits))
    return table


def _family_residuals(fitted: FittedCoefficients) -> Table:
    """One row a member: its multipliers, and how far they are above what the coefficients give."""
    dimensions = ("depth", "width", "resolution")
    heads = [text for name in dimensions for text in (name, "off %")]
    table = plain_table("member", "phi", *heads)
    for row in fitted.residuals.to_dict(orient="records"):
        cells = [
            f"{row[key]:{form}}"
            for name in dimensions
            for key, form in ((name, ".3f"), (f"{name}_difference_percent", "+.1f"))
        ]
        table.add_row(row["name"], f"{row['phi']:g}", *cells)
    return table


def _text(fitted: FittedCoefficients) -> str:
    return ",".join(f"{each.value:.4g}" for each in fitted.intervals)


def _close(notes: tuple[str, ...], html: Path | None, emit: str) -> None:
    for note in notes:
        console().print(f"Note      {note}")
    if html is not None:
        typer.echo(f"Plots     {html}")
    typer.echo(f"Next      nas scale emit {emit}")
