"""Check supernets against the networks of their spaces, and time their training steps side by side with these.

    python benchmarks/supernets.py [--space NAME ...] [--rounds 7]

For each space: the largest difference of 100 sub-networks to the same networks extracted, in evaluation mode, whether
their parameters are as many as the closed form says, and for each way of choosing operations the median CPU seconds of
a training step, on one thread, as a ratio to plain networks of the same expected MACs. One path at a time is compared
with the networks of these very paths; a mixture of all operations with the four of 1,000 random networks whose MACs
come nearest to the expected ones. All are measured in turn, in the same run, in the memory format of one-shot training:
channels last, but for PC-DARTS where too few channels are seen for it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import nas
from nas.space import Codes, NetworkSpec, SearchSpace
from nas.strategies.oneshot.placing import memory_format
from nas.strategies.oneshot.settings import OneShotSettings
from nas.supernet.cell_edge import CandidateOptions
from nas.supernet.factory import make_supernet
from nas.supernet.staged import ElasticSupernet
from nas.supernet.supernet import Supernet
from nas.supernet.weights import SiteWeights, one_hot

#: space -> what makes its networks small enough for a CPU
SUPERNETS: dict[str, dict[str, Any]] = {
    "nasbench201": {"channels": 16, "cells": 1},
    "darts": {"channels": 8, "cells": 3},
    "nasnet": {"channels": 8, "cells": 3},
    "mbconv": {"width": 0.25, "num_classes": 10, "resolution": 32},
    "mbconv-fbnet": {"width": 0.25, "num_classes": 10, "resolution": 32},
    "convnext": {"width": 0.02, "num_classes": 10, "resolution": 32},
}
#: the default of one-shot training
BATCH = 64
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


def network_of(space: SearchSpace, code: Codes, network: dict[str, Any]) -> NetworkSpec:
    """Return the network that a code is in a supernet."""
    fields = dict(network)
    width = fields.pop("width", None)
    spec = space.spec(code, **fields)
    return spec if width is None else spec.scale(width=width)


def check(supernet: Supernet, network: dict[str, Any], images: Tensor, codes: Codes) -> tuple[float, int]:
    """Return the largest difference of outputs, and how many networks have other parameters than the closed form."""
    supernet.eval()
    worst, wrong = 0.0, 0
    for code in codes:
        alone = supernet.extract(code)
        with torch.no_grad():
            worst = max(worst, (supernet.forward_code(images, code) - alone(images)).abs().max().item())
        params = sum(parameter.numel() for parameter in alone.parameters())
        wrong += params != network_of(supernet.space, code, network).cost()["params"]
    supernet.train()
    return worst, wrong


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


def expected_macs(supernet: Supernet, macs_of: Callable[[Codes], int], rng: np.random.Generator) -> float:
    """Return the expected multiply-adds of a uniform mixture; of chains the mean of 300 draws."""
    operations = supernet.sites[0].operations
    if isinstance(supernet, ElasticSupernet):
        drawn = [[rng.integers(len(site.operations)) for site in supernet.sites] for _ in range(300)]
        return float(np.mean([macs_of(code) for code in supernet.space.check(np.array(drawn))]))
    uniform = [torch.full((len(operations),), 1 / len(operations)) for _ in supernet.sites]
    nothing = [one_hot(operations.index("none"), len(operations)) for _ in supernet.sites]
    around = counted_macs(supernet, nothing)
    return around + (counted_macs(supernet, uniform) - around) / len(operations)


def nearest_codes(supernet: Supernet, macs_of: Callable[[Codes], int], rng: np.random.Generator) -> Codes:
    """Return the codes of random networks that have about the expected MACs of a uniform mixture."""
    expected = expected_macs(supernet, macs_of, rng)
    codes = supernet.space.sample(1000, rng)
    macs = np.array([macs_of(code) for code in codes])
    near = np.argsort(np.abs(macs - expected))[:CODES]
    print(f"  expected MACs of the mixture {expected / 1e6:.2f} M, of networks {macs[near].mean() / 1e6:.2f} M")
    return codes[near]


def compared(name: str, images: Tensor) -> dict[str, tuple[list[Step], list[Step]]]:
    """Return for each way to choose operations the steps of the supernet and those of plain networks."""
    overrides = SUPERNETS[name]
    space, rng = nas.space(name), np.random.default_rng(0)
    supernet = placed(make_supernet(space, **overrides))

    def plain(codes: Codes) -> list[Step]:
        networks = [placed(network_of(space, code, overrides).build()) for code in codes]
        return [training_step(net, partial(net, placed(images, net))) for net in networks]

    def mixed(net: Supernet, choices: Sequence[Any]) -> list[Step]:
        x = placed(images, net)
        return [training_step(net, lambda weights=weights: net(x, weights)) for weights in choices]

    codes = space.sample(CODES, rng)
    paths = [supernet.weights_of(code) for code in codes]
    alone = plain(codes)
    uniform = [torch.full((len(site.operations),), 1 / len(site.operations)) for site in supernet.sites]
    near = plain(nearest_codes(supernet, lambda code: network_of(space, code, overrides).cost()["macs"], rng))
    needing = [site.clone().requires_grad_() for site in uniform]
    modes = {
        "one path, no gradient of weights (SPOS, ENAS)": (mixed(supernet, paths), alone),
        "one path with its gradient (GDAS)": (mixed(supernet, [sampled(path, 0, rng) for path in paths]), alone),
        "two paths (ProxylessNAS)": (mixed(supernet, [sampled(path, 1, rng) for path in paths]), alone),
    }
    if isinstance(supernet, ElasticSupernet):
        return modes | {"all choices (DARTS)": (mixed(supernet, [needing]), near)}
    modes[f"all {len(uniform[0])} operations (DARTS)"] = mixed(supernet, [needing] * CODES), near
    quarter = placed(make_supernet(space, CandidateOptions(partial=4), **overrides))
    modes[f"all {len(uniform[0])} on a quarter of the channels (PC-DARTS)"] = (mixed(quarter, [needing] * CODES), near)
    return modes


def placed(what: Any, network: nn.Module | None = None) -> Any:
    """Return a network, or images for one, in the memory format in which it would be trained."""
    return what.to(memory_format=memory_format(network or what, OneShotSettings()))


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
        supernet = make_supernet(nas.space(name), **SUPERNETS[name])
        codes = supernet.space.sample(100, np.random.default_rng(2))
        worst, wrong = check(supernet, SUPERNETS[name], images[:2], codes)
        print(f"{name}: 100 sub-networks and the same extracted differ by {worst:.1g} at most;", end=" ")
        print(f"the parameters of {100 - wrong} are as in closed form")
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
