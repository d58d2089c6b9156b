"""A family of scaled networks as people read it: what was asked for, figures of every member, what stands beside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from nas.errors import NasError
from nas.hardware import Fitted, Target
from nas.scaling.coefficients import Coefficients
from nas.scaling.emit import Budget, emit, emit_released, emit_to_budgets
from nas.scaling.family import Family
from nas.scaling.laws.law import Law
from nas.scaling.laws.sources import law_of, load_law
from nas.scaling.released import PublishedFamily, difference, published_families
from nas.scaling.table import family_table
from nas.search.metrics import METRICS
from nas.search.quantities import parse_cost
from nas.search.resolve import Resolved, resolve
from nas.space import NetworkSpec

#: a column of a table as it is printed: heading -> cells as text, indexed by member
Columns = dict[str, "pd.Series[str]"]
DEFAULT_PHIS = tuple(float(phi) for phi in range(8))


@dataclass(frozen=True)
class Beside:
    """A table to compare a family with: its heading, its rows, and its cells as they are printed."""

    heading: str
    rows: pd.DataFrame
    columns: Columns


@dataclass(frozen=True)
class FamilyFacts:
    """A family and all that is said about it.

    Args:
        rows: see `family_table`.
        fitted: what predicts latency on the target, if one was named.
        law: what predicts accuracy, if one is known.
        beside: what to compare with: formula against released, or the family scaled by MACs.
        notes: how to read the figures: where they come from, how far they can be trusted.
    """

    family: Family
    rows: pd.DataFrame
    target: Target | None = None
    fitted: Fitted | None = None
    law: Law | None = None
    beside: tuple[Beside, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        how = f"coefficients {self.family.coefficients}" if self.family.coefficients else "no coefficients stated"
        if self.family.source:
            how = f"as released ({self.family.source}); {how}"
        if self.family.budget_metric:
            how += f", scaled to budgets of {METRICS[self.family.budget_metric].label}"
        return f"{len(self.family.members)} members around {self.family.base}; {how}"

    @property
    def origins(self) -> dict[str, str]:
        """What kind of number each column is."""
        kinds = dict.fromkeys(("params", "macs", "macs_growth", "peak_activation_bytes"), "computed")
        predicted = [self.fitted.metric, f"{self.fitted.metric}_growth"] if self.fitted else []
        kinds |= dict.fromkeys([*predicted, *(["top1"] if self.law else [])], "predicted")
        return kinds | {"published_top1": "published"}

    @property
    def sizes(self) -> Columns:
        """What makes each member: multipliers, resolution, and how to train it."""
        rows, members = self.rows, self.family.members
        recipes = [member.recipe for member in members]
        return {
            "phi": _texts(rows["phi"], "{:.3g}"),
            "depth\n×": _texts(rows["depth"], "{:.3f}"),
            "width\n×": _texts(rows["width"], "{:.3f}"),
            "input\npixels": _texts(rows["resolution"], "{:d}"),
            "dropout": _texts([r.dropout if r else None for r in recipes], "{:.3g}", rows.index),
            "stochastic\ndepth": _texts([r.stochastic_depth if r else None for r in recipes], "{:.3g}", rows.index),
        }

    @property
    def figures(self) -> Columns:
        """What each member costs and reaches."""
        rows = self.rows
        columns = {
            "params M\ncomputed": _metric(rows, "params"),
            "MACs M\ncomputed": _metric(rows, "macs"),
            "MACs\n× base": _texts(rows["macs_growth"], "{:.2f}"),
            "activations MB\ncomputed": _metric(rows, "peak_activation_bytes"),
        }
        if rows["budget"].notna().any() and self.family.budget_metric:
            metric = METRICS[self.family.budget_metric]
            columns[f"budget\n{metric.unit}"] = _metric(rows, self.family.budget_metric, rows["budget"])
        if self.fitted is not None:
            name, metric = self.fitted.metric, METRICS[self.fitted.metric]
            columns[f"{self.fitted.target} {metric.unit}\npredicted"] = _with_intervals(rows, name)
            columns["×\nbefore"] = _texts(rows[f"{name}_growth"], "{:.2f}")
        if self.law is not None:
            columns["top-1 %\npredicted"] = _with_intervals(rows, "top1")
        if rows["published_top1"].notna().any():
            columns["top-1 %\npublished"] = _texts(rows["published_top1"], "{:.1f}")
        return columns


def family_facts(
    base: str,
    coefficients: Coefficients | None = None,
    phis: Sequence[float] | None = None,
    budgets: Sequence[str] | None = None,
    target: Target | None = None,
    law: str | None = None,
    paper: bool = False,
) -> FamilyFacts:
    """Scale a base to a family and gather what is known of its members.

    Args:
        base: the text that names the base, see `resolve`.
        coefficients: alpha, beta, gamma; for a released family those that its paper states, if none are given.
        phis: compound coefficients, 0 to 7 if neither they nor budgets are given.
        budgets: what each member may cost, such as "20ms" on the target, or "400M" multiply-adds.
        law: file of a scaling law or name of a published family; by default the family of the base, if it has one.
        paper: take the members as they were released.

    Raises:
        NasError: something of this cannot be; says what and what would be right.
    """
    found = resolve(base)
    release = _release_with(found.spec.name)
    fitted = _fitted(found.spec, target)
    if paper:
        family, beside = _released(base, release, coefficients)
    else:
        stated = release.coefficients if release else None
        used = coefficients or stated
        if used is None:
            raise NasError(f"no coefficients are published for {base}; give some, or fit them with nas scale fit")
        if budgets is not None:
            family, beside = _to_budgets(found.spec, _lasting(found, base), used, budgets, fitted)
        else:
            family = emit(found.spec, _lasting(found, base), used, DEFAULT_PHIS if phis is None else phis)
            beside = ()
    accuracy = _law(law, release)
    rows = family_table(family, fitted, accuracy)
    return FamilyFacts(family, rows, target, fitted, accuracy, beside, _notes(family, rows, fitted, accuracy))


def _release_with(network: str) -> PublishedFamily | None:
    """The published family that a network is a member of."""
    for family in published_families().values():
        if any(member.network == network for member in family.members):
            return family
    return None


def _lasting(found: Resolved, text: str) -> str:
    """What names a base for as long as its file is kept: a point of a run by its code, where its space has a name."""
    if found.run is None or found.run.config.space_declaration is not None:
        return text
    return f"{found.run.config.space}:{found.code}"


def _fitted(base: NetworkSpec, target: Target | None) -> Fitted | None:
    if target is None:
        return None
    fitted = next(iter(target.of(base).values()))
    if fitted.fit.spaces:
        raise NasError(f"the target {target.name} knows networks of {', '.join(fitted.fit.spaces)} only, which scaled "
                       "networks are not; choose one that predicts any network: nas list targets")  # fmt: skip
    return fitted


def _released(
    base: str, release: PublishedFamily | None, coefficients: Coefficients | None
) -> tuple[Family, tuple[Beside, ...]]:
    """A family as it was released; beside it, where it has compound coefficients, what they give."""
    if release is None:
        raise NasError(f"{base} is in no released family; known are {', '.join(published_families())}")
    used = coefficients or release.coefficients
    if used is None or all(member.phi is None for member in release.members):
        return emit_released(release), ()
    rows = difference(release, used)
    return emit_released(release), (Beside(f"Released, and by the coefficients {used}", rows, _difference(rows)),)


def _difference(frame: pd.DataFrame) -> Columns:
    """Each quantity as released / by the formula, and by how many percent the formula is off."""
    rows = frame.set_index("member")
    heads = {"depth": "depth ×", "width": "width ×", "resolution": "pixels", "params": "params M", "macs": "MACs M"}
    columns = {}
    for name, head in heads.items():
        scale, form = (1e6, "{:.1f}") if name in ("params", "macs") else (1.0, "{:.4g}")
        released, formula = (rows[f"{name}_{which}"] / scale for which in ("released", "formula"))
        columns[f"{head}\nreleased / formula"] = (
            _texts(released, form) + " / " + _texts(formula, form) + _texts(rows[f"{name}_percent"], " ({:+.0f} %)")
        )
    return columns


def _to_budgets(
    base: NetworkSpec, text: str, coefficients: Coefficients, budgets: Sequence[str], fitted: Fitted | None
) -> tuple[Family, tuple[Beside, ...]]:
    """A family by budgets; beside one by latency, the same steps taken in multiply-adds."""
    metrics, bounds = zip(*(parse_cost("--budgets", budget) for budget in budgets), strict=True)
    if len(set(metrics)) > 1:
        raise NasError("--budgets mixes latency and multiply-adds; give one of them")
    asked = [Budget("".join(budget.split()), bound) for budget, bound in zip(budgets, bounds, strict=True)]
    if metrics[0] == "macs":
        return emit_to_budgets(base, text, coefficients, asked, _macs, "macs"), ()
    if fitted is None or fitted.metric != "latency_ms":
        raise NasError("budgets of latency need the device they are for; add --target, e.g. --target pixel4")
    family = emit_to_budgets(base, text, coefficients, asked, _latency(fitted), "latency_ms", fitted.target)
    if len(asked) < 2:
        return family, ()
    steps = [Budget(budget.name, bound / bounds[0] * _macs(family.members[0].spec)) for budget, bound in
             zip(asked, bounds, strict=True)]  # fmt: skip
    by_macs = emit_to_budgets(base, text, coefficients, steps, _macs, "macs")
    rows = family_table(by_macs, fitted)
    columns = {
        "input\npixels": _texts(rows["resolution"], "{:d}"),
        "MACs M\ncomputed": _metric(rows, "macs"),
        f"{fitted.target} ms\npredicted": _with_intervals(rows, fitted.metric),
        "of the\nbudget": _texts(100 * rows[fitted.metric] / list(bounds), "{:.0f} %"),
    }
    return family, (Beside("The same steps taken in multiply-adds instead of latency", rows, columns),)


def _macs(network: NetworkSpec) -> float:
    return float(sum(block.macs for block in network.blocks))


def _latency(fitted: Fitted) -> Callable[[NetworkSpec], float]:
    return lambda network: fitted.predictor.predict_spec(network)[0]


def _law(given: str | None, release: PublishedFamily | None) -> Law | None:
    """The law that a user names, else that of the released family of the base, where one can be fitted."""
    if given is not None:
        return load_law(given)
    if release is None:
        return None
    try:
        return law_of(release)
    except NasError:
        return None


def _notes(family: Family, rows: pd.DataFrame, fitted: Fitted | None, law: Law | None) -> tuple[str, ...]:
    lines = []
    everyone = [member.name for member in family.members]
    if fitted is not None:
        lines.append(f"Latency   predicted on {fitted.target}; {fitted.held_out_text}; ± is a 90 % interval")
        outside = [m.name for m in family.members if fitted.extrapolates(_macs(m.spec))]
        if outside:
            lines.append(
                f"          extrapolated for {_spans(outside, everyone)}: measured were {fitted.fit.valid_for}"
            )
    if law is not None:
        lines.append(f"Top-1     predicted by {law.text}; ± is a 90 % interval")
        lines.append(
            f"          of networks scaled and trained as those were: the law knows {METRICS[law.cost].label} alone"
        )
        beyond = [str(name) for name, cost in rows[law.cost].items() if not law.covers(cost)]
        if beyond:
            lines.append(f"          extrapolated for {_spans(beyond, everyone)}")
    by_recipe: dict[str, list[str]] = {}
    for member in family.members:
        by_recipe.setdefault(member.recipe.text if member.recipe else "nothing is published", []).append(member.name)
    return (*lines, *(f"Training  {_spans(names, everyone)}: {text}" for text, names in by_recipe.items()))


def _spans(names: Sequence[str], everyone: Sequence[str]) -> str:
    """Names in the order of the family, "b1 to b3, b5": neighbours as one."""
    spans: list[list[str]] = []
    for before, name in zip([None, *everyone], everyone, strict=False):
        if name in names:
            if before in names:
                spans[-1].append(name)
            else:
                spans.append([name])
    return ", ".join(span[0] if len(span) == 1 else f"{span[0]} to {span[-1]}" for span in spans)


def _texts(values: Iterable[Any], form: str, index: pd.Index | None = None) -> pd.Series[str]:
    """Values as text, "–" for what is not known."""
    series = values if isinstance(values, pd.Series) else pd.Series(list(values), index=index, dtype=object)
    return series.map(lambda value: "–" if pd.isna(value) else form.format(value))


def _metric(rows: pd.DataFrame, name: str, values: pd.Series | None = None) -> pd.Series[str]:
    return (rows[name] if values is None else values).map(METRICS[name].number)


def _with_intervals(rows: pd.DataFrame, name: str) -> pd.Series[str]:
    return rows.apply(METRICS[name].with_interval, axis=1)
