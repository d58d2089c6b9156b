"""Peak activation memory of NAS-Bench-101 cells, for many cells at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from search_spaces.cells.nasbench101_graphs import OUTPUT, Matrices
from search_spaces.cells.nasbench101_network import vertex_channels

Counts = npt.NDArray[np.int64]


def peak_channels(matrices: Matrices, in_channels: int, channels: int) -> Counts:
    """Return int[n], the largest sum of channels alive at one time in a cell, its input included.

    All feature maps of a cell have one height and width. Same rules as `nas.space.trace.peak_bytes` on the layers of
    `NasBench101Network`, in the order of execution there.

    Args:
        matrices: bool[n, 7, 7], canonical graphs.
        in_channels, channels: of the input and of the output of the cell.
    """
    widths = vertex_channels(matrices, channels)
    # The last vertex that reads each one; the input is vertex 0.
    last_read = OUTPUT - matrices[:, :OUTPUT, ::-1].argmax(axis=2)
    held = np.full(len(matrices), in_channels)
    sizes = np.concatenate([held[:, None], widths], axis=1)
    peak: Counts = held.copy()
    for vertex in range(1, OUTPUT):
        reads = matrices[:, :OUTPUT, vertex]
        used = reads.any(axis=1)
        width = np.where(used, sizes[:, vertex], 0)
        projects = reads[:, 0]
        sources = reads[:, 1:]
        dies = reads & (last_read == vertex)
        # The projection of the input is a new feature map.
        peak = np.maximum(peak, held + np.where(projects, width, 0))
        held += np.where(projects, width, 0) - np.where(dies[:, 0], in_channels, 0)
        # A sum writes over a term of its own width that nobody else reads; the projection is one.
        sums = sources.sum(axis=1) + projects > 1
        reuses = projects | (dies[:, 1:] & (widths == width[:, None])).any(axis=1)
        released = (dies[:, 1:] * widths).sum(axis=1)
        peak = np.maximum(peak, held + np.where(sums & ~reuses, width, 0))
        held += np.where(sums, np.where(projects, 0, width) - released, 0)
        # The operation reads the sum, or the single term itself, and makes the output of the vertex.
        peak = np.maximum(peak, held + width)
        held += width - np.where(sums | projects, width, released)
    joined = _output_peak(matrices, held, channels)
    return np.maximum(peak, joined, out=peak)


def _output_peak(matrices: Matrices, held: Counts, channels: int) -> Counts:
    """The peak while the output is joined: once for a concatenation, once for the projection added to it."""
    joins = matrices[:, 1:OUTPUT, OUTPUT].sum(axis=1) > 1
    # A concatenation takes the place of its parts, so as much is held when the projection comes.
    peak: Counts = held + np.where(joins | matrices[:, 0, OUTPUT], channels, 0)
    return peak
