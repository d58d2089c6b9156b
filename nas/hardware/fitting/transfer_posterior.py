"""Bayesian regression of a new device's latency on what known devices suggest, over a grid of hyperparameters."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import numpy as np

from nas.errors import NasError
from nas.hardware.predictor import Array
from nas.hardware.predictors.source_basis import Features

#: fewer samples say next to nothing
LEAST_SAMPLES = 3


@dataclass(frozen=True)
class Prior:
    """Prior variances of the parts of a latency, in squared units of the spread of the sources over the space.

    Args:
        blocks: of what the blocks add beyond the sources.
        noise: of a measurement of a network of mean latency; its standard deviation is proportional to the latency.
    """

    blocks: float
    noise: float
    #: of the mean, of what the sources have in common, and of how each departs from that: the same in every prior
    constant: ClassVar[float] = 10.0
    common: ClassVar[float] = 3.0
    departures: ClassVar[float] = 1.0

    def covariance(self, a: Features, b: Features) -> Array:
        """Return float[n, m], without noise."""
        sources, blocks = covariances(a, b)
        return sources + self.blocks * blocks

    def noise_variance(self, a: Features) -> Array:
        """Return float[n]."""
        return self.noise * a.level**2


def covariances(a: Features, b: Features) -> tuple[Array, Array]:
    """Return float[n, m] twice: the prior covariance of what the sources say, and that of the blocks at variance 1."""
    common, departures = a.common @ b.common.T, a.departures @ b.departures.T
    return Prior.constant + Prior.common * common + Prior.departures * departures, a.blocks @ b.blocks.T


def variances(a: Features) -> tuple[Array, Array]:
    """Return float[n] twice, the diagonals of `covariances(a, a)`."""
    common, departures, blocks = (np.einsum("nf,nf->n", x, x) for x in (a.common, a.departures, a.blocks))
    return Prior.constant + Prior.common * common + Prior.departures * departures, blocks


#: how far a device departs from the sources and how noisy it is are not known before: each of these is a candidate
PRIORS = tuple(Prior(blocks, noise) for blocks, noise in product((0.01, 0.1, 0.5), (0.02, 0.1, 0.3, 1.0)))
#: what is assumed before anything was measured, in choosing what to measure
TYPICAL = Prior(blocks=0.1, noise=0.3)
#: candidates that the samples make less probable than this are left out
_LEAST_WEIGHT = 1e-3


class TransferPosterior:
    """Posterior of latency given n samples: a mixture over PRIORS, each weighted by its marginal likelihood.

    Every member is a Gaussian process with a linear kernel (Rasmussen & Williams, 2006, chapter 2; its evidence,
    equation 2.30), in units of the mean of the samples, since time adds up over the parts of a network and its
    logarithm does not.

    Attributes:
        samples: their features.
        values: float[n], what was measured.
        spread: of the basis.

    Raises:
        NasError: fewer than LEAST_SAMPLES samples, or a value that is not a positive number.
    """

    def __init__(self, samples: Features, values: Array, spread: float):
        values = np.asarray(values, dtype=np.float64)
        if len(values) < LEAST_SAMPLES:
            raise NasError(f"a transfer needs at least {LEAST_SAMPLES} measured networks, not {len(values)}")
        wrong = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
        if len(wrong):
            raise NasError(f"measured value {wrong[0] + 1} is {values[wrong[0]]}, must be a positive number")
        self.samples, self.values, self.spread = samples, values, spread
        self._mean = float(values.mean())
        self._unit = self._mean * spread
        self._least = 0.01 * float(values.min())
        self._target = (values - self._mean) / self._unit
        members = [self._condition(prior) for prior in PRIORS]
        evidence = np.array([member[3] for member in members])
        weights = np.exp(evidence - evidence.max())
        weights /= weights.sum()
        kept = [i for i in range(len(PRIORS)) if weights[i] >= _LEAST_WEIGHT]
        self._members = [members[i] for i in kept]
        self._weights = weights[kept] / weights[kept].sum()

    def _condition(self, prior: Prior) -> tuple[Prior, Array, Array, float]:
        """Return the prior, the inverse Cholesky factor W, the weights of the samples and the log evidence."""
        kernel = prior.covariance(self.samples, self.samples) + np.diag(prior.noise_variance(self.samples))
        whiten = np.linalg.inv(np.linalg.cholesky(kernel))
        white = whiten @ self._target
        return prior, whiten, whiten.T @ white, float(np.log(np.diag(whiten)).sum() - 0.5 * white @ white)

    def predict(self, networks: Features) -> tuple[Array, Array]:
        """Return mean and standard deviation, float[n] each, of a new measurement."""
        of_sources, of_blocks = covariances(networks, self.samples)
        by_sources, by_blocks = variances(networks)
        means, spreads = [], []
        for prior, whiten, alpha, _ in self._members:
            cross = of_sources + prior.blocks * of_blocks
            white = cross @ whiten.T
            unexplained = by_sources + prior.blocks * by_blocks - np.einsum("ns,ns->n", white, white)
            means.append(cross @ alpha)
            spreads.append(np.maximum(unexplained, 0) + prior.noise_variance(networks))
        return self._mixed(np.array(means), np.array(spreads))

    def leave_one_out(self) -> tuple[Array, Array]:
        """Return mean and standard deviation, float[n] each, of every sample given the others (ibid., equation 5.12).

        The weights of the members are those that all samples give.
        """
        means, spreads = [], []
        for _, whiten, alpha, _ in self._members:
            precision = (whiten**2).sum(axis=0)
            means.append(self._target - alpha / precision)
            spreads.append(1 / precision)
        return self._mixed(np.array(means), np.array(spreads))

    def _mixed(self, means: Array, spreads: Array) -> tuple[Array, Array]:
        """Mean and std of the mixture from float[members, n] means and variances, in the unit of the measurements."""
        mean = self._weights @ means
        variance = self._weights @ (spreads + means**2) - mean**2
        latency = np.maximum(self._mean + self._unit * mean, self._least)
        return np.round(latency, 9), np.round(self._unit * np.sqrt(variance), 9)
