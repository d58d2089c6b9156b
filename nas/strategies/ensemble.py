"""An ensemble of small neural networks whose disagreement is their uncertainty."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nas.strategies.adam import Adam

Array = npt.NDArray[np.float64]


class Ensemble:
    """`members` perceptrons with one hidden layer, trained on the same data from different random weights.

    Trained together, by a fixed number of Adam steps on all data at once: the same data and generator, the same fit
    (Lakshminarayanan et al., 2017, whose networks also differ in nothing but their initial weights).

    Args:
        x: float[n, F] inputs.
        y: float[n], finite values.
        rng: of the initial weights.
    """

    members, hidden = 5, 32
    #: of Adam, with decoupled weight decay (Loshchilov & Hutter, 2019)
    steps, rate, decays, weight_decay = 200, 0.02, (0.9, 0.99), 1e-3

    def __init__(self, x: Array, y: Array, rng: np.random.Generator):
        self._mean, self._scale = float(y.mean()), max(float(y.std()), 1e-9)
        width = x.shape[1]
        self._weights = [
            rng.normal(0, np.sqrt(2 / width), (self.members, width, self.hidden)),
            np.zeros((self.members, 1, self.hidden)),
            rng.normal(0, np.sqrt(1 / self.hidden), (self.members, self.hidden, 1)),
            np.zeros((self.members, 1, 1)),
        ]
        self._train(x, ((y - self._mean) / self._scale)[:, None])

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Return float[n] mean and standard deviation over the members."""
        output = self._scale * self._forward(x)[1][:, :, 0] + self._mean
        return output.mean(axis=0), output.std(axis=0)

    def _forward(self, x: Array) -> tuple[Array, Array]:
        first, bias, second, offset = self._weights
        hidden = np.maximum(x @ first + bias, 0.0)
        return hidden, hidden @ second + offset

    def _train(self, x: Array, target: Array) -> None:
        adams = [Adam(self.rate, self.decays) for _ in self._weights]
        for _ in range(self.steps):
            hidden, output = self._forward(x)
            error = (output - target) / len(x)
            back = error @ self._weights[2].transpose(0, 2, 1) * (hidden > 0)
            gradients = [
                x.T @ back,
                back.sum(axis=1, keepdims=True),
                hidden.transpose(0, 2, 1) @ error,
                error.sum(axis=1, keepdims=True),
            ]
            kept = 1 - self.rate * self.weight_decay
            self._weights = [
                weight * kept - adam.step(gradient)
                for weight, adam, gradient in zip(self._weights, adams, gradients, strict=True)
            ]
