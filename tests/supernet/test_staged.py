"""Elastic supernets against the networks they stand for, over whole spaces."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import nas
from nas.errors import NasError
from nas.space import Condition, SearchSpace, SqueezeExciteRule, StagedNetwork, StagedSpace
from nas.space.residual_network import ResidualNetwork
from nas.space.residual_space import ResidualSpace
from nas.space.vocabulary import BlockTable
from nas.supernet import elastic_places
from nas.supernet.elastic_layer import Operation
from nas.supernet.staged import ElasticSupernet
from nas.supernet.supernet import recalibrate

SKELETON = StagedNetwork.from_strings(
    stem="cn_k3_s2_c8", stages=(), head=("cn_c16", "pool", "fc"), activation="silu", resolution=16, num_classes=5,
    se=SqueezeExciteRule(ratio=0.25, of="expanded", divisor=8),
)  # fmt: skip

#: stages share their choices; block types, widths of stem and stages, resolutions, as in mbconv-v2
STAGEWISE = StagedSpace(
    "stagewise", SKELETON,
    ("{ir,er}_r{1-2}_k{3,5}_s1_e{1,4}_c{8,16}_se{0,1}", "{ir,er}_r{2-3}_k{3,5}_s2_e{2,4}_c{16,24}_se{0,1}"),
    stem="cn_k3_s2_c{8,16}", resolutions=(16, 24),
)  # fmt: skip

#: every layer its own, identities, groups where there is no expansion, width of the head, as in mbconv-fbnet and -ofa
LAYERWISE = StagedSpace(
    "layerwise", SKELETON,
    ("{ir,id}_k{3,5}_s1_e{1,3}_c8_g{1,2}", "ir_r{1-3}_k{3,5,7}_s2_e{1,2,3}_c{16,24}_g{1,2}"),
    layerwise=True, head=("cn_c{16,32}", "pool", "fc_c24", "fc"), only={"groups": Condition("expand", (1,))},
)  # fmt: skip

#: every decision of `convnext` with all its choices but those of width, depth and large kernels
RESIDUAL = ResidualSpace(
    "residual", ResidualNetwork((1, 1), resolution=32, num_classes=5), depths=((1, 2), (1, 2)),
    choices={
        "width": (8, 12), "stem": ("resnet", "patchify"), "downsampling": ("block", "separate"),
        "norm": ("batch", "layer"), "activation": ("relu", "gelu"),
        "block": ("bottleneck", "dw_bottleneck", "inverted", "convnext"), "kernel": (3, 5), "expansion": (4, 2),
        "activations": (3, 1), "norms": (3, 1), "scaling": ("none", "layer_scale", "grn"),
    },
)  # fmt: skip

SPACES = {space.name: space for space in (STAGEWISE, LAYERWISE, RESIDUAL)}


def images(space: SearchSpace, count: int = 3, seed: int = 0, channels: int = 3) -> Tensor:
    size = 32 if space is RESIDUAL else 16
    generator = torch.Generator().manual_seed(seed)
    # Images differ in colour too, which a global pool does not even out.
    colours = torch.randn(count, channels, 1, 1, generator=generator)
    return colours + torch.randn(count, channels, size, size, generator=generator)


def lived_in(supernet: ElasticSupernet, batch: Tensor) -> ElasticSupernet:
    """Give a supernet statistics and scales that differ from channel to channel; then in evaluation mode."""
    torch.manual_seed(1)
    for parameter in supernet.parameters():
        if parameter.dim() == 1 or 1 in parameter.shape[:1]:
            nn.init.normal_(parameter, 0.7, 0.3)
    norms = [module for module in supernet.train().modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 0.7
    with torch.no_grad():
        for code in supernet.space.sample(12, np.random.default_rng(1)):
            supernet.forward_code(batch, code)
    for norm in norms:
        norm.momentum = 0.1
    return supernet.eval()


@pytest.fixture(scope="module", params=SPACES.values(), ids=list(SPACES))
def supernet(request: pytest.FixtureRequest) -> ElasticSupernet:
    torch.manual_seed(0)
    return lived_in(ElasticSupernet(request.param), images(request.param, 8, seed=2))


def softmaxes(supernet: ElasticSupernet, seed: int) -> list[Tensor]:
    """Random weights of every site, float64 with gradients."""
    rng = np.random.default_rng(seed)
    draws = [rng.normal(size=len(site.operations)) for site in supernet.sites]
    return [torch.softmax(torch.from_numpy(draw), 0).requires_grad_() for draw in draws]


# --- a code -----------------------------------------------------------------------------------------------------------


def test_subnetworks_are_the_extracted_networks(supernet: ElasticSupernet) -> None:
    space, batch, outputs = supernet.space, images(supernet.space, 2), []
    for code in space.sample(20, np.random.default_rng(0)):
        network = supernet.extract(code)
        with torch.no_grad():
            outputs.append(supernet.forward_code(batch, code))
            assert (outputs[-1] - network(batch)).abs().max() <= 1e-6
        assert not network.training
        assert sum(parameter.numel() for parameter in network.parameters()) == space.spec(code).cost()["params"]
    # Neither the images nor the codes are lost on the way.
    stacked = torch.stack(outputs)
    assert stacked.std(0).mean() > 0.02
    assert stacked.std(1).mean() > 0.002


@pytest.mark.parametrize(("name", "codes"), [("mbconv", 4), ("mbconv-ofa", 4), ("nasbench-macro", 3)])
def test_subnetworks_of_shipped_spaces(name: str, codes: int) -> None:
    space = nas.space(name)
    supernet = ElasticSupernet(space, num_classes=10, in_channels=1, resolution=32).eval()
    batch = torch.randn(2, 1, 32, 32)
    for code in space.sample(codes, np.random.default_rng(0)):
        network = supernet.extract(code)
        with torch.no_grad():
            assert (supernet.forward_code(batch, code) - network(batch)).abs().max() <= 1e-6
        params = space.spec(code, num_classes=10, in_channels=1).cost()["params"]
        assert sum(parameter.numel() for parameter in network.parameters()) == params


def test_a_network_trains_like_its_part_of_the_supernet(supernet: ElasticSupernet) -> None:
    """In training mode: same outputs, same statistics in the leading channels, the rest as it was."""
    supernet = copy.deepcopy(supernet).train()
    batch = images(supernet.space, 6)
    for code in supernet.space.sample(5, np.random.default_rng(3)):
        before = {name: buffer.clone() for name, buffer in supernet.named_buffers()}
        network = supernet.extract(code)
        assert network.training
        torch.testing.assert_close(supernet.forward_code(batch, code), network(batch), rtol=0, atol=1e-6)
        after = supernet.extract(code).state_dict()
        for name, value in network.state_dict().items():
            torch.testing.assert_close(after[name], value, rtol=0, atol=1e-6)
        counts = [value for name, value in network.state_dict().items() if name.endswith("running_mean")]
        changed = sum(
            int((buffer != before[name]).sum())
            for name, buffer in supernet.named_buffers() if name.endswith("running_mean")
        )  # fmt: skip
        assert changed == sum(map(len, counts))


def test_a_code_gives_gradients_to_its_own_weights_alone(supernet: ElasticSupernet) -> None:
    supernet = copy.deepcopy(supernet).train()
    code = supernet.space.sample(1, np.random.default_rng(4))[0]
    supernet.forward_code(images(supernet.space), code).square().sum().backward()
    moved = sum(int((p.grad != 0).sum()) for p in supernet.parameters() if p.grad is not None)
    # A few may be 0 by chance, such as those behind an inactive ReLU.
    params = supernet.space.spec(code).cost()["params"]
    assert 0.5 * params < moved <= params


def test_codes_and_weights_name_each_other(supernet: ElasticSupernet) -> None:
    space = supernet.space
    assert [site.name for site in supernet.sites] == [decision.name for decision in space.decisions]
    for code in space.sample(20, np.random.default_rng(5)):
        weights = supernet.weights_of(code)
        assert all(float(site.sum()) == 1 for site in weights)
        np.testing.assert_array_equal(supernet.derive(weights), code)
        # A decision that does not matter does not show in the code, whatever its weights.
        inactive = ~space.active(code[None])[0]
        free = [torch.rand(len(w)) if off else w for w, off in zip(weights, inactive, strict=True)]
        np.testing.assert_array_equal(supernet.derive(free), code)


def test_largest_and_smallest_are_the_extremes() -> None:
    space = StagedSpace("few", SKELETON, ("{ir,er}_r{1-2}_k{3,5}_s2_e{1,4}_c{8,16}_se{0,1}",), resolutions=(16, 24))
    macs = [space.spec(code).cost()["macs"] for code in space.all_codes()]
    supernet = ElasticSupernet(space)
    assert space.spec(supernet.largest()).cost()["macs"] == max(macs)
    assert space.spec(supernet.smallest()).cost()["macs"] == min(macs)


# --- a relaxation -----------------------------------------------------------------------------------------------------


def test_relaxed_forward_at_one_hot_weights_is_the_network(supernet: ElasticSupernet) -> None:
    supernet = copy.deepcopy(supernet).double()
    batch = images(supernet.space).double()
    for code in supernet.space.sample(6, np.random.default_rng(6)):
        # What needs a gradient is computed, so this is not the shortcut for codes.
        weights = [site.double().requires_grad_() for site in supernet.weights_of(code)]
        relaxed = supernet(batch, weights)
        assert relaxed.requires_grad
        with torch.no_grad():
            assert (relaxed - supernet.extract(code)(batch)).abs().max() <= 1e-12
        for gradient in torch.autograd.grad(relaxed.sum(), weights, allow_unused=True):
            assert gradient is None or torch.isfinite(gradient).all()


def test_gradients_of_every_site_are_the_numeric_ones(supernet: ElasticSupernet) -> None:
    supernet = copy.deepcopy(supernet).double()
    batch, weights = images(supernet.space, 1).double(), softmaxes(supernet, 7)
    rng, step = np.random.default_rng(8), 1e-5
    gradients = torch.autograd.grad(supernet(batch, weights).sum(), weights, allow_unused=True)
    felt = 0
    for i, (site, gradient) in enumerate(zip(supernet.sites, gradients, strict=True)):
        direction = torch.from_numpy(rng.normal(size=len(site.operations)))
        # The choices of a decision that changes nothing drop out because their weights add up to 1.
        direction -= direction.mean()

        def moved(by: float, i: int = i, direction: Tensor = direction) -> float:
            with torch.no_grad():
                at = [w + by * direction if j == i else w for j, w in enumerate(weights)]
                return float(supernet(batch, at).sum())

        numeric = (moved(step) - moved(-step)) / (2 * step)
        exact = 0.0 if gradient is None else float(gradient @ direction)
        assert exact == pytest.approx(numeric, rel=1e-5, abs=1e-7), site.name
        felt += abs(exact) > 1e-4
        assert (gradient is None) == (site.name == "resolution")
    assert felt > len(supernet.sites) / 2


def test_a_step_along_the_gradient_lowers_the_loss() -> None:
    torch.manual_seed(0)
    supernet = ElasticSupernet(STAGEWISE)
    logits = [torch.zeros(len(site.operations), requires_grad=True) for site in supernet.sites]
    optimizer = torch.optim.SGD([*supernet.parameters(), *logits], lr=0.05)
    batch, labels, losses = images(STAGEWISE, 8), torch.arange(8) % 5, []
    for _ in range(4):
        loss = nn.functional.cross_entropy(supernet(batch, [torch.softmax(w, 0) for w in logits]), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert all(w.abs().sum() > 0 for w, site in zip(logits, supernet.sites, strict=True) if site.name != "resolution")


# --- expected costs ---------------------------------------------------------------------------------------------------


def test_expected_cost_of_a_code_is_exact(supernet: ElasticSupernet) -> None:
    space = supernet.space
    codes = space.sample(100, np.random.default_rng(9))
    macs = np.array([block.macs for block in space.vocabulary.blocks], dtype=np.float64)
    totals = BlockTable(space.vocabulary, macs[:, None]).sum(codes)[:, 0]
    found = [float(supernet.expected(macs, supernet.weights_of(code))) for code in codes]
    assert found == totals.tolist()
    for code, total in zip(codes[:5], totals, strict=False):
        assert space.spec(code).cost()["macs"] == total


def test_expected_cost_is_the_mean_over_all_networks() -> None:
    few = StagedSpace(
        "few", SKELETON, ("{ir,id}_k{3,5}_s1_e{1,2}_c8_g{1,2}", "ir_r{1-2}_k3_s2_e{1,3}_c16"), layerwise=True,
        only={"groups": Condition("expand", (1,))},
    )  # fmt: skip
    supernet = ElasticSupernet(few)
    weights = [w.detach() for w in softmaxes(supernet, 10)]
    params = np.array([block.params for block in few.vocabulary.blocks], dtype=np.float64)
    mean = 0.0
    for choices in itertools.product(*(range(len(site.operations)) for site in supernet.sites)):
        code = few.canonical(np.array([choices], dtype=np.int8))[0]
        chance = float(np.prod([float(w[c]) for w, c in zip(weights, choices, strict=True)]))
        mean += chance * few.spec(code).cost()["params"]
    assert float(supernet.expected(params, weights)) == pytest.approx(mean, rel=1e-12)


def test_expected_cost_is_differentiable(supernet: ElasticSupernet) -> None:
    values = np.random.default_rng(11).random(len(supernet.vocabulary.blocks))
    weights = softmaxes(supernet, 12)
    assert torch.autograd.gradcheck(lambda *given: supernet.expected(values, given), weights)


# --- what is given, kept and refused ----------------------------------------------------------------------------------


def test_other_classes_channels_and_resolutions() -> None:
    given = {"num_classes": 7, "in_channels": 1, "resolution": 24, "dropout": 0.5}
    supernet = ElasticSupernet(STAGEWISE, **given).eval()
    batch = torch.randn(2, 1, 24, 24)
    for code in STAGEWISE.sample(3, np.random.default_rng(0)):
        network = supernet.extract(code)
        assert network(batch).shape == (2, 7)
        torch.testing.assert_close(supernet.forward_code(batch, code), network(batch), rtol=0, atol=1e-6)
        assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.5]
    assert not torch.equal(supernet.train().forward_code(batch, code), supernet.forward_code(batch, code))


def test_state_and_copies_are_complete(supernet: ElasticSupernet) -> None:
    other = ElasticSupernet(supernet.space).eval()
    other.load_state_dict(supernet.state_dict())
    code, batch = supernet.space.sample(1, np.random.default_rng(13))[0], images(supernet.space)
    with torch.no_grad():
        expected = supernet.forward_code(batch, code)
        torch.testing.assert_close(other.forward_code(batch, code), expected, rtol=0, atol=0)
        twin = copy.deepcopy(supernet)
        for parameter in supernet.parameters():
            parameter.add_(0.0)
        for parameter in twin.parameters():
            parameter.mul_(0.5)
        torch.testing.assert_close(supernet.forward_code(batch, code), expected, rtol=0, atol=0)
        assert not torch.equal(twin.forward_code(batch, code), expected)


def test_recalibrated_subnetwork_has_the_statistics_of_the_batches() -> None:
    torch.manual_seed(0)
    supernet = lived_in(ElasticSupernet(STAGEWISE), images(STAGEWISE, 8))
    network = supernet.extract(supernet.smallest())
    batches = [images(STAGEWISE, 8, seed=s) for s in range(3)]
    recalibrate(network, batches)
    stem = network[0][0]
    norm = next(m for m in network.modules() if isinstance(m, nn.BatchNorm2d))
    means = torch.stack([stem(batch).mean((0, 2, 3)) for batch in batches]).mean(0)
    torch.testing.assert_close(norm.running_mean, means, rtol=1e-4, atol=1e-5)


def test_what_has_no_weight_is_not_computed() -> None:
    space = StagedSpace("kinds", SKELETON, ("{ir,er}_r{1-2}_k3_s1_e2_c8",))
    supernet, ran = ElasticSupernet(space).eval(), []
    for operation in supernet.modules():
        if isinstance(operation, Operation):
            operation.register_forward_hook(lambda module, *_: ran.append(module.anatomies[0].name))
    batch = images(space)
    supernet.forward_code(batch, space.encode({"stage1.block": "er", "stage1.layers": 1}))
    assert ran == ["ConvBlock", "FusedMBConvBlock", "ConvBlock", "PoolBlock", "DenseBlock"]
    ran.clear()
    supernet(batch, [torch.tensor([0.5, 0.5]), torch.tensor([0.0, 1.0])])
    assert sorted(ran).count("FusedMBConvBlock") == sorted(ran).count("InvertedResidualBlock") == 2
    ran.clear()
    # One sampled path whose weight, 1, carries a gradient, as in GDAS.
    sampled = torch.ones((), requires_grad=True)
    logits = supernet(batch, [[sampled, torch.zeros(())], torch.tensor([1.0, 0.0])])
    assert ran.count("InvertedResidualBlock") == 1
    assert "FusedMBConvBlock" not in ran
    torch.testing.assert_close(logits, supernet.forward_code(batch, np.array([0, 0])), rtol=0, atol=0)
    assert float(torch.autograd.grad(logits.sum(), sampled)[0]) != 0


def test_kernels_may_pass_through_matrices() -> None:
    space = StagedSpace("kernels", SKELETON, ("ir_k{3,5,7}_s1_e2_c8",))
    torch.manual_seed(0)
    plain = ElasticSupernet(space)
    torch.manual_seed(0)
    supernet = ElasticSupernet(space, transforms=True)
    batch = images(space)
    codes = space.all_codes()
    for code in codes:
        torch.testing.assert_close(supernet.forward_code(batch, code), plain.forward_code(batch, code))
    matrices = {name: p for name, p in supernet.named_parameters() if "from" in name}
    assert sorted(p.shape[0] for p in matrices.values()) == [9, 25]
    supernet.eval()
    with torch.no_grad():
        for matrix in matrices.values():
            matrix.normal_()
        for code in codes:
            network = supernet.extract(code)
            assert (supernet.forward_code(batch, code) - network(batch)).abs().max() <= 1e-6
        seven, three = (supernet.extract(code)[1].body[1][0].weight for code in (codes[2], codes[0]))
        to5, to3 = (next(p for name, p in matrices.items() if name.endswith(end)) for end in ("7to5", "5to3"))
        five = (seven[:, :, 1:6, 1:6].reshape(-1, 25) @ to5).reshape(-1, 1, 5, 5)
        torch.testing.assert_close(three, (five[:, :, 1:4, 1:4].reshape(-1, 9) @ to3).reshape(-1, 1, 3, 3))
    relaxed = supernet.double()(batch.double(), [torch.full((3,), 1 / 3, dtype=torch.float64)])
    relaxed.sum().backward()
    assert all(matrix.grad is not None and matrix.grad.abs().sum() > 0 for matrix in matrices.values())


def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NasError, match="no chains of blocks"):
        ElasticSupernet(nas.space("nasbench201"))
    with pytest.raises(NasError, match="another num_classes, in_channels, resolution, dropout, not another stages"):
        ElasticSupernet(STAGEWISE, stages=())
    same = StagedNetwork.from_strings(
        stem="cn_k3_s2_c8", stages=(), head=("pool", "fc"), padding="same", resolution=16, num_classes=5
    )
    with pytest.raises(NasError, match="TensorFlow's padding"):
        ElasticSupernet(StagedSpace("same", same, ("ir_k{3,5}_s2_e2_c8",)))
    supernet = ElasticSupernet(RESIDUAL)
    with pytest.raises(NasError, match="width has no operation with a weight other than 0"):
        supernet(images(RESIDUAL), [torch.zeros(2) if s.name == "network.width" else torch.ones(len(s.operations))
                                    for s in supernet.sites])  # fmt: skip
    with pytest.raises(NasError, match="3×3 and 4×4 cannot be mixed"):
        supernet(torch.randn(1, 3, 28, 28), [torch.ones(len(s.operations)) / len(s.operations) for s in supernet.sites])
    monkeypatch.setattr(elastic_places, "MAX_WEIGHTS", 10_000)
    with pytest.raises(NasError, match="weights or more"):
        ElasticSupernet(RESIDUAL)
