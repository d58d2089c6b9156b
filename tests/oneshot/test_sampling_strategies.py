"""Strategies that train sampled networks: which, how often, on what loss; and the same again after a stop."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from cell_supernets import computed_operations
from oneshot_toys import NAMES, OPERATIONS, ToySupernet, toy_batch
from torch import Tensor, nn

import nas
from nas.data.dataset import Dataset
from nas.space import Codes, Condition, Decision, SearchSpace, StagedNetwork, StagedSpace
from nas.strategies.oneshot.base import Batch, Moment, OneShotStrategy
from nas.strategies.oneshot.enas import ENAS
from nas.strategies.oneshot.fairnas import Dealer, FairNAS
from nas.strategies.oneshot.fit import Fit, FitProgress
from nas.strategies.oneshot.paths import SampledPaths, shares, without_dropout
from nas.strategies.oneshot.sandwich import BigNAS
from nas.strategies.oneshot.shrinking import OFA
from nas.strategies.oneshot.spos import SPOS
from nas.supernet.factory import make_supernet
from nas.supernet.supernet import Supernet

SAMPLING: list[type[OneShotStrategy]] = [SPOS, FairNAS, ENAS, OFA, BigNAS]
#: the update of the weights is then minus the gradient
PLAIN_SGD = {"learning_rate": 1.0, "learning_rate_end": 1.0, "momentum": 0.0, "weight_decay": 0.0, "gradient_clip": 1e9}
AT = Moment(0, 0, 1, 1)

#: kernel, depth and expansion of every layer, as where OFA was shown
LAYERWISE = StagedSpace(
    "layerwise",
    StagedNetwork.from_strings("cn_k3_s2_c8", (), ("pool", "fc"), activation="relu", resolution=8, num_classes=10),
    ("ir_r{1-2}_k{3,5,7}_s2_e{1,2}_c8",), layerwise=True,
)  # fmt: skip


def tiny(name: str) -> Supernet:
    torch.manual_seed(0)
    network = {"num_classes": 10, "in_channels": 1, "resolution": 8}
    if name == "layerwise":
        return make_supernet(LAYERWISE, **network)
    return make_supernet(nas.space(name), channels=4, cells=1 if name == "nasbench201" else 3, **network)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(images: int = 6) -> Batch:
    rng = generator(1)
    return Batch(torch.randn(images, 1, 8, 8, generator=rng), torch.randint(10, (images,), generator=rng))


def trained_codes(strategy: SampledPaths, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Return the list to which the code of every network is added that the strategy trains from now on."""
    seen: list[tuple[int, ...]] = []
    weights_of = strategy.supernet.weights_of

    def spy(code: npt.NDArray[np.integer]) -> list[Tensor]:
        seen.append(tuple(map(int, code)))
        return weights_of(code)

    monkeypatch.setattr(strategy.supernet, "weights_of", spy)
    return seen


def by_gradient(supernet: Supernet, loss: Callable[[], Tensor]) -> list[Tensor]:
    """Return the gradient of a loss by each weight, zeros where it does not depend on it."""
    parameters = list(supernet.parameters())
    found = torch.autograd.grad(loss(), parameters, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


def updates(strategy: OneShotStrategy, given: Batch) -> list[Tensor]:
    """Return what one step takes from each weight."""
    before = [parameter.detach().clone() for parameter in strategy.supernet.parameters()]
    strategy.step(given, None, AT, generator())
    return [old - new.detach() for old, new in zip(before, strategy.supernet.parameters(), strict=True)]


def assert_close(a: list[Tensor], b: list[Tensor]) -> None:
    largest = max(float(x.abs().max()) for x in b)
    assert largest > 0
    assert max(float((x - y).abs().max()) for x, y in zip(a, b, strict=True)) < 1e-5 * largest


# --- single paths ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nasbench201", "darts"])
def test_spos_computes_the_operations_of_one_network_and_no_other(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    strategy = SPOS(tiny(name), SPOS.Settings())
    seen = trained_codes(strategy, monkeypatch)
    for seed in range(3):
        with computed_operations() as ran:
            strategy.step(batch(), None, AT, generator(seed))
        network = strategy.supernet.space.spec(np.array(seen[-1], dtype=np.int8), channels=4)
        # Every cell of these small supernets is built once, so a network has as many edges as operations that ran.
        if name == "nasbench201":
            words = strategy.supernet.space.format(np.array(seen[-1:], dtype=np.int8))[0].replace("-", ",").split(",")
            edges = 3 * sum(word != "none" for word in words)
        else:
            cells = strategy.supernet.cells  # type: ignore[union-attr]
            kinds = {False: network.normal, True: network.reduction}  # type: ignore[attr-defined]
            edges = sum(len(node) for cell in cells for node in kinds[cell.reduction].nodes)
        assert len(ran) == edges
        assert len(set(ran)) == len(ran)
    assert len(set(seen)) == len(seen) == 3


def test_spos_draws_all_networks_equally_often() -> None:
    strategy = SPOS(tiny("layerwise"), SPOS.Settings())
    space = strategy.supernet.space
    rng, draws = generator(3), 600
    counts = Counter(tuple(map(int, strategy.draw(1, rng)[0])) for _ in range(draws))
    assert counts.keys() == {tuple(map(int, code)) for code in space.all_codes()}
    expected = draws / space.size
    chi2 = sum((count - expected) ** 2 / expected for count in counts.values())
    # A chi² of k degrees of freedom is k ± sqrt(2 k).
    assert chi2 < space.size - 1 + 4 * (2 * (space.size - 1)) ** 0.5


def test_nothing_is_derived_and_the_shares_are_those_of_the_networks() -> None:
    strategy = SPOS(tiny("layerwise"), SPOS.Settings())
    space = strategy.supernet.space
    assert strategy.derive() is None
    assert strategy.selection == ("evolution", "nsga2")
    found = shares(strategy.supernet, space.all_codes())
    for decision, share in zip(space.decisions, found, strict=True):
        chosen = [space.decode(code).decisions.get(decision.name) for code in space.all_codes()]
        there = [choice for choice in chosen if choice is not None]
        brute = [there.count(choice) / len(there) for choice in decision.choices]
        np.testing.assert_allclose(share.numpy(), brute, rtol=1e-6)
    proposed = strategy.propose(7, generator())
    assert proposed.shape == (7, len(space.decisions))


def test_shares_of_cells_are_those_of_their_edges() -> None:
    supernet = tiny("darts")
    codes = supernet.space.sample(20, np.random.default_rng(0))
    found = dict(zip((site.name for site in supernet.sites), shares(supernet, codes), strict=True))
    networks = [supernet.space.spec(code) for code in codes]
    edges = [(op, state) for network in networks for op, state in network.normal.nodes[1]]  # type: ignore[attr-defined]
    for state in range(3):
        count = Counter(op for op, read in edges if read == state)
        share = found[f"normal.node3.from{state}"]
        operations = next(site for site in supernet.sites if site.name == f"normal.node3.from{state}").operations
        expected = [20 - count.total() if op == "none" else count[op] for op in operations]
        np.testing.assert_allclose(share.numpy(), np.array(expected) / 20, atol=1e-6)


# --- fairness -------------------------------------------------------------------------------------------------------


def test_every_operation_runs_exactly_once_a_step() -> None:
    """Chu et al. (ICCV 2021), definition of strict fairness, counted where operations are computed."""
    supernet = ToySupernet()
    strategy = FairNAS(supernet, FairNAS.Settings())
    everything = Counter((s, name) for s in range(len(NAMES)) for name in OPERATIONS[s])
    orders = set()
    for step in range(5):
        supernet.computed.clear()
        strategy.step(toy_batch(8, generator(step)), None, Moment(0, step, 1, 5), generator(step))
        assert Counter(supernet.computed) == everything
        orders.add(tuple(supernet.computed))
    assert len(orders) == 5


def test_operations_of_real_cells_are_trained_exactly_once_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    strategy = FairNAS(tiny("nasbench201"), FairNAS.Settings())
    seen = trained_codes(strategy, monkeypatch)
    strategy.step(batch(), None, AT, generator())
    assert len(seen) == 5
    assert all(sorted(column) == [0, 1, 2, 3, 4] for column in zip(*seen, strict=True))


def test_one_update_by_the_sum_of_the_gradients_of_all_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    strategy = FairNAS(tiny("nasbench201"), FairNAS.Settings(**PLAIN_SGD))
    codes = Dealer(strategy.supernet.space.decisions).deal(5, generator())
    supernet, given = strategy.supernet, batch()

    def loss() -> Tensor:
        losses = [nn.functional.cross_entropy(supernet.forward_code(given.images, c), given.labels) for c in codes]
        return torch.stack(losses).sum()

    expected = by_gradient(supernet, loss)
    seen = trained_codes(strategy, monkeypatch)
    assert_close(updates(strategy, given), expected)
    assert seen == [tuple(map(int, code)) for code in codes]


def test_dealt_choices_stay_within_one_of_each_other(nested_space: SearchSpace) -> None:
    for space in (nested_space, LAYERWISE, nas.space("darts"), nas.space("nasnet")):
        dealer, rng = Dealer(space.decisions), generator(2)
        position = {decision.name: d for d, decision in enumerate(space.decisions)}
        dealt: list[Codes] = []
        for _ in range(12):
            dealt.append(dealer.deal(5, rng))
            codes = np.concatenate(dealt)
            np.testing.assert_array_equal(codes, space.check(codes))
            active = space.active(codes)
            for d, decision in enumerate(space.decisions):
                parent = position[decision.active_if.parent] if decision.active_if else None
                above = codes[:, parent] if parent is not None else np.zeros(len(codes))
                for value in np.unique(above[active[:, d]]):
                    among = codes[active[:, d] & (above == value), d]
                    counts = np.bincount(among, minlength=len(decision.choices))
                    assert np.ptp(counts) <= 1, decision.name


def test_all_operations_of_an_edge_of_a_cell_are_equally_frequent() -> None:
    space = nas.space("darts")
    codes = Dealer(space.decisions).deal(350, generator())
    count: Counter[tuple[str, int]] = Counter()
    for code in codes:
        count.update(space.spec(code).normal.nodes[3])  # type: ignore[attr-defined]
    operations = {op for op, _ in count}
    assert len(operations) == 7
    for state in range(5):
        # A state is read in 5 of the 16 sets of inputs of the last node, whose packs are one out at most each.
        counts = [count[op, state] for op in operations]
        assert max(counts) - min(counts) <= 5
        assert sum(counts) == pytest.approx(350 * 5 / 16, abs=5)


# --- the sandwich rule ----------------------------------------------------------------------------------------------


def brute_macs(space: SearchSpace) -> dict[tuple[int, ...], int]:
    return {
        tuple(map(int, code)): sum(node.block.macs for node in space.spec(code).nodes) for code in space.all_codes()
    }


def test_the_largest_comes_first_then_the_smallest_then_random_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    strategy = BigNAS(tiny("layerwise"), BigNAS.Settings(random_paths=3))
    macs = brute_macs(strategy.supernet.space)
    seen = trained_codes(strategy, monkeypatch)
    for seed in range(4):
        strategy.step(batch(), None, AT, generator(seed))
    steps = [seen[i : i + 5] for i in range(0, len(seen), 5)]
    assert len(seen) == 20
    for largest, smallest, *_ in steps:
        assert macs[largest] == max(macs.values())
        assert macs[smallest] == min(macs.values())
    assert len({code for _, _, *random in steps for code in random}) > 6


@pytest.mark.parametrize("name", ["nasbench201", "layerwise"])
def test_the_sandwich_distils_from_the_largest_of_the_same_step(name: str) -> None:
    """Yu et al. (ECCV 2020): cross-entropy of the largest, plus -Σ p log q of the others, p held constant."""
    strategy = BigNAS(tiny(name), BigNAS.Settings(random_paths=1, **PLAIN_SGD))
    supernet, given = strategy.supernet, batch()
    others = [strategy.smallest, strategy.draw(1, generator())[0]]

    def loss() -> Tensor:
        logits = supernet.forward_code(given.images, strategy.largest)
        total = -logits.log_softmax(1)[torch.arange(6), given.labels].mean()
        p = logits.detach().exp() / logits.detach().exp().sum(1, keepdim=True)
        for code in others:
            total = total - (p * supernet.forward_code(given.images, code).log_softmax(1)).sum(1).mean()
        return total

    expected = by_gradient(supernet, loss)
    assert_close(updates(strategy, given), expected)


def test_dropout_acts_on_the_largest_alone() -> None:
    torch.manual_seed(0)
    supernet = make_supernet(LAYERWISE, num_classes=10, in_channels=1, resolution=8, dropout=0.5)
    code, images = LAYERWISE.all_codes()[0], batch().images
    assert not torch.equal(supernet.forward_code(images, code), supernet.forward_code(images, code))
    tracked = [buffer for name, buffer in supernet.named_buffers() if name.endswith("running_mean")]
    before = [buffer.clone() for buffer in tracked]
    with without_dropout(supernet):
        calm = supernet.forward_code(images, code)
        torch.testing.assert_close(calm, supernet.forward_code(images, code), rtol=0, atol=0)
    # Batch normalisation still goes by the batch, and takes notice of it.
    assert any(not torch.equal(a, b) for a, b in zip(before, tracked, strict=True))
    alone = torch.cat([calm[:3], calm[:3]])
    with without_dropout(supernet):
        assert not torch.allclose(supernet.forward_code(torch.cat([images[:3]] * 2), code), alone)
    assert all(module.training for module in supernet.modules())


# --- resumption -----------------------------------------------------------------------------------------------------


class StopError(Exception):
    pass


@pytest.fixture(scope="module")
def data() -> Dataset:
    return Dataset.load("digits", image_size=8, images=24, architecture=0.25)


def fitted(kind: type[OneShotStrategy], name: str, data: Dataset, folder: Path, stop: int | None = None) -> Fit:
    """Train for two epochs of three steps, or stop with an exception after some step, which is not kept."""
    settings = kind.Settings(epochs=2, batch_size=6, checkpoint_minutes=5.0 if stop is None else 1e-9)
    strategy = kind(tiny(name), settings, None, 5)
    others = data.batches("architecture_validation", 6, seed=2) if kind.learns_architecture else None
    fit = Fit(strategy, data.batches("train", 6, seed=1), others, folder, 5)
    assert fit.steps == 3

    def on_progress(progress: FitProgress) -> None:
        if progress.epoch * progress.steps + progress.step == stop:
            raise StopError

    if stop is None:
        fit.run()
    else:
        with pytest.raises(StopError):
            fit.run(on_progress)
    return fit


def leaves(state: Any) -> list[Any]:
    if isinstance(state, dict):
        return [leaf for key in state if key != "seconds" for leaf in [key, *leaves(state[key])]]
    if isinstance(state, list | tuple):
        return [leaf for item in state for leaf in leaves(item)]
    return [state]


@pytest.mark.parametrize(("kind", "name"), list(itertools.product(SAMPLING, ["nasbench201", "layerwise"])))
def test_a_stopped_training_ends_in_the_very_bits_of_one_that_ran_through(
    kind: type[OneShotStrategy], name: str, data: Dataset, tmp_path: Path
) -> None:
    whole = fitted(kind, name, data, tmp_path / "whole")
    # In the middle of an epoch, and of what a method carries over: packs, the teacher, the baseline.
    fitted(kind, name, data, tmp_path / "parts", stop=5)
    torch.manual_seed(123)
    parts = fitted(kind, name, data, tmp_path / "parts")
    assert [len(whole.records), len(parts.records)] == [2, 2]
    pairs = zip(
        leaves([whole.strategy.state_dict(), whole.records]), leaves([parts.strategy.state_dict(), parts.records]),
        strict=True,
    )  # fmt: skip
    assert all(torch.equal(a, b) if isinstance(a, Tensor) else a == b for a, b in pairs)


def test_packs_are_part_of_the_state() -> None:
    decisions = (Decision("a", (1, 2, 3)), Decision("b", (1, 2), Condition("a", (2, 3))))
    dealer, rng = Dealer(decisions), generator()
    dealer.deal(2, rng)
    copy = Dealer(decisions)
    copy.packs = {name: list(pack) for name, pack in dealer.packs.items()}
    (next_code,) = dealer.deal(1, generator(9))
    np.testing.assert_array_equal(copy.deal(1, generator(9))[0], next_code)
    assert any(Dealer(decisions).deal(1, generator(s))[0][0] != next_code[0] for s in range(20))
