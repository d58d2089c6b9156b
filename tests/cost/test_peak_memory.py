"""Peak activation memory against a liveness count over the graph of a block.

The graph is written down here from the definition of the blocks: which tensors each operation reads and makes, and
which it overwrites (normalisation, activation, gating and residual addition work in place). A tensor is alive from
the operation that makes it to the last that reads it, and an operation needs all that is alive while it runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pytest

import nas
from nas.space import Block, NetworkSpec, SearchSpace
from nas.space.block import DenseBlock, PoolBlock
from nas.space.mbconv_blocks import ConvBlock, FusedMBConvBlock, InvertedResidualBlock
from nas.space.mobile_blocks import (
    DepthwiseSeparableBlock,
    IdentityBlock,
    NormDenseBlock,
    UniversalInvertedBottleneckBlock,
)
from nas.space.trace import Trace, peak_bytes
from search_spaces.published import efficient, mobile


@dataclass
class Graph:
    """Operations in order; every tensor has a size in elements."""

    sizes: dict[str, int] = field(default_factory=dict)
    operations: list[tuple[tuple[str, ...], str]] = field(default_factory=list)

    def make(self, output: str, size: int, *inputs: str) -> str:
        """An operation that writes a new tensor."""
        self.sizes[output] = size
        self.operations.append((inputs, output))
        return output

    def overwrite(self, tensor: str, *others: str) -> str:
        """An operation that writes its result over its first input."""
        self.operations.append(((tensor, *others), tensor))
        return tensor

    def peak(self) -> int:
        uses: dict[str, list[int]] = {}
        for step, (inputs, output) in enumerate(self.operations):
            for tensor in (*inputs, output):
                uses.setdefault(tensor, []).append(step)
        alive_at = [
            sum(self.sizes[tensor] for tensor, steps in uses.items() if min(steps) <= step <= max(steps))
            for step in range(len(self.operations))
        ]
        return max(alive_at)


def brute_force(block: Block) -> int:
    """Bytes alive at the worst moment, float32, batch 1; the input is not needed after the block."""
    graph = Graph({"input": block.in_channels * block.in_size**2})
    match block:
        case InvertedResidualBlock():
            inverted_residual(graph, block)
        case FusedMBConvBlock():
            fused_mbconv(graph, block)
        case UniversalInvertedBottleneckBlock():
            universal_inverted_bottleneck(graph, block)
        case DepthwiseSeparableBlock():
            depthwise = graph.make("depthwise", block.in_channels * block.out_size**2, "input")
            graph.overwrite(depthwise)
            graph.overwrite(graph.make("pointwise", block.out_channels * block.out_size**2, depthwise))
        case IdentityBlock():
            return 4 * graph.sizes["input"]
        case ConvBlock():
            out = graph.make("conv", block.out_channels * block.out_size**2, "input")
            graph.overwrite(out)
        case PoolBlock() | DenseBlock() | NormDenseBlock():
            graph.make("out", block.out_channels, "input")
    return 4 * graph.peak()


def inverted_residual(graph: Graph, block: InvertedResidualBlock) -> None:
    out_pixels, x = block.out_size**2, "input"
    if block.mid_channels != block.in_channels or block.always_expand:
        x = graph.overwrite(graph.make("expanded", block.mid_channels * block.in_size**2, x))
    if block.groups > 1:
        x = graph.make("shuffled", block.mid_channels * block.in_size**2, x)
    x = graph.overwrite(graph.make("depthwise", block.mid_channels * out_pixels, x))
    if block.squeeze_channels:
        x = graph.overwrite(x, gate(graph, x, block.mid_channels, block.squeeze_channels))
    x = graph.overwrite(graph.make("projected", block.out_channels * out_pixels, x))
    if block.stride == 1 and block.in_channels == block.out_channels:
        graph.overwrite(x, "input")


def gate(graph: Graph, x: str, channels: int, squeeze_channels: int) -> str:
    pooled = graph.make("pooled", channels, x)
    squeezed = graph.overwrite(graph.make("squeezed", squeeze_channels, pooled))
    return graph.overwrite(graph.make("gate", channels, squeezed))


def fused_mbconv(graph: Graph, block: FusedMBConvBlock) -> None:
    out_pixels, x = block.out_size**2, "input"
    residual = block.stride == 1 and block.in_channels == block.out_channels
    expands = block.mid_channels != block.in_channels
    if expands:
        x = graph.overwrite(graph.make("expanded", block.mid_channels * out_pixels, x))
    if block.squeeze_channels:
        factors = gate(graph, x, block.mid_channels, block.squeeze_channels)
        if expands or not residual:
            x = graph.overwrite(x, factors)
        elif block.in_size == 1:
            # The input is needed again, but a vector can be gated in the memory of the gate.
            x = graph.overwrite(factors, x)
        else:
            x = graph.make("gated", block.in_channels * block.in_size**2, x, factors)
    x = graph.overwrite(graph.make("projected", block.out_channels * out_pixels, x))
    if residual:
        graph.overwrite(x, "input")


def universal_inverted_bottleneck(graph: Graph, block: UniversalInvertedBottleneckBlock) -> None:
    out_pixels, x = block.out_size**2, "input"
    middle_pixels = block.in_size**2 if block.kernel else out_pixels
    if block.start_kernel:
        x = graph.overwrite(graph.make("started", block.in_channels * middle_pixels, x))
    x = graph.overwrite(graph.make("expanded", block.mid_channels * middle_pixels, x))
    if block.kernel:
        x = graph.overwrite(graph.make("depthwise", block.mid_channels * out_pixels, x))
    x = graph.overwrite(graph.make("projected", block.out_channels * out_pixels, x))
    if block.stride == 1 and block.in_channels == block.out_channels:
        graph.overwrite(x, "input")


def assert_peaks(blocks: Iterable[Block]) -> None:
    for block in blocks:
        assert block.peak_activation_bytes == brute_force(block), block


def test_every_block_of_mbconv(mbconv: SearchSpace) -> None:
    blocks = mbconv.vocabulary.blocks
    assert {type(block) for block in blocks} == {ConvBlock, InvertedResidualBlock, PoolBlock, DenseBlock}
    assert_peaks(blocks)


@pytest.mark.parametrize("name", [*mobile.NETWORKS, *efficient.NETWORKS])
def test_every_block_of_published_networks(name: str) -> None:
    assert_peaks(nas.network(name).blocks)


def test_small_blocks_where_any_term_can_be_the_largest() -> None:
    settings = itertools.product((1, 2, 8), (1, 4, 8, 30), (1, 8, 40), (1, 2, 3, 8), (1, 2), (0, 1, 9, 200))
    assert_peaks(
        InvertedResidualBlock(inputs, outputs, size, mid_channels=mid, stride=stride, squeeze_channels=squeeze)
        for inputs, mid, outputs, size, stride, squeeze in settings
    )


def test_small_grouped_blocks() -> None:
    settings = itertools.product((2, 8), (2, 4, 8), (2, 8, 40), (1, 3, 8), (1, 2), (False, True))
    assert_peaks(
        InvertedResidualBlock(
            inputs, outputs, size, mid_channels=mid, stride=stride, groups=2,
            always_expand=always and mid == inputs,
        )
        for inputs, mid, outputs, size, stride, always in settings
    )  # fmt: skip


def test_small_fused_blocks() -> None:
    settings = itertools.product((1, 2, 8), (1, 4, 8, 30), (1, 8, 40), (1, 2, 3, 8), (1, 2), (0, 1, 9, 200))
    assert_peaks(
        FusedMBConvBlock(inputs, outputs, size, mid_channels=mid, stride=stride, squeeze_channels=squeeze)
        for inputs, mid, outputs, size, stride, squeeze in settings
    )


def test_small_universal_bottlenecks() -> None:
    settings = itertools.product((1, 2, 8), (1, 4, 8, 30), (1, 8, 40), (1, 2, 3, 8), (1, 2), (0, 3), (0, 5))
    assert_peaks(
        UniversalInvertedBottleneckBlock(
            inputs, outputs, size, mid_channels=mid, stride=stride, start_kernel=start, kernel=kernel
        )
        for inputs, mid, outputs, size, stride, start, kernel in settings
        if stride == 1 or start or kernel
    )


def test_small_separable_and_other_blocks() -> None:
    for inputs, outputs, size, stride in itertools.product((1, 2, 8), (1, 8, 40), (1, 2, 3, 8), (1, 2)):
        assert_peaks([DepthwiseSeparableBlock(inputs, outputs, size, stride=stride)])
        assert_peaks([IdentityBlock(inputs, inputs, size), NormDenseBlock(inputs, outputs, 1)])


def test_a_residual_block_by_hand() -> None:
    block = InvertedResidualBlock(8, 8, 10, mid_channels=48, kernel=3, squeeze_channels=2)
    # The depthwise convolution reads and writes 48 channels while the 8 of the skip wait.
    assert block.peak_activation_bytes == 4 * (48 + 48 + 8) * 100


def test_the_peak_of_a_network_is_that_of_its_worst_block(mbconv: SearchSpace, rng: np.random.Generator) -> None:
    for code in mbconv.sample(50, rng):
        spec: NetworkSpec = mbconv.spec(code)
        assert spec.cost()["peak_activation_bytes"] == max(brute_force(block) for block in spec.blocks)


def test_a_small_tensor_cannot_be_written_over_by_a_large_one() -> None:
    trace = Trace()
    x = trace.input(2, 4)
    gated = trace.mul(x, trace.pool(x))
    # The image survives, so what is gated is new; the gate that dies has no room for it.
    assert peak_bytes(trace.layers, [32], [gated.index, -1]) == 4 * (32 + 2 + 32)
