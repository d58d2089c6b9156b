"""The blocks of a network in few rows: equal blocks in a row, and equal cells in a row, together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from nas.space import Block, NetworkSpec, Node


@dataclass(frozen=True)
class BlockRow:
    """`repeats` equal things in a row: blocks, or whole parts such as cells. `blocks` are those of all of them.

    Args:
        part: where it belongs; "cell3–cell7" for several parts.
        text: the block in one token, or what is in the part.
        input, output: shapes as text.
    """

    part: str
    text: str
    input: str
    output: str
    repeats: int
    blocks: tuple[Block, ...]

    @property
    def params(self) -> int:
        return sum(block.params for block in self.blocks)

    @property
    def macs(self) -> int:
        return sum(block.macs for block in self.blocks)


def folded_rows(spec: NetworkSpec) -> list[BlockRow]:
    """Return a chain as a row for every run of equal blocks, another graph as a row for every run of equal parts."""
    if spec.is_chain:
        return [_run(list(group)) for _, group in groupby(spec.nodes, key=lambda node: (node.part, node.block))]
    parts = [list(group) for _, group in groupby(spec.nodes, key=lambda node: node.part)]
    runs = [list(group) for _, group in groupby(parts, key=lambda part: [node.block for node in part])]
    return [_run(run[0]) if len(run) == len(run[0]) == 1 else _parts(run) for run in runs]


def all_rows(spec: NetworkSpec) -> list[BlockRow]:
    """Return a row for every block."""
    return [_run([node]) for node in spec.nodes]


def _run(nodes: Sequence[Node]) -> BlockRow:
    first, last = nodes[0].block, nodes[-1].block
    blocks = tuple(node.block for node in nodes)
    return BlockRow(nodes[0].part, first.describe(), first.shape[0], last.shape[1], len(nodes), blocks)


def _parts(run: Sequence[Sequence[Node]]) -> BlockRow:
    names = list(dict.fromkeys(part[0].part for part in run))
    blocks = tuple(node.block for part in run for node in part)
    name = names[0] if len(names) == 1 else f"{names[0]}–{names[-1]}"
    kinds = Counter(node.block.describe() for node in run[0])
    text = ", ".join(f"{count}×{kind}" if count > 1 else kind for kind, count in kinds.items())
    return BlockRow(name, text, blocks[0].shape[0], blocks[-1].shape[1], len(run), blocks)
