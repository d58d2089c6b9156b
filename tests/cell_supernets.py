"""Supernets of cell spaces small enough for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

import nas
from nas.supernet.cell_edge import CandidateOptions
from nas.supernet.cell_state import CandidateOperation, CellState
from nas.supernet.cell_supernet import CellSupernet
from nas.supernet.nasbench201 import NasBench201Supernet

SMALL: dict[str, dict[str, Any]] = {
    "nasbench201": {"channels": 4, "cells": 1, "resolution": 8},
    "darts": {"channels": 4, "cells": 4, "resolution": 5},
    "nasnet": {"channels": 2, "cells": 3, "resolution": 5},
}
SPACES = list(SMALL)


def make(name: str, options: CandidateOptions | None = None, **overrides: Any) -> CellSupernet | NasBench201Supernet:
    torch.manual_seed(0)
    kind: Any = NasBench201Supernet if name == "nasbench201" else CellSupernet
    supernet: CellSupernet | NasBench201Supernet = kind(
        nas.space(name), options or CandidateOptions(), **SMALL[name] | overrides
    )
    return supernet


def images(supernet: nn.Module, batch: int = 2) -> Tensor:
    resolution = supernet.overrides["resolution"]
    assert isinstance(resolution, int)
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, 3, resolution, resolution, generator=generator).to(next(supernet.parameters()))


def softmax_weights(supernet: CellSupernet | NasBench201Supernet, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(len(site.operations), generator=generator, dtype=dtype).softmax(0) for site in supernet.sites]


@contextmanager
def computed_operations() -> Iterator[list[nn.Module]]:
    """Give the operations of mixed edges that are computed from here on, in order."""
    ran: list[nn.Module] = []
    call = CandidateOperation.__call__

    def recorded(operation: CandidateOperation, state: CellState) -> Tensor:
        ran.append(operation.module)
        return call(operation, state)

    with mock.patch.object(CandidateOperation, "__call__", recorded):
        yield ran
