"""Print every step from ResNet to ConvNeXt, our count beside the paper's: `python experiments/convnext_path/path.py`.

A count agrees when it rounds to the digits that are printed, † when it does so by way of two decimals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import ROUND_HALF_UP, Decimal

from nas.errors import NasError
from search_spaces.convnext import FIGURE_2, PATH, PATH_200, SPACE, Step


def rows(path: Sequence[Step], table: str, figure: Sequence[str] = ()) -> Iterator[str]:
    """Yield a line of Markdown for each step; `figure` is what the paper's figure prints for them."""
    printed_in = [f"{table}, GFLOPs", "Figure 2"] if figure else [f"{table}, GFLOPs"]
    titles = ["step", *printed_in, "ours", "params, M", "top-1, paper", "code"]
    yield f"| {' | '.join(titles)} |"
    yield "|---" * len(titles) + "|"
    for i, step in enumerate(path):
        cost = step.network.cost()
        ours = cost["macs"] / 1e9
        printed = [f"{value}{verdict(ours, value)}" for value in (step.gflops, *figure[i : i + 1])]
        cells = [step.name, *printed, f"{ours:.4f}", f"{cost['params'] / 1e6:.2f}", f"{step.top1:.2f}", code(step)]
        yield f"| {' | '.join(cells)} |"


def verdict(ours: float, printed: str) -> str:
    """Return what stands behind a printed figure: nothing where ours rounds to it, else † or that it differs."""
    decimals = len(printed.partition(".")[2])
    if f"{ours:.{decimals}f}" == printed:
        return ""
    twice = Decimal(f"{ours:.2f}").quantize(Decimal(printed), ROUND_HALF_UP)
    return " †" if str(twice) == printed else " **differs**"


def code(step: Step) -> str:
    """Return the step as a point of the space, or why it is none."""
    try:
        return f"`{SPACE.format(SPACE.encode(step.network)[None])[0]}`"
    except NasError as error:
        return f"outside: {error}"


def main() -> None:
    print("### ResNet-50 to ConvNeXt-T\n", *rows(PATH, "Table 10", FIGURE_2), "", sep="\n")
    print("### ResNet-200 to ConvNeXt-B\n", *rows(PATH_200, "Table 11"), "", sep="\n")


if __name__ == "__main__":
    main()
