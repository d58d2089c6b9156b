"""Coefficients that a family of networks follows: what EfficientNet's released table says of alpha, beta and gamma."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nas.errors import NasError
from nas.scaling.coefficients import DIMENSIONS, Coefficients
from nas.scaling.fitting.result import FittedCoefficients, Interval, student_draws, student_quantile
from nas.scaling.observations import read_columns, refuse
from nas.scaling.released import published_families, published_family
from nas.space import NetworkSpec

Array = npt.NDArray[np.float64]

#: resolutions from here on are pixels, below they are multiples of the base's
FEWEST_PIXELS = 8
#: members beside the base that a fit needs: with fewer there is no residual to take an interval from
LEAST_MEMBERS = 2
DRAWS = 4000
PAPER_GROWTH = "alpha·beta²·gamma²"


def fit_family(
    phi: Array, multipliers: Array, macs: Array | None = None, names: Sequence[str] = (), seed: int = 0
) -> FittedCoefficients:
    """Fit log(multiplier) = phi · log(coefficient) to each dimension of a family by least squares.

    The base, phi 0, has multiplier 1 by definition, so it counts as no observation. Intervals are Student's with one
    degree of freedom less than there are members beside the base; draws have the correlation of the residuals.

    Args:
        phi: float[n], compound coefficients.
        multipliers: float[n, 3], relative to the base.
        macs: float[n], exact multiply-adds, whose growth is then reported; one member must have phi 0.
        names: of the members; by default their phi.

    Raises:
        NasError: a phi is negative, a multiplier not positive, members are too few, or a dimension shrinks with phi.
    """
    import pandas as pd

    _check(phi, multipliers)
    grown = phi > 0
    steps, logs = phi[grown], np.log(multipliers[grown])
    slopes, covariance, freedom = _through_origin(steps, logs)
    fitted = np.exp(np.outer(phi, slopes))
    rows: dict[str, object] = {"name": list(names) or [f"phi {value:g}" for value in phi], "phi": phi}
    for i, name in enumerate(DIMENSIONS):
        rows |= {name: multipliers[:, i], f"{name}_fitted": fitted[:, i],
                 f"{name}_difference_percent": 100 * (multipliers[:, i] / fitted[:, i] - 1)}  # fmt: skip
    return FittedCoefficients(
        coefficients=_growing(np.exp(slopes)),
        intervals=_intervals(steps, logs),
        draws=np.exp(student_draws(slopes, covariance, freedom, DRAWS, np.random.default_rng(seed))),
        method=f"least squares of log multipliers on phi through the origin, {grown.sum()} members beside the base",
        growth=_growth(steps, logs, phi, macs),
        residuals=pd.DataFrame(rows),
    )


def fit_published(name: str, seed: int = 0) -> FittedCoefficients:
    """Fit the multipliers of a published family, "efficientnet", on the phi of its members.

    Raises:
        NasError: there is no such family, or it has no members with phi and multipliers; names those that have.
    """
    family = published_family(name)
    found = [(member, family.multipliers(member)) for member in family.members if member.phi is not None]
    known = [(member, by) for member, by in found if by is not None]
    if sum(bool(member.phi) for member, _ in known) < LEAST_MEMBERS:
        scaled = [key for key, each in published_families().items() if sum(bool(m.phi) for m in each.members) > 1]
        raise NasError(
            f"the family {name!r} was not published with phi and multipliers; families that were: "
            f"{', '.join(scaled) or 'none'}; give your own as CSV with columns phi, depth, width, resolution"
        )
    phi = np.array([member.phi for member, _ in known], dtype=np.float64)
    multipliers = np.array([(by.depth, by.width, by.resolution) for _, by in known])
    macs = np.array([sum(block.macs for block in member.spec.blocks) for member, _ in known], dtype=np.float64)
    fitted = fit_family(phi, multipliers, macs, [member.name for member, _ in known], seed)
    stated = family.coefficients
    if stated is None:
        return fitted
    return replace(fitted, notes=(f"published: {stated} (growth {stated.growth:.2f}), {family.source}",))


def read_family_table(path: Path, base: NetworkSpec | None = None, seed: int = 0) -> FittedCoefficients:
    """Fit a family given as CSV: columns phi, depth, width, resolution, and name and macs where known.

    Depth and width are multiples of the base's; resolution is in pixels, or multiples of the base's.

    Args:
        base: tells how many pixels multiples are of, where no row has phi 0.

    Raises:
        NasError: the file is damaged, or what `fit_family` refuses; names the line.
    """
    frame = read_columns(path, required=("phi", *DIMENSIONS), optional=("macs",))
    refuse(frame["phi"] < 0, frame, "phi", path, "0 for the base and more for larger members")
    for name in DIMENSIONS:
        refuse(frame[name] <= 0, frame, name, path, "a positive number")
    first = frame["phi"] == 0
    pixels = frame["resolution"].to_numpy()
    resolution = in_multiples(pixels, _base_resolution(pixels[first.to_numpy()], base), str(path))
    multipliers = np.column_stack([frame["depth"], frame["width"], resolution])
    for i, name in enumerate(DIMENSIONS):
        refuse(first & (abs(multipliers[:, i] - 1) > 1e-6), frame, name, path, "that of the base where phi is 0")
    macs = frame["macs"].to_numpy() if "macs" in frame and first.any() else None
    names = [str(name) for name in frame["name"]] if "name" in frame else []
    return fit_family(frame["phi"].to_numpy(), multipliers, macs, names, seed)


def in_multiples(resolution: Array, base: float | None, where: str) -> Array:
    """Return resolutions float[n] as multiples of the base's, whether they are pixels or multiples.

    Raises:
        NasError: pixels of which the base's are not known, or both kinds together.
    """
    pixels = resolution >= FEWEST_PIXELS
    if not pixels.any():
        return resolution
    if not pixels.all():
        raise NasError(
            f"{where}: resolution {resolution[~pixels][0]:g} is a multiple of the base's and "
            f"{resolution[pixels][0]:g} is in pixels; write all in the same way"
        )
    if base is None:
        raise NasError(f"{where}: resolutions are in pixels, but the base's is not known: add its row, or give --base")
    return resolution / base


def _base_resolution(at_base: Array, base: NetworkSpec | None) -> float | None:
    if at_base.size:
        return float(at_base[0])
    return None if base is None else float(base.resolution)


def _check(phi: Array, multipliers: Array) -> None:
    if not (np.isfinite(phi) & (phi >= 0)).all():
        raise NasError(f"phi is {phi[~(phi >= 0)][0]:g}, must be 0 for the base and more for larger members")
    if not (np.isfinite(multipliers) & (multipliers > 0)).all():
        raise NasError("multipliers must be positive numbers")
    if (phi > 0).sum() < LEAST_MEMBERS:
        raise NasError(
            f"{(phi > 0).sum()} members beside the base are too few to fit coefficients to: an interval needs "
            f"at least {LEAST_MEMBERS}"
        )


def _through_origin(phi: Array, logs: Array) -> tuple[Array, Array, int]:
    """Slopes float[d] of logs float[n, d] on phi, their covariance float[d, d], degrees of freedom."""
    slopes = phi @ logs / (phi @ phi)
    residuals = logs - np.outer(phi, slopes)
    freedom = len(phi) - 1
    return slopes, residuals.T @ residuals / freedom / (phi @ phi), freedom


def _intervals(phi: Array, logs: Array) -> tuple[Interval, Interval, Interval]:
    depth, width, resolution = (_interval(phi, logs[:, i]) for i in range(3))
    return depth, width, resolution


def _interval(phi: Array, log: Array) -> Interval:
    """exp(slope) of logs float[n] on phi, with Student's interval."""
    slope, variance, freedom = _through_origin(phi, log[:, None])
    reach = student_quantile(0.975, freedom) * np.sqrt(variance[0, 0])
    low, value, high = np.exp(slope[0] + np.array([-reach, 0.0, reach]))
    return Interval(float(value), float(low), float(high))


def _growth(steps: Array, logs: Array, phi: Array, macs: Array | None) -> dict[str, Interval]:
    """What the family grows by per step of phi: by the paper's rule, and in exact multiply-adds."""
    growth = {PAPER_GROWTH: _interval(steps, logs @ np.array([1.0, 2.0, 2.0]))}
    if macs is not None and (phi == 0).any():
        growth["exact MACs"] = _interval(steps, np.log(macs[phi > 0] / macs[phi == 0][0]))
    return growth


def _growing(values: Array) -> Coefficients:
    """Return coefficients; a hair below 1, which is rounding, is 1."""
    return Coefficients(*np.where(values > 1 - 1e-9, np.maximum(values, 1.0), values).tolist())
