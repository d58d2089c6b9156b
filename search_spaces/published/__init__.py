"""Published networks by family: descriptions, where they were published, and the accuracy published for them."""

from __future__ import annotations

from pathlib import Path

from nas.space import NetworkSpec
from search_spaces.published import cells, convnext, efficient, mobile, residual

_FAMILIES = (mobile, efficient, residual, convnext, cells)

#: folder of the published counts, one CSV file a family
COUNTS = Path(__file__).parent / "counts"

NETWORKS: dict[str, NetworkSpec] = {name: spec for family in _FAMILIES for name, spec in family.NETWORKS.items()}

#: ImageNet top-1 (%) as published, under the training recipe of the paper, and where
PUBLISHED_TOP1: dict[str, tuple[float, str]] = {
    name: figure for family in _FAMILIES for name, figure in family.PUBLISHED_TOP1.items()
}
