"""Niches of NSGA-III: reference points, the scaling that puts a front among them, and who survives in which niche."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


def reference_points(n_objectives: int, most: int) -> Array:
    """Return float[H, M], points spread evenly over the unit simplex, as many as fit into `most`.

    A lattice so coarse that all its points lie on the boundary has a second layer inside, half as large (Deb & Jain,
    2014, V). The corners alone, one an objective, are the least there is.
    """

    def finest(layers: int) -> int:
        """The most divisions at which that many layers, each a division coarser than the one outside, fit."""
        counts = (sum(math.comb(n_objectives + p - 1 - i, p - i) for i in range(layers)) for p in itertools.count(1))
        return sum(1 for _ in itertools.takewhile(lambda count: count <= most, counts))

    if n_objectives == 1:
        return np.ones((1, 1))
    if (p := finest(1)) >= n_objectives:
        return das_dennis(n_objectives, p)
    if (p := finest(2)) < 1:
        return np.eye(n_objectives)
    return np.concatenate([das_dennis(n_objectives, p), (das_dennis(n_objectives, p - 1) + 1 / n_objectives) / 2])


def das_dennis(n_objectives: int, p: int) -> Array:
    """Return float[H, M], all points of the unit simplex with coordinates that are multiples of 1/p; p = 0: its centre.

    H = C(M + p - 1, p) (Das & Dennis, 1998).
    """
    if p == 0:
        return np.full((1, n_objectives), 1 / n_objectives)
    # p stars and M - 1 bars in a row: the coordinates are the numbers of stars between the bars.
    row = p + n_objectives - 1
    bars = np.array(list(itertools.combinations(range(row), n_objectives - 1)))
    ends = np.pad(bars, ((0, 0), (1, 1)), constant_values=((0, 0), (-1, row)))
    points: Array = (np.diff(ends, axis=1) - 1) / p
    return points


class Normalisation:
    """Objectives scaled so that the front spans the unit simplex: ideal point and nadir point, updated as told.

    The nadir is where the hyperplane through the extreme points cuts the axes. Extreme points are those of all first
    fronts so far, and the nadir is never beyond the worst values seen, without a plane that of the first front:
    repairs of degenerate cases by Blank, Deb & Roy (2019).
    """

    #: weight of the other objectives in the search for the extreme point of one
    WEIGHT = 1e6
    #: intercepts, as a share of the range of an objective, below which the plane says nothing
    TINY = 1e-6

    def __init__(self, n_objectives: int):
        self.ideal = np.full(n_objectives, np.inf)
        self.worst = np.full(n_objectives, -np.inf)
        self.nadir = np.full(n_objectives, np.nan)
        self._extremes = np.zeros((0, n_objectives))

    def update(self, points: Array, on_front: npt.NDArray[np.bool_]) -> None:
        """Learn float[n, M] losses of feasible networks, of which `on_front` are not dominated."""
        self.ideal = np.minimum(self.ideal, points.min(axis=0))
        self.worst = np.maximum(self.worst, points.max(axis=0))
        # Objectives have units, and the search for extreme points compares them, so they are scaled beforehand.
        unit = _or_one(self.worst - self.ideal)
        front = points[on_front]
        candidates = np.concatenate([self._extremes, front])
        weights = np.where(np.eye(len(unit), dtype=bool), 1.0, self.WEIGHT)
        achievement = ((candidates - self.ideal) / unit * weights[:, None]).max(axis=2)
        self._extremes = candidates[achievement.argmin(axis=1)]
        intercepts = _intercepts((self._extremes - self.ideal) / unit)
        if intercepts is None or (intercepts < self.TINY).any():
            self.nadir = front.max(axis=0)
        else:
            self.nadir = np.minimum(self.ideal + intercepts * unit, self.worst)
        flat = self.nadir - self.ideal <= self.TINY * unit
        self.nadir = np.where(flat, points.max(axis=0), self.nadir)

    def __call__(self, points: Array) -> Array:
        """Return float[n, M], 0 at the ideal and 1 at the nadir of each objective."""
        scaled: Array = (points - self.ideal) / _or_one(self.nadir - self.ideal)
        return scaled


def _or_one(span: Array) -> Array:
    return np.where(span > 0, span, 1.0)


def _intercepts(extremes: Array) -> Array | None:
    """Where the plane through the rows of float[M, M] cuts the axes; None where they span no such plane."""
    try:
        plane = np.linalg.solve(extremes, np.ones(len(extremes)))
    except np.linalg.LinAlgError:
        return None
    solved = np.allclose(extremes @ plane, 1.0) and (plane > 0).all()
    return np.asarray(1.0 / plane) if solved else None


def associate(points: Array, directions: Array) -> tuple[Indices, Array]:
    """Return for each row of float[n, M] the nearest line through the origin and a row of float[H, M], and how far."""
    units = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    along = points @ units.T
    away = np.linalg.norm(points[:, None] - along[:, :, None] * units, axis=2)
    niche = away.argmin(axis=1)
    return niche, away[np.arange(len(points)), niche]


def thin(rank: Indices, niche: Indices, distance: Array, n_niches: int, size: int, rng: np.random.Generator) -> Indices:
    """Return the indices of `size` survivors: whole fronts, then of the front that does not fit (Algorithm 4).

    One from the least crowded niche at a time, ties at random: the nearest to the direction of an empty niche, any of
    one that is not empty.
    """
    last = np.sort(rank)[size]
    survivors = np.flatnonzero(rank < last)
    crowd = np.bincount(niche[survivors], minlength=n_niches)
    # In random order, but within a niche that is still empty the nearest first.
    waiting = rng.permutation(np.flatnonzero(rank == last))
    queues: dict[int, list[int]] = {}
    for i in waiting.tolist():
        queues.setdefault(int(niche[i]), []).append(i)
    chosen: list[int] = []
    while len(chosen) < size - len(survivors):
        least = min(crowd[j] for j in queues)
        j = int(rng.choice([j for j in queues if crowd[j] == least]))
        nearest = min(queues[j], key=lambda i: distance[i]) if crowd[j] == 0 else queues[j][-1]
        queues[j].remove(nearest)
        if not queues[j]:
            del queues[j]
        crowd[j] += 1
        chosen.append(nearest)
    return np.concatenate([survivors, np.array(chosen, dtype=np.int64)])
