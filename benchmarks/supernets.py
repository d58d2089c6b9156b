"""Check supernets against the networks of their spaces, and time their training steps side by side with these.

    python benchmarks/supernets.py [--space NAME ...] [--rounds 7]

For each space: the largest difference of 100 sub-networks to the same networks extracted, in evaluation mode, and for
each way of choosing operations the median CPU seconds of a training step, on one thread, as a ratio to plain networks
of the same expected MACs. One path at a time is compared with the networks of these very paths; a mixture of all
operations with the four of 100 random networks whose MACs come nearest to the expected ones. All are measured in
turn, in the same run.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import nas
from nas.space import Codes
from nas.supernet.cell_edge import CandidateOptions
from nas.supernet.cell_supernet import CellSupernet
from nas.supernet.nasbench201 import NasBench201Supernet
from nas.supernet.supernet import Supernet
from nas.supernet.weights import SiteWeights, one_hot

#: space -> class of the supernet and what makes its networks small enough for a CPU
SUPERNETS: dict[str, tuple[Callable[..., Supernet], dict[str, Any]]] = {
    "nasbench201": (NasBench201Supernet, {"channels": 16, "cells": 1}),
    "darts": (CellSupernet, {"channels": 8, "cells": 3}),
    "nasnet": (CellSupernet, {"channels": 8, "cells": 3}),
}
BATCH = 16
CODES = 4

Step = Callable[[], None]


def training_step(network: nn.Module, forward: Callable[[], Tensor]) -> Step:
    """Return what does one step of SGD with momentum on a batch."""
    classes = torch.arange(BATCH) % 10
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)

    def step() -> None:
        loss = nn.functional.cross_entropy(forward(), classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def largest_difference(supernet: Supernet, images: Tensor, codes: Codes) -> float:
    supernet.eval()
    with torch.no_grad():
        found = [(supernet.forward_code(images, code) - supernet.extract(code)(images)).abs().max() for code in codes]
    supernet.train()
    return max(difference.item() for difference in found)


def sampled(weights: Sequence[Tensor], extra: int, rng: np.random.Generator) -> list[SiteWeights]:
    """Return one-hot weights of which the chosen entry, and `extra` others a site, need a gradient."""
    entries: list[SiteWeights] = []
    for site in weights:
        chosen = int(site.argmax())
        others = rng.permutation([i for i in range(len(site)) if i != chosen])[:extra].tolist()
        entries.append([value.clone().requires_grad_(i == chosen or i in others) for i, value in enumerate(site)])
    return entries


def counted_macs(supernet: Supernet, weights: Sequence[Tensor]) -> float:
    """Return the multiply-adds that one image takes, as torch counts them."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        supernet.eval()(torch.zeros(1, 3, 32, 32), weights)
    supernet.train()
    return counter.get_total_flops() / 2


def nearest_codes(supernet: Supernet, macs_of: Callable[[Any], int], rng: np.random.Generator) -> Codes:
    """Return the codes of random networks that have about the expected MACs of a uniform mixture."""
    operations = supernet.sites[0].operations
    uniform = [torch.full((len(operations),), 1 / len(operations)) for _ in supernet.sites]
    nothing = [one_hot(operations.index("none"), len(operations)) for _ in supernet.sites]
    around = counted_macs(supernet, nothing)
    expected = around + (counted_macs(supernet, uniform) - around) / len(operations)
    codes = supernet.space.sample(100, rng)
    macs = np.array([macs_of(code) for code in codes])
    near = np.argsort(np.abs(macs - expected))[:CODES]
    print(f"  expected MACs of the mixture {expected / 1e6:.2f} M, of networks {macs[near].mean() / 1e6:.2f} M")
    return codes[near]


def compared(name: str, images: Tensor) -> dict[str, tuple[list[Step], list[Step]]]:
    """Return for each way to choose operations the steps of the supernet and those of plain networks."""
    make, overrides = SUPERNETS[name]
    space, rng = nas.space(name), np.random.default_rng(0)
    supernet = make(space, **overrides)

    def plain(codes: Codes) -> list[Step]:
        networks = [space.spec(code, **overrides).build() for code in codes]
        return [training_step(network, lambda network=network: network(images)) for network in networks]

    def mixed(net: Supernet, choices: Sequence[Any]) -> list[Step]:
        return [training_step(net, lambda weights=weights: net(images, weights)) for weights in choices]

    codes = space.sample(CODES, rng)
    paths = [supernet.weights_of(code) for code in codes]
    alone = plain(codes)
    uniform = [torch.full((len(site.operations),), 1 / len(site.operations)) for site in supernet.sites]
    near = plain(nearest_codes(supernet, lambda code: space.spec(code, **overrides).cost()["macs"], rng))
    needing = [site.clone().requires_grad_() for site in uniform]
    modes = {
        "one path, no gradient of weights (SPOS, ENAS)": (mixed(supernet, paths), alone),
        "one path with its gradient (GDAS)": (mixed(supernet, [sampled(path, 0, rng) for path in paths]), alone),
        "two paths (ProxylessNAS)": (mixed(supernet, [sampled(path, 1, rng) for path in paths]), alone),
        f"all {len(uniform[0])} operations (DARTS)": (mixed(supernet, [needing] * CODES), near),
    }
    partial = make(space, CandidateOptions(partial=4), **overrides)
    modes[f"all {len(uniform[0])} on a quarter of the channels (PC-DARTS)"] = (mixed(partial, [needing] * CODES), near)
    return modes


def seconds(steps: Sequence[Step]) -> float:
    start = time.process_time()
    for step in steps:
        step()
    return (time.process_time() - start) / len(steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--space", action="append", choices=list(SUPERNETS))
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    images = torch.randn(BATCH, 3, 32, 32)
    for name in arguments.space or SUPERNETS:
        make, overrides = SUPERNETS[name]
        supernet = make(nas.space(name), **overrides)
        worst = largest_difference(supernet, images[:2], supernet.space.sample(100, np.random.default_rng(2)))
        print(f"{name}: 100 sub-networks and the same extracted differ by {worst:.1g} at most")
        modes = compared(name, images)
        ratios: dict[str, list[float]] = {mode: [] for mode in modes}
        for turn in range(arguments.rounds + 1):
            for mode, (steps, plain) in modes.items():
                ratio = seconds(steps) / seconds(plain)
                if turn:  # the first round warms up
                    ratios[mode].append(ratio)
        for mode, found in ratios.items():
            print(
                f"  {mode}: {statistics.median(found):.2f} times the plain networks ({min(found):.2f}-{max(found):.2f})"
            )


if __name__ == "__main__":
    main()
