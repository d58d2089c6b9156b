"""A fitted accuracy surrogate: decision values in, accuracy with a 90 % interval out; needs NumPy only."""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
Integers = npt.NDArray[np.integer]

#: networks evaluated at a time; bounds the memory of the kernel matrix to CHUNK × centres × 8 bytes
CHUNK = 1024

#: predictions are rounded to this many decimals of a percent
DECIMALS = 6
#: what NumPy, zipfile, zlib, json and the checks below raise on a damaged file
_DAMAGE = (ValueError, TypeError, LookupError, EOFError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error)
_PER_SCALE = ("intercept", "slope", "log_std_intercept", "ceiling")
_PER_AMOUNT = ("additive_offset", "log_shift", "log_scale", "kernel_scale")


def sum_rows(table: Float64, states: npt.NDArray[np.intp]) -> Float64:
    """Return Σ_g table[states[:, g]]; group after group, which needs n and not n · G rows of memory."""
    total = table[states[:, 0]]
    for column in states.T[1:]:
        total += table[column]
    return total


@dataclass(frozen=True)
class Prediction:
    """Accuracy of n networks in percent, float64[n] each; `low` and `high` are the ends of the 90 % interval."""

    mean: Float64
    std: Float64
    low: Float64
    high: Float64


@dataclass(frozen=True)
class Encoding:
    """How decision values become features; knows nothing of what the decisions mean.

    Consecutive decisions form groups (the decisions of one stage, say), and every combination of values within a group
    is a state. All features are looked up by state: `local` ones are kept a group, `additive` amounts are summed over
    the groups, offset, and enter as standardised logarithms (parameters and multiply-adds are of this kind).

    Attributes:
        choices, choice_counts: allowed values of decision 0, then of decision 1, ...; int[D], how many each has.
        group_sizes: int[G], how many consecutive decisions each group has; they sum to D.
        local: float32[states of all groups, F], kernel features of a state, already divided by their length scales.
        additive: float64[states of all groups, A], amounts of a state.
        additive_offset, log_shift, log_scale: float64[A], giving (log(offset + sum) - shift) · scale.
        kernel_scale: float64[A], inverse length scales of the standardised logarithms.
    """

    choices: Integers
    choice_counts: Integers
    group_sizes: Integers
    local: Float32
    additive: Float64
    additive_offset: Float64
    log_shift: Float64
    log_scale: Float64
    kernel_scale: Float64

    def __post_init__(self) -> None:
        states, amounts = int(self._group_states.sum()), self.additive.shape[-1]
        sound = (
            self.choices.shape == (self.choice_counts.sum(),)
            and self.group_sizes.sum() == len(self.choice_counts)
            and self.local.ndim == self.additive.ndim == 2
            and len(self.local) == len(self.additive) == states
            and all(getattr(self, name).shape == (amounts,) for name in _PER_AMOUNT)
        )
        if not sound:
            raise ValueError(f"the encoding's arrays do not fit {len(self.choice_counts)} decisions, {states} states")

    @property
    def allowed(self) -> list[Integers]:
        """The values each decision may take."""
        return np.split(self.choices, np.cumsum(self.choice_counts)[:-1])

    @property
    def _group_states(self) -> Integers:
        return np.multiply.reduceat(self.choice_counts.astype(np.int64), np.cumsum(self.group_sizes) - self.group_sizes)

    @property
    def _group_of(self) -> Integers:
        return np.repeat(np.arange(len(self.group_sizes)), self.group_sizes)

    @cached_property
    def _lookups(self) -> list[tuple[int, npt.NDArray[np.intp]]]:
        """For each decision its smallest value, and by (value - smallest) its part of the state; -1 is not allowed."""
        lookups, group_of = [], self._group_of
        for decision, values in enumerate(self.allowed):
            later = group_of[decision + 1 :] == group_of[decision]
            stride = int(np.prod(self.choice_counts[decision + 1 :][later], dtype=np.int64))
            table = np.full(int(values.max() - values.min()) + 1, -1, dtype=np.intp)
            table[values - values.min()] = np.arange(len(values)) * stride
            lookups.append((int(values.min()), table))
        return lookups

    def states(self, values: Integers) -> npt.NDArray[np.intp]:
        """Return int[n, G], the row in the tables of the state of each group, for int[n, D] decision values."""
        values, decisions = np.asarray(values), len(self.choice_counts)
        if values.ndim != 2 or values.shape[1] != decisions:
            raise ValueError(f"expected decision values of shape (n, {decisions}), got {values.shape}")
        if not np.issubdtype(values.dtype, np.integer):
            raise ValueError(f"expected integer decision values, got {values.dtype}")
        rows = np.empty((len(values), len(self.group_sizes)), dtype=np.intp)
        rows[:] = np.cumsum(self._group_states) - self._group_states
        for decision, (smallest, table) in enumerate(self._lookups):
            index = values[:, decision].astype(np.intp) - smallest
            part = np.where((index >= 0) & (index < len(table)), table.take(index, mode="clip"), -1)
            if (part < 0).any():
                wrong = values[np.argmax(part < 0), decision]
                raise ValueError(f"decision {decision} is {wrong}; allowed: {self.allowed[decision].tolist()}")
            rows[:, self._group_of[decision]] += part
        return rows

    def aggregates(self, states: npt.NDArray[np.intp]) -> Float64:
        """Return float64[n, A], the standardised logarithms of the summed amounts."""
        total = self.additive_offset + sum_rows(self.additive, states)
        return np.asarray((np.log(total) - self.log_shift) * self.log_scale)

    def kernel_features(self, states: npt.NDArray[np.intp], aggregates: Float64) -> Float64:
        """Return float64[n, G·F + A + 2]: features z, in whose Euclidean distance the kernel works, -|z|²/2, and 1."""
        local = self.local[states].reshape(len(states), -1)
        features = np.concatenate([local.astype(np.float64), aggregates * self.kernel_scale], axis=1)
        half_square = np.einsum("nk,nk->n", features, features)[:, None] * -0.5
        return np.concatenate([features, half_square, np.ones_like(half_square)], axis=1)


@dataclass(frozen=True, eq=False)
class Regressor:
    """A sparse Gaussian process on a logarithmic error scale, with calibrated intervals on one or more scales.

    With states s and aggregates a of a network (see `Encoding`), kernel features z, and M centres c:

        u_0 = intercept_0 + Σ_g linear[s_g, 0] + a · aggregate_weights[:, 0] + Σ_m weights_m exp(-|z - c_m|² / 2)
        u_h = intercept_h + slope_h u_0 + Σ_g linear[s_g, h] + a · aggregate_weights[:, h]    for further scales h
        accuracy_h = ceiling_h - exp(-u_h)

    The mean is the subset-of-regressors predictor (Quiñonero-Candela & Rasmussen, JMLR 2005, eq. 16b). The standard
    deviation of u_h is log-linear in the states, and the interval takes quantiles of standardised held-out residuals.
    Cost: n · M exponentials and n · M · (G·F + A) multiply-adds, in float64.

    Attributes:
        encoding: from decision values to features.
        centres: int[M, D], decision values of the centres; weights: float32[M].
        linear, log_std: float64[states of all groups, H]; aggregate_weights: float64[A, H].
        intercept, slope, log_std_intercept, ceiling: float64[H]; the ceiling is in percent.
        quantiles: float64[H, 2], ends of the 90 % interval of u in standard deviations.
        metadata: source, licence, held-out figures; "scales" names the H scales, the one of the data first.
    """

    encoding: Encoding
    centres: Integers
    weights: Float32
    linear: Float64
    log_std: Float64
    aggregate_weights: Float64
    intercept: Float64
    slope: Float64
    log_std_intercept: Float64
    ceiling: Float64
    quantiles: Float64
    metadata: dict[str, Any]

    def __post_init__(self) -> None:
        scales, (states, amounts) = len(self.scales), self.encoding.additive.shape
        expected: dict[str, tuple[int, ...]] = dict.fromkeys(_PER_SCALE, (scales,))
        expected |= {"weights": (len(self.centres),), "quantiles": (scales, 2)}
        expected |= {"linear": (states, scales), "log_std": (states, scales), "aggregate_weights": (amounts, scales)}
        for name, shape in expected.items():
            array = getattr(self, name)
            if array.shape != shape or not np.isfinite(array).all():
                raise ValueError(f"{name} must be finite and of shape {shape}, got shape {array.shape}")

    @property
    def scales(self) -> tuple[str, ...]:
        """Names of the accuracy scales; the first is that of the data the surrogate was fitted to."""
        return tuple(self.metadata["scales"])

    @classmethod
    def load(cls, path: Path) -> Regressor:
        """Read an artefact written by `save`; nothing in it is ever unpickled."""
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            metadata = json.loads(str(arrays.pop("metadata")))
            encoding = Encoding(**{field.name: arrays.pop(field.name) for field in fields(Encoding)})
            return cls(encoding=encoding, metadata=metadata, **arrays)
        except FileNotFoundError:
            raise
        except _DAMAGE as error:
            raise ValueError(f"{path} is not a surrogate artefact, or is damaged: {error}") from error

    def save(self, path: Path) -> None:
        """Write the surrogate as one .npz file of plain arrays, with the metadata as a JSON string."""
        arrays = {field.name: getattr(self.encoding, field.name) for field in fields(Encoding)}
        arrays |= {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("encoding", "metadata")}
        np.savez_compressed(path, metadata=np.array(json.dumps(self.metadata)), **arrays)

    def predict(self, values: Integers) -> dict[str, Prediction]:
        """Return the accuracy of int[n, D] decision values (not indices) on each of `scales`."""
        states = self.encoding.states(values)
        aggregates = self.encoding.aggregates(states)
        linear = self.intercept + sum_rows(self.linear, states) + aggregates @ self.aggregate_weights
        first = linear[:, 0] + self._kernel_term(states, aggregates)
        predictions = {}
        for head, scale in enumerate(self.scales):
            latent = linear[:, head] + self.slope[head] * first if head else first
            std = np.exp(self.log_std_intercept[head] + sum_rows(self.log_std[:, head], states))
            low, high = (latent + quantile * std for quantile in self.quantiles[head])
            mean, low, high = (self.ceiling[head] - np.exp(-u) for u in (latent, low, high))
            spread = (self.ceiling[head] - mean) * std
            # Matrix products differ in their last digits with the processor and the number of rows.
            predictions[scale] = Prediction(*(np.round(column, DECIMALS) for column in (mean, spread, low, high)))
        return predictions

    @cached_property
    def _centre_matrix(self) -> Float64:
        """float64[K, M]: the kernel features of the centres, with 1 before -|c|²/2 so that it meets the other's 1."""
        states = self.encoding.states(self.centres)
        features = self.encoding.kernel_features(states, self.encoding.aggregates(states))
        return np.concatenate([features[:, :-2], features[:, :-3:-1]], axis=1).T.copy()

    def _kernel_term(self, states: npt.NDArray[np.intp], aggregates: Float64) -> Float64:
        """Return Σ_m weights_m exp(-|z - c_m|² / 2); one matrix product gives z·c - |z|²/2 - |c|²/2."""
        result = np.empty(len(states))
        kernel = np.empty((min(CHUNK, len(states)), len(self.centres)))
        for start in range(0, len(states), CHUNK):
            rows = slice(start, start + CHUNK)
            features = self.encoding.kernel_features(states[rows], aggregates[rows])
            block = np.matmul(features, self._centre_matrix, out=kernel[: len(features)])
            result[rows] = np.exp(block, out=block) @ self.weights
        return result
