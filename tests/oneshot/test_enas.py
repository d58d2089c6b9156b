"""ENAS: the policy gradient against enumeration, what the reward is, and that the best networks are found."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cell_supernets import make
from oneshot_toys import RIGHT, ToySupernet, toy_batch

from nas.space import Codes, Decision, SearchSpace
from nas.strategies.oneshot.base import Batch, CostTerm, Moment
from nas.strategies.oneshot.enas import ENAS, ENASSettings, Policy
from nas.supernet.expected_metric import expected_sum

DRAWS = 20_000


def rewards_of(codes: Codes) -> torch.Tensor:
    """Some reward that differs between all codes."""
    powers = 1.0 + np.arange(codes.shape[1])
    return torch.from_numpy(np.sin(codes @ powers + 0.3 * codes[:, 0])).float()


def gradient(policy: Policy, loss: torch.Tensor) -> torch.Tensor:
    found = torch.autograd.grad(loss, list(policy.controller.parameters()), allow_unused=True)
    return torch.cat([g.flatten() for g in found if g is not None])


@pytest.mark.parametrize("baseline", [0.0, 0.6])
def test_the_gradient_is_that_of_the_expected_reward(nested_space: SearchSpace, baseline: float) -> None:
    """Σ ∇p(code) reward(code) over all 54 networks, within 3 standard errors of 20,000 draws."""
    settings = ENASSettings(controller_width=3, entropy_weight=0.0)
    policy = Policy(nested_space.decisions, settings, seed=1)
    with torch.no_grad():
        # From a distribution that is far from uniform.
        for head in policy.controller.heads:
            head.bias.add_(torch.linspace(-1, 1, len(head.bias)))  # type: ignore[union-attr, operator]
    everything = nested_space.all_codes()
    log_p = policy.controller(torch.from_numpy(everything.astype(np.int64)))[0]
    assert float(log_p.exp().sum().detach()) == pytest.approx(1, abs=1e-5)
    exact = -gradient(policy, (log_p.exp() * rewards_of(everything)).sum())

    drawn = policy.draw(DRAWS, torch.Generator().manual_seed(2))
    distinct, counts = np.unique(drawn, axis=0, return_counts=True)
    losses = (policy.loss(code[None], rewards_of(code[None]), baseline) for code in distinct)
    each = torch.stack([gradient(policy, loss) for loss in losses])
    share = torch.from_numpy(counts / DRAWS).float()[:, None]
    mean = (share * each).sum(0)
    error = ((share * (each - mean) ** 2).sum(0) / DRAWS).sqrt()
    off = (mean - exact).abs() / error.clamp_min(1e-9)
    # Of many weights some are beyond 3 standard errors by chance: 0.27 % of them; none is far beyond.
    assert float((off > 3).float().mean()) < 0.02
    assert float(off.max()) < 5
    assert float(exact.abs().max()) > 20 * float(error.max())


def test_a_baseline_makes_the_gradient_less_noisy(nested_space: SearchSpace) -> None:
    policy = Policy(nested_space.decisions, ENASSettings(controller_width=3, entropy_weight=0.0), seed=1)
    codes = policy.draw(40, torch.Generator().manual_seed(2))
    rewards = rewards_of(codes) + 3

    def noise(baseline: float) -> float:
        pairs = zip(codes, rewards, strict=True)
        each = torch.stack([gradient(policy, policy.loss(c[None], r[None], baseline)) for c, r in pairs])
        return float(each.var(0).sum())

    assert noise(float(rewards.mean())) < 0.3 * noise(0.0)


def test_the_entropy_bonus_spreads_the_choices(nested_space: SearchSpace) -> None:
    decisions = (Decision("arm", ("a", "b", "c")),)
    policy = Policy(decisions, ENASSettings(controller_width=4, controller_learning_rate=0.02, entropy_weight=1.0), 0)
    with torch.no_grad():
        policy.controller.heads[0].bias.copy_(torch.tensor([2.0, 0.0, -2.0]))
    rng = torch.Generator().manual_seed(0)
    for _ in range(150):
        policy.update(policy.draw(2, rng), torch.zeros(2))
    counts = np.bincount(policy.draw(3000, rng)[:, 0], minlength=3)
    np.testing.assert_allclose(counts / 3000, 1 / 3, atol=0.06)


def test_the_baseline_is_the_moving_average_of_the_rewards_before() -> None:
    policy = Policy((Decision("arm", ("a", "b")),), ENASSettings(baseline_memory=0.5), 0)
    codes = np.zeros((2, 1), dtype=np.int8)
    before = [parameter.clone() for parameter in policy.controller.parameters()]
    policy.update(codes, torch.tensor([0.2, 0.4]))
    assert policy.baseline == pytest.approx(0.3)
    assert all(torch.equal(a, b) for a, b in zip(before, policy.controller.parameters(), strict=True))
    policy.update(codes, torch.tensor([1.0, 1.0]))
    assert policy.baseline == pytest.approx(0.65)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_best_arm_is_found(seed: int) -> None:
    decisions = (Decision("a", (0, 1, 2)), Decision("b", (0, 1, 2)))
    policy = Policy(decisions, ENASSettings(controller_width=16, controller_learning_rate=0.02), seed)
    rng = torch.Generator().manual_seed(seed)
    for _ in range(200):
        codes = policy.draw(4, rng)
        # Only both together are good, and the reward is noisy.
        good = (codes == np.array([2, 1])).all(1) + 0.3 * (codes == np.array([2, 1])).any(1)
        policy.update(codes, torch.from_numpy(good).float() + 0.1 * torch.randn(4, generator=rng))
    drawn = policy.draw(500, rng)
    assert (drawn == np.array([2, 1])).all(1).mean() > 0.9


@pytest.mark.parametrize("seed", [0, 1])
def test_the_operations_that_let_labels_be_learnt_are_found(seed: int) -> None:
    torch.manual_seed(seed)
    settings = ENASSettings(
        learning_rate=0.1, batch_size=64, controller_width=16, controller_learning_rate=0.01, controller_networks=2,
        entropy_weight=0.02,
    )  # fmt: skip
    strategy = ENAS(ToySupernet(), settings, None, seed)
    rng = torch.Generator().manual_seed(seed)
    for step in range(120):
        strategy.step(toy_batch(64, rng), toy_batch(64, rng), Moment(0, step, 1, 120), rng)
    np.testing.assert_array_equal(strategy.derive(), RIGHT)
    proposed = strategy.propose(20, rng)
    assert proposed.shape == (20, 3)
    np.testing.assert_array_equal(proposed[0], RIGHT)
    assert all(float(site.sum()) == pytest.approx(1) for site in strategy.probabilities())


def batch(images: int = 16) -> Batch:
    rng = torch.Generator().manual_seed(1)
    return Batch(torch.randn(images, 3, 8, 8, generator=rng), torch.randint(10, (images,), generator=rng))


def test_the_reward_is_the_accuracy_less_the_cost() -> None:
    supernet = make("nasbench201")
    macs = expected_sum(supernet, lambda block: block.macs)
    settings = ENASSettings(controller_networks=3)
    strategy = ENAS(supernet, settings, CostTerm("macs", macs, 1e6, 0.25), 0)
    codes = supernet.space.sample(3, np.random.default_rng(0))
    built = [sum(node.block.macs for node in supernet.space.spec(code).nodes) for code in codes]
    np.testing.assert_allclose(strategy.penalties(codes).numpy(), 0.25 * np.array(built) / 1e6, rtol=1e-6)
    found = strategy.step(batch(), batch(), Moment(0, 0, 1, 1), torch.Generator().manual_seed(0))
    assert found["reward"] < found["architecture_accuracy"]
    assert strategy.policy.baseline == pytest.approx(found["reward"])
    assert ENAS(supernet, settings, None, 0).penalties(codes).tolist() == [0, 0, 0]


def test_accuracies_are_those_of_the_networks_and_leave_no_trace() -> None:
    supernet = make("nasbench201").train()
    strategy = ENAS(supernet, ENASSettings(), None, 0)
    given = batch(40)
    codes = supernet.space.sample(4, np.random.default_rng(3))
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    found = strategy.accuracies(given, codes)
    assert all(torch.equal(tensor, before[name]) for name, tensor in supernet.state_dict().items())
    for code, accuracy in zip(codes, found, strict=True):
        network = supernet.extract(code).train()
        with torch.no_grad():
            right = (network(given.images).argmax(1) == given.labels).float().mean()
        assert float(accuracy) == pytest.approx(float(right))
    assert len(set(found.tolist())) > 1
