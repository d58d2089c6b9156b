"""Time what a search does most, side by side with the plain way of doing it.

    python benchmarks/speed.py

Prints medians of several repetitions on two threads at most, and ratios measured in the same run.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import nas
from nas.cost import cost_model
from nas.search.config import make_config
from nas.search.problem import Problem

NAS = Path(sys.executable).with_name("nas")


def median_seconds(work: Callable[[], object], repeats: int = 5) -> float:
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def command_seconds(*arguments: str, cwd: str | None = None) -> float:
    start = time.perf_counter()
    subprocess.run([NAS, *arguments], check=True, capture_output=True, cwd=cwd)
    return time.perf_counter() - start


def count_with_hooks(codes: np.ndarray) -> float:
    """Seconds to build each network (on torch's meta device, without memory) and count it with forward hooks."""
    import torch
    from torch import nn

    space = nas.space("mbconv")
    start = time.perf_counter()
    for code in codes:
        macs = 0

        def hook(module: nn.Module, _: object, output: torch.Tensor) -> None:
            nonlocal macs
            if isinstance(module, nn.Conv2d):
                macs += module.weight.numel() * output.shape[2] * output.shape[3]
            elif isinstance(module, nn.Linear):
                macs += module.weight.numel()

        with torch.device("meta"):
            network = space.spec(code).build().eval()
            for part in network.modules():
                part.register_forward_hook(hook)
            network(torch.empty(1, 3, 224, 224))
            sum(parameter.numel() for parameter in network.parameters())
    return time.perf_counter() - start


def main() -> None:
    print(f"{os.cpu_count()} cores")
    problem = Problem.from_config(make_config({"space": "mbconv", "target": "pixel4"}))
    space, costs = problem.space, cost_model(problem.space)
    predictor = nas.target("pixel4").on(space)["latency_ms"].predictor
    rng = np.random.default_rng(0)

    codes = space.sample(100_000, rng)
    seconds = median_seconds(lambda: problem.evaluate(codes))
    print(f"cost + latency + surrogate, 100,000 codes: {seconds:.2f} s")

    million = space.sample(1_000_000, rng)
    seconds = median_seconds(lambda: (costs.params_and_macs(million), predictor.predict(space, million)), 3)
    print(f"params + MACs + latency (mean and std): {1e6 / seconds:,.0f} codes/s")

    few = codes[:20]
    hooks, closed = count_with_hooks(few) / len(few), median_seconds(lambda: costs.params_and_macs(codes)) / len(codes)
    print(f"params + MACs, closed form against building and counting with hooks: {hooks / closed:,.0f} times as fast")

    seconds = statistics.median(command_seconds("--help") for _ in range(7))
    print(f"nas --help: {seconds:.2f} s")
    with tempfile.TemporaryDirectory() as folder:
        seconds = command_seconds("search", "--space", "mbconv", "--target", "pixel4", cwd=folder)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2
    print(f"nas search --space mbconv --target pixel4: {seconds:.1f} s, peak memory {peak:.2f} GiB")


if __name__ == "__main__":
    main()
