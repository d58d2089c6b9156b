"""`darts`: the cells of DARTS (Liu et al., 2019) in its CIFAR-10 network, 20 cells of 36 channels.

A cell has four nodes. Each sums two edges from different states, of seven operations or "none"; an edge with "none"
contributes nothing wherever it comes from, so a node is counted by the edges that are left: two, one or no edge.
"""

from __future__ import annotations

from itertools import combinations

from nas.space.cell import Cell
from nas.space.cell_network import CellNetwork
from nas.space.cell_space import CellSpace

NODES = 4

#: the operations besides "none", and how they read in code strings
OPERATIONS = {
    "skip_connect": "skip",
    "max_pool_3x3": "max3",
    "avg_pool_3x3": "avg3",
    "sep_conv_3x3": "sep3",
    "sep_conv_5x5": "sep5",
    "dil_conv_3x3": "dil3",
    "dil_conv_5x5": "dil5",
}

#: stands where each network has its own
_ANY = Cell(((),), (2,))


def inputs(state: int) -> list[tuple[int, ...]]:
    """Return what a node may read: two different states before it, one, or none."""
    return [*combinations(range(state), 2), *((source,) for source in range(state)), ()]


SPACE = CellSpace(
    "darts",
    CellNetwork(normal=_ANY, reduction=_ANY, channels=36, cells=20),
    nodes=NODES,
    inputs=inputs,
    operations=OPERATIONS,
    description="DARTS cells, 4 nodes, 7 operations and none, in the CIFAR-10 network",
)
#: the network in which DARTS searches (sec. 3.1)
SPACE.proxy = {"channels": 16, "cells": 8}
