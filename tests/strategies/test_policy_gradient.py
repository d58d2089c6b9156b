"""REINFORCE and PPO against sums over all networks of spaces small enough for that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from nas.cost import Constraint, Objective
from nas.space import Decision, SearchSpace
from nas.strategies.controller import Controller
from nas.strategies.policy_gradient import HARD, PPO, SOFT, CostFactor, Reinforce, clipped_gain, ranks

GAIN = Objective("gain", maximise=True)


@pytest.fixture
def everything(nested_space: SearchSpace) -> torch.Tensor:
    """Codes of all 54 networks, whose decisions depend on one another two levels deep."""
    return torch.from_numpy(nested_space.all_codes().astype(np.int64))


@pytest.fixture
def controller(nested_space: SearchSpace) -> Controller:
    """One whose probabilities differ: with its small initial weights they hardly would."""
    policy = Controller(nested_space.decisions, hidden=8, seed=5)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(8)
    return policy


# --- the controller ---------------------------------------------------------------------------------------------------


def test_probabilities_of_all_networks_sum_to_one(controller: Controller, everything: torch.Tensor) -> None:
    probability = controller(everything)[0].exp()
    assert probability.sum().item() == pytest.approx(1, abs=1e-5)
    assert probability.max() > 3 * probability.min()


def test_networks_are_drawn_as_often_as_their_probability_says(
    controller: Controller, everything: torch.Tensor
) -> None:
    n = 40_000
    uniform = np.random.default_rng(0).random((n, everything.shape[1]), dtype=np.float32)
    drawn = controller.sample(torch.from_numpy(uniform))
    count = (drawn[:, None] == everything).all(dim=2).sum(dim=0).numpy()
    expected = n * controller(everything)[0].exp().detach().numpy().astype(np.float64)
    assert count.sum() == n
    assert (np.abs(count - expected) < 4.5 * np.sqrt(expected)).all()


def test_entropy_along_the_networks_is_that_of_the_distribution(
    controller: Controller, everything: torch.Tensor
) -> None:
    # Chain rule: H(network) = sum over decisions of the expected entropy of each, given the earlier ones.
    log_probability, entropy = controller(everything)
    probability = log_probability.exp()
    assert (probability * entropy).sum().item() == pytest.approx(
        -(probability * log_probability).sum().item(), rel=1e-5
    )


# --- the gradient -----------------------------------------------------------------------------------------------------


def step_of(
    kind: type[Reinforce], space: SearchSpace, codes: torch.Tensor, advantage: torch.Tensor, **settings: Any
) -> torch.Tensor:
    """What one update with plain gradient steps of length 1 adds to the parameters."""
    strategy = type("Plain", (kind,), {"entropy_weight": 0.0, **settings})(space, [GAIN], [], 3)
    strategy._optimiser = torch.optim.SGD(strategy._policy.parameters(), lr=1.0)
    before = torch.nn.utils.parameters_to_vector(strategy._policy.parameters()).detach().clone()
    strategy._update(codes, advantage)
    return torch.nn.utils.parameters_to_vector(strategy._policy.parameters()).detach() - before


def exact_gradient(space: SearchSpace, everything: torch.Tensor, reward: torch.Tensor) -> torch.Tensor:
    """Gradient of the expected reward, summed over all networks."""
    policy = Reinforce(space, [GAIN], [], 3)._policy
    expected = (policy(everything)[0].exp() * reward).sum()
    return torch.cat([part.flatten() for part in torch.autograd.grad(expected, list(policy.parameters()))])


def drawn_from_policy(space: SearchSpace, n: int) -> torch.Tensor:
    uniform = np.random.default_rng(1).random((n, len(space.decisions)), dtype=np.float32)
    return Reinforce(space, [GAIN], [], 3)._policy.sample(torch.from_numpy(uniform))


@pytest.mark.parametrize(("kind", "settings"), [(Reinforce, {}), (PPO, {"epochs": 1})])
def test_an_update_follows_the_gradient_of_the_expected_reward(
    kind: type[Reinforce], settings: dict[str, Any], nested_space: SearchSpace, everything: torch.Tensor
) -> None:
    reward = torch.from_numpy(np.random.default_rng(2).normal(size=54).astype(np.float32))
    codes = drawn_from_policy(nested_space, 30_000)
    row = (codes[:, None] == everything).all(dim=2).long().argmax(dim=1)
    exact = exact_gradient(nested_space, everything, reward)
    for baseline in (0.0, 0.5):  # which moves no expectation (Williams, 1992)
        step = step_of(kind, nested_space, codes, reward[row] - baseline, **settings)
        assert torch.cosine_similarity(step, exact, dim=0) > 0.98
        assert step.norm() / exact.norm() == pytest.approx(1, abs=0.1)


def test_the_entropy_term_makes_every_decision_more_even(nested_space: SearchSpace, everything: torch.Tensor) -> None:
    strategy = type("Entropic", (Reinforce,), {"entropy_weight": 1.0})(nested_space, [GAIN], [], 3)
    with torch.no_grad():
        for parameter in strategy._policy.parameters():
            parameter.mul_(8)
    before = strategy._policy(everything)[1]
    for _ in range(100):
        strategy._update(everything, torch.zeros(54))
    # At most log(choices) for each decision that matters.
    counts = np.array([len(decision.choices) for decision in nested_space.decisions])
    most = torch.from_numpy(nested_space.active(everything.numpy().astype(np.int8)) @ np.log(counts))
    assert (before < 0.95 * most).all()
    assert (strategy._policy(everything)[1] > 0.98 * most).all()


def test_clipped_gain_is_that_of_the_paper() -> None:
    # Schulman et al. (2017), figure 1: for A > 0 flat above 1 + eps, for A < 0 flat below 1 - eps, linear elsewhere.
    ratio = torch.tensor([0.5, 0.9, 1.0, 1.1, 1.5], requires_grad=True)
    for advantage, value, slope in (
        (2.0, [1.0, 1.8, 2.0, 2.2, 2.4], [2, 2, 2, 2, 0]),
        (-2.0, [-1.6, -1.8, -2.0, -2.2, -3.0], [0, -2, -2, -2, -2]),
    ):
        gain = clipped_gain(ratio, torch.full((5,), advantage), 0.2)
        assert gain.tolist() == pytest.approx(value)
        (gradient,) = torch.autograd.grad(gain.sum(), ratio)
        assert gradient.tolist() == slope


def test_ppo_moves_the_policy_no_further_than_its_clip(nested_space: SearchSpace, everything: torch.Tensor) -> None:
    # One network with one advantage: its probability is raised until the gain is flat, and the next step would begin
    # within the clip. Without a clip the same steps go far beyond.
    codes, advantage = everything[:1], torch.ones(1)
    shares = []
    for clip in (0.2, 1e9):
        strategy = type("Many", (PPO,), {"entropy_weight": 0.0, "epochs": 200, "clip": clip})(
            nested_space, [GAIN], [], 3
        )
        strategy._optimiser = torch.optim.SGD(strategy._policy.parameters(), lr=0.05)
        before = strategy._policy(codes)[0].exp().item()
        strategy._update(codes, advantage)
        shares.append(strategy._policy(codes)[0].exp().item() / before)
    assert 1.2 <= shares[0] < 1.3
    assert shares[1] > 2


# --- the reward -------------------------------------------------------------------------------------------------------


def test_the_soft_exponent_is_the_one_mnasnet_derives() -> None:
    # Tan et al. (2019), section 3.1: a network twice as slow and 5 % better (relative) is to have the same reward.
    factor = CostFactor("latency_ms", 80.0, SOFT, SOFT)(np.array([80.0, 160.0]))
    assert 1.05 * factor[1] == pytest.approx(factor[0], abs=1e-3)


def test_the_hard_exponent_punishes_beyond_the_target_only() -> None:
    # Figure 3, right: alpha = 0, beta = -1.
    factor = CostFactor("latency_ms", 80.0, 0.0, HARD)(np.array([20.0, 80.0, 160.0, np.inf]))
    assert factor[:3].tolist() == [1, 1, 0.5]
    assert factor[3] < 0.01


@pytest.mark.parametrize(("objectives", "bounds", "expected"), [
    ([GAIN], [], [0.9, 0.9, 0.8]),
    ([GAIN], [Constraint("ms", 50.0)], [0.9, 0.45, 0.8]),
    ([GAIN, Objective("ms")], [Constraint("ms", 50.0)], [0.9, 0.45, 0.8 * 0.5**SOFT]),
    ([GAIN, Objective("ms")], [], [0.9, 0.9 * 2**SOFT, 0.8 * 0.5**SOFT]),  # 50 ms is the median
])  # fmt: skip
def test_the_reward_is_accuracy_times_cost_to_the_power_of_w(
    objectives: Sequence[Objective], bounds: Sequence[Constraint], expected: list[float], nested_space: SearchSpace
) -> None:
    strategy = Reinforce(nested_space, objectives, bounds, 0)
    strategy.tell(nested_space.all_codes()[:3], pd.DataFrame({"gain": [0.9, 0.9, 0.8], "ms": [50.0, 100.0, 25.0]}))
    assert strategy._rewards().tolist() == pytest.approx(expected)


def test_a_failure_has_the_worst_reward(nested_space: SearchSpace) -> None:
    strategy = Reinforce(nested_space, [GAIN, Objective("ms")], [], 0)
    told = pd.DataFrame({"gain": [0.1, np.nan, 0.9, 0.8], "ms": [9.0, 1.0, np.nan, 3.0]})
    strategy.tell(nested_space.all_codes()[:4], told)
    assert np.isneginf(strategy._rewards()).tolist() == [False, True, True, False]


def test_ranks_are_those_of_statistics() -> None:
    scipy = pytest.importorskip("scipy.stats")
    values = np.array([3.0, -np.inf, 3.0, 7.0, -np.inf, 1.0])
    assert ranks(values).tolist() == pytest.approx(2 * (scipy.rankdata(values) - 1) / (len(values) - 1) - 1)
    assert ranks(np.array([4.0])).tolist() == [-1.0]


# --- the whole --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Reinforce, PPO])
def test_the_policy_learns_which_choice_pays(
    kind: type[Reinforce], make_space: Callable[[Sequence[Decision]], SearchSpace]
) -> None:
    # 4^6 networks; choice 2 of the first decision is worth more than all else, the other decisions are noise.
    space = make_space([Decision(f"d{i}", (0, 1, 2, 3)) for i in range(6)])
    strategy, noise = kind(space, [GAIN], [], 0), np.random.default_rng(0)
    for _ in range(20):
        codes = strategy.ask(10)
        strategy.tell(codes, pd.DataFrame({"gain": (codes[:, 0] == 2) + 0.3 * noise.random(10)}))
    uniform = noise.random((2000, 6), dtype=np.float32)
    first = strategy._policy.sample(torch.from_numpy(uniform))[:, 0]
    assert (first == 2).float().mean() > 0.8
    assert np.mean(strategy.ask(50)[:, 0] == 2) > 0.7
