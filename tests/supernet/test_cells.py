"""Supernets of cell spaces: one path is a network of the space, a mixture is the weighted sum, nothing else is done."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from cell_supernets import SMALL, SPACES, computed_operations, images, make, softmax_weights
from torch import Tensor, nn

import nas
from nas.errors import NasError
from nas.supernet.cell_edge import CandidateOptions, MixedCell, MixedEdge
from nas.supernet.nasbench201 import NasBench201Supernet
from nas.supernet.supernet import recalibrate


def unsettle(network: nn.Module) -> None:
    """Give normalisations states that they are not born with."""
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for values in (norm.weight, norm.running_var):
                if values is not None:
                    nn.init.uniform_(values, 0.5, 2)
            for values in (norm.bias, norm.running_mean):
                if values is not None:
                    nn.init.normal_(values)


# --- one path -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPACES)
def test_a_path_is_the_network_of_its_code(name: str) -> None:
    supernet = make(name)
    unsettle(supernet)
    supernet.eval()
    x = images(supernet)
    for code in supernet.space.sample(20, np.random.default_rng(0)):
        spec = supernet.space.spec(code, **SMALL[name])
        network = supernet.extract(code)
        spec.build().load_state_dict(network.state_dict(), strict=True)
        assert sum(parameter.numel() for parameter in network.parameters()) == spec.cost()["params"]
        with torch.no_grad():
            logits = supernet.forward_code(x, code)
            assert logits.std() > 0
            assert torch.allclose(network(x), logits, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", SPACES)
def test_the_batch_statistics_of_a_path_are_those_of_its_network(name: str) -> None:
    supernet = make(name).double()
    for code in supernet.space.sample(2, np.random.default_rng(1)):
        network = supernet.extract(code)
        assert network.training
        x = images(supernet, batch=4)
        assert torch.allclose(network(x), supernet.forward_code(x, code), atol=1e-9)
        after = supernet.extract(code)
        for own, other in zip(network.buffers(), after.buffers(), strict=True):
            assert torch.allclose(own.double(), other.double(), atol=1e-9)


@pytest.mark.parametrize("name", SPACES)
def test_the_network_of_a_code_is_derived_from_its_weights(name: str) -> None:
    supernet = make(name)
    for code in supernet.space.sample(100, np.random.default_rng(2)):
        assert supernet.derive(supernet.weights_of(code)).tolist() == code.tolist()


def test_networks_with_the_stem_for_imagenet() -> None:
    supernet = make("darts", stem="imagenet", resolution=24, cells=3, num_classes=5)
    supernet.eval()
    x = images(supernet)
    code = supernet.space.sample(1, np.random.default_rng(9))[0]
    network = supernet.extract(code)
    assert network(x).shape == (2, 5)
    assert torch.allclose(network(x), supernet.forward_code(x, code), atol=1e-6)


def test_parameters_can_be_given_for_one_call() -> None:
    supernet, other = make("darts"), make("darts")
    for parameter in other.parameters():
        nn.init.normal_(parameter, std=0.1)
    supernet.eval()
    other.eval()
    x, weights = images(supernet), softmax_weights(supernet)
    before = supernet(x, weights)
    assert torch.equal(
        torch.func.functional_call(supernet, dict(other.named_parameters()), (x, weights)), other(x, weights)
    )
    assert torch.equal(copy.deepcopy(supernet)(x, weights), before)


def test_a_state_read_twice() -> None:
    supernet = make("nasnet")
    twins = ["0sep3+0sep3", "0skip+2avg3", "1sep5+1sep7", "3cn1+4cn1", "0avg3+1avg3"]
    code = supernet.space.encode("-".join(["_".join(twins)] * 2))
    weights = dict(zip((site.name for site in supernet.sites), supernet.weights_of(code), strict=True))
    assert weights["normal.node2.from0"].max() == 2
    assert weights["normal.node4.from1"].sum() == 2
    assert weights["normal.node4.from1"].max() == 1
    supernet.eval()
    x = images(supernet)
    assert torch.allclose(supernet.extract(code)(x), supernet.forward_code(x, code), atol=1e-6)


@pytest.mark.parametrize("name", SPACES)
def test_candidates_without_weights_of_normalisation(name: str) -> None:
    supernet = make(name, CandidateOptions(affine=False))
    unsettle(supernet)
    supernet.eval()
    code = supernet.space.sample(1, np.random.default_rng(3))[0]
    x = images(supernet)
    assert torch.allclose(supernet.extract(code)(x), supernet.forward_code(x, code), atol=1e-5)


def test_candidates_without_statistics() -> None:
    supernet = make("nasbench201", CandidateOptions(affine=False, track_running_stats=False)).double()
    candidates = [edge for edge in supernet.modules() if isinstance(edge, MixedEdge)]
    norms = [norm for edge in candidates for norm in edge.modules() if isinstance(norm, nn.BatchNorm2d)]
    assert len(norms) == 3 * 6 * 2
    assert all(norm.running_mean is None and norm.weight is None for norm in norms)
    code = supernet.space.encode("|nor_conv_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|none~0|none~1|nor_conv_3x3~2|")
    x = images(supernet, batch=64)
    network = supernet.extract(code)
    recalibrate(network, [x])
    # The supernet normalises by the batch, the network by its statistics of the same images, with unbiased variances.
    assert torch.allclose(network(x), supernet.forward_code(x, code), rtol=0.02, atol=0.02)


# --- mixtures -----------------------------------------------------------------------------------------------------


def mixed_by_hand(cell: MixedCell, inputs: list[Tensor], edges: dict[tuple[int, int], Tensor]) -> list[Tensor]:
    """The nodes of a cell, given (node, state) -> weights of that edge; "none" comes first among them."""
    states, modules = list(inputs), iter(cell.edges)
    for node in range(max(target for target, _ in edges) + 1):
        terms = []
        for state in [state for target, state in edges if target == node]:
            operations = list(next(modules).operations.values())
            weights = edges[node, state]
            assert len(operations) == len(weights) - 1
            terms += [
                weight * operation(states[state]) for weight, operation in zip(weights[1:], operations, strict=True)
            ]
        states.append(torch.stack(terms).sum(0))
    return states[len(inputs) :]


def test_a_mixture_is_the_weighted_sum_on_every_edge_of_nasbench201() -> None:
    supernet = make("nasbench201").double().eval()
    weights = softmax_weights(supernet, torch.float64)
    edges = {
        (int(site.name[4]) - 1, int(site.name[-1])): given for site, given in zip(supernet.sites, weights, strict=True)
    }
    assert list(edges) == [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]
    x = made = images(supernet)
    for part in supernet.parts:
        made = mixed_by_hand(part, [made], edges)[-1] if isinstance(part, MixedCell) else part(made)
    assert torch.allclose(supernet(x, weights), made, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["darts", "nasnet"])
def test_a_mixture_is_the_weighted_sum_on_every_edge_of_cells(name: str) -> None:
    supernet = make(name).double().eval()
    weights = softmax_weights(supernet, torch.float64)
    edges: dict[str, dict[tuple[int, int], Tensor]] = {"normal": {}, "reduction": {}}
    for site, given in zip(supernet.sites, weights, strict=True):
        kind, node, state = site.name.split(".")
        edges[kind][int(node[4:]) - 2, int(state[4:])] = given
    x = images(supernet)
    (stem,) = supernet.stem
    outputs = [stem(x), stem(x)]
    for cell in supernet.cells:
        inputs = [cell.prev(outputs[-2]), cell.last(outputs[-1])]
        nodes = mixed_by_hand(cell.mixed, inputs, edges["reduction" if cell.reduction else "normal"])
        outputs.append(torch.cat(nodes, 1))
    assert torch.allclose(supernet(x, weights), supernet.head(outputs[-1]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", SPACES)
def test_gradients_of_weights_are_the_numerical_ones(name: str) -> None:
    resolution = 4 if name == "nasbench201" else 3
    supernet = make(name, channels=2, resolution=resolution).double().eval()
    x = images(supernet)
    given = torch.stack(softmax_weights(supernet, torch.float64)).requires_grad_()
    torch.manual_seed(0)
    assert torch.autograd.gradcheck(lambda rows: supernet(x, list(rows)), [given], fast_mode=True, atol=1e-6)


def calls_of(run: Callable[[], object]) -> int:
    """How many candidates are computed, skips not counted."""
    with computed_operations() as ran:
        run()
    return sum(not isinstance(operation, nn.Identity) for operation in ran)


@pytest.mark.parametrize("name", SPACES)
def test_only_what_has_weight_is_computed(name: str) -> None:
    supernet = make(name)
    x = images(supernet)
    code = supernet.space.sample(1, np.random.default_rng(4))[0]
    weights = supernet.weights_of(code)
    skip = supernet.sites[0].operations.index("skip_connect")
    cells = [cell for cell in supernet.modules() if isinstance(cell, MixedCell)]
    chosen = 0
    for cell in cells:
        for edge in cell.edges:
            for operation in edge.operations:
                weighty = weights[edge.site][supernet.sites[edge.site].operations.index(operation)] != 0
                chosen += int(weighty) and not isinstance(edge.operations[operation], nn.Identity)
    everything = sum(
        not isinstance(operation, nn.Identity)
        for cell in cells for edge in cell.edges for operation in edge.operations.values()
    )  # fmt: skip
    assert skip
    assert 0 < chosen < everything / 2
    assert calls_of(lambda: supernet(x, weights)) == chosen
    needing = [given.clone().requires_grad_() for given in weights]
    assert calls_of(lambda: supernet(x, needing)) == everything
    with torch.no_grad():
        assert calls_of(lambda: supernet(x, needing)) == chosen


def test_single_entries_say_whether_they_need_a_gradient() -> None:
    supernet = make("nasbench201").double()
    x = images(supernet)
    whole = [given.double().requires_grad_() for given in supernet.weights_of(np.array([3, 3, 3, 3, 3, 3]))]
    supernet(x, whole).square().sum().backward()
    # Two paths an edge, one of them of weight 0, as ProxylessNAS has them.
    single = [[torch.tensor(float(i == 3), dtype=torch.float64, requires_grad=i >= 3) for i in range(5)] for _ in whole]
    assert calls_of(lambda: supernet(x, single).square().sum().backward()) == 3 * 6 * 2
    for site, given in zip(single, whole, strict=True):
        assert given.grad is not None
        assert [float(entry.grad) for entry in site[3:]] == pytest.approx(given.grad[3:].tolist())  # type: ignore[arg-type]


def saved_bytes(run: Callable[[], Tensor]) -> int:
    """What is kept for the backward pass, each storage once."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = run()
    assert output.requires_grad
    return sum(kept.values())


@pytest.mark.parametrize("name", ["nasbench201", "darts"])
def test_one_path_takes_the_memory_of_one_network(name: str) -> None:
    supernet = make(name, resolution=32)
    x = images(supernet, batch=8)
    for code in supernet.space.sample(3, np.random.default_rng(5)):
        network = supernet.extract(code)
        alone = saved_bytes(lambda network=network: network(x))
        assert saved_bytes(lambda code=code: supernet.forward_code(x, code)) <= 1.05 * alone
    needing = [given.requires_grad_() for given in softmax_weights(supernet)]
    assert saved_bytes(lambda: supernet(x, needing)) > 2 * alone


@pytest.mark.parametrize("name", SPACES)
def test_a_step_moves_what_took_part(name: str) -> None:
    supernet = make(name)
    x, classes = images(supernet, batch=4), torch.arange(4)
    scores = [torch.zeros(len(site.operations), requires_grad=True) for site in supernet.sites]
    optimizer = torch.optim.SGD([*supernet.parameters(), *scores], lr=0.05)
    losses = []
    for _ in range(2):
        loss = nn.functional.cross_entropy(supernet(x, [given.softmax(0) for given in scores]), classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(given.abs().max() > 0 for given in scores)
    code = supernet.space.sample(1, np.random.default_rng(6))[0]
    optimizer.zero_grad()
    supernet.forward_code(x, code).sum().backward()
    moved = sum(parameter.numel() for parameter in supernet.parameters() if parameter.grad is not None)
    assert 0 < moved < 0.6 * sum(parameter.numel() for parameter in supernet.parameters())


# --- derivation ---------------------------------------------------------------------------------------------------


def test_darts_keeps_two_edges_a_node_with_their_strongest_operations() -> None:
    supernet = make("darts")
    rng = np.random.default_rng(7)
    operations = supernet.sites[0].operations
    assert operations[0] == "none"
    for _ in range(20):
        rows = rng.dirichlet(np.ones(8), size=28)
        spec = supernet.space.spec(supernet.derive([torch.from_numpy(row) for row in rows]))
        for cell, start in ((spec.normal, 0), (spec.reduction, 14)):
            for node, edges in enumerate(cell.nodes):
                mine = rows[start : start + node + 2, 1:]
                start += node + 2
                best = sorted(range(node + 2), key=lambda state: -mine[state].max())[:2]
                assert edges == tuple((operations[1 + mine[state].argmax()], state) for state in sorted(best))


def test_the_first_of_equals_is_derived() -> None:
    supernet = make("darts")
    spec = supernet.space.spec(supernet.derive([torch.full((8,), 1 / 8) for _ in supernet.sites]))
    assert set(spec.normal.nodes) == {(("skip_connect", 0), ("skip_connect", 1))}
    supernet = make("nasbench201")
    assert supernet.derive([torch.full((5,), 0.2)] * 6).tolist() == [0] * 6


# --- refusals -----------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(NasError, match="not an edge of a cell"):
        NasBench201Supernet(nas.space("mbconv"))
    with pytest.raises(NasError, match="4 channels of a cell cannot be split into 3"):
        make("nasbench201", CandidateOptions(partial=3))
    supernet = make("nasbench201")
    weights = softmax_weights(supernet)
    with pytest.raises(NasError, match="5 tensors of weights for 6 sites"):
        supernet(images(supernet), weights[1:])
    with pytest.raises(NasError, match=r"node1\.from0 has 5 operations, not 4"):
        supernet(images(supernet), [weights[0][:4], *weights[1:]])
