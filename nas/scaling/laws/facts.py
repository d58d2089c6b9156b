"""What there is to say of a scaling law: intervals, how well it foretold, what it foretells, and what to beware of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nas.scaling.laws.law import FEWEST, Forecast, Law, inversion

#: the next member costs this many times as much as the largest
NEXT = 2.0
#: beyond so many times the range that was observed, a law is a guess
_FAR = 4.0


@dataclass(frozen=True)
class LawFacts:
    """A law with all that is told of it.

    Args:
        level: of the intervals.
        intervals: of a, b and c.
        ahead: members predicted from the cheaper ones alone; the last is the largest, from all others.
        asked: networks that nobody has trained.
        notes: what to beware of, each a sentence.
    """

    law: Law
    level: float
    intervals: dict[str, tuple[float, float]]
    ahead: list[Forecast]
    asked: list[Forecast]
    notes: list[str]

    @property
    def largest(self) -> Forecast | None:
        """The largest member, predicted from all others; None with fewer than five costs."""
        return self.ahead[-1] if self.ahead else None


def facts_of(law: Law, at: Sequence[float] = (), level: float = 0.95, notes: Sequence[str] = ()) -> LawFacts:
    """Return the facts of a law.

    Args:
        at: costs in plain units to predict at; by default that of the next member, twice the largest.
        level: of all intervals.
        notes: what else is to be said.
    """
    costs = at or (NEXT * law.costs[-1],)
    asked = [replace(law.forecast(cost, level), name="" if at else "next") for cost in costs]
    intervals = law.intervals(level)
    return LawFacts(law, level, intervals, law.ahead(level), asked, [*notes, *_warnings(law, intervals, costs)])


def _warnings(law: Law, intervals: dict[str, tuple[float, float]], costs: Sequence[float]) -> list[str]:
    notes = []
    if rise := inversion(law):
        i, j, points = rise
        names = law.names or [f"the network of {cost:g} {law.cost}" for cost in law.costs]
        notes.append(f"{names[j]} has {points:.2f} points more error than {names[i]}, which costs less")
    if law.undetermined:
        notes.append(
            f"the exponent is at the end of the range looked at ({law.b:.2f}): these costs do not determine it"
        )
    elif law.c == 0.0:
        notes.append("least squares has no offset: these networks do not show where the error stops to fall")
    elif intervals["c"][0] == 0.0:
        notes.append("the interval of c reaches 0: these networks do not tell well where the error stops to fall")
    if len(law.costs) == FEWEST:
        notes.append("four networks leave one degree of freedom: the intervals are wide, and none can be left out")
    far = [cost for cost in costs if cost > _FAR * law.costs[-1] or cost < law.costs[0] / _FAR]
    if far:
        notes.append(
            f"{', '.join(f'{cost:.3g}' for cost in far)} {law.cost} is far outside what was observed, "
            f"{law.costs[0]:.3g} to {law.costs[-1]:.3g}: the interval holds only if the law goes on"
        )
    return notes
