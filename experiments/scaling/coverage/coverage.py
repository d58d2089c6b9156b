"""How often the 95 % intervals of fitted coefficients hold the truth, on synthetic observations of known truth.

    python experiments/scaling/coverage/coverage.py --repetitions 300

The surface: at 4.5 times the cost compound is about 2 points ahead of each dimension alone, as Tan & Le (2019, table 7)
print it of EfficientNet-B0 scaled to 1.8 billion operations. Its highest point at 2 times the cost takes shares 0.28,
0.29, 0.43 of log cost in depth, width, resolution: about 1.2, 1.1, 1.15 in proportion.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from nas.scaling.fitting.cost_growth import PAPER
from nas.scaling.fitting.family import PAPER_GROWTH, fit_family
from nas.scaling.fitting.surface import SurfaceFit, fit_observations
from nas.scaling.fitting.table import Observations

Array = npt.NDArray[np.float64]

FACTOR = 2.0
SHARES = np.array([0.28, 0.29, 0.43])
#: points of accuracy: slope and curvature per share of log cost, so that the published lead comes out
SLOPE, CURVATURE = 3.225, 1.392
#: a family as the formula has it, with the phi of B1 to B7, and the scatter of its log multipliers
FAMILY, PHI, SCATTER = np.array([1.2, 1.1, 1.15]), np.array([0, 0.5, 1, 2, 3, 4, 5, 6]), 0.03


def surface() -> tuple[Array, Array]:
    """Slope float[3] and curvature float[3, 3] in log multipliers, with the highest point at SHARES."""
    step, exponents = np.log(FACTOR), PAPER.exponents
    curvature = -CURVATURE * np.diag(exponents**2)
    at_best = (SLOPE - 2 * CURVATURE * step / 3) * exponents
    return at_best - 2 * curvature @ (SHARES * step / exponents), curvature


def accuracy(logs: Array) -> Array:
    slope, curvature = surface()
    values: Array = 77.0 + logs @ slope + np.einsum("nd,de,ne->n", logs, curvature, logs)
    return values


def designs() -> dict[str, tuple[Array, int]]:
    """Log multipliers of networks, and how often each is trained."""
    alone, pairs, even = np.eye(3), (1 - np.eye(3)) / 2, np.full((1, 3), 1 / 3)
    twice = [size * np.vstack([alone, even, pairs]) for size in (np.log(2), np.log(4))]
    centroid = np.vstack([np.zeros((1, 3)), *twice]) / PAPER.exponents
    levels = np.array([0, 0.5, 1]) * np.log(4) / 1.5
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3) / PAPER.exponents
    twelve = np.delete(centroid, [5, 6, 7], axis=0)
    return {
        "15 networks, as `nas scale design`": (centroid, 1), "12 of them, 3 seeds": (twelve, 3),
        "27 networks, 3 × 3 × 3": (cube, 1),
    }  # fmt: skip


def repeated(logs: Array, seeds: int, noise: float, repetitions: int, seed: int) -> Iterator[SurfaceFit]:
    rng = np.random.default_rng(seed)
    rows = np.repeat(logs, seeds, axis=0)
    names = tuple(map(str, range(len(rows))))
    for repetition in range(repetitions):
        observed = accuracy(rows) + noise * rng.standard_normal(len(rows))
        yield fit_observations(Observations(np.exp(rows), observed, {}, names), [PAPER], FACTOR, repetition)


def coverage_of_surfaces(
    logs: Array, seeds: int, noise: float, repetitions: int, seed: int
) -> tuple[Array, Array, float]:
    """Share of repetitions in which intervals hold the truth, float[4], and mean widths float[3] of the first three.

    Alpha, beta, gamma; and the lead over the best single dimension at the same cost. Last, the share in which compound,
    which truly is, is told to be ahead of every single dimension at two factors of cost.
    """
    truth = PAPER.spent(SHARES, FACTOR)
    held, widths, told = [], [], []
    for fit in repeated(logs, seeds, noise, repetitions, seed):
        under = fit.by_cost[0]
        ahead, ends = under.advantages[0], np.array([each[1:] for each in under.fitted.intervals])
        compound = [
            under.fitted.coefficients.depth,
            under.fitted.coefficients.width,
            under.fitted.coefficients.resolution,
        ]
        alone = PAPER.spent(np.eye(3)[[("depth", "width", "resolution").index(ahead.best_single)]], FACTOR)[0]
        lead = float(np.subtract(*accuracy(np.log([compound, alone]))))
        inside = (ends[:, 0] - 1e-9 <= truth) & (truth <= ends[:, 1] + 1e-9)
        held.append([*inside, ahead.over_best.low <= lead <= ahead.over_best.high])
        widths.append(ends[:, 1] - ends[:, 0])
        told.append("is ahead of every" in under.advantages[-1].verdict)
    return np.mean(held, axis=0), np.mean(widths, axis=0), float(np.mean(told))


def coverage_of_families(repetitions: int, seed: int) -> Array:
    """Share of repetitions in which intervals of alpha, beta, gamma and alpha·beta²·gamma² hold the truth, float[4]."""
    rng = np.random.default_rng(seed)
    truth = np.append(FAMILY, FAMILY[0] * FAMILY[1] ** 2 * FAMILY[2] ** 2)
    held = []
    for _ in range(repetitions):
        logs = np.outer(PHI, np.log(FAMILY)) + SCATTER * rng.standard_normal((len(PHI), 3)) * (PHI > 0)[:, None]
        fit = fit_family(PHI, np.exp(logs))
        ends = np.array([each[1:] for each in (*fit.intervals, fit.growth[PAPER_GROWTH])])
        held.append((ends[:, 0] <= truth) & (truth <= ends[:, 1]))
    return np.asarray(np.mean(held, axis=0))


def percent(shares: Array) -> str:
    return " | ".join(f"{100 * share:.1f}" for share in shares)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    print(f"{asked.repetitions} repetitions, seed {asked.seed}; % of them in which the 95 % interval holds the truth\n")
    print("| family | alpha | beta | gamma | alpha·beta²·gamma² |\n|---|---|---|---|---|")
    print(f"| 7 members, scatter {SCATTER:g} | {percent(coverage_of_families(asked.repetitions, asked.seed))} |\n")
    print("| observations | noise, points | alpha | beta | gamma | lead over best | mean widths | told ahead at 4 × |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for name, (logs, seeds) in designs().items():
        for noise in (0.2, 0.3, 0.5):
            held, widths, told = coverage_of_surfaces(logs, seeds, noise, asked.repetitions, asked.seed)
            wide = ", ".join(f"{width:.2f}" for width in widths)
            print(f"| {name} | {noise} | {percent(held)} | {wide} | {100 * told:.0f} |", flush=True)


if __name__ == "__main__":
    main()
