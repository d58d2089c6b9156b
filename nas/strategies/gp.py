"""A Gaussian process over architectures (Rasmussen & Williams, 2006), for a few dozen to a few hundred evaluations."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nas.space import Codes, SearchSpace
from nas.strategies.adam import Adam

Array = npt.NDArray[np.float64]

#: added to the noise, so that the Cholesky factor exists however small the noise becomes
_JITTER = 1e-6


class OneHot:
    """Decisions as columns of 0 and 1, with a column of its own for a decision that does not matter.

    Attributes:
        groups: int[C], the decision of each column.
    """

    def __init__(self, space: SearchSpace):
        self._space = space
        self._conditional = np.array([decision.active_if is not None for decision in space.decisions])
        decision = np.repeat(np.arange(len(space.decisions)), [len(d.choices) for d in space.decisions])
        self.groups = np.concatenate([decision, np.flatnonzero(self._conditional)])

    def __call__(self, codes: Codes) -> Array:
        """Return float[n, C]."""
        inactive = ~self._space.active(codes)[:, self._conditional]
        return np.concatenate([self._space.features(codes), inactive], axis=1).astype(np.float64)


class GaussianProcess:
    """Posterior of a function of categorical decisions and numeric features, known at n points.

    The covariance of two networks is s * exp(-sum of w_d over the decisions d in which they differ) + z' V z: an
    overlap kernel with a relevance w_d of every decision (Hutter et al., 2011), plus a linear one on the numbers z.
    Relevances, V (diagonal), s and the noise maximise the marginal likelihood times log-normal priors, by a fixed
    number of Adam steps from a fixed start: the same data, the same fit. With more than `subset` points they are
    fitted to that many (`best_and_spread`); predictions use all points. O(steps * subset^3 + n^3).

    Args:
        onehot: float[n, C], decisions as 0 and 1 (see `OneHot`).
        groups: int[C], the decision of each column.
        numeric: float[n, F], standardised numbers.
        y: float[n], finite values, smaller is better.
    """

    #: of Adam, on the logarithms of the hyper-parameters
    steps, rate, decays = 20, 0.2, (0.8, 0.95)
    subset = 100

    def __init__(self, onehot: Array, groups: npt.NDArray[np.int64], numeric: Array, y: Array):
        self._onehot, self._groups, self._numeric = onehot, groups, numeric
        self._mean, self.scale = float(y.mean()), max(float(y.std()), 1e-9)
        target = (y - self._mean) / self.scale
        chosen = np.arange(len(y))
        if len(y) > self.subset:
            chosen = best_and_spread(np.argsort(target, kind="stable"), self.subset)
        self._tune(onehot[chosen], numeric[chosen], target[chosen])
        kernel = self._kernel(onehot, numeric) + (self.noise + _JITTER) * np.eye(len(y))
        self._whiten = np.linalg.inv(np.linalg.cholesky(kernel))
        self._weights = self._whiten.T @ (self._whiten @ target)

    def predict(self, onehot: Array, numeric: Array) -> tuple[Array, Array]:
        """Return float[n] mean and standard deviation of the value without noise."""
        cross = self._kernel(onehot, numeric)
        prior = self._signal + (numeric**2) @ self._slopes
        variance = prior - ((cross @ self._whiten.T) ** 2).sum(axis=1)
        return self._mean + self.scale * (cross @ self._weights), self.scale * np.sqrt(np.maximum(variance, 1e-10))

    def covariance(self, onehot: Array, numeric: Array) -> Array:
        """Return float[n, n], the posterior covariance without noise, in units of `scale` squared."""
        half = self._kernel(onehot, numeric) @ self._whiten.T
        return self._covariance(onehot, numeric, onehot, numeric) - half @ half.T

    def _kernel(self, onehot: Array, numeric: Array) -> Array:
        return self._covariance(onehot, numeric, self._onehot, self._numeric)

    def _covariance(self, a: Array, za: Array, b: Array, zb: Array) -> Array:
        return self._overlap(a, b) + (za * self._slopes) @ zb.T

    def _overlap(self, a: Array, b: Array) -> Array:
        agreement = (a * self._relevance[self._groups]) @ b.T - self._relevance.sum()
        return np.asarray(self._signal * np.exp(agreement))

    def _tune(self, x: Array, z: Array, target: Array) -> None:
        """Set relevance, slopes, signal and noise to the (approximate) maximum of the posterior.

        The gradient of the log marginal likelihood is that of Rasmussen & Williams, eq. 5.9.
        """
        decisions, features = int(self._groups.max()) + 1, z.shape[1]
        of_decision = (self._groups[:, None] == np.arange(decisions)).astype(np.float64)
        # Logarithms of relevance, slopes, signal and noise: mean and standard deviation of their normal priors.
        sizes = [decisions, features, 1, 1]
        centre = np.repeat(np.log([1.0 / decisions, 0.1, 1.0, 0.02]), sizes)
        spread = np.repeat([1.0, 1.5, 1.0, 1.5], sizes)
        theta, adam = centre.copy(), Adam(self.rate, self.decays)
        for _ in range(self.steps):
            self._set(theta, decisions)
            overlap = self._overlap(x, x)
            kernel = overlap + (z * self._slopes) @ z.T + (self.noise + _JITTER) * np.eye(len(x))
            inverse = np.linalg.inv(kernel)
            alpha = inverse @ target
            outer = np.outer(alpha, alpha) - inverse
            shared = outer * overlap
            agreed = ((shared @ x) * x).sum(axis=0) @ of_decision
            gradient = 0.5 * np.concatenate(
                [
                    self._relevance * (agreed - shared.sum()),
                    self._slopes * ((outer @ z) * z).sum(axis=0),
                    [shared.sum(), self.noise * np.trace(outer)],
                ]
            )
            gradient -= (theta - centre) / spread**2
            theta = theta + adam.step(gradient)
        self._set(theta, decisions)

    def _set(self, theta: Array, decisions: int) -> None:
        values = np.exp(theta)
        self._relevance, self._slopes = values[:decisions], values[decisions:-2]
        self._signal, self.noise = float(values[-2]), float(values[-1])


def best_and_spread(order: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.int64]:
    """Return `size` of the indices `order`, which come best first: the best, and an even spread of the others."""
    best, others = np.split(order, [size // 2])
    return np.append(best, others[np.linspace(0, len(others) - 1, size - len(best)).astype(int)])
