"""The space `nasbench201` against the tables of the benchmark."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from nas.cost import CostModel
from nas.errors import NasError
from nas.space import ABSENT, BlockTable
from nas.space.nasbench_blocks import ReductionResidualBlock, WindowPoolBlock
from search_spaces.cells.nasbench201 import CIFAR100, IMAGENET16_120, SPACE, NasBench201Network, NasBench201Space
from search_spaces.cells.nasbench201_cell import OPERATIONS, benchmark_codes, format_cell, parse_cell, unique_cell
from search_spaces.cells.suite_zero import suite_zero_flops

TABLES = {"cifar10": SPACE, "ImageNet16-120": IMAGENET16_120}


@pytest.fixture(scope="module")
def accuracies(data_dir: Path) -> pd.DataFrame:
    return pd.read_csv(data_dir / "nasbench201" / "nb201_accuracy.csv.gz", usecols=["idx", "arch_str", "unique_str"])


@pytest.fixture(scope="module", params=list(TABLES))
def proxies(request: pytest.FixtureRequest, data_dir: Path) -> tuple[NasBench201Space, pd.DataFrame]:
    path = data_dir / "nasbench201" / f"nb201_zc_proxies_{request.param}.csv.gz"
    return TABLES[request.param], pd.read_csv(path, usecols=["idx", "flops", "params"])


def edges_of(code: np.ndarray) -> tuple[str, ...]:
    return tuple(OPERATIONS[choice] for choice in code)


def small(**options: int) -> NasBench201Space:
    skeleton = replace(SPACE.spec(np.zeros(6, dtype=np.int8)), **{"cells": 1, "channels": 4, "resolution": 8} | options)
    return NasBench201Space("small", skeleton)


def test_size_is_exact() -> None:
    assert SPACE.size == len(SPACE.all_codes()) == 15_625


def test_idx_and_strings_are_those_of_the_benchmark(accuracies: pd.DataFrame) -> None:
    codes = benchmark_codes()
    assert codes.shape == (15_625, 6)
    np.testing.assert_array_equal(accuracies.idx, np.arange(15_625))
    assert [format_cell(edges_of(code)) for code in codes] == list(accuracies.arch_str)
    assert [parse_cell(text) for text in accuracies.arch_str] == [edges_of(code) for code in codes]
    for i in range(0, 15_625, 1000):
        np.testing.assert_array_equal(SPACE.encode(accuracies.arch_str[i]), codes[i])


def test_the_partition_into_isomorphic_cells_is_the_published_one(accuracies: pd.DataFrame) -> None:
    ours = [unique_cell(parse_cell(text)) for text in accuracies.arch_str]
    assert len(set(ours)) == 6466
    assert ours == list(accuracies.unique_str)


def test_published_params_agree(proxies: tuple[NasBench201Space, pd.DataFrame]) -> None:
    space, table = proxies
    assert len(table) == 9445
    costs = CostModel(space)(benchmark_codes()[table.idx])
    # Printed in millions with six digits: exact.
    np.testing.assert_array_equal(costs.params, np.rint(table.params * 1e6))


def test_published_flops_agree(proxies: tuple[NasBench201Space, pd.DataFrame]) -> None:
    space, table = proxies
    values = np.array([[suite_zero_flops(block.layers())] for block in space.vocabulary.blocks], dtype=np.float64)
    counts = BlockTable(space.vocabulary, values).sum(benchmark_codes()[table.idx])[:, 0]
    printed = [f"{count / 1e6:.8g}" for count in counts]
    assert printed == [f"{flops:.8g}" for flops in table.flops]


def test_the_smallest_and_largest_network_by_hand() -> None:
    costs = CostModel(SPACE)(SPACE.all_codes())
    stem, head = 3 * 16 * 9 + 2 * 16, 2 * 64 + 64 * 10 + 10
    reductions = sum(9 * c * 2 * c + 9 * (2 * c) ** 2 + 2 * c * c + 2 * 2 * (2 * c) for c in (16, 32))
    convolutions = 6 * 5 * sum(9 * c * c + 2 * c for c in (16, 32, 64))
    assert costs.params.min() == stem + reductions + head
    assert costs.params.max() == stem + reductions + head + convolutions


def test_other_data_sets_change_resolution_and_classes_only() -> None:
    code = SPACE.encode("|nor_conv_3x3~0|+|nor_conv_1x1~0|none~1|+|skip_connect~0|avg_pool_3x3~1|none~2|")
    assert CIFAR100.spec(code) == SPACE.spec(code, num_classes=100)
    assert IMAGENET16_120.spec(code) == SPACE.spec(code, num_classes=120, resolution=16)


@pytest.mark.parametrize(("stride", "cells"), [(8, 1), (33, 2)])
def test_closed_forms_agree_with_the_networks(stride: int, cells: int) -> None:
    """For all codes, see benchmarks/nasbench_exactness.py."""
    space = small(cells=cells, channels=2 + cells, resolution=4 + 4 * cells)
    codes = space.all_codes()[::stride]
    costs = CostModel(space)(codes)
    block_ids = space.vocabulary.ids(codes)
    for i, code in enumerate(codes):
        network = space.spec(code)
        assert network.peak_activation_bytes() == costs.peak_activation_bytes[i], code
        if i % 10 == 0:
            assert [space.vocabulary.blocks[j] for j in block_ids[i] if j != ABSENT] == list(network.blocks)
            assert {name: costs[name][i] for name in costs} == {name: network.cost()[name] for name in costs}


def test_closed_forms_agree_with_built_networks(rng: np.random.Generator) -> None:
    codes = SPACE.sample(6, rng)
    costs = CostModel(SPACE)(codes)
    for i, code in enumerate(codes):
        network = SPACE.spec(code)
        assert sum(parameter.numel() for parameter in network.build().parameters()) == costs.params[i]
        assert network.cost()["macs"] == costs.macs[i]
        assert network.peak_activation_bytes() == costs.peak_activation_bytes[i]


def test_isomorphic_cells_are_different_points_of_the_table() -> None:
    first, second = (SPACE.encode(f"|{a}~0|+|none~0|none~1|+|none~0|{b}~1|none~2|") for a, b in
                     (("skip_connect", "nor_conv_3x3"), ("nor_conv_3x3", "skip_connect")))  # fmt: skip
    assert unique_cell(edges_of(first)) == unique_cell(edges_of(second))
    assert SPACE.spec(first) != SPACE.spec(second)


def test_encode_inverts_spec(rng: np.random.Generator) -> None:
    for code in SPACE.sample(100, rng):
        np.testing.assert_array_equal(SPACE.encode(SPACE.spec(code)), code)
        np.testing.assert_array_equal(SPACE.encode(SPACE.format(code[None])[0]), code)


class PublishedCell:
    """The cell of a network by its equations, on the modules of that network in the order they were built."""

    def __init__(self, edges: tuple[str, ...], modules: list[nn.Module]):
        self.edges = edges
        self.modules = modules

    def edge(self, operation: str, x: Tensor) -> Tensor:
        if operation == "none":
            return x * 0
        if operation == "skip_connect":
            return x
        if operation == "avg_pool_3x3":
            self.modules.pop(0)
            ones = torch.ones_like(x)
            return F.avg_pool2d(x, 3, 1, 1) / F.avg_pool2d(ones, 3, 1, 1)
        conv, norm = list(self.modules.pop(0).children())[1:]
        y = F.conv2d(x.clamp(min=0), conv.weight, padding=conv.weight.shape[-1] // 2)
        scale = norm.weight / torch.sqrt(norm.running_var + 1e-5)
        return y * scale[:, None, None] + (norm.bias - norm.running_mean * scale)[:, None, None]

    def __call__(self, x: Tensor) -> Tensor:
        nodes = [x]
        for node, start in ((1, 0), (2, 1), (3, 3)):
            terms = [self.edge(self.edges[start + source], nodes[source]) for source in range(node)]
            kept = sum(operation != "none" for operation in self.edges[start : start + node])
            if kept != 1:
                self.modules.pop(0)
            nodes.append(torch.stack(terms).sum(0))
        return nodes[-1]


def test_built_networks_compute_the_published_cell(rng: np.random.Generator) -> None:
    torch.manual_seed(0)
    space = small(cells=1)
    for code in [*space.sample(8, rng), np.zeros(6, dtype=np.int8), np.ones(6, dtype=np.int8)]:
        network = space.spec(code)
        module = network.build().double().eval()
        for value in module.state_dict().values():
            if value.is_floating_point():
                value.uniform_(0.2, 1.2)
        stem, *rest = getattr(module, "blocks", module)
        x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
        y = stem(x)
        cell = PublishedCell(network.edges, rest)
        with torch.no_grad():
            y = cell(y)
            for _ in range(2):
                y = cell(rest.pop(0)(y))
            norm_act, pool, dense = rest
            torch.testing.assert_close(module(x), dense(pool(norm_act(y))))


def test_the_residual_block_by_its_equations() -> None:
    torch.manual_seed(0)
    block = ReductionResidualBlock(4, 8, 6)
    module = block.build().double().eval()
    first, second = (list(part.children())[1] for part in module.body)
    x = torch.randn(2, 4, 6, 6, dtype=torch.float64)
    y = F.conv2d(x.clamp(min=0), first.weight, stride=2, padding=1) / (1 + 1e-5) ** 0.5
    y = F.conv2d(y.clamp(min=0), second.weight, padding=1) / (1 + 1e-5) ** 0.5
    pooled = x.reshape(2, 4, 3, 2, 3, 2).mean(dim=(3, 5))
    torch.testing.assert_close(module(x), y + F.conv2d(pooled, module.shortcut[1].weight))


@pytest.mark.parametrize("size", [5, 8])
def test_pools_by_their_windows(size: int) -> None:
    x = torch.randn(1, 3, size, size)
    padded = F.pad(x, (1, 1, 1, 1), value=-torch.inf).unfold(2, 3, 1).unfold(3, 3, 1)
    rest = size % 2
    halved = F.pad(x, (0, rest, 0, rest), value=-torch.inf).unfold(2, 2, 2).unfold(3, 2, 2)
    for kernel, stride, windows in ((3, 1, padded), (2, 2, halved)):
        for op in ("max_pool", "avg_pool"):
            block = WindowPoolBlock(3, 3, size, op, kernel, stride)
            inside = windows.isfinite()
            mean = windows.where(inside, torch.zeros(())).sum((-1, -2)) / inside.sum((-1, -2))
            y = block.build()(x)
            assert y.shape[1:] == (block.out_channels, block.out_size, block.out_size)
            torch.testing.assert_close(y, windows.amax((-1, -2)) if op == "max_pool" else mean)


def test_scaling_changes_cells_and_channels() -> None:
    base = SPACE.spec(np.full(6, 3, dtype=np.int8))
    bigger = base.scale(depth=1.2, width=1.5, resolution=64)
    assert (bigger.cells, bigger.channels, bigger.resolution, bigger.edges) == (6, 24, 64, base.edges)
    assert bigger.cost()["params"] > base.cost()["params"]
    with pytest.raises(NasError, match="multipliers must be positive"):
        base.scale(depth=0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("|nor_conv_3x3~0|", "no cell of NAS-Bench-201; one looks like"),
        ("|a~0|+|none~0|none~0|+|none~0|none~1|none~2|", "no cell of NAS-Bench-201; one looks like"),
        ("|conv_3x3~0|+|none~0|none~1|+|none~0|none~1|none~2|", "edge 0 to 1 .* 'conv_3x3'; did you mean 'nor_conv_"),
    ],
)
def test_wrong_cells_are_refused(text: str, message: str) -> None:
    with pytest.raises(NasError, match=message):
        SPACE.encode(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resolution": 30}, "must be a multiple of 4"),
        ({"cells": 0}, "cells is 0"),
        ({"channels": 1.5}, "channels is 1.5"),
        ({"edges": ("none",) * 5}, "has 6 edges, not 5"),
    ],
)
def test_impossible_networks_are_refused(change: dict[str, object], message: str) -> None:
    network = NasBench201Network(edges=("none",) * 6)
    with pytest.raises(NasError, match=message):
        NasBench201Space("impossible", replace(network, **change))


@pytest.mark.parametrize(("change", "message"), [({"num_classes": 100}, "num_classes is 100, the space has 10"),
                                                 ({"cells": 4}, "cells is 4, the space has 5")])  # fmt: skip
def test_a_network_outside_is_refused_with_the_difference(change: dict[str, int], message: str) -> None:
    with pytest.raises(NasError, match=f"not in nasbench201: {message}"):
        SPACE.encode(SPACE.spec(np.zeros(6, dtype=np.int8), **change))
