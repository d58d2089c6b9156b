"""Relaxations against enumeration and quadrature: a toy of three operations and a loss that is not linear in them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from cell_supernets import computed_operations
from scipy import special, stats
from torch import Tensor

import nas
from nas.errors import NasError
from nas.supernet.nasbench201 import NasBench201Supernet
from nas.supernet.relaxations import (
    BinaryGates,
    Dirichlet,
    GumbelSoftmax,
    Relaxation,
    Sampled,
    Softmax,
    StraightThroughGumbel,
    exponential_temperature,
    keep_other_paths,
    linear_temperature,
    score_loss,
)

Array = npt.NDArray[np.float64]

DRAWS = 20_000
THETA = np.array([0.4, -0.3, 0.1])
P = special.softmax(THETA)
A, B = np.array([1.5, -0.4, 0.3]), np.array([0.2, 1.4, -0.8])
VERTICES = np.eye(3)
#: ∂p_j/∂θ_i at [j, i]
SLOPES = np.diag(P) - np.outer(P, P)
METHODS: list[Relaxation] = [
    Softmax(), GumbelSoftmax(0.7), StraightThroughGumbel(0.7), StraightThroughGumbel(0.7, drawn_only=False),
    Dirichlet(), BinaryGates(), BinaryGates(pairs=False), Sampled(),
]  # fmt: skip


def curved(w: Any) -> Any:
    """sin(2 a·w) + (b·w)², for arrays and tensors float[..., 3]."""
    a, b = (torch.from_numpy(x) if isinstance(w, Tensor) else x for x in (A, B))
    first, second = (w * a).sum(-1), (w * b).sum(-1)
    return (torch.sin(2 * first) if isinstance(w, Tensor) else np.sin(2 * first)) + second**2


def slope_of_curved(w: Array) -> Array:
    return 2 * A * np.cos(2 * w @ A)[..., None] + 2 * B * (w @ B)[..., None]


def linear(w: Any) -> Any:
    return (w * (torch.from_numpy(A) if isinstance(w, Tensor) else A)).sum(-1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gradients(method: Relaxation, loss: Callable[[Tensor], Tensor], theta: Array = THETA, seed: int = 0) -> Array:
    """The gradient by θ of each of many draws, float[draws, 3]."""
    logits = torch.from_numpy(np.tile(theta, (DRAWS, 1))).requires_grad_()
    (weights,) = method.sample([logits], generator(seed))
    assert isinstance(weights, Tensor)
    (found,) = torch.autograd.grad(loss(weights).sum(), logits)
    return found.numpy()


def deviations(draws: Array, exact: Array) -> Array:
    """How many standard errors a mean is from the exact value; the draws must be able to tell."""
    error = draws.std(0, ddof=1) / math.sqrt(len(draws))
    assert np.linalg.norm(error) < 0.1 * np.linalg.norm(exact)
    return np.abs(draws.mean(0) - exact) / error


def differences(objective: Callable[[Array], float], theta: Array = THETA, h: float = 1e-4) -> Array:
    """The gradient of an objective by central differences of fourth order."""
    steps = [[objective(theta + k * h * axis) for k in (-2, -1, 1, 2)] for axis in VERTICES]
    return np.array(steps) @ np.array([1, -8, 8, -1]) / (12 * h)


def uniform_simplex(points: int) -> tuple[Array, Array]:
    """Nodes float[points², 3] and weights of the uniform distribution on the triangle."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    # Nodes crowd at the ends, where logarithms are steep: u = t³ (10 - 15 t + 6 t²).
    t = (nodes + 1) / 2
    u, weights = t**3 * (10 - 15 * t + 6 * t**2), weights / 2 * 30 * t**2 * (1 - t) ** 2
    r, s = np.meshgrid(u, u, indexing="ij")
    inside = np.stack([1 - r, r * (1 - s), r * s], -1).reshape(-1, 3)
    return inside, (2 * r * np.outer(weights, weights)).ravel()


def concrete(theta: Array, temperature: float, nodes: Array) -> Array:
    """Gumbel noise is -log of exponentials, and exponentials over their sum are uniform on the simplex."""
    return special.softmax((theta - np.log(nodes)) / temperature, axis=-1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_gumbel_softmax_is_unbiased_for_the_relaxed_objective(temperature: float) -> None:
    nodes, weights = uniform_simplex(150)
    exact = differences(lambda theta: float(weights @ curved(concrete(theta, temperature, nodes))))
    coarse_nodes, coarse = uniform_simplex(100)
    check = differences(lambda theta: float(coarse @ curved(concrete(theta, temperature, coarse_nodes))))
    np.testing.assert_allclose(exact, check, rtol=1e-4)
    assert deviations(gradients(GumbelSoftmax(temperature), curved), exact).max() < 3


def straight_through_mean(temperature: float, slope: Callable[[Array], Array], drawn_only: bool) -> Array:
    """The mean of ∇L(e_k) · ∂w_soft/∂θ by the midpoint rule: it jumps where another operation becomes the largest."""
    t = (np.arange(500) + 0.5) / 500
    r, s = np.meshgrid(t, t, indexing="ij")
    nodes = np.stack([1 - r, r * (1 - s), r * s], -1).reshape(-1, 3)
    soft = concrete(THETA, temperature, nodes)
    hard = VERTICES[soft.argmax(-1)]
    through = slope(hard) * (hard if drawn_only else 1)
    draws = soft * (through - (soft * through).sum(-1, keepdims=True)) / temperature
    return np.asarray((2 * r.ravel()) @ draws / r.size)


@pytest.mark.parametrize("drawn_only", [True, False])
def test_straight_through_is_what_it_says_and_biased_for_the_discrete_objective(drawn_only: bool) -> None:
    draws = gradients(StraightThroughGumbel(0.7, drawn_only), curved)
    exact = straight_through_mean(0.7, slope_of_curved, drawn_only)
    assert deviations(draws, exact).max() < 3
    discrete = curved(VERTICES) @ SLOPES
    assert deviations(draws, discrete).max() > 10


def test_straight_through_of_a_linear_loss_is_unbiased_for_the_relaxed_objective_if_all_are_computed() -> None:
    nodes, weights = uniform_simplex(150)
    exact = differences(lambda theta: float(weights @ linear(concrete(theta, 0.7, nodes))))
    assert deviations(gradients(StraightThroughGumbel(0.7, drawn_only=False), linear), exact).max() < 3
    assert deviations(gradients(StraightThroughGumbel(0.7), linear), exact).max() > 10


def dirichlet_mean(theta: Array) -> float:
    """E[L] by stick-breaking: two beta variates, each with the Gauss-Jacobi rule of its density."""
    c = np.where(theta > 0, theta + 1, np.exp(theta))
    (x, xs), (y, ys) = (
        (nodes, weights / weights.sum())
        for nodes, weights in (
            special.roots_jacobi(40, c[1] + c[2] - 1, c[0] - 1), special.roots_jacobi(40, c[2] - 1, c[1] - 1),
        )
    )  # fmt: skip
    x, y = np.meshgrid((x + 1) / 2, (y + 1) / 2, indexing="ij")
    return float(xs @ curved(np.stack([x, (1 - x) * y, (1 - x) * (1 - y)], -1)) @ ys)


@pytest.mark.parametrize("theta", [THETA, np.array([3.0, 1.0, 2.0]), np.array([-2.5, -1.0, 0.5])], ids=str)
def test_dirichlet_is_unbiased_for_its_objective(theta: Array) -> None:
    exact = differences(dirichlet_mean, theta)
    assert deviations(gradients(Dirichlet(), curved, theta), exact).max() < 3


def test_dirichlet_follows_its_distribution() -> None:
    logits = torch.from_numpy(np.tile([-2.0, 0.0, 1.0], (DRAWS, 1)))
    (weights,) = Dirichlet().sample([logits], generator())
    (mean,) = Dirichlet().probabilities([logits[0]])
    c = np.array([math.exp(-2), 1.0, 2.0])
    np.testing.assert_allclose(mean, c / c.sum())
    for i in range(3):
        marginal = stats.beta(c[i], c.sum() - c[i])
        assert stats.kstest(weights[:, i].numpy(), marginal.cdf).pvalue > 0.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dirichlet_of_tiny_concentrations_is_at_the_corners(dtype: torch.dtype) -> None:
    """Where gamma variates underflow, naive samplers return the centre or nothing; float32 elu(-40) + 1 is 0."""
    logits = torch.tensor([-40.0, -40.0, -40.0], dtype=dtype).expand(3000, 3).clone().requires_grad_()
    (weights,) = Dirichlet().sample([logits], generator(1))
    assert isinstance(weights, Tensor)
    assert weights.max(-1).values.min() == 1
    counts = weights.detach().sum(0).numpy()
    assert stats.chisquare(counts, np.full(3, counts.sum() / 3)).pvalue > 0.01
    (gradient,) = torch.autograd.grad((weights * torch.arange(3)).sum(), logits)
    assert gradient.isfinite().all()


def pairs() -> Iterator[tuple[float, tuple[int, int], Array]]:
    """Probability of each pair when two are drawn without replacement, and their softmax, float[3]."""
    for i, j in itertools.combinations(range(3), 2):
        yield (
            P[i] * P[j] / (1 - P[i]) + P[j] * P[i] / (1 - P[j]),
            (i, j),
            (VERTICES[i] + VERTICES[j]) * P / (P[i] + P[j]),
        )


def test_binary_gates_of_pairs_have_the_mean_that_enumeration_gives() -> None:
    exact = np.zeros(3)
    for probability, pair, q in pairs():
        slopes = np.diag(q) - np.outer(q, q)
        exact += probability * sum(q[k] * slope_of_curved(VERTICES[k]) @ slopes for k in pair)
    assert deviations(gradients(BinaryGates(), curved), exact).max() < 3


def test_binary_gates_of_all_paths_have_the_mean_that_enumeration_gives() -> None:
    exact = sum(P[k] * slope_of_curved(VERTICES[k]) @ SLOPES for k in range(3))
    assert deviations(gradients(BinaryGates(pairs=False), curved), exact).max() < 3
    # Of a linear loss every draw has the gradient of the discrete objective.
    exact = np.tile(linear(VERTICES) @ SLOPES, (DRAWS, 1))
    np.testing.assert_allclose(gradients(BinaryGates(pairs=False), linear), exact, rtol=1e-12)


def test_pairs_of_gates_are_drawn_as_enumeration_says() -> None:
    rng = generator()
    logits = torch.from_numpy(THETA).requires_grad_()
    counts: dict[tuple[tuple[int, ...], int], int] = {}
    for _ in range(2000):
        (gates,) = BinaryGates().sample([logits], rng)
        pair = tuple(i for i in range(3) if gates[i].requires_grad)
        assert sorted(gate.item() for gate in gates) == [0, 0, 1]
        active = next(i for i in range(3) if gates[i] == 1)
        counts[pair, active] = counts.get((pair, active), 0) + 1
    expected = {(pair, k): probability * q[k] for probability, pair, q in pairs() for k in pair}
    assert counts.keys() == expected.keys()
    observed = [counts[key] for key in expected]
    assert stats.chisquare(observed, 2000 * np.array(list(expected.values()))).pvalue > 0.01


@pytest.mark.parametrize(
    "method", [StraightThroughGumbel(0.1), StraightThroughGumbel(10), BinaryGates(False), Sampled()]
)
def test_operations_are_drawn_with_their_probabilities(method: Relaxation) -> None:
    logits = torch.from_numpy(np.tile(THETA, (DRAWS, 1)))
    (weights,) = method.sample([logits], generator(2))
    assert isinstance(weights, Tensor)
    assert ((weights == 0) | (weights == 1)).all()
    assert (weights.sum(-1) == 1).all()
    assert stats.chisquare(weights.sum(0).numpy(), DRAWS * P).pvalue > 0.01
    np.testing.assert_allclose(method.probabilities([logits])[0][0], P)


def score_gradients(baseline: float) -> Array:
    logits = torch.from_numpy(np.tile(THETA, (DRAWS, 1))).requires_grad_()
    weights = Sampled().sample([logits], generator())
    assert isinstance(weights[0], Tensor)
    log_probability = Sampled().log_probability([logits], weights)
    loss = score_loss(log_probability, curved(weights[0]), baseline)
    return torch.autograd.grad(loss.sum(), logits)[0].numpy()


def test_the_score_function_is_unbiased_for_the_discrete_objective_and_a_baseline_calms_it() -> None:
    exact = curved(VERTICES) @ SLOPES
    plain, calmed = score_gradients(0.0), score_gradients(float(curved(VERTICES) @ P))
    assert deviations(plain, exact).max() < 3
    assert deviations(calmed, exact).max() < 3
    assert calmed.var(0).sum() < 0.8 * plain.var(0).sum()


def test_log_probability_adds_up_over_sites() -> None:
    logits = [torch.tensor([0.0, 1.0]), torch.tensor([0.5, 0.5, 2.0])]
    weights = [torch.tensor([0.0, 1.0]), torch.tensor([0.0, 0.0, 1.0])]
    exact = math.log(special.expit(1.0) * special.softmax([0.5, 0.5, 2.0])[2])
    assert float(Sampled().log_probability(logits, weights)) == pytest.approx(exact, rel=1e-6)


def test_softmax_is_the_closed_form() -> None:
    (weights,) = Softmax().sample([torch.from_numpy(THETA)], generator())
    np.testing.assert_allclose(weights, P, rtol=1e-15)


def test_gumbel_softmax_becomes_one_hot_and_then_uniform() -> None:
    logits = [torch.from_numpy(np.tile(THETA, (1000, 1)))]
    methods = StraightThroughGumbel(1), GumbelSoftmax(1e-6), GumbelSoftmax(1e6)
    (hard,), (cold,), (warm,) = (method.sample(logits, generator(3)) for method in methods)
    np.testing.assert_allclose(cold, hard, atol=1e-12)
    np.testing.assert_allclose(warm, np.full((1000, 3), 1 / 3), atol=1e-4)


@pytest.mark.parametrize(
    ("method", "live"), [(StraightThroughGumbel(0.3), 1), (BinaryGates(), 2), (BinaryGates(False), 5), (Sampled(), 0)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_paths_not_drawn_weigh_exactly_0_and_need_no_gradient(
    method: Relaxation, live: int, dtype: torch.dtype
) -> None:
    rng = generator()
    logits = [torch.randn(5, generator=rng, dtype=dtype).requires_grad_() for _ in range(50)]
    for site in method.sample(logits, rng):
        assert sorted(entry.item() for entry in site) == [0, 0, 0, 0, 1]
        assert sum(entry.requires_grad for entry in site) == live
        assert all(entry.requires_grad for entry in site if entry == 1) or live == 0


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_one_draw_and_a_batch_have_the_same_gradient(method: Relaxation) -> None:
    """Scalars of which some carry gradients, and a tensor through which the same ones flow."""
    value = torch.tensor([0.3, -1.0, 2.0, 0.1], dtype=torch.float64)
    found = []
    for shape in ((4,), (1, 4)):
        logits = value.reshape(shape).clone().requires_grad_()
        (weights,) = method.sample([logits], generator(5))
        dense = weights if isinstance(weights, Tensor) else torch.stack(list(weights))
        loss = (dense.flatten() ** 2 * torch.arange(1, 5)).sum()
        gradient = torch.autograd.grad(loss, logits)[0] if loss.requires_grad else torch.zeros(4)
        found.append(torch.cat([dense.detach().flatten(), gradient.flatten()]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=0)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_draws_repeat_with_the_seed_and_sites_of_all_sizes_are_independent(method: Relaxation) -> None:
    logits = [torch.zeros(n, dtype=torch.float64) for n in (3, 1, 3, 7)]
    first, again, other = (
        [torch.as_tensor([x.item() for x in site]) for site in method.sample(logits, generator(seed))]
        for seed in (0, 0, 1)
    )
    assert [len(site) for site in first] == [3, 1, 3, 7]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert float(first[1]) == pytest.approx(1)
    if not isinstance(method, Softmax):
        assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))
        draws = [torch.zeros(2000, 3, dtype=torch.float64) for _ in range(2)]
        one, two = (torch.as_tensor(site)[:, 0].numpy() for site in method.sample(draws, generator()))
        assert abs(np.corrcoef(one, two)[0, 1]) < 0.08


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_probabilities_are_those_of_the_float32_logits_too(method: Relaxation) -> None:
    single = torch.from_numpy(THETA).float()
    (weights,) = method.sample([single], generator(1))
    (double,) = method.sample([single.double()], generator(1))
    assert weights[0].dtype == torch.float32
    np.testing.assert_allclose([x.item() for x in weights], [x.item() for x in double], rtol=2e-5, atol=1e-7)
    assert float(method.probabilities([single])[0].sum()) == pytest.approx(1)


def test_the_other_paths_keep_their_probabilities() -> None:
    rng = generator(4)
    logits = [torch.randn(6, generator=rng, dtype=torch.float64).requires_grad_() for _ in range(10)]
    before = [site.detach().clone() for site in logits]
    weights = BinaryGates().sample(logits, rng)
    sum((torch.stack(list(site)) * torch.arange(6)).sum() ** 2 for site in weights).backward()
    with torch.no_grad():
        for site in logits:
            site -= 0.1 * site.grad
    keep_other_paths(logits, before, weights)
    for after, old, site in zip(logits, before, weights, strict=True):
        drawn = np.array([entry.requires_grad for entry in site])
        p, q = old.softmax(0).numpy(), after.detach().softmax(0).numpy()
        np.testing.assert_allclose(p[~drawn], q[~drawn], rtol=1e-12)
        assert np.abs(p[drawn] - q[drawn]).min() > 1e-6


@pytest.mark.parametrize(("method", "computed"), [(StraightThroughGumbel(1.0), 1), (BinaryGates(), 2), (Softmax(), 5)])
def test_a_supernet_computes_the_paths_drawn_only(method: Relaxation, computed: int) -> None:
    torch.manual_seed(0)
    supernet = NasBench201Supernet(nas.space("nasbench201"), channels=4, cells=1, resolution=8)
    edges = next(m for m in supernet.modules() if type(m).__name__ == "MixedCell").edges
    places = {module: (e, name) for e, edge in enumerate(edges) for name, module in edge.operations.items()}
    logits = [torch.zeros(5, requires_grad=True) for _ in supernet.sites]
    weights = method.sample(logits, generator(7))
    with computed_operations() as ran:
        supernet(torch.randn(2, 3, 8, 8), weights).square().sum().backward()
    called = [places[module] for module in ran if module in places]
    # The operation "none" is nothing to compute.
    wanted = {
        (e, site.operations[i])
        for e, (site, given) in enumerate(zip(supernet.sites, weights, strict=True))
        for i in range(5)
        if given[i].requires_grad and site.operations[i] != "none"
    }
    assert set(called) == wanted
    assert len(called) == len(wanted) <= computed * len(supernet.sites)
    assert any(site.grad is not None and site.grad.abs().sum() > 0 for site in logits)


def test_temperatures() -> None:
    assert [linear_temperature(x) for x in (0, 0.5, 1)] == pytest.approx([10, 5.05, 0.1])
    assert [exponential_temperature(x / 90) for x in (0, 1, 90)] == pytest.approx(
        [5, 5 * 0.955997, 5 * math.exp(-4.05)]
    )


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan, math.inf])
def test_bad_temperatures(wrong: float) -> None:
    for make in (GumbelSoftmax, StraightThroughGumbel, lambda t: linear_temperature(0.5, t)):
        with pytest.raises(NasError, match="temperature"):
            make(wrong)
    with pytest.raises(NasError, match="progress"):
        exponential_temperature(1.5)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_bad_logits(method: Relaxation) -> None:
    good = torch.zeros(3)
    with pytest.raises(NasError, match=r"site 1: .*finite"):
        method.sample([good, torch.tensor([0.0, math.nan])], generator())
    for wrong in (torch.zeros(0), torch.tensor(1.0), torch.tensor([1, 2])):
        with pytest.raises(NasError, match="site 1: logits are"):
            method.sample([good, wrong], generator())
