"""Where scaling laws come from: tables of trained networks, published families, files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import NasError, suggestion
from nas.scaling.laws.file import read_law
from nas.scaling.laws.law import FEWEST, Law, fit_law
from nas.scaling.observations import ACCURACY, need_rows, read_columns, refuse, top1_of, without_repeats
from nas.scaling.released import PublishedFamily, PublishedMember, published_families, published_family
from nas.space.catalogue import published_top1

if TYPE_CHECKING:
    import pandas as pd

#: columns that name a network; the first that is there is taken
_NAMES = ("name", "network", "model", "member", "architecture", "code")
#: training on more data than the rest of a family is another recipe
_MORE_DATA = re.compile(r"ImageNet-2[12]k", re.IGNORECASE)


def laws_of_table(
    path: Path, cost: str = "macs", where: Sequence[str] = (), seed: int = 0, accuracy: str | None = None
) -> dict[str, Law]:
    """Return the law of each family in a CSV file of trained networks.

    Columns: `cost`; one of ACCURACY in percent; where there are, `family`, a name, and `seed` of networks
    that were trained more than once.

    Args:
        where: conditions that rows must meet, COLUMN=VALUE or COLUMN~REGEX.
        accuracy: the column of accuracies or, where its name ends so, errors; by default the first of ACCURACY.

    Returns:
        Name of the family, "" without a column of that name -> its law.

    Raises:
        NasError: the table is faulty, or has no law; file, line or networks are named.
    """
    frame = read_columns(path, required=(cost,), one_of=(accuracy,) if accuracy else ACCURACY)
    refuse(frame[cost] <= 0, frame, cost, path, "a positive number")
    frame["_error"] = 100.0 - top1_of(frame, path, accuracy)
    for condition in where:
        frame = frame[_meets(frame, condition, path)]
    name = next((column for column in _NAMES if column in frame), None)
    key = [column for column in ("family", name, "seed") if column is not None and column in frame]
    frame = without_repeats(frame, key, (cost, "_error"), path) if name else frame.drop_duplicates()
    families = dict(list(frame.groupby("family", sort=False))) if "family" in frame else {"": frame}
    return {str(family): _law(rows, str(family), name, cost, path, seed) for family, rows in families.items()}


def _law(rows: pd.DataFrame, family: str, name: str | None, cost: str, path: Path, seed: int) -> Law:
    of = f" of family {family!r}" if family else ""
    need_rows(rows, FEWEST, path, f"a scaling law{of} has three parameters")
    called = [f"{row[name]} (line {line})" if name else f"line {line}" for line, row in rows.iterrows()]
    try:
        return fit_law(
            rows[cost], rows["_error"], rows[name].tolist() if name else (), cost, called,
            family=family, source=path.name, seed=seed,
        )  # fmt: skip
    except NasError as error:
        raise NasError(f"{path}{of}: {error}") from None


def _meets(frame: pd.DataFrame, condition: str, path: Path) -> pd.Series[bool]:
    """Return which rows meet COLUMN=VALUE or COLUMN~REGEX."""
    parts = re.fullmatch(r"\s*([^=~]+?)\s*([=~])(.*)", condition)
    if parts is None:
        raise NasError(f"--where is {condition!r}, expected COLUMN=VALUE or COLUMN~REGEX, such as model~RegNetX")
    column, sign, wanted = parts.groups()
    if column not in frame:
        raise NasError(f"--where {condition}: {path} has no column {column!r}{suggestion(column, frame.columns)}")
    texts = frame[column].astype(str)
    try:
        pattern = re.compile(wanted if sign == "~" else "")
    except re.error as error:
        raise NasError(f"--where {condition}: {wanted!r} is no regular expression: {error}") from None
    met = texts == wanted.strip() if sign == "=" else texts.map(lambda text: bool(pattern.search(text)))
    if not met.any():
        near = suggestion(wanted, texts.unique()) if sign == "=" else ""
        raise NasError(f"--where {condition}: no row of {path} meets it{near}")
    return met


def law_of(family: PublishedFamily, cost: str = "macs", seed: int = 0) -> Law:
    """Return the law of a published family: exact costs against published top-1.

    Networks without a published accuracy, or trained on more data than the others, are left out; `notes_on` says which.

    Raises:
        NasError: the cost of networks is not counted, or fewer than four members have a published accuracy.
    """
    members = [member for member in family.members if not _left_out(member)]
    if len(members) < FEWEST:
        others = published_families().values()
        enough = [each.name for each in others if sum(not _left_out(member) for member in each.members) >= FEWEST]
        raise NasError(
            f"a top-1 from the same data is published for {len(members)} networks of {family.name}, a scaling law "
            f"needs {FEWEST}; families that have them: {', '.join(enough)}"
        )
    counts = [member.spec.cost() for member in members]
    if cost not in counts[0]:
        raise NasError(f"the {cost} of a network is not counted{suggestion(cost, counts[0])}")
    figures = [published_top1(member.network) for member in members]
    epochs = {member.recipe.epochs if member.recipe else None for member in members}
    return fit_law(
        [count[cost] for count in counts], [round(100.0 - figure.value, 4) for figure in figures if figure],
        [member.name for member in members], cost, family=family.name, origin="published", seed=seed,
        source="; ".join(dict.fromkeys(figure.source for figure in figures if figure)),
        epochs=epochs.pop() if len(epochs) == 1 else None,
    )  # fmt: skip


def notes_on(family: PublishedFamily) -> list[str]:
    """Return which members a family's law leaves out and why, and whether its errors are of several sources."""
    reasons = {member.name: _left_out(member) for member in family.members}
    notes = [f"{name} is left out: {reason}" for name, reason in reasons.items() if reason]
    sources: dict[str, list[str]] = {}
    for member in family.members:
        figure = published_top1(member.network)
        if figure and not reasons[member.name]:
            sources.setdefault(figure.source, []).append(member.name)
    if len(sources) > 1:
        said = "; ".join(f"{', '.join(names)}: {source}" for source, names in sources.items())
        notes.append(f"the errors are of {len(sources)} sources, whose recipes may differ: {said}")
    return notes


def _left_out(member: PublishedMember) -> str:
    """Return why a member tells nothing about the law of its family, "" if it does."""
    figure = published_top1(member.network)
    if figure is None:
        return "no top-1 is known for it"
    trained = figure.source + (member.recipe.pretraining if member.recipe else "")
    return f"its {figure.value:g} % come of training on more data" if _MORE_DATA.search(trained) else ""


def load_law(text: str, cost: str = "macs") -> Law:
    """Return the law that a text names: a file written by `nas scale law --out`, or a published family.

    Raises:
        NasError: it names neither, or what it names is no law.
    """
    if Path(text).suffix in (".yaml", ".yml"):
        return read_law(Path(text))
    if text not in published_families():
        raise NasError(
            f"{text!r} is neither a law that nas scale law --out wrote (a .yaml file) nor a published family"
            f"{suggestion(text, published_families())}"
        )
    return law_of(published_family(text), cost)
