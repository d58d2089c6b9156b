"""A strip of points a group, over a scale of accuracies that is wider where they are high, as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, ROW, TOP = 760, 110, 20, 30, 16
#: marks of the scale, percent
TICKS = (10, 50, 70, 80, 85, 90, 92, 93, 94)
#: ends of the scale
WORST, BEST = 8.0, 94.6


def svg(groups: Mapping[str, Sequence[float]]) -> str:
    """Return the figure: test accuracies in percent by group, on a logarithmic scale of the error."""
    height = TOP + ROW * len(groups) + 44
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        f'font-size="12"><rect width="{WIDTH}" height="{height}" fill="white"/>'
    ]
    bottom = TOP + ROW * len(groups)
    for tick in TICKS:
        x = _place(tick)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{tick}</text>')
    for row, (name, values) in enumerate(groups.items()):
        y = TOP + ROW * (row + 0.5)
        few = len(values) <= 10
        parts.append(f'<text x="{LEFT - 10}" y="{y + 4:.1f}" text-anchor="end">{escape(name)}</text>')
        radius, colour, opacity = (5, "#1f5fa8", 0.85) if few else (3.5, "#888", 0.4)
        parts += [
            f'<circle cx="{_place(value):.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}" fill-opacity="{opacity}"/>'
            for value in values
        ]
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle:.0f}" y="{bottom + 36}" text-anchor="middle">{LABEL}</text></svg>')
    return "\n".join(parts) + "\n"


LABEL = "CIFAR-10 test accuracy in the NAS-Bench-201 table, percent (error on a logarithmic scale); a point a seed"


def _place(accuracy: float) -> float:
    """Return the x of an accuracy."""
    first, last = math.log(100 - WORST), math.log(100 - BEST)
    share = (first - math.log(100 - accuracy)) / (first - last)
    return LEFT + share * (WIDTH - RIGHT - LEFT)
