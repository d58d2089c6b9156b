"""From known devices to a new one: which networks to measure on it, and the predictor that their values give."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nas.errors import NasError
from nas.hardware.calibration import Calibration
from nas.hardware.fitting.transfer_posterior import TYPICAL, TransferPosterior
from nas.hardware.predictor import Array
from nas.hardware.predictors.regression import described
from nas.hardware.predictors.source_basis import (
    REFERENCES,
    Features,
    Source,
    SourceBasis,
    block_counts,
    latencies,
    reference_codes,
)
from nas.hardware.predictors.transfer import TransferPredictor
from nas.space import Codes, SearchSpace

#: networks that the ones to measure are chosen among
CANDIDATES = 1000
#: networks of every pretended device that the calibration looks at, and the fewest devices that say anything
_CHECKED, _LEAST_SOURCES = 300, 3
#: where there are fewer devices, half of a 90 % interval in standard deviations, as of a normal distribution
_NORMAL_WIDTH = 1.645
#: noise never leaves less than this of a latency
_LEAST_SHARE = 0.05
#: a source this like another, by correlation over the space, is taken for the same kind of device
_SIBLINGS = 0.98


def choose_samples(
    space: SearchSpace,
    sources: Sequence[Source],
    n: int,
    seed: int = 0,
    measured: Codes | None = None,
    candidates: Codes | None = None,
) -> Codes:
    """Return int8[n, D], the networks to measure next, the one that tells most first.

    Greedy D-optimal design (Chaloner & Verdinelli, 1995): always the network whose latency is least certain, compared
    with the noise of measuring it, given those before it and those already measured.

    Args:
        sources: named predictors of known devices.
        n: how many.
        seed: draws the candidates.
        measured: int8[m, D], networks already measured.
        candidates: int8[c, D], the networks to choose among; default: CANDIDATES drawn from the space.

    Raises:
        NasError: there are fewer candidates than n, or a source says nothing of this space.
    """
    none = np.zeros((0, len(space.decisions)), dtype=np.int8)
    known = none if measured is None or not len(measured) else space.check(measured)
    if candidates is None:
        candidates = space.sample(max(CANDIDATES, 2 * n), np.random.default_rng(seed))
    pool = _distinct(space.check(candidates), known)
    if n < 1 or n > len(pool):
        raise NasError(f"cannot choose {n} networks to measure among {len(pool)}")
    codes = np.concatenate([known, pool])
    references = reference_codes(space)
    basis = SourceBasis.of(latencies(space, references, sources)[0], block_counts(space, references))
    features = basis(latencies(space, codes, sources)[0], block_counts(space, codes))
    return pool[_most_informative(features, len(known), n)]


def _distinct(codes: Codes, known: Codes) -> Codes:
    """Return the codes without repetitions and without the known ones, in their order."""
    together = np.concatenate([known, codes])
    first = np.unique(together, axis=0, return_index=True)[1]
    return together[np.sort(first[first >= len(known)])]


def _most_informative(features: Features, known: int, n: int) -> npt.NDArray[np.int64]:
    """Return int[n], positions after the first `known` networks, which have been measured."""
    covariance = TYPICAL.covariance(features, features)
    noise = TYPICAL.noise_variance(features)
    chosen: list[int] = []
    for step in range(known + n):
        gain = np.diag(covariance) / noise
        gain[[*range(known), *chosen]] = -1.0
        at = step if step < known else int(gain.argmax())
        if step >= known:
            chosen.append(at)
        covariance -= np.outer(covariance[at], covariance[at] / (covariance[at, at] + noise[at]))
    return np.array(chosen) - known


def fit_transfer(
    space: SearchSpace, codes: npt.ArrayLike, values: npt.ArrayLike, sources: Sequence[Source], seed: int = 0
) -> TransferPredictor:
    """Fit a predictor of a new device.

    A handful of samples cannot say how far the next measurement will be off. The sources can: each in turn is taken for
    the new device, with noise as large as its own predictor states and without its siblings, and predicted from the
    others at the same networks. The residuals of all of them calibrate the intervals.

    Args:
        codes: int[n, D], the networks measured, at least 3; `choose_samples` says which ones.
        values: float[n], what was measured, positive.
        sources: named predictors of the same quantity on known devices.
        seed: draws the noise and the networks of the calibration.

    Raises:
        NasError: too few networks, codes not of the space, values not positive, or no source.
    """
    checked, measured = space.check(codes), np.asarray(values, dtype=np.float64)
    if measured.shape != (len(checked),):
        raise NasError(f"{len(checked)} networks need as many values, not {list(measured.shape)}")
    rng = np.random.default_rng(seed)
    n = len(checked)
    # References, samples and the networks of the calibration at once: a source's predictor is what takes time.
    codes = np.concatenate([reference_codes(space), checked, space.sample(_CHECKED, rng)])
    means, stds = latencies(space, codes, sources)
    counts = block_counts(space, codes)
    basis = SourceBasis.of(means[:REFERENCES], counts[:REFERENCES])
    samples = basis(means[REFERENCES:][:n], counts[REFERENCES:][:n])
    posterior = TransferPosterior(samples, measured, basis.spread)
    noisy = np.maximum(means + stds * _noise(sources, len(codes), rng), _LEAST_SHARE * means)
    calibration = _calibration(means, noisy, counts, n)
    return TransferPredictor(space.name, described(space), sources, basis, posterior, calibration)


def _noise(sources: Sequence[Source], n: int, rng: np.random.Generator) -> Array:
    """Return float[n, S], how far measurements are off, in standard deviations, distributed as each source has it."""
    levels = rng.uniform(0.005, 0.995, (len(sources), n))
    quantiles = [predictor.calibration.quantile for _, predictor in sources]
    return np.array([[of(level) for level in row] for of, row in zip(quantiles, levels.tolist(), strict=True)]).T


def _calibration(means: Array, noisy: Array, counts: Array, n: int) -> Calibration:
    """Return how the measurements of each source, taken for a new device, lie around what the others predict.

    Args:
        means, noisy: float[R + n + c, S], what each source predicts, and what might be measured: of the references, the
            samples, and the networks to look at.
        counts: float[R + n + c, V], blocks.
    """
    sources = means.shape[1]
    at, to = REFERENCES, REFERENCES + n
    alike = np.abs(np.corrcoef(means[:at].T)).reshape(sources, sources) > _SIBLINGS
    residuals = []
    for device in range(sources):
        others = np.flatnonzero(~alike[device])
        if len(others) + 1 >= _LEAST_SOURCES:
            basis = SourceBasis.of(means[:at, others], counts[:at])
            features = basis(means[at:, others], counts[at:])
            posterior = TransferPosterior(features[:n], noisy[at:to, device], basis.spread)
            mean, std = posterior.predict(features[n:])
            # Devices that are like one another count as one: the next device is hardly one more of the commonest kind.
            residuals.append(((noisy[to:, device] - mean) / std)[:: alike[device].sum()])
    return Calibration.of(np.concatenate(residuals)) if residuals else Calibration.normal(_NORMAL_WIDTH)
