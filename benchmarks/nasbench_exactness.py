"""Compare closed-form counts of `nasbench201` and `nasbench101` with their networks, block by block, as integers.

    python benchmarks/nasbench_exactness.py [STRIDE]

Every STRIDE-th of the 15,625 cells of NAS-Bench-201, by default every one, in the real skeleton: params and MACs of
the built torch modules (each distinct block is built and run once, each network adds up the blocks it has), and the
peak activation memory of the whole layer graph. Then one in 1,000 × STRIDE of the cells of NAS-Bench-101.
"""

from __future__ import annotations

import sys
import time
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from nas.cost import CostModel
from nas.space import Block, Codes, SearchSpace
from search_spaces.cells import nasbench101, nasbench201


@cache
def measured(block: Block) -> tuple[int, int]:
    """Return the parameters of a block's built module, and the multiply-adds that happen when it runs."""
    module = block.build().eval()
    macs = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs
        if isinstance(layer, nn.Conv2d):
            macs += output.numel() * layer.weight[0].numel()
        elif isinstance(layer, nn.Linear):
            macs += layer.weight.numel()

    for layer in module.modules():
        layer.register_forward_hook(count)
    with torch.no_grad():
        # A vector comes without height and width.
        inputs = [torch.zeros(1, channels, *([size] * 2 if size > 1 else [])) for channels, size in block.input_shapes]
        module(*inputs)
    return sum(parameter.numel() for parameter in module.parameters()), macs


def check(space: SearchSpace, codes: Codes) -> bool:
    """Print how many codes agree and how long it took."""
    start = time.perf_counter()
    costs = CostModel(space)(codes)
    agree = 0
    for code, row in zip(codes, costs.itertuples(index=False), strict=True):
        network = space.spec(code)
        params, macs = np.sum([measured(block) for block in network.blocks], axis=0)
        agree += (params, macs, network.peak_activation_bytes()) == tuple(row)
    seconds = time.perf_counter() - start
    print(f"{space.name}: params, MACs and peak memory of {agree} of {len(codes)} networks agree ({seconds:.0f} s)")
    return agree == len(codes)


def main() -> int:
    stride = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    cells_201 = nasbench201.SPACE.all_codes()[::stride]
    cells_101 = nasbench101.SPACE.all_codes()[:: 1000 * stride]
    agree = [check(nasbench201.SPACE, cells_201), check(nasbench101.SPACE, cells_101)]
    return 0 if all(agree) else 1


if __name__ == "__main__":
    sys.exit(main())
