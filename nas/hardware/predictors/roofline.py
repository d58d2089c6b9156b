"""Latency as a sum over fused kernels: a roofline for each class of kernels, corrected by what measurements show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from nas.errors import NasError
from nas.hardware.calibration import Calibration
from nas.hardware.predictor import AdditivePredictor, Array
from nas.hardware.predictor_file import read_arrays, write_whole
from nas.hardware.predictors.fused_kernels import CLASSES, SHAPE, Kernel, fused_kernels
from nas.space import Block, BlockTable, NetworkSpec, SearchSpace
from nas.space.layer import Layer

#: multiply-adds for each element moved at which a processor goes over from being limited by memory to computing
RIDGES = (4.0, 16.0, 64.0)
#: a roofline's terms: 1, multiply-adds, elements, and the larger of the two for each ridge point
TERMS = 3 + len(RIDGES)
#: how much two steps of a factor 2 in each of SHAPE make kernels unlike: a larger window or stride is other code
_SCALE = np.array([1.0, 1.0, 1.0, 2.0, 2.0])
#: a network takes at least this share of what its rooflines say, whatever the correction
_LEAST = 0.1


@dataclass(frozen=True)
class Correction:
    """Functions of a kernel's shape that a roofline is corrected with: those of a Gaussian process at a few centres.

    The correction of a kernel is f(x)·w for normal weights w, with f(x)·f(x') ≈ exp(-|x - x'|² / 2 l²) between kernels
    of one class and 0 between others (Nyström; Rasmussen & Williams, 2006, section 8.1).

    Args:
        kinds: int[M], classes of the M kernels at the centres.
        shapes: float[M, 5], their shapes.
        whiten: float[M, M], maps covariances with the centres to f.
        length: l, in steps of a factor 2.
    """

    kinds: npt.NDArray[np.int64]
    shapes: Array
    whiten: Array
    length: float

    def __call__(self, kernels: list[Kernel]) -> Array:
        """Return float[n, M]."""
        return covariance(kernels, self.kinds, self.shapes, self.length) @ self.whiten


def covariance(kernels: list[Kernel], kinds: npt.NDArray[np.int64], shapes: Array, length: float) -> Array:
    """Return float[n, M], how alike kernels are to those of given classes and shapes: 1 for the same ones."""
    own = np.array([kernel.shape for kernel in kernels]).reshape(-1, len(SHAPE)) * _SCALE
    distance = ((own[:, None] - shapes * _SCALE) ** 2).sum(axis=2)
    same = np.array([kernel.kind for kernel in kernels])[:, None] == kinds
    return np.asarray(np.where(same, np.exp(-0.5 * distance / length**2), 0.0))


def terms(kernels: list[Kernel]) -> Array:
    """Return float[n, C·TERMS], the terms of every kernel's roofline, at the place of its class."""
    table = np.zeros((len(kernels), len(CLASSES), TERMS))
    for row, kernel in enumerate(kernels):
        rooflines = [max(kernel.macs / ridge, kernel.elements) for ridge in RIDGES]
        table[row, kernel.kind] = [1.0, kernel.macs, kernel.elements, *rooflines]
    return table.reshape(len(kernels), -1)


class RooflinePredictor(AdditivePredictor):
    """latency = start + sum over kernels of roofline · (1 + correction).

    A kernel's roofline is a sum, with coefficients that are not negative, of a constant, its multiply-adds, the
    elements it moves, and the larger of the two at several ridge points (Williams et al., 2009): convex, and right in
    both limits. The correction is linear in f(shape) and in one share for the whole class; its weights are normal, so
    mean = base + x·m and variance = x'Cx + (scale · u)² + (noise · mean)², with x the sum of roofline · (f, class) over
    the kernels and u that of roofline · √(1 - f·f).

    It knows every network. Far from all measured kernels the correction goes back to that of the class, and the
    standard deviation to what the corrections of this device are like, which all are taken to be off to the same side.

    Args:
        start: what a network takes besides its kernels.
        rooflines: float[C·TERMS], coefficients.
        weights: float[M + C], m: posterior mean of the correction's weights; spread: float[M + C, M + C], C.
        scale: standard deviation of the correction of a kernel by its shape, before anything is measured.
        noise: standard deviation of a measurement around the model, as a share of it.
    """

    kind = "roofline"

    def __init__(
        self,
        start: float,
        rooflines: Array,
        correction: Correction,
        weights: Array,
        spread: Array,
        scale: float,
        noise: float,
        calibration: Calibration,
    ):
        self.start, self.rooflines, self.correction = start, rooflines, correction
        self.weights, self.spread, self.scale, self.noise = weights, spread, scale, noise
        self.calibration = calibration

    def predict(self, space: SearchSpace, codes: npt.NDArray[np.integer]) -> tuple[Array, Array]:
        return self._from_sums(_table(self, space).sum(codes))

    def predict_spec(self, spec: NetworkSpec) -> tuple[float, float]:
        mean, std = self._from_sums(self.sums([spec.layers()]))
        return float(mean[0]), float(std[0])

    def block_ms(self, block: Block) -> float:
        return float(np.maximum(self._means(self.sums([block.layers()])), 0.0)[0])

    def bounds(self, space: SearchSpace) -> tuple[float, float]:
        means = self._means(self.sums([block.layers() for block in space.vocabulary.blocks]))
        low, high = space.bounds(BlockTable(space.vocabulary, means[:, None]))
        return round(self.start + float(low[0]), 9), round(self.start + float(high[0]), 9)

    def sums(self, groups: Iterable[Iterable[Layer]]) -> Array:
        """Return float[n, 2 + M + C] for n groups of layers, the sums over their kernels of `kernel_sums`."""
        each = [kernel_sums(fused_kernels(layers), self.rooflines, self.correction).sum(axis=0) for layers in groups]
        return np.array(each)

    def _means(self, sums: Array) -> Array:
        return np.asarray(sums[:, 0] + sums[:, 2:] @ self.weights)

    def _from_sums(self, sums: Array) -> tuple[Array, Array]:
        base, unknown, x = sums[:, 0], sums[:, 1], sums[:, 2:]
        mean = self.start + np.maximum(self._means(sums), _LEAST * base)
        variance = np.einsum("nf,nf->n", x @ self.spread, x)
        variance += (self.scale * unknown) ** 2 + (self.noise * mean) ** 2
        return np.round(mean, 9), np.round(np.sqrt(variance), 9)

    def write(self, path: Path) -> None:
        buffer = BytesIO()
        np.savez_compressed(
            buffer,
            kind=np.array(self.kind),
            scalars=np.array([self.start, self.scale, self.noise, self.correction.length]),
            rooflines=self.rooflines,
            kinds=self.correction.kinds,
            shapes=self.correction.shapes,
            whiten=self.correction.whiten,
            weights=self.weights,
            spread=self.spread,
            calibration=np.array(self.calibration.quantiles),
        )
        write_whole(path, buffer.getvalue())

    @classmethod
    def read(cls, path: Path) -> Self:
        arrays = read_arrays(path)
        _check(arrays, path)
        start, scale, noise, length = arrays["scalars"].tolist()
        correction = Correction(arrays["kinds"], arrays["shapes"], arrays["whiten"], length)
        try:
            calibration = Calibration(tuple(arrays["calibration"].tolist()))
        except NasError as error:
            raise NasError(f"{path}: {error}") from None
        return cls(
            start, arrays["rooflines"], correction, arrays["weights"], arrays["spread"], scale, noise, calibration
        )


def kernel_sums(kernels: list[Kernel], rooflines: Array, correction: Correction) -> Array:
    """Return float[n, 2 + M + C] of n kernels, all of which adds up over kernels.

    The columns are the roofline, then it times √(1 - f·f), f and the class; see `RooflinePredictor`.
    """
    if not kernels:
        return np.zeros((0, 2 + len(correction.kinds) + len(CLASSES)))
    f = correction(kernels)
    unknown = np.sqrt(np.maximum(1.0 - (f**2).sum(axis=1, keepdims=True), 0.0))
    classes = np.eye(len(CLASSES))[[kernel.kind for kernel in kernels]]
    times = terms(kernels) @ rooflines
    each = np.concatenate([np.ones((len(kernels), 1)), unknown, f, classes], axis=1)
    return np.asarray(times[:, None] * each)


@lru_cache(maxsize=32)
def _table(predictor: RooflinePredictor, space: SearchSpace) -> BlockTable:
    return BlockTable(space.vocabulary, predictor.sums([block.layers() for block in space.vocabulary.blocks]))


def _check(arrays: Mapping[str, npt.NDArray[Any]], path: Path) -> None:
    """Raises NasError: an array is missing, of another shape, or holds what cannot be."""
    count = len(arrays["kinds"]) if "kinds" in arrays and arrays["kinds"].ndim == 1 else 0
    width = count + len(CLASSES)
    shapes = {
        "scalars": (4,), "rooflines": (len(CLASSES) * TERMS,), "kinds": (count,), "shapes": (count, len(SHAPE)),
        "whiten": (count, count), "weights": (width,), "spread": (width, width), "calibration": None,
    }  # fmt: skip
    for name, shape in shapes.items():
        if name not in arrays:
            raise NasError(f"{path} is damaged: it has no {name}")
        found = arrays[name]
        if found.dtype.kind not in "fi" or not np.isfinite(found).all() or (shape is not None and found.shape != shape):
            raise NasError(f"{path} is damaged: {name} must be {shape} finite numbers")
    if (arrays["rooflines"] < 0).any() or (arrays["scalars"] < 0).any() or arrays["scalars"][3] == 0:
        raise NasError(f"{path} is damaged: a time or a length is negative")
    if not np.allclose(arrays["spread"], arrays["spread"].T):
        raise NasError(f"{path} is damaged: spread is not symmetric")
