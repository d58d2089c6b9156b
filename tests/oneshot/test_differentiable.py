"""What all methods by gradient share, against the algorithm written out, closed forms and the optimisers of PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from oneshot_toys import RIGHT, ToySupernet, toy_batch
from pydantic import ValidationError
from torch import Tensor, nn

from nas.errors import NasError
from nas.strategies.oneshot.base import CostTerm, Moment, OneShotStrategy
from nas.strategies.oneshot.differentiable import Differentiable
from nas.strategies.oneshot.methods import DARTS, GDAS, PCDARTS, PDARTS, SNAS, DrNAS, FBNet, Proxyless
from nas.supernet.weights import SiteWeights, dense

METHODS = [DARTS, GDAS, SNAS, PCDARTS, DrNAS, PDARTS, FBNet, Proxyless]
START = Moment(0, 0, 10, 10)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def toy(method: type[Differentiable], cost: CostTerm | None = None, seed: int = 0, **settings: Any) -> Differentiable:
    torch.manual_seed(seed)
    return method(ToySupernet(), method.Settings(**{"epochs": 10} | settings), cost, seed)


def search(strategy: Differentiable, seed: int, steps: int = 12) -> list[dict[str, float]]:
    """Run all epochs on fresh images; the last losses."""
    rng, epochs, found = generator(seed), strategy.settings.epochs, []
    for n in range(epochs * steps):
        at = Moment(n // steps, n % steps, epochs, steps)
        batches = toy_batch(64, rng), toy_batch(64, rng) if strategy.learns_architecture else None
        found.append(strategy.step(*batches, at, generator(n + 1000 * seed)))
    return found


# --- a method that works finds what lets the labels be learnt ---------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("method", "settings"),
    # What is drawn alone can only be better than nothing once it is trained a little.
    [
        (DARTS, {}), (DARTS, {"order": 2}), (PCDARTS, {}), (DrNAS, {}), (PDARTS, {}), (FBNet, {}),
        (SNAS, {"warmup": 0.3}), (Proxyless, {"warmup": 0.3, "epochs": 16}),
        (GDAS, {"warmup": 0.4, "architecture_learning_rate": 0.03, "epochs": 16}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "-".join(value),
)  # fmt: skip
def test_every_method_finds_the_only_operations_that_help(method: Any, settings: dict[str, Any], seed: int) -> None:
    strong = {"learning_rate": 0.1, "architecture_learning_rate": 0.1, "architecture_weight_decay": 0.0}
    strategy = toy(method, seed=seed, **strong | settings)
    before = [float(p[right]) for p, right in zip(strategy.probabilities(), RIGHT, strict=True)]
    losses = search(strategy, seed, steps=8)
    assert strategy.derive().tolist() == RIGHT.tolist()
    after = [float(p[right]) for p, right in zip(strategy.probabilities(), RIGHT, strict=True)]
    assert min(after) > 0.5 > 0.3 > max(before)
    assert np.mean([step["train_loss"] for step in losses[-8:]]) < 0.8


# --- a step -----------------------------------------------------------------------------------------------------------


def test_a_step_of_darts_is_algorithm_1_with_the_optimisers_of_torch() -> None:
    """α by Adam on validation at the weights before, then the weights by SGD on training at the new α, clipped."""
    settings = {"gradient_clip": 0.05, "architecture_learning_rate": 0.01}
    strategy = toy(DARTS, **settings)
    torch.manual_seed(0)
    net = ToySupernet()
    alphas = [alpha.detach().clone().requires_grad_() for alpha in strategy.alphas]
    adam = torch.optim.Adam(alphas, 0.01, (0.5, 0.999), weight_decay=1e-3)
    sgd = torch.optim.SGD(net.parameters(), 0.025, 0.9, weight_decay=3e-4)
    rng = generator()
    for n in range(4):
        train, validation = toy_batch(32, rng), toy_batch(32, rng)
        found = strategy.step(train, validation, Moment(0, n, 10, 4), generator(n))
        loss = nn.functional.cross_entropy(net(validation.images, [a.softmax(0) for a in alphas]), validation.labels)
        assert found["architecture_loss"] == pytest.approx(loss.item(), abs=1e-6)
        adam.zero_grad()
        loss.backward()
        adam.step()
        net.zero_grad()
        loss = nn.functional.cross_entropy(net(train.images, [a.softmax(0) for a in alphas]), train.labels)
        assert found["train_loss"] == pytest.approx(loss.item(), abs=1e-6)
        loss.backward()
        assert nn.utils.clip_grad_norm_(net.parameters(), 0.05) > 0.05
        sgd.step()
    for own, expected in zip(strategy.alphas, alphas, strict=True):
        assert torch.allclose(own, expected, atol=1e-6)
    for own, expected in zip(strategy.supernet.parameters(), net.parameters(), strict=True):
        assert torch.allclose(own, expected, atol=1e-6)


def test_snas_trains_weights_and_architecture_by_one_backward_pass() -> None:
    strategy = toy(SNAS, learning_rate=0.1)
    train, before = toy_batch(32, generator()), [alpha.detach().clone() for alpha in strategy.alphas]
    weights = strategy.sample(START, generator(5))
    loss = nn.functional.cross_entropy(strategy.supernet(train.images, weights), train.labels)
    gradients = torch.autograd.grad(loss, strategy.alphas)
    supernet = strategy.supernet
    assert isinstance(supernet, ToySupernet)
    supernet.computed.clear()
    strategy.step(train, None, START, generator(5))
    assert len(supernet.computed) == 12  # each of four operations at three sites, once
    for alpha, old, gradient in zip(strategy.alphas, before, gradients, strict=True):
        # The first step of Adam is one of the learning rate, against the sign.
        assert torch.allclose(alpha, old - 3e-4 * (gradient + 1e-3 * old).sign(), atol=1e-6)


@pytest.mark.parametrize("method", [GDAS, Proxyless])
def test_methods_of_one_path_compute_and_train_one(method: type[Differentiable]) -> None:
    """What is not drawn keeps its weights, momentum and decay included."""
    strategy = toy(method, learning_rate=0.1, warmup=0.0)
    supernet = strategy.supernet
    assert isinstance(supernet, ToySupernet)
    for n in range(12):
        before = {name: value.clone() for name, value in supernet.state_dict().items()}
        with torch.no_grad():
            strategy.sample(START, generator(n))
        supernet.computed.clear()
        strategy.step(toy_batch(16, generator(n)), toy_batch(16, generator(n + 50)), START, generator(n))
        last = supernet.computed[-3:]
        assert [site for site, _ in last] == [0, 1, 2]
        assert len(supernet.computed) == (6 if method is GDAS else 9)
        moved = {name for name, value in supernet.state_dict().items() if not torch.equal(value, before[name])}
        assert moved == {"bias"} | {f"linear.{s}.{op}.weight" for s, op in last if op in ("signal", "noise")}


@pytest.mark.parametrize("method", METHODS)
def test_warm_up_trains_weights_alone(method: type[Differentiable]) -> None:
    strategy = toy(method, warmup=0.25, keep=())
    assert [strategy.warming_up(epoch) for epoch in range(10)] == [True] * 2 + [False] * 8
    before = [alpha.detach().clone() for alpha in strategy.architecture_parameters()]
    weights = [weight.detach().clone() for weight in strategy.supernet.parameters()]
    batches = toy_batch(16, generator()), toy_batch(16, generator(1))
    strategy.step(*batches, Moment(1, 0, 10, 10), generator())
    assert all(map(torch.equal, strategy.architecture_parameters(), before))
    assert not all(map(torch.equal, strategy.supernet.parameters(), weights))
    strategy.step(*batches, Moment(2, 0, 10, 10), generator())
    assert not any(map(torch.equal, strategy.alphas, before))


def test_a_search_of_one_epoch_has_no_warm_up() -> None:
    assert not any(toy(method, epochs=1).warming_up(0) for method in METHODS)


def test_the_learning_rate_is_that_of_torch() -> None:
    strategy = toy(DARTS)
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], 0.025)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10, 0.001)
    for epoch in range(10):
        strategy.set_learning_rate(Moment(epoch, 3, 10, 10))
        assert strategy.optimizer.param_groups[0]["lr"] == pytest.approx(schedule.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        schedule.step()


# --- what the cost reaches --------------------------------------------------------------------------------------------

COSTS = torch.tensor([[0.0, 1.0, 5.0, 3.0], [2.0, 0.0, 1.0, 7.0], [0.0, 4.0, 4.0, 1.0]], dtype=torch.float64)


def additive(weights: Sequence[SiteWeights]) -> Tensor:
    return 1 + sum(
        ((site.double() * row).sum() for site, row in zip(dense(weights), COSTS, strict=True)),
        start=COSTS.new_zeros(()),
    )


def term(weight: float) -> CostTerm:
    return CostTerm("latency_ms", additive, 8.0, weight)


def cost_gradients(strategy: Differentiable, weights: Sequence[SiteWeights]) -> list[Tensor]:
    loss = torch.tensor(1.5)
    return list(torch.autograd.grad(strategy.with_cost(loss, weights), strategy.alphas))


@pytest.mark.parametrize("method", [DARTS, PCDARTS, PDARTS])
def test_darts_adds_the_expectation_by_probabilities(method: type[Differentiable]) -> None:
    """w · E / reference; by α_i the slope of E is p_i (c_i - mean c), whatever was drawn or left out."""
    strategy = toy(method, cost=term(0.4))
    found = cost_gradients(strategy, strategy.sample(START, generator()))
    for gradient, alpha, row in zip(found, strategy.alphas, COSTS, strict=True):
        p = alpha.detach().double().softmax(0)
        assert torch.allclose(gradient.double(), 0.4 / 8 * p * (row - p @ row), atol=1e-6)


def test_fbnet_multiplies_by_a_power_of_the_logarithm() -> None:
    """By α the slope is L · β · (log c)^(β-1) / log(ref)^β · dc/c, its logarithm that of a reference of 20,000."""
    strategy = toy(FBNet, cost=term(0.6))
    weights = strategy.sample(START, generator())
    cost = additive(weights) / 8 * 20_000
    expected = 1.5 * (cost.log() / np.log(20_000)) ** 0.6
    assert float(strategy.with_cost(torch.tensor(1.5), weights)) == pytest.approx(float(expected), rel=1e-6)
    slopes = torch.autograd.grad(expected, strategy.alphas, retain_graph=True)
    for gradient, slope in zip(cost_gradients(strategy, weights), slopes, strict=True):
        assert slope.abs().max() > 1e-4
        assert torch.allclose(gradient, slope, rtol=1e-4, atol=1e-8)


def test_fbnet_bears_a_cost_of_nothing() -> None:
    strategy = toy(FBNet, cost=CostTerm("macs", lambda weights: additive(weights) - additive(weights), 8.0, 0.6))
    gradients = cost_gradients(strategy, strategy.sample(START, generator()))
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_proxyless_spreads_the_cost_over_the_pair_that_was_drawn() -> None:
    """q softmax over the pair: the slope is q_i (c_i - q · c) there and 0 for all others."""
    strategy = toy(Proxyless, cost=term(0.4))
    weights = strategy.sample(START, generator())
    for gradient, alpha, row, site in zip(
        cost_gradients(strategy, weights), strategy.alphas, COSTS, weights, strict=True
    ):
        pair = [i for i, entry in enumerate(site) if entry.requires_grad]
        assert len(pair) == 2
        q = alpha.detach().double()[pair].softmax(0)
        expected = torch.zeros(4, dtype=torch.float64)
        expected[pair] = 0.4 / 8 * q * (row[pair] - q @ row[pair])
        assert torch.allclose(gradient.double(), expected, atol=1e-6)


# --- settings, ends, proposals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "wrong", [{"warmup": 1.0}, {"warmup": -0.1}, {"partial": 0}, {"keep": (1.5,)}, {"architecture_learning_rate": 0}]
)
def test_methods_keep_the_bounds_of_settings(method: type[OneShotStrategy], wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        method.Settings(**wrong)


def test_looking_ahead_needs_images_of_the_architecture() -> None:
    with pytest.raises(NasError, match="order 2"):
        toy(SNAS, order=2)


def record(epoch: int, eigenvalue: float = 1.0, skips: float = 0.0) -> dict[str, Any]:
    return {"epoch": epoch, "eigenvalue": eigenvalue, "skip_share": skips}


def test_skips_end_a_search_but_not_before_it_has_begun() -> None:
    strategy = toy(DARTS, warmup=0.3, stop_skip_share=0.6)
    assert [bool(strategy.stop_reason([record(epoch, skips=1.0)])) for epoch in range(5)] == [False] * 3 + [True] * 2
    assert not strategy.stop_reason([record(5, skips=0.5)])
    assert "60%" in strategy.stop_reason([record(5, skips=0.6)])


def test_sharpening_ends_a_search_with_the_architecture_before_it(
    make_strategy: Callable[..., OneShotStrategy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five eigenvalues of 1, then five of 2: the mean before is below 0.75 of the mean now (DARTS-ES)."""
    strategy = make_strategy(DARTS, stop_sharpening=True, eigenvalue_every=1, epochs=20, warmup=0.1)
    assert isinstance(strategy, Differentiable)
    values = [9.0, 9.0] + [1.0] * 5 + [2.0] * 5
    records: list[dict[str, Any]] = []
    batch = toy_batch(2, generator())
    monkeypatch.setattr(
        "nas.strategies.oneshot.differentiable.dominant_eigenvalue",
        lambda *given, **more: type("Found", (), {"value": values[len(records)], "error": 0.0}),
    )
    for epoch in range(12):
        with torch.no_grad():
            for alpha in strategy.alphas:
                alpha.fill_(epoch)
        measured = strategy.end_epoch(batch, Moment(epoch, 0, 20, 1), generator())
        records.append(record(epoch, measured["eigenvalue"]))
        reason = strategy.stop_reason(records)
        assert bool(reason) == (epoch == 11)
    assert all((alpha == 6).all() for alpha in strategy.alphas)


def test_eigenvalue_is_that_of_the_mixture(make_strategy: Callable[..., OneShotStrategy]) -> None:
    """Against the Hessian of the loss of the softmax mixture, for methods that draw other weights in their steps."""
    for method in (DARTS, GDAS, Proxyless):
        strategy = toy(method, eigenvalue_every=1, eigenvalue_images=64)
        batch = toy_batch(32, generator())

        def loss(flat: Tensor, strategy: Differentiable = strategy, batch: Any = batch) -> Tensor:
            weights = [site.softmax(0) for site in flat.split(4)]
            return nn.functional.cross_entropy(strategy.supernet(batch.images, weights), batch.labels)

        hessian = torch.autograd.functional.hessian(loss, torch.cat([a.detach() for a in strategy.alphas]))
        exact = float(torch.linalg.eigvalsh(hessian)[-1])
        found = strategy.end_epoch(batch, Moment(0, 0, 10, 1), generator())
        assert found["eigenvalue"] == pytest.approx(exact, rel=0.06)


def test_proposals_begin_with_the_derived_network_and_follow_the_probabilities() -> None:
    strategy = toy(DARTS)
    with torch.no_grad():
        for alpha in strategy.alphas:
            alpha.copy_(torch.tensor([0.0, 1.0, -1.0, 0.5]))
    codes = strategy.propose(2001, generator())
    assert codes[0].tolist() == [1, 1, 1]
    assert codes.shape == (2001, 3)
    p = torch.tensor([0.0, 1.0, -1.0, 0.5]).softmax(0).numpy()
    for site in codes[1:].T:
        shares = np.bincount(site, minlength=4) / 2000
        assert (abs(shares - p) < 4 * np.sqrt(p * (1 - p) / 2000)).all()
    assert (strategy.propose(5, generator()) == codes[:5]).all()
