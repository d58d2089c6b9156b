"""Architecture gradients against numerical ones of the composed objective, with the steps of torch.optim.SGD itself."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from nas.errors import NasError
from nas.strategies.oneshot import bilevel
from nas.strategies.oneshot.bilevel import (
    Untouched,
    architecture_gradient,
    dominant_eigenvalue,
    has_sharpened,
    hessian_product,
)
from nas.supernet.relaxations import BinaryGates, Dirichlet, StraightThroughGumbel

Array = npt.NDArray[np.float64]

SGD: dict[str, dict[str, Any]] = {
    "plain": {"lr": 0.05},
    "decay": {"lr": 0.05, "weight_decay": 0.1},
    "darts": {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.03},
    "dampened": {"lr": 0.05, "momentum": 0.8, "dampening": 0.4, "weight_decay": 0.03},
    "nesterov": {"lr": 0.025, "momentum": 0.9, "weight_decay": 0.03, "nesterov": True},
}


class Mixture(nn.Module):
    """A layer that mixes three operations by the softmax of α, between batch normalisation and dropout."""

    def __init__(self, dropout: float = 0.0):
        super().__init__()
        self.alphas = nn.ParameterList([nn.Parameter(torch.tensor([0.3, -0.2, 0.1])), nn.Parameter(torch.zeros(2))])
        self.stem = nn.Linear(4, 5)
        self.norm = nn.BatchNorm1d(5)
        self.paths = nn.ModuleList(nn.Linear(5, 5) for _ in range(2))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(5, 3)
        self.unused = nn.Parameter(torch.ones(2))

    @property
    def weights(self) -> list[nn.Parameter]:
        return [parameter for name, parameter in self.named_parameters() if not name.startswith("alphas")]

    def forward(self, x: Tensor) -> Tensor:
        (p, q), x = (alpha.softmax(0) for alpha in self.alphas), self.norm(self.stem(x))
        x = p[0] * x + p[1] * self.paths[0](x).tanh() + p[2] * self.paths[1](x).sigmoid()
        logits: Tensor = self.head(self.dropout(q[0] * x + q[1] * x**2))
        return logits


def problem(settings: dict[str, Any], dropout: float = 0.0, history: int = 2) -> tuple[Mixture, torch.optim.SGD]:
    """A model in float64, and its optimiser after some steps."""
    torch.manual_seed(0)
    model = Mixture(dropout).double()
    optimizer = torch.optim.SGD(model.weights, **settings)
    for _ in range(history):
        optimizer.zero_grad()
        loss(model, 0)().backward()
        optimizer.step()
    model.zero_grad()
    return model, optimizer


def loss(model: nn.Module, batch: int) -> Callable[[], Tensor]:
    rng = torch.Generator().manual_seed(batch)
    x = torch.randn(16, 4, generator=rng, dtype=torch.float64)
    y = torch.randint(3, (16,), generator=rng)
    return lambda: nn.functional.cross_entropy(model(x), y)


def after_a_step(model: Mixture, optimizer: torch.optim.SGD, vector: Array) -> float:
    """L_val(w'(α), α): the optimiser's own step on a copy that has these architecture parameters."""
    model = copy.deepcopy(model)
    counts = [len(group["params"]) for group in optimizer.param_groups]
    parameters = iter(model.weights)
    twin = torch.optim.SGD([{"params": [next(parameters) for _ in range(count)]} for count in counts])
    twin.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    nn.utils.vector_to_parameters(torch.from_numpy(vector), model.alphas)
    loss(model, 0)().backward()
    twin.step()
    return loss(model, 1)().item()


def numerical(objective: Callable[[Array], float], at: Array, h: float = 2e-3) -> Array:
    """Central differences of sixth order, good to about 1e-11 here."""
    coefficients = {-3: -1, -2: 9, -1: -45, 1: 45, 2: -9, 3: 1}
    return np.array([
        sum(c * objective(at + k * h * axis) for k, c in coefficients.items()) / (60 * h) for axis in np.eye(len(at))
    ])  # fmt: skip


def flat(tensors: Any) -> Array:
    return torch.cat([tensor.detach().flatten() for tensor in tensors]).numpy().copy()


def error(found: Any, exact: Array) -> float:
    return float(np.linalg.norm(flat(found) - exact) / np.linalg.norm(exact))


def gradient(model: Mixture, optimizer: torch.optim.Optimizer, **options: Any) -> list[Tensor]:
    return architecture_gradient(
        loss(model, 0), loss(model, 1), model.weights, list(model.alphas), optimizer, Untouched(model), **options
    )


@pytest.mark.parametrize("history", [0, 2])
@pytest.mark.parametrize("settings", SGD)
def test_the_second_order_gradient_is_that_of_the_composed_objective(settings: str, history: int) -> None:
    model, optimizer = problem(SGD[settings], history=history)
    exact = numerical(lambda vector: after_a_step(model, optimizer, vector), flat(model.alphas))
    assert error(gradient(model, optimizer, method="exact"), exact) <= 1e-8
    assert error(gradient(model, optimizer, method="finite"), exact) <= 1e-3
    # The second-order term is no trifle here, so all of the above would notice if it were wrong.
    assert error(gradient(model, optimizer, order=1), exact) > 0.02


def test_the_error_of_finite_differences_is_that_of_their_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Central: a step ten times smaller makes the error a hundred times smaller, so there is no other."""
    model, optimizer = problem({"lr": 0.3})
    exact = flat(gradient(model, optimizer, method="exact"))
    usual = error(gradient(model, optimizer, method="finite"), exact)
    monkeypatch.setattr(bilevel, "STEP", 0.001)
    small = error(gradient(model, optimizer, method="finite"), exact)
    assert usual / small == pytest.approx(100, rel=0.05)


def test_groups_of_the_optimiser_have_their_own_steps() -> None:
    model, _ = problem(SGD["plain"])
    groups = [
        {"params": model.weights[:3], "lr": 0.05, "momentum": 0.5},
        {"params": model.weights[3:], "lr": 0.02, "weight_decay": 0.2},
    ]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    loss(model, 2)().backward()
    optimizer.step()
    model.zero_grad()
    exact = numerical(lambda vector: after_a_step(model, optimizer, vector), flat(model.alphas))
    assert error(gradient(model, optimizer, method="exact"), exact) <= 1e-8
    assert error(gradient(model, optimizer, method="finite"), exact) <= 1e-3


def test_the_first_order_gradient_is_the_partial_derivative() -> None:
    model, optimizer = problem(SGD["darts"])

    def validation(vector: Array) -> float:
        twin = copy.deepcopy(model)
        nn.utils.vector_to_parameters(torch.from_numpy(vector), twin.alphas)
        return loss(twin, 1)().item()

    first = gradient(model, optimizer, order=1)
    assert error(first, numerical(validation, flat(model.alphas))) <= 1e-8
    still, _ = problem(SGD["darts"])
    standing = torch.optim.SGD(still.weights, lr=0.0, momentum=0.9)
    assert error(gradient(still, standing, order=2), flat(first)) <= 1e-14


def snapshot(model: nn.Module, optimizer: torch.optim.Optimizer, *generators: torch.Generator) -> dict[str, bytes]:
    tensors = model.state_dict() | {
        f"{i}.{name}": value
        for i, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
        if isinstance(value, Tensor)
    }
    kept = {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}
    for i, generator in enumerate((torch.default_generator, *generators)):
        kept[f"generator{i}"] = generator.get_state().numpy().tobytes()
    return kept


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "options", [{"order": 1}, {"method": "finite"}, {"method": "exact"}], ids=lambda options: str(options)
)
def test_nothing_is_left_behind(options: dict[str, Any], dtype: torch.dtype) -> None:
    model, optimizer = problem(SGD["darts"], dropout=0.3)
    model.to(dtype)
    rng = torch.Generator().manual_seed(3)

    def noisy() -> Tensor:
        x = torch.randn(16, 4, generator=rng, dtype=dtype)
        return nn.functional.cross_entropy(model(x), torch.randint(3, (16,)))

    before = snapshot(model, optimizer, rng)
    untouched = Untouched(model, [rng])
    alphas = list(model.alphas)
    found = [architecture_gradient(noisy, noisy, model.weights, alphas, optimizer, untouched, **options)]
    dominant_eigenvalue(noisy, alphas, untouched, torch.Generator().manual_seed(0))
    assert snapshot(model, optimizer, rng) == before
    assert all(parameter.grad is None for parameter in model.parameters())
    found.append(architecture_gradient(noisy, noisy, model.weights, alphas, optimizer, untouched, **options))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    noisy()
    assert snapshot(model, optimizer, rng) != before


def test_a_loss_that_fails_half_way_leaves_nothing_behind() -> None:
    model, optimizer = problem(SGD["darts"])
    before, calls = snapshot(model, optimizer), iter(range(9))

    def failing() -> Tensor:
        if next(calls) == 2:
            raise RuntimeError("out of memory")
        return loss(model, 0)()

    with pytest.raises(RuntimeError, match="out of memory"):
        architecture_gradient(
            failing, loss(model, 1), model.weights, list(model.alphas), optimizer, Untouched(model)
        )  # fmt: skip
    assert snapshot(model, optimizer) == before


def test_dropout_is_the_same_in_all_evaluations() -> None:
    """Else both methods would differ by the noise of a mask, not by the error of differences."""
    model, optimizer = problem(SGD["darts"], dropout=0.5)
    finite, exact = (gradient(model, optimizer, method=method) for method in ("finite", "exact"))
    assert error(finite, flat(exact)) < 1e-3


@pytest.mark.parametrize("relaxation", [StraightThroughGumbel(1.0), BinaryGates(), Dirichlet()], ids=str)
def test_weights_of_paths_not_drawn_stay_where_they_are(relaxation: Any) -> None:
    """Their gradient is None, so SGD does not decay them, and momentum does not move them."""
    torch.manual_seed(0)
    paths = nn.ModuleList(nn.Linear(4, 3) for _ in range(4)).double()
    alphas = [torch.zeros(4, dtype=torch.float64, requires_grad=True)]
    rng = torch.Generator().manual_seed(1)
    optimizer = torch.optim.SGD(paths.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    for parameter in paths.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    optimizer.zero_grad()

    def evaluate(batch: int) -> Callable[[], Tensor]:
        def run() -> Tensor:
            (weights,) = relaxation.sample(alphas, rng)
            x = torch.randn(8, 4, generator=torch.Generator().manual_seed(batch), dtype=torch.float64)
            live = [(w, path) for w, path in zip(weights, paths, strict=True) if w != 0 or w.requires_grad]
            return nn.functional.cross_entropy(sum(w * path(x) for w, path in live), torch.arange(8) % 3)

        return run

    seen: list[Array] = []

    def validation() -> Tensor:
        seen.append(flat(paths.parameters()))
        return evaluate(1)()

    untouched = Untouched(paths, [rng])
    both = [
        architecture_gradient(
            evaluate(0), validation, list(paths.parameters()), alphas, optimizer, untouched, method=method
        )
        for method in ("finite", "exact")
    ]
    assert error(both[0], flat(both[1])) < 1e-3
    rng_state = rng.get_state()
    evaluate(0)().backward()
    optimizer.step()
    rng.set_state(rng_state)
    np.testing.assert_allclose(seen[0], flat(paths.parameters()), rtol=1e-14)


def explicit(matrix: Array, at: Array) -> tuple[nn.Module, list[Tensor], Callable[[], Tensor]]:
    """A loss whose Hessian at `at` is a given matrix; α lies in two tensors."""
    n, size = len(at) // 2, len(at)
    alphas = [torch.from_numpy(at[:n].reshape(1, n)).requires_grad_(), torch.from_numpy(at[n:]).requires_grad_()]
    hessian = torch.from_numpy(matrix)

    def value() -> Tensor:
        x = torch.cat([alpha.flatten() for alpha in alphas])
        return 0.5 * x @ hessian @ x + (x - torch.from_numpy(at)).pow(3).sum() + torch.ones(size).double() @ x

    return nn.Module(), alphas, value


@pytest.mark.parametrize("method", ["exact", "finite"])
@pytest.mark.parametrize(
    "spectrum",
    [[5.0, 1, 0.5, 0.2, -1, -2], [2.0, 1.9, 1, 0, -1, -7], [-1.0, -2, -3, -4, -5, -6], [3.0] * 6, [0.0] * 6],
    ids=str,
)  # fmt: skip
def test_the_dominant_eigenvalue_is_that_of_numpy(spectrum: list[float], method: Any) -> None:
    rng = np.random.default_rng(0)
    q, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    matrix = q @ np.diag(spectrum) @ q.T
    matrix = (matrix + matrix.T) / 2
    model, alphas, value = explicit(matrix, rng.normal(size=6))
    found = dominant_eigenvalue(
        value, alphas, Untouched(model), torch.Generator().manual_seed(0), method, tolerance=1e-9
    )
    assert found.value == pytest.approx(np.linalg.eigvalsh(matrix)[-1], rel=1e-8, abs=1e-8)


def test_the_error_of_an_eigenvalue_bounds_it_and_few_products_do() -> None:
    rng = np.random.default_rng(1)
    # As in a search: many small eigenvalues, some large ones.
    q, _ = np.linalg.qr(rng.normal(size=(100, 100)))
    spectrum = np.concatenate([rng.normal(0, 0.01, 95), [0.1, 0.15, 0.2, 0.3, -0.35]])
    matrix = (q * spectrum) @ q.T
    model, alphas, value = explicit((matrix + matrix.T) / 2, rng.normal(size=100))
    calls = []

    def counted() -> Tensor:
        calls.append(1)
        return value()

    found = dominant_eigenvalue(counted, alphas, Untouched(model), torch.Generator().manual_seed(0))
    assert len(calls) <= 15
    assert abs(found.value - 0.3) <= found.error + 1e-12
    assert found.error <= 0.01 * found.value
    rough = dominant_eigenvalue(value, alphas, Untouched(model), torch.Generator().manual_seed(0), iterations=3)
    assert np.abs(spectrum - rough.value).min() <= rough.error
    assert rough.error > found.error


def test_the_eigenvalue_of_a_network_is_that_of_its_explicit_hessian() -> None:
    model, _ = problem(SGD["plain"])
    alphas = list(model.alphas)

    def composed(first: Tensor, second: Tensor) -> Tensor:
        values = {"alphas.0": first, "alphas.1": second}
        return loss(lambda x: torch.func.functional_call(model, values, x), 1)()  # type: ignore[arg-type]

    blocks = torch.autograd.functional.hessian(composed, tuple(alphas))
    matrix = np.block([[block.numpy() for block in row] for row in blocks])
    found = dominant_eigenvalue(loss(model, 1), alphas, Untouched(model), torch.Generator().manual_seed(0), tolerance=0)
    assert found.value == pytest.approx(np.linalg.eigvalsh(matrix)[-1], rel=1e-9)
    vector = [torch.arange(3).double(), torch.tensor([1.0, -2.0]).double()]
    product = hessian_product(loss(model, 1), alphas, alphas, vector, Untouched(model), "exact")
    np.testing.assert_allclose(flat(product), matrix @ flat(vector), rtol=1e-9)


@pytest.mark.parametrize("method", ["finite", "exact"])
def test_products_with_nothing_are_zeros(method: Any) -> None:
    model, _ = problem(SGD["plain"])
    alphas = list(model.alphas)
    zero = [torch.zeros_like(alpha) for alpha in alphas]
    ones = [torch.ones_like(model.unused)]
    for inner, vector in ((alphas, zero), ([model.unused], ones)):
        product = hessian_product(loss(model, 0), inner, alphas, vector, Untouched(model), method)
        assert [part.shape for part in product] == [alpha.shape for alpha in alphas]
        np.testing.assert_array_equal(flat(product), 0)


def test_a_search_ends_where_the_loss_becomes_sharp() -> None:
    flat_, steep = [1.0, 1.2, 0.8, 1.0, 1.0], [1.5, 1.2, 1.4, 1.5, 1.4]
    assert not has_sharpened(flat_ + [x * 1.3 for x in flat_])
    assert has_sharpened(flat_ + steep)
    assert not has_sharpened(steep + flat_)
    assert not has_sharpened(steep[:4] + [9.0] * 5)
    assert not has_sharpened([-4.0] * 5 + [-1.0] * 5)


def test_bad_input() -> None:
    model, _ = problem(SGD["plain"])
    with pytest.raises(NasError, match="not for Adam"):
        gradient(model, torch.optim.Adam(model.weights))
    with pytest.raises(NasError, match="SGD that minimises"):
        gradient(model, torch.optim.SGD(model.weights, lr=0.1, maximize=True))
    with pytest.raises(NasError, match="2 of 11 weights"):
        gradient(model, torch.optim.SGD(model.weights[2:], lr=0.1))
    with torch.no_grad():
        model.alphas[0][0] = float("nan")
    with pytest.raises(NasError, match="not finite"):
        dominant_eigenvalue(loss(model, 1), list(model.alphas), Untouched(model), torch.Generator().manual_seed(0))
