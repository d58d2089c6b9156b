"""The block vocabulary of NAS-Bench-101: a code gives the settings of six places, and each place its block in a cell.

The block of a vertex follows from its channels and those of what leads to it, which depend on the whole graph. So the
graph is looked up first, and the vertices' settings are columns derived from it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nas.space import Block, BlockVocabulary, VocabularyBuilder
from search_spaces.cells.nasbench101_codes import require_ids
from search_spaces.cells.nasbench101_graphs import INTERIOR, OPERATIONS, OUTPUT, graphs
from search_spaces.cells.nasbench101_network import (
    STACKS,
    NasBench101Network,
    output_blocks,
    vertex_block,
    vertex_channels,
)


@dataclass(frozen=True)
class _Cell:
    """A cell at known shapes, and per setting of a vertex what that means in its stack.

    A setting is whether the input of the cell comes in; the channels, 0 where the vertex is not in use; how many
    vertices of as many channels come in, and how many of one more.
    """

    in_channels: int
    channels: int
    size: int
    settings: list[list[int]]

    def vertex(self, setting: int) -> list[Block]:
        place, op = divmod(setting, len(OPERATIONS))
        projects, width, narrow, wide = self.settings[place]
        if not width:
            return []
        sources = (width + 1,) * wide + (width,) * narrow
        return [vertex_block(self.in_channels, width, self.size, OPERATIONS[op], bool(projects), sources)]

    def output(self, setting: int) -> list[Block]:
        branches, projects = divmod(setting, 2)
        return output_blocks(self.in_channels, self.channels, self.size, bool(projects), branches) if setting else []


def build_vocabulary(skeleton: NasBench101Network, n_decisions: int) -> BlockVocabulary:
    """Return the vocabulary of all cells in a skeleton; derived columns stand behind the `n_decisions` of a code."""
    settings, columns = _settings(skeleton)
    builder = VocabularyBuilder()
    builder.add((), (), lambda: (skeleton.stem,))
    in_channels = skeleton.channels
    for stack in range(STACKS):
        if stack:
            pool = skeleton.downsample(stack)
            builder.add((), (), lambda pool=pool: (pool,))
        channels, size = skeleton.stack_shape(stack)
        here = settings[:, [0, *range(1 + 3 * stack, 4 + 3 * stack)]].tolist()
        for _ in range(skeleton.cells):
            cell = _Cell(in_channels, channels, size, here)
            for vertex in range(INTERIOR):
                builder.add((n_decisions + vertex,), (len(settings) * len(OPERATIONS),), cell.vertex)
            builder.add((n_decisions + INTERIOR,), (2 * INTERIOR + 2,), cell.output)
            in_channels = channels
    builder.add((), (), lambda: skeleton.head)
    return builder.build(lambda codes: columns[require_ids(codes)], independent=False)


def _settings(skeleton: NasBench101Network) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int16]]:
    """What settles the block of a vertex, and which of these settings each vertex of each cell has.

    Returns:
        int[s, 10]: whether the input comes in, then for every stack the rest of a `_Cell`'s setting.
        int16[423624, 6]: for the vertices 1 to 5 the row of the above times 3, plus the operation; for the output
        twice the number of its branches, plus 1 if the input of the cell leads there.
    """
    shapes, shape, labels = graphs().shapes, graphs().shape, graphs().labels
    inner = shapes[:, 1:OUTPUT, 1:OUTPUT]
    parts = [shapes[:, 0, 1:OUTPUT].astype(np.int64)]
    for stack in range(STACKS):
        widths = vertex_channels(shapes, skeleton.stack_shape(stack)[0])
        wide = (inner & (widths[:, :, None] > widths[:, None, :])).sum(axis=1)
        parts += [widths, inner.sum(axis=1) - wide, wide]
    settings, rows = np.unique(np.stack(parts, axis=2).reshape(-1, len(parts)), axis=0, return_inverse=True)
    vertices = len(OPERATIONS) * rows.reshape(len(shapes), INTERIOR)[shape] + labels
    outputs = 2 * shapes[:, 1:OUTPUT, OUTPUT].sum(axis=1) + shapes[:, 0, OUTPUT]
    return settings, np.column_stack([vertices, outputs[shape]]).astype(np.int16)
