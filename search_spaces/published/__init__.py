"""Published networks: descriptions, where they were published, the accuracy published for them, and their families."""

from __future__ import annotations

from pathlib import Path

from nas.space import NetworkSpec
from search_spaces.published import cells, convnext, efficient, mobile, residual
from search_spaces.published.families import FAMILIES

__all__ = ["COUNTS", "FAMILIES", "NETWORKS", "PUBLISHED_TOP1"]

_MODULES = (mobile, efficient, residual, convnext, cells)

#: folder of the published counts, one CSV file a family
COUNTS = Path(__file__).parent / "counts"

NETWORKS: dict[str, NetworkSpec] = {name: spec for module in _MODULES for name, spec in module.NETWORKS.items()}

#: ImageNet top-1 (%) as published, under the training recipe of the paper, and where
PUBLISHED_TOP1: dict[str, tuple[float, str]] = {
    name: figure for module in _MODULES for name, figure in module.PUBLISHED_TOP1.items()
}
