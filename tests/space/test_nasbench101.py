"""The space `nasbench101` against published figures and against graphs handled one by one."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from nas.cost import CostModel
from nas.errors import NasError
from nas.space import ABSENT, Codes
from search_spaces.cells.nasbench101 import SPACE, NasBench101Network, NasBench101Space
from search_spaces.cells.nasbench101_codes import canonical_codes, graphs_of, ids_of
from search_spaces.cells.nasbench101_edits import neighbours
from search_spaces.cells.nasbench101_graphs import INVALID, graphs

Cell = tuple[tuple[tuple[int, ...], ...], tuple[str, ...]]

INCEPTION = (
    [[0, 1, 1, 1, 0, 1, 0], [0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 1, 0, 0],
     [0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0]],
    ["input", "conv1x1-bn-relu", "conv3x3-bn-relu", "conv3x3-bn-relu", "conv3x3-bn-relu", "maxpool3x3", "output"],
)  # fmt: skip

#: matrices and operations as the data set has them, with their trainable parameters and, of the second, its hash
IN_DATA_SET = {
    # what the README of the benchmark prints for the Inception-like cell above
    2_694_282: (
        ((0, 1, 1, 1, 1, 0, 0), (0, 0, 0, 0, 0, 0, 1), (0, 0, 0, 0, 0, 0, 1), (0, 0, 0, 0, 0, 0, 1),
         (0, 0, 0, 0, 0, 1, 0), (0, 0, 0, 0, 0, 0, 1), (0, 0, 0, 0, 0, 0, 0)),
        ("conv3x3", "conv1x1", "maxpool3x3", "conv3x3", "conv3x3"),
    ),
    # the first record of the data set
    8_555_530: (
        ((0, 1, 0, 0, 1, 1, 0), (0, 0, 1, 0, 0, 0, 0), (0, 0, 0, 1, 0, 0, 1), (0, 0, 0, 0, 0, 1, 0),
         (0, 0, 0, 0, 0, 1, 0), (0, 0, 0, 0, 0, 0, 1), (0, 0, 0, 0, 0, 0, 0)),
        ("conv3x3", "maxpool3x3", "conv3x3", "conv3x3", "conv1x1"),
    ),
}  # fmt: skip
FIRST_RECORD = "00005c142e6f48ac74fdcf73e3439874"


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def fingerprint(cell: Cell) -> str:
    """The benchmark's hash of a cell: of degrees and labels, then once for every vertex of the neighbours' hashes."""
    matrix, operations = cell
    names = ("conv3x3", "conv1x1", "maxpool3x3")
    labels = [-1, *(names.index(operation) for operation in operations), -2]
    count = len(matrix)
    into = [[u for u in range(count) if matrix[u][v]] for v in range(count)]
    out = [[u for u in range(count) if matrix[v][u]] for v in range(count)]
    hashes = [md5(str((len(out[v]), len(into[v]), labels[v]))) for v in range(count)]
    for _ in range(count):
        hashes = [
            md5("|".join("".join(sorted(hashes[u] for u in side)) for side in (into[v], out[v])) + "|" + hashes[v])
            for v in range(count)
        ]
    return md5(str(sorted(hashes)))


def cell_of(code: np.ndarray) -> Cell:
    network = SPACE.spec(code)
    return network.matrix, network.operations


def all_small_cells(vertices: int) -> list[Cell]:
    """Every cell of so many vertices, isomorphic ones too, in the order of the benchmark's generator."""
    pairs = [(x, y) for y in range(vertices) for x in range(y)]
    found: list[Cell] = []
    for bits in range(2 ** len(pairs)):
        matrix = np.zeros((vertices, vertices), dtype=int)
        for i, pair in enumerate(pairs):
            matrix[pair] = bits >> i & 1
        if matrix[:-1].any(axis=1).all() and matrix[:, 1:].any(axis=0).all() and matrix.sum() <= 9:
            labellings = itertools.product(("conv3x3", "conv1x1", "maxpool3x3"), repeat=vertices - 2)
            found += [(tuple(map(tuple, matrix.tolist())), labels) for labels in labellings]
    return found


@pytest.fixture(scope="module")
def costs() -> np.ndarray:
    return CostModel(SPACE).params_and_macs(canonical_codes())


def test_size_is_exact() -> None:
    # Ying et al. (2019), section 2.2
    assert SPACE.size == len(SPACE.all_codes()) == len(graphs()) == 423_624
    np.testing.assert_array_equal(ids_of(SPACE.all_codes()), np.arange(423_624))


def test_up_to_five_vertices_the_cells_are_those_brute_force_finds() -> None:
    """The benchmark keeps of every isomorphism class the first cell its generator comes to."""
    first: dict[str, Cell] = {}
    for vertices in (2, 3, 4, 5):
        for cell in all_small_cells(vertices):
            first.setdefault(fingerprint(cell), cell)
    assert len(first) == 1 + 6 + 84 + 2441
    assert [cell_of(code) for code in canonical_codes()[: len(first)]] == list(first.values())


def test_the_fingerprints_of_random_cells_differ_unless_they_are_isomorphic(rng: np.random.Generator) -> None:
    codes = canonical_codes()[np.sort(rng.choice(423_624, size=1000, replace=False))]
    hashes = {fingerprint(cell_of(code)) for code in codes}
    assert len(hashes) == 1000


def test_renumbered_cells_have_the_same_code(rng: np.random.Generator) -> None:
    renumbered = 0
    for code in SPACE.sample(60, rng):
        cell = cell_of(code)
        matrix, operations = np.array(cell[0]), list(cell[1])
        for vertex in rng.integers(1, max(2, len(operations)), size=8):
            # Vertices without an edge between them may change places.
            if vertex < len(operations) and not matrix[vertex, vertex + 1]:
                order = np.arange(len(matrix))
                order[[vertex, vertex + 1]] = vertex + 1, vertex
                matrix = matrix[np.ix_(order, order)]
                operations[vertex - 1 : vertex + 1] = operations[vertex], operations[vertex - 1]
                renumbered += 1
        np.testing.assert_array_equal(SPACE.encode_cell(matrix.tolist(), ["input", *operations, "output"]), code)
        assert fingerprint((tuple(map(tuple, matrix.tolist())), tuple(operations))) == fingerprint(cell)
    assert renumbered > 100


def test_the_cell_of_the_readme() -> None:
    assert cell_of(SPACE.encode_cell(*INCEPTION)) == IN_DATA_SET[2_694_282]


@pytest.mark.parametrize("params", list(IN_DATA_SET))
def test_published_params_agree(params: int) -> None:
    matrix, operations = IN_DATA_SET[params]
    network = SPACE.spec(SPACE.encode_cell(matrix, ("input", *operations, "output")))
    assert (network.matrix, network.operations) == (matrix, operations)
    assert network.cost()["params"] == params
    assert sum(parameter.numel() for parameter in network.build().parameters()) == params


def test_the_published_hash_agrees() -> None:
    assert fingerprint(IN_DATA_SET[8_555_530]) == FIRST_RECORD


def test_the_smallest_and_the_largest_network(costs: np.ndarray) -> None:
    # trainable parameters over the data set
    assert costs[:, 0].min() == 227_274
    assert costs[:, 0].max() == 49_979_274


def test_closed_forms_agree_with_the_networks(rng: np.random.Generator, costs: np.ndarray) -> None:
    ids = rng.integers(423_624, size=250)
    codes = canonical_codes()[ids]
    peaks, blocks = SPACE.peak_activation_bytes(codes), SPACE.vocabulary.ids(codes)
    for i, code in enumerate(codes):
        network = SPACE.spec(code)
        cost = network.cost()
        assert (cost["params"], cost["macs"]) == tuple(costs[ids[i]])
        assert cost["peak_activation_bytes"] == peaks[i]
        assert [SPACE.vocabulary.blocks[j] for j in blocks[i] if j != ABSENT] == list(network.blocks)


@pytest.mark.parametrize(("channels", "cells"), [(128, 1), (13, 2)])
def test_the_peak_of_every_shape(channels: int, cells: int) -> None:
    """All 2,494 graphs without regard to operations, also where channels never divide evenly."""
    skeleton = replace(SPACE.spec(canonical_codes()[0]), channels=channels, cells=cells, resolution=8)
    space = NasBench101Space("small", skeleton)
    _, first = np.unique(graphs().shape, return_index=True)
    assert len(first) == 2494
    codes = canonical_codes()[first][:: 3 * cells]
    peaks = space.peak_activation_bytes(codes)
    for code, peak in zip(codes, peaks, strict=True):
        assert space.spec(code).peak_activation_bytes() == peak


def published_cell(network: NasBench101Network, modules: list[nn.Module], x: Tensor) -> Tensor:
    """The cell by the equations of the paper, on the modules of the built network."""
    matrix, last = network.edges, len(network.matrix) - 1
    tensors = [x]
    for vertex in range(1, last):
        module = modules.pop(0)
        sources = [tensors[source] for source in range(1, vertex) if matrix[source, vertex]]
        width = module.out_channels
        terms = [source[:, :width] for source in sources]
        if matrix[0, vertex]:
            terms.append(module.projection(x))
        total = torch.stack(terms).sum(0)
        tensors.append(
            F.max_pool2d(total, 3, 1, 1) if network.operations[vertex - 1] == "maxpool3x3" else module.op(total)
        )
    branches = [tensors[vertex] for vertex in range(1, last) if matrix[vertex, last]]
    joined = torch.cat(branches, 1) if branches else torch.zeros(())
    if len(branches) == 1 and not matrix[0, last]:
        return joined
    module = modules.pop(0)
    return joined + module.projection(x) if matrix[0, last] else joined


def test_built_networks_compute_the_published_cell(rng: np.random.Generator) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    for code in [canonical_codes()[0], *SPACE.sample(8, rng)]:
        network = SPACE.spec(code, channels=14, cells=1, resolution=8)
        module = network.build().double().eval()
        for value in module.state_dict().values():
            if value.is_floating_point():
                value.uniform_(-0.5, 1.0).abs_()
        stem, *rest = getattr(module, "blocks", module)
        with torch.no_grad():
            y = published_cell(network, rest, stem(x))
            for _ in range(2):
                y = published_cell(network, rest, rest.pop(0)(y))
            pool, dense = rest
            torch.testing.assert_close(module(x), dense(pool(y)))


def test_channels_are_shared_as_published() -> None:
    """Ying et al. (2019), section 2.3: branches share the output's channels, a remainder goes to the first of them."""
    network = SPACE.spec(SPACE.encode_cell(*INCEPTION))
    vertices = [node.block for node in network.nodes if node.part == "cell1"][:5]
    # 128 over four branches; the first of the two stacked convolutions is as wide as the one it feeds.
    assert [block.out_channels for block in vertices] == [32, 32, 32, 32, 32]
    matrix, names = [[0, 1, 1, 1, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 1], [0, 0, 0, 0, 1], [0] * 5], ["conv1x1"] * 3
    network = SPACE.spec(SPACE.encode_cell(matrix, ["input", *names, "output"]))
    assert [node.block.out_channels for node in network.nodes if node.part == "cell1"] == [43, 43, 42, 128]
    assert [node.block.out_channels for node in network.nodes if node.part == "cell4"] == [86, 85, 85, 256]


def test_sampling_is_uniform_over_distinct_cells() -> None:
    ids = ids_of(SPACE.sample(200_000, np.random.default_rng(2)))
    counts = np.bincount(ids * 64 // 423_624, minlength=64)
    # 63 degrees of freedom: the 99.9 % point of the chi-square distribution is 103.4
    assert ((counts - 3125) ** 2 / 3125).sum() < 103.4


def test_neighbours_see_each_other(rng: np.random.Generator) -> None:
    for code in SPACE.sample(12, rng):
        near = SPACE.neighbours(code)
        assert len(np.unique(near, axis=0)) == len(near)
        assert not (near == code).all(axis=1).any()
        for other in near[::4]:
            assert (SPACE.neighbours(other) == code).all(axis=1).any()


def test_every_cell_can_be_reached_by_edits() -> None:
    """Operations can be changed one by one, so it is enough to walk over the graphs of one operation."""
    plain = np.flatnonzero(graphs().labels.sum(axis=1) == 0)
    assert len(plain) == 2494
    reached, waiting = {0}, [0]
    while waiting and len(reached) < len(plain):
        found = neighbours(waiting.pop())
        fresh = set(found[graphs().labels[found].sum(axis=1) == 0].tolist()) - reached
        reached |= fresh
        waiting += fresh
    assert reached == set(plain.tolist())


def test_neighbours_of_the_smallest_cell_are_counted_by_hand() -> None:
    # One vertex more, with each of three operations; the edge from input to output stays.
    near = SPACE.neighbours(SPACE.encode_cell([[0, 1], [0, 0]], ["input", "output"]))
    through = ((0, 1, 1), (0, 0, 1), (0, 0, 0))
    assert {cell_of(code) for code in near} == {(through, (op,)) for op in ("conv3x3", "conv1x1", "maxpool3x3")}


@pytest.mark.parametrize("rate", [None, 0.0, 1.0])
def test_mutation_gives_another_cell(rng: np.random.Generator, rate: float | None) -> None:
    parents = SPACE.sample(200, rng)
    children = SPACE.mutate(parents, rng, rate)
    np.testing.assert_array_equal(SPACE.canonical(children), children)
    assert (children != parents).any(axis=1).all()


def test_children_of_crossover_are_cells_with_decisions_of_their_parents(rng: np.random.Generator) -> None:
    a, b = SPACE.sample(400, rng), SPACE.sample(400, rng)
    children = SPACE.crossover(a, b, rng)
    np.testing.assert_array_equal(SPACE.canonical(children), children)
    np.testing.assert_array_equal(SPACE.crossover(a, a, rng), a)
    other = (children != a).any(axis=1) & (children != b).any(axis=1)
    assert other.mean() > 0.5


def test_words_and_networks_give_the_code_back(rng: np.random.Generator) -> None:
    for code in SPACE.sample(50, rng):
        (text,) = SPACE.format(code[None])
        for found in (SPACE.encode(text), SPACE.encode(SPACE.spec(code)), SPACE.encode(SPACE.decode(code))):
            np.testing.assert_array_equal(found, code)


def test_what_is_no_cell_is_refused() -> None:
    full: Codes = np.ones((1, 26), dtype=np.int8)
    assert ids_of(full)[0] == INVALID
    with pytest.raises(NasError, match="code 0: the cell has 21 edges, at most 9 are allowed"):
        SPACE.check(full)
    with pytest.raises(NasError, match="code 1: the cell has no path from input to output"):
        SPACE.check(np.stack([canonical_codes()[5], np.zeros(26, dtype=np.int8)]))


def test_idle_vertices_are_left_out() -> None:
    code = canonical_codes()[5].copy()
    matrices, _ = graphs_of(code[None])
    assert not matrices[0, :, 4].any()
    idle = SPACE.decode(code).decisions | {"vertex4.op": "maxpool3x3", "vertex4.from0": 1}
    np.testing.assert_array_equal(SPACE.encode(idle), code)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"matrix": ((0, 1, 0), (0, 0, 1), (0, 0, 0)), "operations": ("conv5x5",)}, "vertex 1 .*; did you mean 'conv"),
        ({"matrix": ((0, 1), (0, 0)), "operations": ("conv3x3",)}, "a cell of 1 operations has a 3×3 matrix"),
        ({"matrix": ((0, 1, 1), (0, 0, 0), (0, 0, 0)), "operations": ("conv3x3",)}, "vertex 1 .* on no path"),
        ({"matrix": ((0, 1), (1, 0))}, "the edge from vertex 1 to 0 .* does not lead to a later vertex"),
        ({"channels": 4}, "4 channels cannot be divided among the 5 branches"),
        ({"cells": 0}, "cells is 0"),
    ],
)
def test_impossible_networks_are_refused(change: dict[str, object], message: str) -> None:
    network = replace(SPACE.spec(canonical_codes()[0]), **change)
    with pytest.raises(NasError, match=message):
        NasBench101Space("impossible", network) if "channels" in change or "cells" in change else network.nodes


def test_a_network_outside_is_refused_with_the_difference() -> None:
    network = SPACE.spec(SPACE.encode_cell(*INCEPTION))
    with pytest.raises(NasError, match="not in nasbench101: channels is 64, the space has 128"):
        SPACE.encode(replace(network, channels=64))
    renumbered = replace(network, operations=("conv1x1", "conv3x3", *network.operations[2:]))
    with pytest.raises(NasError, match="numbered otherwise than in the space, which has it as conv3x3,1-conv1x1"):
        SPACE.encode(renumbered)


def test_scaling_changes_cells_and_channels() -> None:
    bigger = SPACE.spec(canonical_codes()[99]).scale(depth=1.3, width=0.5, resolution=64)
    assert (bigger.cells, bigger.channels, bigger.resolution) == (4, 64, 64)
    with pytest.raises(NasError, match="multipliers must be positive"):
        bigger.scale(width=-1)
