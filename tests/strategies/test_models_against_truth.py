"""Parts of the model-guided strategies against dense formulas, mpmath, torch and exact hypervolumes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence

import moocore
import mpmath
import numpy as np
import pandas as pd
import pytest
import torch

from nas import registry
from nas.cost import Constraint, Objective, cost_model
from nas.space import Codes, Decision, SearchSpace
from nas.strategies.acquisition import (
    expected_hypervolume_improvement,
    expected_shortfall,
    log_distribution,
    log_expected_improvement,
)
from nas.strategies.ensemble import Ensemble
from nas.strategies.gp import GaussianProcess, OneHot, best_and_spread
from nas.strategies.outcome import Inputs, OutcomeModel, Outcomes, Warp, worst_for_failures
from nas.strategies.predictor import Predictor

RNG = np.random.default_rng


@pytest.fixture
def cube(make_space: Callable[[Sequence[Decision]], SearchSpace]) -> SearchSpace:
    return make_space([Decision(f"d{i}", (0, 1, 2, 3)) for i in range(6)])


# --- Gaussian process -------------------------------------------------------------------------------------------------


class Dense:
    """The same process, written from its definition."""

    def __init__(self, process: GaussianProcess):
        self.process = process

    def kernel(self, a: Codes, za: np.ndarray, b: Codes, zb: np.ndarray) -> np.ndarray:
        return self.overlap(a, b) + za @ np.diag(self.process._slopes) @ zb.T

    def overlap(self, a: Codes, b: Codes) -> np.ndarray:
        differ = a[:, None] != b[None]
        return self.process._signal * np.exp(-(differ @ self.process._relevance))

    def posterior(
        self, told: Codes, z: np.ndarray, y: np.ndarray, codes: Codes, zs: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        known = self.kernel(told, z, told, z) + (self.process.noise + 1e-6) * np.eye(len(told))
        cross = self.kernel(codes, zs, told, z)
        mean = y.mean() + cross @ np.linalg.solve(known, y - y.mean())
        covariance = self.kernel(codes, zs, codes, zs) - cross @ np.linalg.solve(known, cross.T)
        return mean, y.var() * covariance


def told_to(cube: SearchSpace, n: int = 30) -> tuple[Codes, np.ndarray, np.ndarray]:
    codes = np.unique(cube.sample(n, RNG(1)), axis=0)
    z = RNG(2).normal(size=(len(codes), 2))
    y = codes @ np.array([3.0, 1, 1, 0, 0, 1]) + 2 * z[:, 0] + RNG(3).normal(0, 0.5, len(codes))
    return codes, z, y


def test_the_posterior_is_that_of_the_dense_formula(cube: SearchSpace) -> None:
    codes, z, y = told_to(cube)
    encode = OneHot(cube)
    process = GaussianProcess(encode(codes), encode.groups, z, y)
    new, zs = cube.sample(20, RNG(4)), RNG(5).normal(size=(20, 2))
    mean, covariance = Dense(process).posterior(codes, z, y, new, zs)
    found, std = process.predict(encode(new), zs)
    np.testing.assert_allclose(found, mean, rtol=1e-6)
    np.testing.assert_allclose(std, np.sqrt(np.diag(covariance)), rtol=1e-5)
    np.testing.assert_allclose(process.covariance(encode(new), zs) * process.scale**2, covariance, atol=1e-6)


def test_hyper_parameters_climb_to_a_maximum_of_the_posterior(cube: SearchSpace) -> None:
    """Left to run, the gradient ends where the log marginal likelihood and prior, written densely, are stationary."""

    class Patient(GaussianProcess):
        steps, rate = 3000, 0.02

    codes, z, y = told_to(cube)
    encode = OneHot(cube)
    process = Patient(encode(codes), encode.groups, z, y)
    target = (y - y.mean()) / y.std()
    centre = np.log([*[1 / 6] * 6, 0.1, 0.1, 1.0, 0.02])
    spread = np.array([*[1.0] * 6, 1.5, 1.5, 1.0, 1.5])

    def log_posterior(theta: np.ndarray) -> float:
        process._set(theta, 6)
        kernel = Dense(process).kernel(codes, z, codes, z) + (process.noise + 1e-6) * np.eye(len(codes))
        likelihood = -0.5 * target @ np.linalg.solve(kernel, target) - 0.5 * np.linalg.slogdet(kernel)[1]
        return float(likelihood - 0.5 * (((theta - centre) / spread) ** 2).sum())

    found = np.log([*process._relevance, *process._slopes, process._signal, process.noise])
    step = 1e-3 * np.eye(len(found))
    slope = [(log_posterior(found + h) - log_posterior(found - h)) / 2e-3 for h in step]
    np.testing.assert_allclose(slope, 0, atol=0.02)
    assert log_posterior(found) > log_posterior(centre) + 1


def test_points_chosen_for_a_fit_are_the_best_and_a_spread_to_the_worst() -> None:
    order = RNG(0).permutation(1000)
    chosen = best_and_spread(order, 100)
    assert len(set(chosen)) == 100
    assert set(order[:50]) <= set(chosen)
    assert chosen[-1] == order[-1]
    places = np.flatnonzero(np.isin(order, chosen[50:]))
    assert np.diff(places).max() <= np.ceil(950 / 49)


def test_no_more_evaluations_are_learned_than_memory_has_room_for(
    cube: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    strategy = Predictor(cube, [Objective("loss")], (), 0)
    strategy.memory = 40
    codes = np.unique(cube.sample(300, RNG(0)), axis=0)
    loss = (codes @ np.ones(6)).astype(float)
    strategy.tell(codes, pd.DataFrame({"loss": loss}))
    learned: list[Codes] = []
    init = OutcomeModel.__init__

    def spy(self: OutcomeModel, *args: object) -> None:
        learned.append(args[-1][0])  # type: ignore[index]
        init(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(OutcomeModel, "__init__", spy)
    strategy.ask(4)
    assert [len(x) for x in learned] == [40]
    kept = np.sort(learned[0].sum(axis=1))
    np.testing.assert_array_equal(kept[:20], np.sort(loss)[:20])
    assert kept[-1] == loss.max()


# --- what is believed -------------------------------------------------------------------------------------------------


def test_a_warp_and_its_inverse() -> None:
    values = RNG(0).lognormal(size=51)
    warp = Warp(values)
    warped = warp(values)
    assert warp(values.min()) == 0
    assert warp(np.median(values)) == pytest.approx(np.log(2))
    np.testing.assert_allclose(warp.inverse(warped), values)
    numeric = (warp.inverse(warped + 1e-5) - warp.inverse(warped - 1e-5)) / 2e-5
    np.testing.assert_allclose(warp.slope(warped), numeric, rtol=1e-6)


def test_failures_count_as_the_worst_of_their_column() -> None:
    values = np.array([[1.0, np.nan], [np.inf, 5.0], [3.0, -np.inf], [2.0, 4.0]])
    np.testing.assert_array_equal(worst_for_failures(values), [[1, 5], [3, 5], [3, 5], [2, 4]])
    np.testing.assert_array_equal(worst_for_failures(np.full((2, 1), np.nan)), [[0], [0]])


@pytest.mark.parametrize("objectives", [1, 2])
def test_believing_a_candidate_is_telling_its_mean(cube: SearchSpace, objectives: int) -> None:
    """Against the dense posterior with the believed candidates among the told ones, and the same hyper-parameters."""
    codes = np.unique(cube.sample(30, RNG(1)), axis=0)
    loss = codes @ np.array([3.0, 1, 1, 0, 0, 1]) + RNG(3).normal(0, 1, len(codes))
    metrics = pd.DataFrame({"loss": loss, "heat": codes.sum(axis=1) * 1.0})
    goals = [Objective("loss"), Objective("heat")][:objectives]
    model = OutcomeModel(Inputs(cube, None), goals, (), None, (), (codes, metrics))
    new = np.unique(cube.sample(12, RNG(4)), axis=0)
    outcomes = model.predict(new, joint=True)
    mean = outcomes.mean.copy()
    np.testing.assert_allclose(outcomes.std[:, 0], np.sqrt(np.diag(outcomes.joint[0])), rtol=1e-4)
    outcomes.believe(np.array([0, 5]))
    outcomes.believe(np.array([7]))
    warp, process = model._learned[0]
    dense = Dense(process)
    both = np.concatenate([codes, new[[0, 5, 7]]])
    known = dense.overlap(both, both) + process.noise * np.eye(len(both))
    cross = dense.overlap(new, both)
    covariance = dense.overlap(new, new) - cross @ np.linalg.solve(known, cross.T)
    std = process.scale * np.sqrt(np.diag(covariance))
    if objectives == 2:
        std = std * (warp.inverse(warp(mean[:, 0]) + 1e-6) - mean[:, 0]) / 1e-6
    np.testing.assert_allclose(outcomes.std[:, 0], std, rtol=1e-3)
    np.testing.assert_array_equal(outcomes.mean, mean)


def test_a_batch_is_chosen_as_if_every_choice_had_come_out_as_predicted(cube: SearchSpace) -> None:
    codes = np.unique(cube.sample(40, RNG(1)), axis=0)
    loss = codes @ np.array([3.0, 1, 1, 0.5, 0.2, 1]) + RNG(3).normal(0, 1, len(codes))
    strategy = Predictor(cube, [Objective("loss")], (), 0)
    strategy.tell(codes, pd.DataFrame({"loss": loss}))
    model = strategy._fit()
    pool = strategy._new(cube.sample(60, RNG(5)), codes)
    warp, process = model._learned[0]
    batch = strategy._choose(model, pool, warp(np.array([[loss.min()]])), 3)
    dense, told, best = Dense(process), codes, float(warp(loss.min()))
    mean = model.predict(pool).mean[:, 0]
    for chosen in batch:
        known = dense.overlap(told, told) + process.noise * np.eye(len(told))
        cross = dense.overlap(pool, told)
        variance = np.diag(dense.overlap(pool, pool) - cross @ np.linalg.solve(known, cross.T))
        score = log_expected_improvement(best, mean, process.scale * np.sqrt(variance))
        score[(pool[:, None] == told[None]).all(axis=2).any(axis=1)] = -np.inf
        index = int(np.flatnonzero((pool == chosen).all(axis=1))[0])
        assert score[index] == pytest.approx(score.max(), abs=1e-3)
        told, best = np.concatenate([told, [chosen]]), min(best, mean[index])


def test_a_constraint_is_met_with_the_probability_of_its_process(cube: SearchSpace) -> None:
    codes = np.unique(cube.sample(40, RNG(1)), axis=0)
    heat = codes.sum(axis=1) + RNG(2).normal(0, 1, len(codes))
    metrics = pd.DataFrame({"loss": -heat, "heat": heat})
    model = OutcomeModel(Inputs(cube, None), [Objective("loss")], [Constraint("heat", 7.0)], None, (), (codes, metrics))
    new = cube.sample(50, RNG(4))
    encode, none = OneHot(cube), np.zeros((50, 0))
    mean, std = GaussianProcess(encode(codes), encode.groups, none[: len(codes)], heat).predict(encode(new), none)
    exact = [float(mpmath.log(mpmath.ncdf((7.0 - m) / s))) for m, s in zip(mean, std, strict=True)]
    np.testing.assert_allclose(model.predict(new).log_feasible, exact, atol=1e-5)


@pytest.mark.parametrize("objectives", [1, 2])
def test_improvement_counts_by_the_probability_of_being_feasible(cube: SearchSpace, objectives: int) -> None:
    """Gardner et al. (2014), equation 2: the expectation is a product, its logarithm a sum."""
    strategy = Predictor(cube, [Objective("loss"), Objective("time")][:objectives], (), 0)
    codes = cube.sample(5, RNG(0))
    strategy.tell(codes, pd.DataFrame({"loss": [3.0, 2, 5, 4, 6], "time": [4.0, 6, 3, 9, 9]}))
    mean, std = np.full((2, objectives), 2.5), np.full((2, objectives), 0.5)
    front = np.array([[2.0, 6.0], [3.0, 4.0], [5.0, 3.0]])[:, :objectives]
    sure, doubtful = strategy._improvement(Outcomes(mean, std, np.array([0.0, -7.0]), {}, {}), front)
    assert sure - doubtful == pytest.approx(7.0)


def test_a_known_cost_beyond_all_seen_so_far_can_still_be_worth_it(cube: SearchSpace) -> None:
    """With the worst cost seen as the reference, larger and better networks would never be evaluated."""

    def costs(codes: Codes) -> pd.DataFrame:
        return pd.DataFrame({"size": codes.sum(axis=1, dtype=float)})

    strategy = Predictor(cube, [Objective("loss"), Objective("size")], (), 0, costs)
    codes = np.eye(6, dtype=np.int8)
    strategy.tell(codes, costs(codes).assign(loss=[3.0, 2, 5, 4, 6, 7]))
    candidates = np.array([[1.0, 9.0], [2.5, 1.0], [6.0, 18.0]])
    outcomes = Outcomes(candidates, np.zeros((3, 2)), np.zeros(3), {}, {})
    growth = np.exp(strategy._improvement(outcomes, np.array([[2.0, 1.0]])))
    # The box reaches from the front, (2, 1), to the worst loss seen, 7, and the largest size known, 18.
    assert growth == pytest.approx([(2 - 1) / 5 * (18 - 9) / 17, 0, 0], abs=1e-12)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["predictor", "bananas", "npenas"])
def test_a_network_whose_free_objective_is_not_finite_is_not_evaluated(
    name: str, value: float, cube: SearchSpace
) -> None:
    """Where the loss is best the cost is unknown; what is known is still used for the others."""

    def costs(codes: Codes) -> pd.DataFrame:
        return pd.DataFrame({"cost": np.where(codes[:, 0] == 3, value, codes[:, 1:].sum(axis=1))})

    goals = [Objective("loss"), Objective("cost")]
    strategy = registry.load("strategies", name)(cube, goals, (), 0, costs)
    told = np.unique(cube.sample(40, RNG(0)), axis=0)
    strategy.tell(told, costs(told).assign(loss=18.0 - told.sum(axis=1)))
    codes = strategy.ask(8)
    assert np.isfinite(costs(codes).cost).all()
    if name == "predictor":
        new = cube.sample(50, RNG(1))
        outcomes = strategy._fit().predict(new)
        np.testing.assert_array_equal(outcomes.log_feasible, np.where(new[:, 0] == 3, -np.inf, 0))
        improvement = strategy._improvement(outcomes, strategy._points[:1])
        assert not np.isnan(improvement).any()
        assert np.ptp(improvement[np.isfinite(improvement)]) > 0


# --- acquisition ------------------------------------------------------------------------------------------------------


def test_tails_keep_their_relative_accuracy() -> None:
    """Down to 36 standard deviations, where probabilities are 1e-283."""
    mpmath.mp.dps = 400
    u = np.concatenate([np.linspace(-36, 6, 43), [-2.0001, -1.9999]])
    normal = [mpmath.ncdf(mpmath.mpf(x)) for x in u]
    improvement = [float(mpmath.log(x * p + mpmath.npdf(mpmath.mpf(x)))) for x, p in zip(u, normal, strict=True)]
    mpmath.mp.dps = 15
    std, one = np.full_like(u, 0.3), np.ones_like(u)
    np.testing.assert_allclose(log_distribution(u), [float(mpmath.log(p)) for p in normal], atol=1e-5)
    np.testing.assert_allclose(
        np.log(expected_shortfall(one, one - std * u, std)), improvement + np.log(std), atol=3e-5
    )
    np.testing.assert_allclose(log_expected_improvement(1.0, 1 - std * u, std), improvement + np.log(std), atol=3e-5)


def test_a_certain_gain_is_its_own_expectation() -> None:
    mean, std = np.array([0.2, 0.2, 1.5, -1e12]), np.array([0.0, 1e-6, 0.0, 0.5])
    np.testing.assert_allclose(expected_shortfall(np.ones(4), mean, std), [0.8, 0.8, 0, 1e12], rtol=1e-9)


@pytest.mark.parametrize(("objectives", "points"), [(2, 60), (3, 20), (4, 10), (5, 6)])
def test_the_growth_of_known_candidates_is_exact(objectives: int, points: int) -> None:
    drawn = RNG(objectives).uniform(0.05, 0.95, size=(points, objectives))
    front = drawn[moocore.is_nondominated(drawn)]
    mean = RNG(9).uniform(-0.1, 1.05, size=(40, objectives))
    reference = np.ones(objectives)
    before = moocore.hypervolume(front, ref=reference)
    growth = [moocore.hypervolume(np.vstack([front, point]), ref=reference) - before for point in mean]
    found = expected_hypervolume_improvement(front, mean, np.zeros_like(mean))
    np.testing.assert_allclose(found, growth, atol=1e-9)
    assert np.sum(np.array(growth) > 1e-6) >= 5


def test_beyond_the_most_cuts_growth_is_never_underestimated() -> None:
    drawn = RNG(0).normal(size=(200, 3))
    front = 0.5 - 0.4 * np.abs(drawn) / np.linalg.norm(drawn, axis=1, keepdims=True)
    mean = RNG(1).uniform(0, 0.6, size=(60, 3))
    before = moocore.hypervolume(front, ref=np.ones(3))
    growth = [moocore.hypervolume(np.vstack([front, point]), ref=np.ones(3)) - before for point in mean]
    found = expected_hypervolume_improvement(front, mean, np.zeros_like(mean))
    assert (found >= np.array(growth) - 1e-12).all()
    assert np.abs(found - growth).max() < 0.1 * max(growth)


def test_memory_stays_bounded_with_many_objectives() -> None:
    drawn = RNG(0).uniform(size=(300, 6))
    front = drawn[moocore.is_nondominated(drawn)]
    mean = RNG(1).uniform(size=(200, 6))
    tracemalloc.start()
    found = expected_hypervolume_improvement(front, mean, np.full_like(mean, 0.1))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found > 0).all()
    assert peak < 300e6


# --- ensemble ---------------------------------------------------------------------------------------------------------


def test_an_ensemble_trains_as_torch_does() -> None:
    """Backpropagation and Adam with decoupled weight decay, against autograd and torch.optim.AdamW."""
    x, y = RNG(0).normal(size=(40, 7)), RNG(1).normal(3, 2, size=40)

    class Untrained(Ensemble):
        steps = 0

    weights = [torch.tensor(w, requires_grad=True) for w in Untrained(x, y, RNG(5))._weights]
    optimiser = torch.optim.AdamW(weights, lr=0.02, betas=(0.9, 0.99), eps=1e-8, weight_decay=1e-3)
    target = torch.tensor((y - y.mean()) / y.std())[:, None]

    def forward() -> torch.Tensor:
        first, bias, second, offset = weights
        return torch.relu(torch.tensor(x) @ first + bias) @ second + offset

    for _ in range(Ensemble.steps):
        optimiser.zero_grad()
        (0.5 * ((forward() - target) ** 2).mean(dim=1).sum()).backward()
        optimiser.step()
    outputs = forward().detach().numpy()[:, :, 0] * y.std() + y.mean()
    mean, std = Ensemble(x, y, RNG(5)).predict(x)
    np.testing.assert_allclose(mean, outputs.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(std, outputs.std(axis=0), rtol=1e-5)
    assert len(outputs) == 5


# --- the first evaluations --------------------------------------------------------------------------------------------


def test_the_ends_of_the_front_are_evaluated_whatever_is_told_first(mbconv: SearchSpace) -> None:
    """One at a time, and after a warm start."""
    model = cost_model(mbconv)
    cheapest = {name: low for name, (low, _) in model.bounds().items() if name in ("macs", "params")}
    goals = [Objective("top1", True), Objective("macs"), Objective("params")]
    for warm in (0, 20):
        strategy = Predictor(mbconv, goals, (), 0, model)
        codes = mbconv.sample(warm, RNG(3))
        if warm:
            strategy.tell(codes, model(codes).assign(top1=codes.sum(axis=1) * 1.0))
        told = []
        for _ in range(2):
            told.append(strategy.ask(1))
            strategy.tell(told[-1], model(told[-1]).assign(top1=1.0))
        counts = model(np.concatenate(told))
        assert {name: counts[name].min() for name in cheapest} == cheapest
