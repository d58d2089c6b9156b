"""Blocks of MobileNetV1, MobileNetV4, EfficientNetV2 and FBNet: modules against equations, counts against hooks."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from nas.errors import NasError
from nas.space import Block, LayerSpec, StagedNetwork
from nas.space.mbconv_blocks import FusedMBConvBlock, InvertedResidualBlock
from nas.space.mobile_blocks import (
    DepthwiseSeparableBlock,
    IdentityBlock,
    NormDenseBlock,
    UniversalInvertedBottleneckBlock,
)
from search_spaces.published import efficient, mobile


class Weights:
    """The convolutions, linear layers and normalisations of a module, taken one after the other."""

    def __init__(self, module: nn.Module):
        self.layers = [item for item in module.modules() if isinstance(item, nn.Conv2d | nn.Linear)]
        self.norms = [item for item in module.modules() if isinstance(item, nn.BatchNorm2d | nn.BatchNorm1d)]

    def conv_norm(self, x: Tensor, stride: int = 1, groups: int = 1, activated: bool = True) -> Tensor:
        """The next convolution and normalisation on x, then ReLU."""
        weight = self.layers.pop(0).state_dict()["weight"]
        y = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2, groups=groups)
        y = self.norm(y.movedim(1, -1)).movedim(-1, 1)
        return y.clamp(min=0) if activated else y

    def norm(self, x: Tensor) -> Tensor:
        norm = self.norms.pop(0)
        state = norm.state_dict()
        return (x - state["running_mean"]) / torch.sqrt(state["running_var"] + norm.eps) * state["weight"] + state[
            "bias"
        ]

    def gated(self, x: Tensor) -> Tensor:
        reduce, expand = (self.layers.pop(0).state_dict() for _ in range(2))
        squeezed = (x.mean(dim=(2, 3)) @ reduce["weight"][:, :, 0, 0].T + reduce["bias"]).clamp(min=0)
        gate = 1 / (1 + torch.exp(-(squeezed @ expand["weight"][:, :, 0, 0].T + expand["bias"])))
        return x * gate[:, :, None, None]


def fused_mbconv(block: FusedMBConvBlock, weights: Weights, x: Tensor) -> Tensor:
    if block.mid_channels == block.in_channels:
        return weights.conv_norm(weights.gated(x) if block.squeeze_channels else x, block.stride)
    y = weights.conv_norm(x, block.stride)
    return weights.conv_norm(weights.gated(y) if block.squeeze_channels else y, activated=False)


def inverted_residual(block: InvertedResidualBlock, weights: Weights, x: Tensor) -> Tensor:
    y = x
    if block.mid_channels != block.in_channels or block.always_expand:
        y = weights.conv_norm(y, groups=block.groups)
    if block.groups > 1:
        # Channel i of group g comes to stand at i * groups + g.
        width = y.shape[1] // block.groups
        y = torch.stack([y[:, g * width + i] for i in range(width) for g in range(block.groups)], dim=1)
    y = weights.conv_norm(y, block.stride, groups=block.mid_channels)
    return weights.conv_norm(y, groups=block.groups, activated=False)


def universal_bottleneck(block: UniversalInvertedBottleneckBlock, weights: Weights, x: Tensor) -> Tensor:
    y = x
    if block.start_kernel:
        stride = 1 if block.kernel else block.stride
        y = weights.conv_norm(y, stride, groups=block.in_channels, activated=False)
    y = weights.conv_norm(y)
    if block.kernel:
        y = weights.conv_norm(y, block.stride, groups=block.mid_channels)
    return weights.conv_norm(y, activated=False)


def depthwise_separable(block: DepthwiseSeparableBlock, weights: Weights, x: Tensor) -> Tensor:
    return weights.conv_norm(weights.conv_norm(x, block.stride, groups=block.in_channels))


EQUATIONS: dict[type[Block], Callable[..., Tensor]] = {
    FusedMBConvBlock: fused_mbconv,
    InvertedResidualBlock: inverted_residual,
    UniversalInvertedBottleneckBlock: universal_bottleneck,
    DepthwiseSeparableBlock: depthwise_separable,
}

BLOCKS: list[Block] = [
    *(
        FusedMBConvBlock(6, out, 9, mid_channels=mid, kernel=kernel, stride=stride, squeeze_channels=squeeze)
        for out, mid, (kernel, stride), squeeze in itertools.product((6, 8), (6, 12), ((3, 1), (5, 2)), (0, 2))
    ),
    *(
        InvertedResidualBlock(
            6, out, 9, mid_channels=mid, kernel=kernel, stride=stride, groups=groups, always_expand=mid == 6 and always
        )
        for out, mid, (kernel, stride), groups, always in itertools.product(
            (6, 12), (6, 12), ((3, 1), (5, 2)), (1, 2, 3), (False, True)
        )
    ),
    *(
        UniversalInvertedBottleneckBlock(
            6, out, 9, mid_channels=mid, start_kernel=start, kernel=kernel, stride=stride, norm_eps=1e-3
        )
        for out, mid, start, kernel, stride in itertools.product((6, 8), (6, 12), (0, 3, 5), (0, 3, 5), (1, 2))
        if stride == 1 or start or kernel
    ),
    *(DepthwiseSeparableBlock(6, out, 9, kernel, stride) for out, kernel, stride in ((6, 3, 1), (8, 5, 2))),
]


def randomised(block: Block) -> nn.Module:
    """The module of a block with random statistics, in double precision, as used for inference."""
    module = block.build().double().eval()
    for value in module.state_dict().values():
        if value.is_floating_point():
            value.uniform_(0.2, 1.2)
    for parameter in module.parameters():
        parameter.data.uniform_(-1, 1)
    return module


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_module_computes_its_equation(block: Block) -> None:
    torch.manual_seed(0)
    module, x = randomised(block), torch.randn(2, 6, 9, 9, dtype=torch.float64)
    weights = Weights(module)
    with torch.no_grad():
        outputs, expected = module(x), EQUATIONS[type(block)](block, weights, x)
    assert not weights.layers
    assert not weights.norms
    if not isinstance(block, DepthwiseSeparableBlock) and outputs.shape == x.shape:
        expected = expected + x
    torch.testing.assert_close(outputs, expected)
    assert outputs.shape[1:] == (block.out_channels, block.out_size, block.out_size)


def test_normalised_dense_layer_and_identity() -> None:
    torch.manual_seed(0)
    module, x = randomised(NormDenseBlock(5, 7, 1)), torch.randn(3, 5, dtype=torch.float64)
    weights = Weights(module)
    expected = weights.norm(x @ weights.layers[0].state_dict()["weight"].T).clamp(min=0)
    torch.testing.assert_close(module(x).detach(), expected)
    assert torch.equal(IdentityBlock(5, 5, 1).build()(x), x)


def counted(block: Block) -> tuple[int, int, tuple[int, ...]]:
    """Parameters, multiply-adds and output shape of the built module, by hooks on an image without values."""
    macs = 0

    def hook(layer: nn.Module, _: object, output: Tensor) -> None:
        nonlocal macs
        macs += layer.weight.numel() * output[0, 0].numel()

    with torch.device("meta"):
        module = block.build().eval()
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.register_forward_hook(hook)
        flat = isinstance(block, NormDenseBlock) or block.describe().startswith("fc")
        shape = (1, block.in_channels) if flat else (1, block.in_channels, block.in_size, block.in_size)
        output = module(torch.empty(shape))
    return sum(parameter.numel() for parameter in module.parameters()), macs, tuple(output.shape[1:])


@pytest.mark.parametrize("family", [mobile, efficient])
def test_every_published_block_has_the_counts_of_its_module(family: object) -> None:
    blocks = {block for spec in family.NETWORKS.values() for block in spec.blocks}
    for block in blocks:
        params, macs, shape = counted(block)
        assert (block.params, block.macs) == (params, macs), block
        assert shape in ((block.out_channels, block.out_size, block.out_size), (block.out_channels,))


@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize("size", [17, 18, 19, 20])
def test_all_kinds_build_one_network_of_the_traced_shapes(padding: str, size: int) -> None:
    spec = StagedNetwork.from_strings(
        "cn_k3_s2_c8",
        ("ds_k5_c8 id", "er_k5_s2_e2_c16_se", "ui_a5_k0_s2_e2_c16 ui_a3_k5_e2_c16", "ir_k3_e2_c16_g2 ir_k3_e1_c16_g2"),
        ("cn_c32", "pool", "fc_c24", "fc"),
        resolution=size, num_classes=3, padding=padding, norm_after_pool=True, expand_at_one=True,
    )  # fmt: skip
    x = torch.randn(2, 3, size, size)
    network = spec.build().eval()
    for block, module in zip(spec.blocks, network.children(), strict=True):
        x = module(x)
        assert x.shape[1:] in ((block.out_channels, block.out_size, block.out_size), (block.out_channels,))
    network.train()(torch.randn(2, 3, size, size)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())


STEM = LayerSpec("cn", channels=8, kernel=3, stride=2)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (LayerSpec("id", channels=16), "id_s1_c16 cannot follow 8 channels: an identity has stride 1 and keeps"),
        (LayerSpec("id", stride=2), "id_s2 cannot follow 8 channels"),
        (LayerSpec("ui", channels=8, kernel=0, stride=2), "has stride 2 but no depthwise convolution; give 'a' or 'k'"),
        (LayerSpec("ui", channels=8, kernel=4), "has kernel 4, needs an odd one"),
        (LayerSpec("ui", channels=8, start_kernel=2), "has kernel 2, needs an odd one"),
        (LayerSpec("er", channels=8, kernel=0), "has kernel 0, needs an odd one"),
        (LayerSpec("ds", channels=0, kernel=3), "has 0 channels, needs at least 1"),
        (LayerSpec("ir", channels=9, kernel=3, groups=2), "on 8 channels: 2 groups must divide all its widths"),
        (LayerSpec("ir", channels=9, kernel=3, groups=3), "on 8 channels: 3 groups must divide all its widths"),
    ],
)
def test_layers_that_cannot_stand_where_they_do_are_refused(layer: LayerSpec, message: str) -> None:
    spec = StagedNetwork(stem=(STEM,), stages=((layer,),), head=(LayerSpec("pool"), LayerSpec("fc")))
    with pytest.raises(NasError, match=message):
        spec.cost()


def test_what_a_block_does_not_have_makes_no_difference() -> None:
    assert LayerSpec("cn", channels=8, expand=6, se=1, groups=2, start_kernel=3) == LayerSpec("cn", channels=8)
    assert LayerSpec("id", channels=8, kernel=5, activation="silu") == LayerSpec("id", channels=8)
    assert LayerSpec("ui", channels=8, se=1) == LayerSpec("ui", channels=8)
    assert LayerSpec("ir", channels=8, groups=2) != LayerSpec("ir", channels=8)


def test_an_identity_costs_nothing() -> None:
    spec = StagedNetwork.from_strings("cn_k3_s2_c8", ("ir_k3_e4_c8",), ("pool", "fc"))
    longer = replace(spec, stages=((*spec.stages[0], LayerSpec("id"), LayerSpec("id", channels=8)),))
    assert longer.cost() == spec.cost()


def test_expansion_at_ratio_one_is_kept_only_where_asked() -> None:
    spec = StagedNetwork.from_strings("cn_k3_s2_c8", ("ir_k3_e1_c8",), ("pool", "fc"))
    kept = replace(spec, expand_at_one=True)
    assert kept.cost()["params"] - spec.cost()["params"] == 8 * 8 + 2 * 8
    wide = StagedNetwork.from_strings("cn_k3_s2_c8", ("ir_k3_e2_c8",), ("pool", "fc"))
    assert replace(wide, expand_at_one=True).blocks == wide.blocks
