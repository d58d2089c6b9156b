"""Cost 100,000 random networks of every space in closed form, beside building modules and counting with hooks.

    python benchmarks/costing.py [SPACE ...]

Both ways give parameters and multiply-adds; the closed form gives peak activation memory as well. The modules are built
on torch's meta device, where nothing is stored or computed: that is the fastest way to count with hooks.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

import nas
from nas import registry
from nas.cost import CostModel
from nas.space import NetworkSpec

CODES = 100_000
#: networks built and counted with hooks, to know what one of them takes
BUILT = 12


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def count_with_hooks(spec: NetworkSpec) -> tuple[int, int]:
    """Parameters and multiply-adds of convolutions and linear layers of the built module."""
    macs = 0

    def hook(module: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal macs
        if isinstance(module, nn.Conv2d):
            macs += output.numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            macs += output.numel() * module.in_features

    with torch.device("meta"):
        network = spec.build().eval()
        for part in network.modules():
            part.register_forward_hook(hook)
        network(torch.empty(1, spec.in_channels, spec.resolution, spec.resolution))
    return sum(parameter.numel() for parameter in network.parameters()), macs


def measure(name: str) -> None:
    space = nas.space(name)
    codes = space.sample(CODES, np.random.default_rng(0))
    start = time.perf_counter()
    model = CostModel(space)
    model(codes[:1])
    tables = time.perf_counter() - start
    closed = seconds(lambda: model(codes))
    few = codes[:BUILT]
    start = time.perf_counter()
    counted = [count_with_hooks(space.spec(code)) for code in few]
    hooks = (time.perf_counter() - start) / BUILT
    agree = np.array_equal(counted, model.params_and_macs(few))
    ratio = hooks * CODES / closed
    print(
        f"| {name} | {space.size:.4g} | {tables:.2f} s | {closed:.3f} s | {1000 * hooks:.0f} ms | {ratio:,.0f} | "
        f"{hooks * CODES / (tables + closed):,.0f} | {'equal' if agree else 'DIFFERENT'} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spaces", nargs="*", default=registry.names("spaces"))
    torch.set_num_threads(1)
    print(
        f"| space | networks | tables, once | {CODES:,} codes | hooks, one network | ratio | ratio with the tables "
        f"| counts of {BUILT} |\n|---|---|---|---|---|---|---|---|"
    )
    for name in parser.parse_args().spaces:
        measure(name)


if __name__ == "__main__":
    main()
