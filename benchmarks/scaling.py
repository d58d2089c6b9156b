"""How fast a family with all its counts is made, beside building its networks in torch: python benchmarks/scaling.py"""

from __future__ import annotations

import time
from collections.abc import Callable

import nas
from nas.scaling.coefficients import Coefficients
from nas.scaling.emit import emit
from nas.scaling.family import Family
from nas.scaling.table import family_table

PAPER = Coefficients(1.2, 1.1, 1.15)
REPEATS = 5


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def family() -> Family:
    """Eight members with params, MACs and peak activations of each."""
    found = emit(nas.network("efficientnet_b0"), "efficientnet_b0", PAPER, [float(phi) for phi in range(8)])
    family_table(found)
    return found


def main() -> None:
    first, members = seconds(family), family().members
    counted = [seconds(family) for _ in range(REPEATS)]
    built = [seconds(lambda: [member.spec.build() for member in members]) for _ in range(REPEATS)]
    for member, row in zip(members, family_table(family())["params"], strict=True):
        assert sum(parameter.numel() for parameter in member.spec.build().parameters()) == row
    print(f"a family of 8 with all counts     {first:.2f} s at first (imports included), then {min(counted):.3f} s")
    print(f"its networks built in torch       {min(built):.2f} s, {min(built) / min(counted):.0f} times as long")


if __name__ == "__main__":
    main()
