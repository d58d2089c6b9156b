"""Print every step from ResNet to ConvNeXt, our count beside the paper's: `python experiments/convnext_path/path.py`.

A count agrees when it rounds to the digits that are printed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nas.errors import NasError
from search_spaces.convnext import PATH, PATH_200, SPACE, Step


def rows(path: Sequence[Step]) -> Iterator[str]:
    """Yield a line of Markdown for each step."""
    yield "| step | paper, GFLOPs | ours | params, M | top-1, paper | code |"
    yield "|---|---|---|---|---|---|"
    for step in path:
        cost = step.network.cost()
        ours = cost["macs"] / 1e9
        verdict = "" if f"{ours:.2f}" == step.gflops else " **differs**"
        yield (
            f"| {step.name} | {step.gflops} | {ours:.4f}{verdict} | {cost['params'] / 1e6:.2f} | {step.top1:.2f} "
            f"| {code(step)} |"
        )


def code(step: Step) -> str:
    """Return the step as a point of the space, or why it is none."""
    try:
        return f"`{SPACE.format(SPACE.encode(step.network)[None])[0]}`"
    except NasError as error:
        return f"outside: {error}"


def main() -> None:
    for title, path in (
        ("ResNet-50 to ConvNeXt-T (Table 10)", PATH),
        ("ResNet-200 to ConvNeXt-B (Table 11)", PATH_200),
    ):
        print(f"### {title}\n", *rows(path), "", sep="\n")


if __name__ == "__main__":
    main()
