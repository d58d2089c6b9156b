"""What single methods do beside gradients: edges of PC-DARTS, stretches of P-DARTS, paths of ProxylessNAS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from oneshot_toys import ToySupernet, toy_batch
from torch import Tensor

import nas
from nas.strategies.oneshot.base import Moment, OneShotStrategy
from nas.strategies.oneshot.differentiable import Differentiable
from nas.strategies.oneshot.methods import DARTS, GDAS, PCDARTS, PDARTS, SNAS, DrNAS, FBNet, Proxyless, sites_by_node
from nas.strategies.oneshot.progressive import derived_with_few_skips, stretch_of
from nas.supernet.weights import dense

Make = Callable[..., Any]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def toy(method: type[Differentiable], **settings: Any) -> Any:
    torch.manual_seed(0)
    return method(ToySupernet(), method.Settings(**{"epochs": 10} | settings))


@torch.no_grad()
def set_values(parameters: Sequence[Tensor], values: Sequence[Sequence[float]]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(torch.tensor(value))


@pytest.mark.parametrize(
    ("method", "published"),
    [
        # learning rate, betas and weight decay of the architecture
        (DARTS, (3e-4, (0.5, 0.999), 1e-3)), (GDAS, (3e-4, (0.5, 0.999), 1e-3)), (SNAS, (3e-4, (0.5, 0.999), 1e-3)),
        (PCDARTS, (6e-4, (0.5, 0.999), 1e-3)), (PDARTS, (6e-4, (0.5, 0.999), 1e-3)),
        (DrNAS, (3e-4, (0.5, 0.999), 1e-3)),
        (FBNet, (1e-2, (0.9, 0.999), 5e-4)), (Proxyless, (1e-3, (0.0, 0.999), 0.0)),
    ],
)  # fmt: skip
def test_adam_is_set_as_published(method: type[Differentiable], published: tuple[Any, ...]) -> None:
    (group,) = toy(method).architecture_optimizer.param_groups
    assert (group["lr"], tuple(group["betas"]), group["weight_decay"]) == published


def test_temperatures_are_those_published() -> None:
    """GDAS: 10 to 0.1 in equal steps. FBNet: 5 exp(-0.045 epoch) over 90 epochs. SNAS: 1 to 0.03."""
    gdas, fbnet, snas = toy(GDAS, epochs=250), toy(FBNet, epochs=90), toy(SNAS, epochs=150)
    for epoch in (0, 40, 89):
        at = Moment(epoch, 0, 90, 100)
        assert fbnet.relaxation(at).temperature == pytest.approx(5 * np.exp(-0.045 * epoch), rel=2e-3)
    for epoch, step in ((0, 0), (125, 0), (249, 99)):
        share = (epoch + step / 100) / 250
        assert gdas.relaxation(Moment(epoch, step, 250, 100)).temperature == pytest.approx(10 - 9.9 * share)
    assert snas.relaxation(Moment(0, 0, 150, 10)).temperature == 1
    assert snas.relaxation(Moment(149, 9, 150, 10)).temperature == pytest.approx(0.03, rel=0.01)
    assert [fbnet.warming_up(epoch) for epoch in (0, 9, 10)] == [True, True, False]


# --- PC-DARTS ---------------------------------------------------------------------------------------------------------


def test_edges_into_a_node_share_a_softmax() -> None:
    names = ["normal.node2.from0", "normal.node2.from1", "normal.node3.from0", "stage1.kernel", "reduction.node3.from0"]
    assert sites_by_node(names) == [[0, 1]]
    strategy = toy(PCDARTS)
    assert strategy.nodes == [[1, 2]]
    set_values(strategy.betas_of_edges, [[0.0, np.log(3)]])
    weights = dense(strategy.sample(Moment(5, 0, 10, 1), generator()))
    assert [site.sum().item() for site in weights] == pytest.approx([1, 0.25, 0.75])
    assert [float(site.sum()) for site in strategy.probabilities()] == pytest.approx([1, 1, 1])


def test_cells_keep_the_two_edges_of_the_largest_product(make_strategy: Make) -> None:
    """By α alone a node would read states 0 and 1; by softmax(α) × softmax(β), without "none", it reads 2 and 1."""
    strategy = make_strategy(PCDARTS, "darts")
    sites = strategy.supernet.sites
    (node,) = [n for n, edges in enumerate(strategy.nodes) if sites[edges[0]].name.startswith("normal.node4")]
    edges = strategy.nodes[node]
    assert [sites[e].name for e in edges] == [f"normal.node4.from{i}" for i in range(4)]
    operations = list(sites[edges[0]].operations)
    assert operations[0] == "none"
    assert len(operations) == 8
    alphas = torch.zeros(4, 8)
    alphas[0, operations.index("sep_conv_3x3")] = 2.0
    alphas[1, operations.index("sep_conv_5x5")] = 1.0
    alphas[2, operations.index("dil_conv_3x3")] = 0.5
    alphas[2, 0] = 4.0  # the strongest of all, and of no effect but on its own edge
    betas = torch.tensor([-3.0, 0.0, 4.0, -5.0])
    with torch.no_grad():
        for e, row in zip(edges, alphas, strict=True):
            strategy.alphas[e].copy_(row)
        strategy.betas_of_edges[node].copy_(betas)
    products = (alphas.softmax(1) * betas.softmax(0)[:, None])[:, 1:].amax(1)
    assert products.argsort(descending=True).tolist() == [2, 1, 0, 3]
    network = strategy.supernet.space.spec(strategy.derive())
    assert sorted(network.normal.nodes[2], key=lambda edge: edge[1]) == [("sep_conv_5x5", 1), ("dil_conv_3x3", 2)]
    with torch.no_grad():
        strategy.betas_of_edges[node].zero_()
    network = strategy.supernet.space.spec(strategy.derive())
    assert sorted(state for _, state in network.normal.nodes[2]) == [0, 1]


# --- DrNAS ------------------------------------------------------------------------------------------------------------


def test_drnas_begins_uniform_on_the_simplex_and_decays_to_it() -> None:
    """Concentrations 1: the mean of w_i is 1/4 and its variance 3/80; weight decay alone leads back there."""
    strategy = toy(DrNAS, architecture_learning_rate=0.05)
    rng, at = generator(), Moment(0, 0, 10, 1)
    with torch.no_grad():
        draws = torch.stack([torch.stack(dense(strategy.sample(at, rng))) for _ in range(1500)]).reshape(-1, 4)
    assert torch.allclose(draws.mean(0), torch.tensor(0.25), atol=0.012)
    assert torch.allclose(draws.var(0), torch.tensor(3 / 80), atol=0.004)
    set_values(strategy.alphas, [[2.0, -2.0, 1.0, 0.0]] * 3)
    for _ in range(150):
        for alpha in strategy.alphas:
            alpha.grad = torch.zeros_like(alpha)
        strategy.architecture_optimizer.step()
    assert max(float((p - 0.25).abs().max()) for p in strategy.probabilities()) < 0.02


# --- P-DARTS ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("epochs", "stretches"), [(75, 3), (10, 3), (2, 3), (1, 4), (7, 1)])
def test_stretches_divide_a_search(epochs: int, stretches: int) -> None:
    found = [stretch_of(epoch, epochs, stretches) for epoch in range(epochs)]
    for epoch, (_, first, end) in enumerate(found):
        assert first <= epoch < end
        assert {found[other] for other in range(first, end)} == {found[epoch]}
    assert max(end - first for _, first, end in found) - min(end - first for _, first, end in found) <= 1
    assert [number for number, _, _ in found] == sorted(number for number, _, _ in found)


def test_operations_fall_from_eight_to_five_to_three(make_strategy: Make) -> None:
    """As in the paper, with ten of 25 epochs of each stretch for the weights; the likeliest stay."""
    strategy = make_strategy(PDARTS, "darts", epochs=75)
    with torch.no_grad():
        for s, alpha in enumerate(strategy.alphas):
            alpha.copy_(torch.randn(8, generator=generator(s)))
    counts = []
    for epoch in range(75):
        strategy.prune(Moment(epoch, 0, 75, 4))
        counts.append(len(strategy.active[0]))
        before = [list(active) for active in strategy.active]
        strategy.prune(Moment(epoch, 0, 75, 4))
        assert strategy.active == before
    assert counts == [8] * 25 + [5] * 25 + [3] * 25
    for alpha, active in zip(strategy.alphas, strategy.active, strict=True):
        assert active == sorted(alpha.topk(3).indices.tolist())
    assert [epoch for epoch in range(75) if strategy.warming_up(epoch)] == [*range(10), *range(25, 35), *range(50, 60)]
    assert all((p > 0).sum() == 3 for p in strategy.probabilities())


@pytest.mark.parametrize("method", [DARTS, GDAS, SNAS, PCDARTS, DrNAS, FBNet, Proxyless])
def test_what_is_dropped_is_not_computed(method: type[Differentiable]) -> None:
    strategy = toy(method, keep=(0.5,), warmup=0.0)
    set_values(strategy.alphas, [[0.0, -1.0, -2.0, 1.0], [1.0, -1.0, -1.0, 0.0], [0.0, 2.0, -1.0, -1.0]])
    before = [alpha.detach().clone() for alpha in strategy.alphas]
    images = toy_batch(16, generator()), toy_batch(16, generator(1))
    strategy.step(*images, Moment(5, 0, 10, 5), generator())
    kept = {(0, "none"), (0, "signal"), (1, "signal"), (1, "noise"), (2, "none"), (2, "signal")}
    assert set(strategy.supernet.computed) <= kept
    assert all(float(p.sum()) == pytest.approx(1) and (p > 0).sum() == 2 for p in strategy.probabilities())
    assert not all(map(torch.equal, strategy.alphas, before))


def test_dropped_skips_keep_the_mean() -> None:
    strategy = toy(PDARTS, skip_dropout=0.5, keep=())
    at, rng = Moment(2, 0, 10, 1), generator()
    with torch.no_grad():
        draws = torch.stack([torch.stack(dense(strategy.sample(at, rng))) for _ in range(1000)])
    skip = strategy.supernet.sites[0].operations.index("skip_connect")
    # After two of ten epochs the rate is 0.4: what stays is 1 / 0.6 as strong.
    p = float(strategy.probabilities()[0][skip])
    assert sorted(set(np.round((draws[:, 0, skip] / p).numpy(), 4))) == pytest.approx([0, 1 / 0.6], abs=1e-3)
    assert float(draws[:, 0, skip].mean()) == pytest.approx(p, rel=0.1)
    assert torch.equal(draws[:, 0, 3], draws[:1, 0, 3].expand(1000))


@pytest.mark.parametrize("space", ["darts", "nasbench201"])
def test_a_normal_cell_has_few_skips(space: str, make_strategy: Make) -> None:
    """Skips that are the strongest everywhere: the strongest of them stay; reduction cells are not limited."""
    strategy = make_strategy(DARTS, space)
    sites = strategy.supernet.sites
    for seed in range(3):
        strengths = [
            torch.rand(len(site.operations), generator=generator(100 * seed + s)) for s, site in enumerate(sites)
        ]
        for site, values in zip(sites, strengths, strict=True):
            values[site.operations.index("skip_connect")] += 1
        codes = [derived_with_few_skips(strategy.supernet, strengths, most) for most in (None, 2, 0)]
        if space == "nasbench201":
            skips = [[s for s in range(6) if sites[s].operations[int(code[s])] == "skip_connect"] for code in codes]
            strongest = sorted(range(6), key=lambda s: -float(strengths[s].max()))[:2]
            assert skips == [list(range(6)), sorted(strongest), []]
            continue
        for code, counts in zip(codes, ((8, 8), (2, 8), (0, 8)), strict=True):
            spec = strategy.supernet.space.spec(code)
            for cell, count in zip((spec.normal, spec.reduction), counts, strict=True):
                assert sum(operation == "skip_connect" for node in cell.nodes for operation, _ in node) == count


def test_skips_that_nothing_replaces_stay() -> None:
    strategy = toy(DARTS)
    skip = [site.operations.index("skip_connect") for site in strategy.supernet.sites]
    strengths = [torch.eye(4)[i] for i in skip]
    code = derived_with_few_skips(strategy.supernet, strengths, 0)
    assert len(code) == 3  # it ends, whatever the operation of weight 0 is


# --- ProxylessNAS -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [(), (0.7,)])
def test_a_step_leaves_the_probabilities_of_other_paths(keep: tuple[float, ...]) -> None:
    """Two of the paths that are searched move, against each other; the others, dropped ones too, stay."""
    strategy = toy(Proxyless, keep=keep, warmup=0.0, architecture_learning_rate=0.2)
    strategy.prune(Moment(5, 0, 10, 5))
    assert [len(active) for active in strategy.active] == [3 if keep else 4] * 3
    for n in range(8):
        before = strategy.probabilities()
        at = Moment(5, 1, 10, 5)
        strategy.architecture_step(toy_batch(16, generator(n)), toy_batch(16, generator(n + 50)), at, generator(n))
        for old, new in zip(before, strategy.probabilities(), strict=True):
            moved = ((old - new).abs() > 1e-6).nonzero().flatten().tolist()
            assert len(moved) in (0, 2)
            assert float(new.sum()) == pytest.approx(1)
    assert any(float((p - 1 / len(a)).abs().max()) > 0.05 for p, a in zip(before, strategy.active, strict=True))


def test_weights_are_trained_on_paths_by_their_probability() -> None:
    strategy = toy(Proxyless)
    logits = [2.0, 0.0, -1.0, 0.0]
    set_values(strategy.alphas, [logits] * 3)
    at, rng = Moment(5, 0, 10, 1), generator()
    with torch.no_grad():
        draws = torch.stack(
            [torch.stack(dense(strategy.sample(at, rng, strategy.relaxation_for_weights(at)))) for _ in range(1500)]
        ).reshape(-1, 4)
    assert ((draws == 0) | (draws == 1)).all()
    assert (draws.sum(1) == 1).all()
    p = torch.tensor(logits).softmax(0)
    assert ((draws.mean(0) - p).abs() < 4 * (p * (1 - p) / len(draws)).sqrt()).all()


def test_methods_run_on_every_kind_of_supernet(make_strategy: Make) -> None:
    """A space of chains too: no edges, no cells."""
    from nas.supernet.factory import make_supernet

    space = nas.space("mbconv-fbnet")
    for method in (PCDARTS, PDARTS, Proxyless):
        settings = method.Settings(epochs=1, batch_size=2, eigenvalue_every=0)
        torch.manual_seed(0)
        supernet = make_supernet(space, resolution=32, in_channels=1, num_classes=10, width=0.125)
        strategy: OneShotStrategy = method(supernet, settings)
        code = strategy.derive()
        assert code is not None
        assert strategy.propose(2, generator()).shape == (2, len(space.decisions))
