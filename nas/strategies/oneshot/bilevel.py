"""Gradients of a bilevel problem: architecture parameters on validation data, weights on training data (DARTS).

Losses are closures without arguments, evaluated at the values that the parameters have at that moment. Nothing here
leaves a trace: weights, architecture parameters, `.grad`, buffers (statistics of batch normalisation) and the states of
random generators are afterwards, bit for bit, what they were. All evaluations of a loss see the same random numbers, or
dropout and sampled paths would drown a difference of gradients; so do the steps of training that follow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from nas.errors import NasError
from nas.strategies.oneshot.processes import averaged

Loss = Callable[[], Tensor]
#: by central differences of gradients (DARTS, sec. 2.3), or exactly by differentiating twice
Method = Literal["finite", "exact"]

#: norm of the perturbation of central differences (Liu et al., DARTS, ICLR 2019, sec. 2.3)
STEP = 0.01


@dataclass(frozen=True)
class Untouched:
    """What evaluations must leave alone.

    Args:
        model: whose buffers are kept.
        generators: what the losses draw from, beside the generators of PyTorch itself.
    """

    model: nn.Module
    generators: Sequence[torch.Generator] = ()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Restore buffers and random states on exit."""
        buffers = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        states = [generator.get_state() for generator in self.generators]
        first = next(self.model.parameters(), None)
        devices = [first.device] if first is not None and first.is_cuda else []
        try:
            with torch.random.fork_rng(devices=devices):
                yield
        finally:
            _write([buffer for buffer, _ in buffers], [before for _, before in buffers])
            for generator, state in zip(self.generators, states, strict=True):
                generator.set_state(state)

    def gradients(self, loss: Loss, parameters: Sequence[Tensor]) -> list[Tensor | None]:
        """Return the gradient of a loss by each parameter, None for what it does not use; averaged over processes."""
        with self():
            return averaged(torch.autograd.grad(loss(), list(parameters), allow_unused=True))


def architecture_gradient(
    train_loss: Loss,
    validation_loss: Loss,
    weights: Sequence[Tensor],
    alphas: Sequence[Tensor],
    optimizer: torch.optim.Optimizer,
    untouched: Untouched,
    order: Literal[1, 2] = 2,
    method: Method = "finite",
) -> list[Tensor]:
    """Return the gradient by each architecture parameter of the validation loss (Liu et al., DARTS, ICLR 2019).

    First order: ∂L_val(w, α)/∂α. Second order: the total derivative of L_val(w'(α), α), with w'(α) the weights after
    the step that the optimiser would take on the training loss (eq. 6 to 8), momentum, dampening, Nesterov and weight
    decay included, clipping of gradients not, as in their code. Weights that the training loss does not use stay where
    they are, as in SGD.

    Args:
        train_loss: L_train at the current parameters.
        validation_loss: L_val at the current parameters.
        weights: w, all that the optimiser trains.
        alphas: α, leaves that require gradients.
        optimizer: SGD over the weights; only read.
        untouched: the model, and the generators that the losses draw from.
        order: 1 sets the step to 0.
        method: how ∂²L_train/∂α∂w times a vector is found; "exact" needs operations that differentiate twice, and the
            memory of two backward passes.

    Raises:
        NasError: the optimiser is not SGD, or does not know a weight.
    """
    if order == 1:
        return _filled(untouched.gradients(validation_loss, alphas), alphas)
    rules = _rules(optimizer, weights)
    gradients = untouched.gradients(train_loss, weights)
    steps = [
        None if gradient is None else rule.step(weight, gradient)
        for rule, weight, gradient in zip(rules, weights, gradients, strict=True)
    ]
    with _moved(weights, steps):
        found = untouched.gradients(validation_loss, [*alphas, *weights])
    direct = _filled(found[: len(alphas)], alphas)
    outer = _filled(found[len(alphas) :], weights)
    vector = [rule.slope * gradient for rule, gradient in zip(rules, outer, strict=True)]
    through = hessian_product(train_loss, weights, alphas, vector, untouched, method)
    return [first - second for first, second in zip(direct, through, strict=True)]


def hessian_product(
    loss: Loss,
    inner: Sequence[Tensor],
    outer: Sequence[Tensor],
    vector: Sequence[Tensor],
    untouched: Untouched,
    method: Method = "finite",
) -> list[Tensor]:
    """Return ∂(∇_inner L · vector)/∂outer, shaped as `outer`.

    Of a smooth loss both methods give the same. Of a network with ReLU they do not: differences step across kinks and
    count the jumps of the gradient there, few and large for a small batch; differentiating twice knows no kinks.

    Args:
        vector: shaped as `inner`.
        method: "finite" takes (∇_outer L(inner + ε v) - ∇_outer L(inner - ε v)) / 2ε with ε = 0.01 / |v|.
    """
    if method == "exact":
        with untouched():
            gradients = torch.autograd.grad(loss(), list(inner), create_graph=True, allow_unused=True)
            terms = [(g * v).sum() for g, v in zip(gradients, vector, strict=True) if g is not None]
            product = sum(terms, start=vector[0].new_zeros(()))
            if not product.requires_grad:
                return [torch.zeros_like(parameter) for parameter in outer]
            return _filled(averaged(torch.autograd.grad(product, list(outer), allow_unused=True)), outer)
    norm = float(torch.stack([torch.linalg.vector_norm(v) for v in vector]).norm())
    if norm == 0:
        return [torch.zeros_like(parameter) for parameter in outer]
    sides = []
    for epsilon in (STEP / norm, -STEP / norm):
        with _moved(inner, [epsilon * v for v in vector]):
            sides.append(_filled(untouched.gradients(loss, outer), outer))
    return [(above - below) / (2 * STEP / norm) for above, below in zip(*sides, strict=True)]


class Eigenvalue(NamedTuple):
    """The largest eigenvalue of a Hessian.

    Args:
        value: may be negative, at a maximum of the loss.
        error: some eigenvalue is within this of the value, up to rounding (and the differences, where finite).
    """

    value: float
    error: float


def dominant_eigenvalue(
    loss: Loss,
    alphas: Sequence[Tensor],
    untouched: Untouched,
    rng: torch.Generator,
    method: Method = "exact",
    iterations: int = 30,
    tolerance: float = 1e-2,
) -> Eigenvalue:
    """Return the largest eigenvalue of the Hessian of the validation loss by α (Zela et al., ICLR 2020, sec. 4).

    The powers of a power iteration span a Krylov space, and Lanczos' method takes the best of it rather than the last
    vector: fewer products with the Hessian, the largest instead of the largest in magnitude, and a bound of the error.

    Args:
        loss: the validation loss at the current parameters.
        alphas: all of them together make one vector.
        rng: of the start vector.
        iterations: most products with the Hessian; as many as there are parameters make the result exact.
        tolerance: relative error at which the iteration ends.

    Raises:
        NasError: the Hessian is not finite.
    """
    sizes = [alpha.numel() for alpha in alphas]
    start = torch.randn(sum(sizes), generator=rng, dtype=torch.float64, device=rng.device).cpu().numpy()
    basis = [start / np.linalg.norm(start)]
    diagonal: list[float] = []
    beside: list[float] = []
    while True:
        parts = np.split(basis[-1], np.cumsum(sizes)[:-1])
        vector = [torch.as_tensor(part).view_as(alpha).to(alpha) for part, alpha in zip(parts, alphas, strict=True)]
        product = hessian_product(loss, alphas, alphas, vector, untouched, method)
        image = torch.cat([part.detach().flatten().double().cpu() for part in product]).numpy()
        if not np.isfinite(image).all():
            raise NasError("the Hessian of the validation loss is not finite; the search has diverged")
        diagonal.append(float(image @ basis[-1]))
        # Twice is enough (Kahan): once leaves rounding errors that bring eigenvalues back as copies.
        for _ in range(2):
            image = image - np.array(basis).T @ (np.array(basis) @ image)
        values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))
        remainder = float(np.linalg.norm(image))
        found = Eigenvalue(float(values[-1]), remainder * float(abs(vectors[-1, -1])))
        done = len(diagonal) == min(iterations, sum(sizes)) or remainder <= 1e-12 * float(np.abs(values).max())
        if done or (len(diagonal) > 2 and found.error <= tolerance * abs(found.value)):
            return found
        beside.append(remainder)
        basis.append(image / remainder)


def has_sharpened(eigenvalues: Sequence[float], window: int = 5, ratio: float = 0.75) -> bool:
    """Return whether a search should end and go back `window` epochs (Zela et al., ICLR 2020, DARTS-ES).

    That is where the mean dominant eigenvalue of the last `window` epochs exceeds that of as many epochs, `window`
    earlier, divided by `ratio`.

    Args:
        eigenvalues: one an epoch, the latest last.
    """
    if len(eigenvalues) < 2 * window:
        return False
    latest = float(np.mean(eigenvalues[-window:]))
    earlier = float(np.mean(eigenvalues[-2 * window : -window]))
    return latest > 0 and earlier < ratio * latest


@dataclass(frozen=True)
class _Rule:
    """The step of SGD on one weight: w' = w + step(w, gradient), slope = -∂step/∂gradient."""

    learning_rate: float
    momentum: float
    dampening: float
    weight_decay: float
    nesterov: bool
    velocity: Tensor | None

    @property
    def _inflow(self) -> float:
        """What a gradient adds to the velocity; the first one is the velocity."""
        return 1 - self.dampening if self.velocity is not None else 1.0

    @property
    def slope(self) -> float:
        if self.momentum == 0:
            return self.learning_rate
        return self.learning_rate * (1 + self.momentum * self._inflow if self.nesterov else self._inflow)

    def step(self, weight: Tensor, gradient: Tensor) -> Tensor:
        decayed = gradient + self.weight_decay * weight.detach()
        if self.momentum == 0:
            return -self.learning_rate * decayed
        past = 0 if self.velocity is None else self.momentum * self.velocity
        velocity = past + self._inflow * decayed
        return -self.learning_rate * (decayed + self.momentum * velocity if self.nesterov else velocity)


def _rules(optimizer: torch.optim.Optimizer, weights: Sequence[Tensor]) -> list[_Rule]:
    if not isinstance(optimizer, torch.optim.SGD) or any(group["maximize"] for group in optimizer.param_groups):
        raise NasError(f"a virtual step can be taken for SGD that minimises, not for {type(optimizer).__name__}")
    groups = {weight: group for group in optimizer.param_groups for weight in group["params"]}
    unknown = sum(weight not in groups for weight in weights)
    if unknown:
        raise NasError(f"{unknown} of {len(weights)} weights are not among those that the optimiser trains")
    return [
        _Rule(
            learning_rate=float(group["lr"]),
            momentum=group["momentum"],
            dampening=group["dampening"],
            weight_decay=group["weight_decay"],
            nesterov=group["nesterov"],
            velocity=optimizer.state[weight].get("momentum_buffer") if weight in optimizer.state else None,
        )
        for weight, group in ((weight, groups[weight]) for weight in weights)
    ]


@contextmanager
def _moved(parameters: Sequence[Tensor], steps: Sequence[Tensor | None]) -> Iterator[None]:
    """Move parameters, then put back the very values: to subtract the steps would leave rounding errors."""
    before = [parameter.detach().clone() for parameter in parameters]
    try:
        with torch.no_grad():
            for parameter, step in zip(parameters, steps, strict=True):
                if step is not None:
                    parameter += step
        yield
    finally:
        _write(parameters, before)


@torch.no_grad()
def _write(targets: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for target, value in zip(targets, values, strict=True):
        target.copy_(value)


def _filled(gradients: Sequence[Tensor | None], parameters: Sequence[Tensor]) -> list[Tensor]:
    """Return gradients with zeros for what a loss does not use."""
    return [
        torch.zeros_like(parameter) if gradient is None else gradient
        for gradient, parameter in zip(gradients, parameters, strict=True)
    ]
