"""Partial channel connections (PC-DARTS) and normalised pools: what of a supernet its networks do not have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
import torch
from cell_supernets import SPACES, images, make, softmax_weights
from torch import Tensor, nn

from nas.errors import NasError
from nas.space.nasbench_blocks import WindowPoolBlock
from nas.supernet.cell_edge import CandidateOptions, MixedEdge, shuffled
from nas.supernet.cell_state import CellState
from nas.supernet.weights import Term


@dataclass
class Partial:
    edge: MixedEdge
    x: Tensor

    def __call__(self, weights: npt.ArrayLike) -> Tensor:
        terms = [Term(i, float(weight), float(weight)) for i, weight in enumerate(np.asarray(weights)) if weight]
        output = self.edge(CellState(self.x, self.edge.partial), terms)
        assert isinstance(output, Tensor)
        return output


@pytest.fixture
def partial() -> Partial:
    supernet = make("nasbench201", CandidateOptions(partial=4), channels=8)
    edge = next(module for module in supernet.modules() if isinstance(module, MixedEdge))
    return Partial(edge, torch.randn(2, 8, 6, 6))


def test_most_channels_pass_by(partial: Partial) -> None:
    # Position of each channel after the shuffle: channel c of stack g stands at 4 c + g.
    order = shuffled(torch.arange(8.0).view(1, 8, 1, 1), 4).flatten().long().tolist()
    assert order == [0, 2, 4, 6, 1, 3, 5, 7]
    output = partial([0, 0, 0, 1, 0])
    for place, channel in enumerate(order):
        if channel >= 2:
            assert torch.equal(output[:, place], partial.x[:, channel])
    convolved = partial.edge.operations["nor_conv_3x3"](partial.x[:, :2])
    assert torch.allclose(output[:, [0, 4]], convolved)
    assert torch.equal(partial([1, 0, 0, 0, 0])[:, [0, 4]], torch.zeros(2, 2, 6, 6))


def test_channels_that_pass_by_a_strided_operation_are_pooled() -> None:
    for size in (6, 7):
        pool = WindowPoolBlock(2, 2, size, "max_pool", 3, 2)
        edge = MixedEdge(0, 0, 2, {"none": None, "max_pool_3x3": pool}, CandidateOptions(partial=2))
        x = torch.randn(1, 4, size, size)
        output = edge(CellState(x, 2), [Term(1, 1.0, 1.0)])
        assert isinstance(output, Tensor)
        half = nn.functional.pad(x, (0, size % 2, 0, size % 2), value=-9).unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5))
        assert torch.equal(output[:, 1::2], half[:, 2:])


def test_an_edge_weight_is_a_factor_on_all_weights(partial: Partial) -> None:
    partial.edge.eval()
    weights = np.array([0.5, 0.125, 0.125, 0.125, 0.125])
    assert torch.allclose(partial(0.3 * weights), 0.3 * partial(weights), atol=1e-6)


@pytest.mark.parametrize("name", SPACES)
def test_partial_channels_in_all_spaces(name: str) -> None:
    supernet = make(name, CandidateOptions(partial=2), channels=4)
    whole = make(name, channels=4)
    assert sum(p.numel() for p in supernet.parameters()) < sum(p.numel() for p in whole.parameters())
    x = images(supernet)
    assert supernet(x, softmax_weights(supernet)).shape == (2, 10)
    code = supernet.space.sample(1, np.random.default_rng(8))[0]
    assert supernet.forward_code(x, code).shape == (2, 10)
    with pytest.raises(NasError, match="mixes a part of the channels only"):
        supernet.extract(code)


def test_pools_may_be_normalised() -> None:
    supernet = make("darts", CandidateOptions(pool_norm=True))
    edge = next(module for module in supernet.modules() if isinstance(module, MixedEdge))
    pooled = edge.operations["max_pool_3x3"](5 + 3 * torch.randn(16, 4, 9, 9))
    assert torch.allclose(pooled.mean((0, 2, 3)), torch.zeros(4), atol=1e-5)
    with pytest.raises(NasError, match="normalises its pools"):
        supernet.extract(np.zeros(len(supernet.space.decisions), dtype=np.int8))
