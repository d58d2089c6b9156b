"""`nas show SPACE`"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from nas.cli.console import console, plain_table, print_json
from nas.cli.results import ranges_table

if TYPE_CHECKING:
    from nas.search.about_space import AboutSpace, TargetOnSpace
    from nas.search.declaration import DecisionLine
    from nas.space import SearchSpace

#: choices of one decision that are all printed; of more, the first and the last ones
ALL_CHOICES = 12
#: targets without data on the space that are all named
ALL_TARGETS = 6


def show_space(space: SearchSpace, as_json: bool) -> None:
    """Print what is known of a space."""
    from nas.search.about_space import about_space

    about = about_space(space)
    if as_json:
        print_json(_as_json(about))
    else:
        _print(about)


def size_text(size: int) -> str:
    """Return a number of networks in full, or from 10^18 on rounded."""
    return f"{size:,}" if size < 10**18 else f"{size:.3g}".replace("e+", "·10^")


def _print(about: AboutSpace) -> None:
    out, space = console(), about.problem.space
    # Counted before anything is printed: a space of networks too large to count is refused.
    ranges = ranges_table(about.problem)
    out.print(f"{space.name}  {space.description}")
    out.print(f"{size_text(space.size)} distinct networks (computed), {len(space.decisions)} decisions")
    table = plain_table("decision", "times", "choices", "only if", text=(0, 2, 3))
    for column in table.columns:
        column.no_wrap = False
    for line in about.decisions:
        table.add_row(line.names, str(line.count), _choices(line), line.condition)
    out.print(table)
    out.print(ranges)
    for name, code in about.published.items():
        out.print(f"Contains  {name}  {code}")
    if not about.published:
        out.print("Contains  no published network")
    for name, note in about.accuracy.items():
        out.print(f"Accuracy  {name}: {note}")
    if not about.accuracy:
        out.print("Accuracy  no estimator covers this space, so `nas search` cannot search it")
    for target in about.targets:
        if target.ranges:
            out.print(f"Target    {target.name}: {_predicted(target)} (predicted); {target.note}")
    others = [target.name for target in about.targets if not target.ranges]
    if others:
        named = ", ".join(others) if len(others) <= ALL_TARGETS else f"{len(others)} other targets: nas list targets"
        out.print(f"          not covered by {named}")


def _predicted(target: TargetOnSpace) -> str:
    """The quantities that a target predicts, with their limits where these are known."""
    from nas.search.metrics import METRICS

    words, within = [], "" if target.reached else "within "
    for name, limits in target.ranges.items():
        metric = METRICS[name]
        between = f" {within}{metric.number(limits[0])} to {metric.text(limits[1])}" if limits else ""
        words.append(f"{metric.label}{between}")
    return ", ".join(words)


def _choices(line: DecisionLine) -> str:
    shown = line.choices
    if len(shown) > ALL_CHOICES:
        shown = (*shown[:4], "…", *shown[-2:])
        return f"{', '.join(shown)} ({len(line.choices)} choices)"
    return ", ".join(shown)


def _as_json(about: AboutSpace) -> dict[str, Any]:
    problem = about.problem
    preview, space = problem.preview, problem.space
    return {
        "space": space.name,
        "description": space.description,
        "size": {"value": space.size, "origin": "computed"},
        "decisions": [
            {
                "name": decision.name,
                "choices": decision.choices,
                "active_if": asdict(decision.active_if) if decision.active_if else None,
            }
            for decision in space.decisions
        ],
        "ranges": {
            name: {
                "min": low, "median": median, "max": high, "origin": problem.origin(name),
                "min_and_max_of": "space" if name in preview.exact else "sample",
            }
            for name, (low, median, high) in preview.ranges.items()
        },
        "sampled": preview.sampled,
        "published": about.published,
        "accuracy": about.accuracy,
        "targets": [asdict(target) | {"origin": "predicted"} for target in about.targets],
    }  # fmt: skip
