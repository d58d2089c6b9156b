"""Expected costs: exact for every code, and the true expectation by enumeration elsewhere."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

import nas
from nas.errors import NasError
from nas.space import BlockTable, SearchSpace
from nas.space.block import AddBlock
from nas.space.cell import Cell
from nas.space.cell_network import CellNetwork
from nas.space.cell_space import KINDS, CellSpace
from nas.supernet.cell_expected import CellExpectedCost
from nas.supernet.cell_sites import CellSites
from nas.supernet.cell_supernet import CellSupernet
from nas.supernet.expected import ExpectedCost

OPERATIONS = {"skip_connect": "skip", "sep_conv_3x3": "sep3"}


def one_hot(space: SearchSpace, code: npt.NDArray[np.integer]) -> list[Tensor]:
    """For every column of the vocabulary, derived ones too, 1 at what it holds for a code."""
    groups = space.vocabulary.groups
    counts = {column: n for group in groups for column, n in zip(group.columns, group.choices, strict=True)}
    held = enumerate(space.vocabulary.columns(code[None])[0].tolist())
    return [torch.eye(counts.get(column, choice + 1))[choice] for column, choice in held]


def sums(space: SearchSpace, values: npt.NDArray[np.float64], codes: npt.NDArray[np.integer]) -> list[float]:
    return BlockTable(space.vocabulary, values[:, None]).sum(codes)[:, 0].tolist()


@pytest.mark.parametrize("name", ["nasbench201", "mbconv", "mbconv-ofa", "nasnet"])
def test_a_code_costs_what_its_blocks_cost(name: str) -> None:
    space = nas.space(name)
    macs = np.array([block.macs for block in space.vocabulary.blocks], dtype=np.float64)
    expected = ExpectedCost(space.vocabulary, macs)
    codes = space.sample(100, np.random.default_rng(0))
    assert [expected(one_hot(space, code)).item() for code in codes] == sums(space, macs, codes)


def test_it_is_the_mean_over_all_networks() -> None:
    space = nas.space("nasbench201")
    rng = np.random.default_rng(1)
    values = rng.random(len(space.vocabulary))
    probabilities = [rng.dirichlet(np.ones(5)) for _ in range(6)]
    codes = space.all_codes()
    share = np.prod([given[codes[:, d]] for d, given in enumerate(probabilities)], axis=0)
    found = ExpectedCost(space.vocabulary, values)([torch.from_numpy(given) for given in probabilities])
    assert found.item() == pytest.approx(share @ np.array(sums(space, values, codes)), rel=1e-12)


def test_its_gradient_is_the_numerical_one() -> None:
    space = nas.space("nasbench201")
    expected = ExpectedCost(space.vocabulary, np.random.default_rng(2).random(len(space.vocabulary)))
    given = torch.rand(6, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda rows: expected(list(rows.softmax(1))), [given], fast_mode=True)


def test_what_does_not_fit_is_refused() -> None:
    space = nas.space("nasbench201")
    with pytest.raises(NasError, match="cost one number each, not \\[3\\]"):
        ExpectedCost(space.vocabulary, np.zeros(3))
    with pytest.raises(NasError, match="5 tensors of probabilities for 6 columns"):
        ExpectedCost(space.vocabulary, np.zeros(len(space.vocabulary)))([torch.ones(5) / 5] * 5)


@pytest.mark.parametrize("name", ["darts", "nasnet"])
def test_cells_of_a_code_cost_what_their_blocks_cost(name: str) -> None:
    space = nas.space(name)
    assert isinstance(space, CellSpace)
    supernet = CellSupernet(space, channels=2, cells=3, resolution=8)
    rng = np.random.default_rng(3)
    codes = space.sample(100, rng)
    macs = np.array([block.macs for block in space.vocabulary.blocks], dtype=np.float64)
    for values, tolerance in ((macs, 0.0), (rng.random(len(space.vocabulary)), 1e-13)):
        found = [supernet.expected(values, supernet.weights_of(code)).item() for code in codes]
        assert found == pytest.approx(sums(space, values, codes), rel=tolerance, abs=0)


def small_space(concat: str, always_two: bool) -> CellSpace:
    """Two nodes, two operations: few enough edges to list all settings of them."""
    any_cell = Cell(((),), (2,))

    def inputs(state: int) -> list[tuple[int, ...]]:
        pairs = list(itertools.combinations(range(state), 2))
        return pairs if always_two else [*pairs, *((source,) for source in range(state)), ()]

    skeleton = CellNetwork(normal=any_cell, reduction=any_cell, channels=2, cells=4, resolution=8)
    return CellSpace("small", skeleton, 2, inputs, OPERATIONS, concat)  # type: ignore[arg-type]


def cost_of_edges(
    space: CellSpace, values: npt.NDArray[np.float64], kind: str, chosen: Sequence[int], always_two: bool
) -> float:
    """The cost of the network whose cell of one kind has these operations (0 for none) on its five edges."""
    network = space.spec(np.zeros(len(space.decisions), dtype=np.int8))
    names = ("none", *space.operations)
    edges = [(names[operation], state) for operation, state in zip(chosen, (0, 1, 0, 1, 2), strict=True)]
    cell = Cell((tuple(edges[:2]), tuple(edges[2:])), (2, 3))
    if space.concat == "loose ends":
        cell = replace(cell, concat=cell.loose_ends)
    network = replace(network, **{kind: cell})
    index, total = space.vocabulary.index, 0.0
    for node in network.nodes:
        # Three edges cost as much to join as two; see CellExpectedCost.
        block = replace(node.block, count=2) if isinstance(node.block, AddBlock) else node.block
        if not always_two or (block in index and not isinstance(block, AddBlock)):
            total += values[index[block]]
    return total


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("concat", "always_two"), [("all", False), ("loose ends", True)])
def test_cells_cost_the_mean_over_all_edges(kind: str, concat: str, always_two: bool) -> None:
    space, rng = small_space(concat, always_two), np.random.default_rng(4)
    values = rng.random(len(space.vocabulary))
    if always_two:  # then every node has a sum of two, which is left out on both sides
        values[[isinstance(block, AddBlock) for block in space.vocabulary.blocks]] = 0
    sites = CellSites(space)
    zero = np.zeros(len(space.decisions), dtype=np.int8)
    weights = CellSupernet(space).weights_of(zero)
    mine = [i for i, site in enumerate(sites.sites) if site.name.startswith(kind)]
    probabilities = rng.dirichlet(np.ones(3), size=5)
    for i, given in zip(mine, probabilities, strict=True):
        weights[i] = torch.from_numpy(given)
    mean = sum(
        np.prod([given[choice] for given, choice in zip(probabilities, chosen, strict=True)])
        * cost_of_edges(space, values, kind, chosen, always_two)
        for chosen in itertools.product(range(3), repeat=5)
    )
    assert CellExpectedCost(space, sites, values)(weights).item() == pytest.approx(mean, rel=1e-12)


@pytest.mark.parametrize("name", ["darts", "nasnet"])
def test_the_gradient_of_cells_is_the_numerical_one(name: str) -> None:
    space = nas.space(name)
    assert isinstance(space, CellSpace)
    sites = CellSites(space)
    expected = CellExpectedCost(space, sites, np.random.default_rng(5).random(len(space.vocabulary)))
    given = torch.rand(len(sites.sites), len(space.operations) + 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda rows: expected(list(rows.softmax(1))), [given], fast_mode=True)


def test_an_unclear_number_of_edges_is_refused() -> None:
    any_cell = Cell(((),), (2,))
    space = CellSpace(
        "unclear", CellNetwork(normal=any_cell, reduction=any_cell, channels=2, cells=3), 1,
        lambda state: [(0, 0), (0,)], OPERATIONS,
    )  # fmt: skip
    with pytest.raises(NasError, match="one state twice or have fewer than two edges"):
        CellExpectedCost(space, CellSites(space), np.zeros(len(space.vocabulary)))
