"""`nasnet`: the cells of the NASNet search space (Zoph et al., 2018) in the CIFAR-10 network of DARTS.

A cell has five blocks. Each sums two edges from any states before it, the same one twice included; what no block reads
is concatenated. The operations are the thirteen of the paper.
"""

from __future__ import annotations

from itertools import combinations_with_replacement

from nas.space.cell import Cell
from nas.space.cell_network import CellNetwork
from nas.space.cell_space import CellSpace

NODES = 5

#: the operations, and how they read in code strings
OPERATIONS = {
    "skip_connect": "skip",
    "conv_3x1_1x3": "fac3",
    "conv_7x1_1x7": "fac7",
    "conv_3x3_dilated": "cnd3",
    "avg_pool_3x3": "avg3",
    "max_pool_3x3": "max3",
    "max_pool_5x5": "max5",
    "max_pool_7x7": "max7",
    "conv_1x1": "cn1",
    "conv_3x3": "cn3",
    "sep_conv_3x3": "sep3",
    "sep_conv_5x5": "sep5",
    "sep_conv_7x7": "sep7",
}

#: stands where each network has its own
_ANY = Cell(((),), (2,))


def inputs(state: int) -> list[tuple[int, ...]]:
    """Return what a node may read: two states before it, or one twice."""
    return list(combinations_with_replacement(range(state), 2))


SPACE = CellSpace(
    "nasnet",
    CellNetwork(normal=_ANY, reduction=_ANY, channels=36, cells=20),
    nodes=NODES,
    inputs=inputs,
    operations=OPERATIONS,
    concat="loose ends",
    description="NASNet cells, 5 blocks, 13 operations, in the CIFAR-10 network of DARTS",
)
#: as DARTS searches in its own space
SPACE.proxy = {"channels": 16, "cells": 8}
