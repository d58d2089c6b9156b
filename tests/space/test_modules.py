"""The torch modules behind the blocks against their equations, written with plain functions on the same weights."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from nas.nn.cells import AlignedConv
from nas.space import Block, StagedNetwork
from nas.space.block import DenseBlock, PoolBlock
from nas.space.mbconv_blocks import ConvBlock, InvertedResidualBlock

#: by their definitions, not by torch's functions of the same name
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "relu": lambda x: x.clamp(min=0),
    "relu6": lambda x: x.clamp(0, 6),
    "silu": lambda x: x / (1 + torch.exp(-x)),
    "hardswish": lambda x: x * (x + 3).clamp(0, 6) / 6,
    "sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
    "hardsigmoid": lambda x: (x + 3).clamp(0, 6) / 6,
}


@pytest.mark.parametrize("size", [6, 7])
@pytest.mark.parametrize("kernel", [3, 5])
def test_strided_dilated_convolutions_train_as_they_infer(kernel: int, size: int) -> None:
    conv = AlignedConv(4, 4, kernel, 2, 2 * (kernel // 2), 2, groups=4, bias=False).double()
    x = torch.randn(2, 4, size, size, dtype=torch.float64, requires_grad=True)
    found, expected = conv(x), F.conv2d(x, conv.weight, None, 2, 2 * (kernel // 2), 2, 4)
    assert torch.allclose(found, expected)
    assert torch.allclose(conv.eval()(x), expected)
    upstream, inputs = torch.randn_like(expected), (x, conv.weight)
    for one, other in zip(
        torch.autograd.grad(found, inputs, upstream), torch.autograd.grad(expected, inputs, upstream), strict=True
    ):
        assert torch.allclose(one, other)


def randomised(block: Block) -> nn.Module:
    """The module of a block with random statistics, in double precision, as used for inference."""
    module = block.build().double().eval()
    for value in module.state_dict().values():
        if value.is_floating_point():
            value.uniform_(0.2, 1.2)
    for parameter in module.parameters():
        parameter.data.uniform_(-1, 1)
    return module


def conv_norm(x: Tensor, conv: nn.Module, norm: nn.Module, activation: str, **options: int) -> Tensor:
    state, statistics = conv.state_dict(), norm.state_dict()
    kernel = state["weight"].shape[-1]
    x = F.conv2d(x, state["weight"], padding=kernel // 2, **options)
    mean, variance = statistics["running_mean"], statistics["running_var"]
    scale = statistics["weight"] / torch.sqrt(variance + norm.eps)
    shift = statistics["bias"] - mean * scale
    return ACTIVATIONS[activation](x * scale[:, None, None] + shift[:, None, None])


def expected_inverted_residual(block: InvertedResidualBlock, module: nn.Module, x: Tensor) -> Tensor:
    convolutions = [item for item in module.modules() if isinstance(item, nn.Conv2d)]
    norms = [item for item in module.modules() if isinstance(item, nn.BatchNorm2d)]
    y = x
    if block.mid_channels != block.in_channels:
        y = conv_norm(y, convolutions.pop(0), norms.pop(0), block.activation)
    y = conv_norm(
        y, convolutions.pop(0), norms.pop(0), block.activation, stride=block.stride, groups=block.mid_channels
    )
    if block.squeeze_channels:
        reduce, expand = (convolutions.pop(0).state_dict() for _ in range(2))
        gate = y.mean(dim=(2, 3)) @ reduce["weight"][:, :, 0, 0].T + reduce["bias"]
        gate = ACTIVATIONS[block.se_activation](gate) @ expand["weight"][:, :, 0, 0].T + expand["bias"]
        y = y * ACTIVATIONS[block.se_gate](gate)[:, :, None, None]
    y = conv_norm(y, convolutions.pop(0), norms.pop(0), "none")
    assert not convolutions
    assert not norms
    return x + y if block.stride == 1 and block.in_channels == block.out_channels else y


INVERTED_RESIDUALS = [
    InvertedResidualBlock(
        6, out, 9, mid_channels=mid, kernel=kernel, stride=stride, squeeze_channels=squeeze, activation=activation,
        se_activation=se_activation, se_gate=gate, norm_eps=eps,
    )
    for out, mid, (kernel, stride), squeeze, (activation, se_activation, gate, eps) in itertools.product(
        (6, 8), (6, 12), ((3, 1), (5, 2), (7, 1)), (0, 2),
        (("silu", "silu", "sigmoid", 1e-5), ("hardswish", "relu", "hardsigmoid", 1e-3)),
    )
]  # fmt: skip


@pytest.mark.parametrize("block", INVERTED_RESIDUALS, ids=str)
def test_inverted_residual(block: InvertedResidualBlock) -> None:
    torch.manual_seed(0)
    module, x = randomised(block), torch.randn(2, 6, 9, 9, dtype=torch.float64)
    with torch.no_grad():
        outputs = module(x)
        torch.testing.assert_close(outputs, expected_inverted_residual(block, module, x))
    assert outputs.shape[1:] == (block.out_channels, block.out_size, block.out_size)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize(("kernel", "stride", "size"), [(1, 1, 5), (3, 2, 5), (3, 2, 6), (5, 1, 4), (7, 2, 8)])
def test_convolution(activation: str, kernel: int, stride: int, size: int) -> None:
    torch.manual_seed(0)
    block = ConvBlock(3, 8, size, kernel, stride, activation)
    module, x = randomised(block), torch.randn(2, 3, size, size, dtype=torch.float64)
    conv, norm, _ = module.children()
    with torch.no_grad():
        outputs = module(x)
        torch.testing.assert_close(outputs, conv_norm(x, conv, norm, activation, stride=stride))
    assert outputs.shape[2:] == (block.out_size, block.out_size)


def test_pool_and_classifier() -> None:
    torch.manual_seed(0)
    pool, dense = PoolBlock(4, 4, 7).build(), DenseBlock(4, 3, 1, activation="hardswish", dropout=0.5).build().eval()
    x = torch.randn(2, 4, 7, 7)
    torch.testing.assert_close(pool(x), x.mean(dim=(2, 3)))
    weights = dense.state_dict()
    (weight,), (bias,) = ([value for key, value in weights.items() if key.endswith(end)] for end in ("weight", "bias"))
    expected = ACTIVATIONS["hardswish"](x.mean(dim=(2, 3)) @ weight.T + bias)
    torch.testing.assert_close(dense(pool(x)), expected)


def test_a_network_runs_its_blocks_one_after_another_and_backwards() -> None:
    spec = StagedNetwork.from_strings(
        "cn_k3_s2_c8", ("ir_r2_k3_s2_e2_c8_se",), ("pool", "fc"), resolution=17, num_classes=3
    )
    torch.manual_seed(0)
    network = spec.build()
    x = torch.randn(4, 3, 17, 17)
    by_hand = x
    network.eval()
    for module in network.children():
        by_hand = module(by_hand)
    torch.testing.assert_close(network(x), by_hand)
    network.train()(x).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())
