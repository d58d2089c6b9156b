"""The algebra of elastic layers: one open decision at a time, against the sum over the networks it stands for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import nas.nn
from nas.errors import NasError
from nas.space import SqueezeExciteRule, StagedNetwork, StagedSpace
from nas.space.cell_blocks import operation_block
from nas.space.mbconv_blocks import InvertedResidualBlock
from nas.space.residual_blocks import ConvNeXtBlock
from nas.supernet.elastic_anatomy import Kind, Piece, anatomy
from nas.supernet.elastic_choice import Choice, Lookup
from nas.supernet.elastic_mixture import Mixture, Variant, Variants, conditional
from nas.supernet.elastic_steps import normalize, responded
from nas.supernet.elastic_weights import SharedNorms, SharedScale, leading
from nas.supernet.staged import ElasticSupernet

#: nothing but a pool and a linear layer behind the stage, so logits are affine in what leaves it
SKELETON = StagedNetwork.from_strings(
    stem="cn_k3_s2_c8", stages=(), head=("pool", "fc"), activation="silu", resolution=12, num_classes=4,
    se=SqueezeExciteRule(ratio=0.25, of="input"),
)  # fmt: skip

#: block strings of which one decision is open, such that all that follows it is affine
AFFINE = {
    "kernel": "cn_k{3,5,7}_c8_nno",
    "kernel of a strided depthwise convolution": "ir_k{3,5,7}_s2_e2_c16_nno",
    "expansion": "ir_k3_s1_e{2,3,4}_c8",
    "expansion or none": "ir_k3_s1_e{1,2,3}_c8",
    "fused expansion": "er_k3_s2_e{2,4}_c16",
    "width": "ir_k3_s1_e2_c{16,24,32}",
    "width with or without a shortcut": "ir_k3_s1_e2_c{8,16}",
    "squeeze and excite": "ir_k3_s1_e2_c8_se{0,1}",
    "depth": "ir_r{1-4}_k3_s1_e2_c8",
    "depth from two on": "er_r{2-4}_k3_s2_e2_c16",
    "type": "{ir,er}_k3_s1_e2_c8",
    "type or identity": "{ir,id}_k3_s1_e2_c8",
    "separable": "{ds,ui}_k3_s2_c16",
    "groups": "ir_k3_s1_e1_c8_g{1,2}",
}


def lived_in(notation: str) -> ElasticSupernet:
    """A supernet in float64 whose statistics and scales differ from channel to channel, in evaluation mode."""
    torch.manual_seed(0)
    supernet = ElasticSupernet(StagedSpace("one", SKELETON, (notation,))).double().train()
    for parameter in supernet.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, 0.7, 0.3)
    with torch.no_grad():
        for code in supernet.space.all_codes():
            supernet.forward_code(torch.randn(8, 3, 12, 12, dtype=torch.float64), code)
    return supernet.eval()


@pytest.mark.parametrize("notation", AFFINE.values(), ids=AFFINE)
def test_relaxed_decision_is_the_weighted_sum_of_networks(notation: str) -> None:
    supernet = lived_in(notation)
    batch = torch.randn(2, 3, 12, 12, dtype=torch.float64)
    (site,) = supernet.sites
    weights = torch.softmax(torch.randn(len(site.operations), dtype=torch.float64), 0).requires_grad_()
    with torch.no_grad():
        networks = [supernet.extract(np.array([i]))(batch) for i in range(len(site.operations))]
    expected = sum(w * logits for w, logits in zip(weights.detach(), networks, strict=True))
    relaxed = supernet(batch, [weights])
    assert all((a - b).abs().max() > 1e-3 for a in networks for b in networks if a is not b)
    assert (relaxed - expected).abs().max() <= 1e-12
    # So the gradient along the simplex is that of the sum.
    (gradient,) = torch.autograd.grad(relaxed.sum(), weights)
    sums = torch.stack([logits.sum() for logits in networks])
    torch.testing.assert_close(gradient - gradient.mean(), sums - sums.mean(), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("decision", ["kernel", "expansion", "width", "depth", "squeeze and excite", "type"])
def test_gradients_at_the_corner_and_inside(decision: str) -> None:
    supernet = lived_in(AFFINE[decision].replace("_nno", ""))
    batch = torch.randn(1, 3, 12, 12, dtype=torch.float64)
    count = len(supernet.sites[0].operations)
    inside = torch.softmax(torch.randn(count, dtype=torch.float64), 0).requires_grad_()
    assert torch.autograd.gradcheck(lambda w: supernet(batch, [w]), (inside,))
    corner = torch.eye(count, dtype=torch.float64)[1].requires_grad_()
    (gradient,) = torch.autograd.grad(supernet(batch, [corner]).sum(), corner)
    toward = torch.full((count,), 1 / count, dtype=torch.float64) - corner.detach()
    with torch.no_grad():
        ahead, here = (supernet(batch, [corner + step * toward]).sum() for step in (1e-7, 0.0))
    assert float(gradient @ toward) == pytest.approx(float(ahead - here) / 1e-7, rel=1e-4, abs=1e-5)


def test_smaller_blocks_take_leading_channels_and_the_centre() -> None:
    supernet = ElasticSupernet(StagedSpace("cut", SKELETON, ("ir_k{3,5}_s1_e{2,3}_c{8,16}",)))
    names = {name.rpartition("operations.0.")[2]: p for name, p in supernet.layers[1].named_parameters()}
    code = supernet.space.encode({"stage1.kernel": 3, "stage1.expand": 2, "stage1.width": 8})
    block = supernet.extract(code)[1]
    expand, depthwise, project = (part[0].weight for part in block.body)
    assert torch.equal(expand, names["conv1.largest.weight"][:16])
    assert torch.equal(depthwise, names["conv2.largest.weight"][:16, :, 1:4, 1:4])
    assert torch.equal(project, names["conv3.largest.weight"][:8, :16])
    assert [tuple(names[f"conv{i}.largest.weight"].shape) for i in (1, 2, 3)] == [
        (24, 8, 1, 1), (24, 1, 5, 5), (16, 24, 1, 1),
    ]  # fmt: skip
    assert leading(torch.arange(25).view(1, 1, 5, 5), (1, 1, 3, 3)).flatten().tolist() == [
        6,
        7,
        8,
        11,
        12,
        13,
        16,
        17,
        18,
    ]


# --- steps ------------------------------------------------------------------------------------------------------------


def mixture(values: list[Variant], shares: list[float]) -> Mixture:
    return Mixture(Variants.of(values), torch.tensor(shares, dtype=torch.float64))


def inside_zeros(x: Tensor, channels: int) -> Tensor:
    whole = torch.zeros(len(x), channels, *x.shape[2:], dtype=x.dtype)
    whole[:, : x.shape[1]] = x
    return whole


def test_norms_mix_at_every_width() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 6, 3, 3, dtype=torch.float64)
    batch, layer = (Piece(op, 6, 6) for op in ("batch_norm", "layer_norm"))
    shared = SharedNorms([batch, layer], 1e-5).double()
    for parameter in shared.parameters():
        nn.init.normal_(parameter)
    mixed = mixture([Variant(batch, 6), Variant(layer, 6), Variant(layer, 4), Variant(None, 4)], [0.1, 0.2, 0.3, 0.4])
    expected = torch.zeros_like(x)
    for width, share in ((6, 0.2), (4, 0.3)):
        norm = nas.nn.LayerNorm2d(width).double()
        norm.weight.data, norm.bias.data = (p.data[:width] for p in shared["layer_norm"].parameters())
        expected += share * inside_zeros(norm(x[:, :width]), 6)
    normed = nn.functional.batch_norm(x, None, None, *shared["batch_norm"].parameters(), training=True)
    expected += 0.1 * normed + 0.4 * inside_zeros(x[:, :4], 6)
    torch.testing.assert_close(normalize(shared, x, mixed), expected)


def test_global_response_normalisation_mixes_at_every_width() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 6, 3, 3, dtype=torch.float64)
    piece = Piece("grn", 6, 6)
    shared = SharedScale([piece]).double()
    for parameter in shared.parameters():
        nn.init.normal_(parameter)
    mixed = mixture([Variant(piece, 6), Variant(piece, 4), Variant(None, 6)], [0.5, 0.2, 0.3])
    expected = 0.3 * x
    for width, share in ((6, 0.5), (4, 0.2)):
        norm = nas.nn.residual.GlobalResponseNorm(width).double()
        norm.weight.data, norm.bias.data = (p.data[:, :width] for p in shared.largest.parameters())
        expected = expected + share * inside_zeros(norm(x[:, :width]), 6)
    torch.testing.assert_close(responded(shared, x, mixed), expected)


def test_shares_of_impossible_outcomes_are_equal_and_have_gradients() -> None:
    shares, whole = conditional(torch.tensor([0.1, 0.3], dtype=torch.float64))
    assert shares.tolist() == pytest.approx([0.25, 0.75])
    assert float(whole) == pytest.approx(0.4)
    nothing = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    shares, whole = conditional(nothing)
    assert shares.tolist() == [0.5, 0.5]
    (gradient,) = torch.autograd.grad((whole * (shares * torch.tensor([3.0, 5.0])).sum()).sum(), nothing)
    assert gradient.tolist() == [4.0, 4.0]


def test_lookup_is_the_distribution_over_its_entries() -> None:
    rng = np.random.default_rng(0)
    table = rng.integers(5, size=(2, 3, 4))
    lookup = Lookup(np.stack([table] * 3), [7, 0, 2, 5])
    weights = {0: torch.rand(2), 2: torch.rand(3), 5: torch.rand(4), 7: torch.rand(3)}
    weights = {column: (w / w.sum()).double() for column, w in weights.items()}
    live = {0: (0, 1), 2: (0, 2), 5: (1, 2, 3), 7: (0, 1, 2)}
    choices = [Choice(live[i], weights[i][list(live[i])]) if i in live else Choice((0,), None) for i in range(8)]
    expected = np.zeros(5)
    for a in live[0]:
        for b in live[2]:
            for c in live[5]:
                expected[table[a, b, c]] += float(weights[0][a] * weights[2][b] * weights[5][c])
    values, probabilities = lookup.distribution(choices)
    assert probabilities is not None
    np.testing.assert_allclose(probabilities.numpy(), expected[list(values)])
    assert expected.sum() == pytest.approx(float(probabilities.sum()))
    certain = [Choice((1,), None)] * 8
    assert lookup.distribution(certain) == ((int(table[1, 1, 1]),), None)


# --- anatomy ----------------------------------------------------------------------------------------------------------


def test_blocks_share_weights_when_their_convolutions_are_alike() -> None:
    def signature(**options: object) -> tuple[object, ...]:
        given = {"mid_channels": 32, "kernel": 3, **options}
        return anatomy(InvertedResidualBlock(8, 8, 16, **given)).signature  # type: ignore[arg-type]

    same = [{"kernel": 5}, {"mid_channels": 24}, {"squeeze_channels": 4}]
    other = [{"stride": 2}, {"mid_channels": 8}, {"groups": 2}]
    assert all(signature(**options) == signature() for options in same)
    assert all(signature(**options) != signature() for options in other)
    # The channels of groups cannot be cut.
    assert signature(groups=2) != signature(groups=2, mid_channels=24)


def test_steps_are_those_of_the_trace() -> None:
    block = ConvNeXtBlock(8, 16, 8, 2, "batch", "gelu", mid_channels=32, norms=3, activations=3, scaling="grn")
    found = [str(step) for step, _ in anatomy(block).steps]
    assert found == [
        "conv1", "norm1", "act1", "conv2", "norm2", "act2", "grn2", "conv3", "norm3", "shortcut_conv1",
        "shortcut_norm1", "sum_act0",
    ]  # fmt: skip
    gated = anatomy(InvertedResidualBlock(8, 8, 16, mid_channels=32, squeeze_channels=4, se_gate="hardsigmoid"))
    (se,) = (piece for step, piece in gated.steps if step.kind == Kind.SE)
    assert (se.squeeze, se.function, se.gate) == (4, "relu", "hardsigmoid")
    assert gated.identity


def test_blocks_that_share_nothing_are_refused() -> None:
    with pytest.raises(NasError, match="supernet"):
        anatomy(operation_block("conv_7x1_1x7", 8, 16, 1))
