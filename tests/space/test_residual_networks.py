"""ResNet, ResNeXt, RegNet and ConvNeXt against counts published by others, and their modules against equations."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from nas.errors import NasError
from nas.nn import GlobalResponseNorm, LayerScale, SimpleNorm
from nas.space import Block, NetworkSpec
from nas.space.regnet import RegNet
from nas.space.residual_blocks import BasicBlock, BottleneckBlock, ConvNeXtBlock, PatchMergingBlock
from nas.space.residual_network import ResidualNetwork
from search_spaces.convnext import CONVNEXT
from search_spaces.published import convnext, residual

NETWORKS = residual.NETWORKS | convnext.NETWORKS
COUNTS = Path(residual.__file__).parent / "counts"

PYCLS = {"resnet50": "ResNet-50", "resnet101": "ResNet-101", "resnet152": "ResNet-152"}
PYCLS |= {"resnext50_32x4d": "ResNeXt-50", "resnext101_32x4d": "ResNeXt-101", "resnext152_32x4d": "ResNeXt-152"}
SIZES = {
    "002": "200MF", "004": "400MF", "006": "600MF", "008": "800MF", "016": "1.6GF", "032": "3.2GF",
    "040": "4.0GF", "064": "6.4GF", "080": "8.0GF", "120": "12GF", "160": "16GF", "320": "32GF",
}  # fmt: skip
PYCLS |= {f"regnet{kind}_{ours}": f"RegNet{kind.upper()}-{size}" for kind in "xy" for ours, size in SIZES.items()}

#: published counts that ours do not round to; 4.47 is what counters give that include layer normalisation
DIFFERS = [("convnextv2_tiny", "macs", "4.47")]


@pytest.mark.parametrize("name", PYCLS)
def test_every_column_of_the_pycls_zoo(name: str, data_dir: Path) -> None:
    """pycls adds one for each output with a bias, and counts what convolutions, max pool and fc give as activations."""
    row = pd.read_csv(data_dir / "published" / "pycls_zoo.csv").set_index("model").loc[PYCLS[name]]
    spec = NETWORKS[name]
    layers = spec.layers()
    biased = sum(layer.out_elements for layer in layers if layer.bias)
    activations = sum(layer.out_elements for layer in layers if layer.op in ("conv", "linear", "max_pool"))
    cost = spec.cost()
    assert (cost["params"], cost["macs"] + biased, activations) == (row["params"], row["flops"], row["acts"])


def test_published_counts_to_the_printed_digit() -> None:
    rows = pd.concat([pd.read_csv(COUNTS / f"{family}.csv", dtype=str) for family in ("residual", "convnext")])
    assert set(rows.network) == set(NETWORKS)
    wrong = []
    for row in rows.itertuples():
        decimals = len(row.value.partition(".")[2])
        if f"{NETWORKS[row.network].cost()[row.quantity] / float(row.unit):.{decimals}f}" != row.value:
            wrong.append((row.network, row.quantity, row.value))
    assert wrong == DIFFERS
    whole = set(rows.network[rows.unit == "1"])
    assert set(NETWORKS) - whole == {"convnext_atto", "convnext_femto", "convnext_pico", "convnext_xxlarge"}


def test_regnet_stages_of_the_paper() -> None:
    """Two of the block diagrams of the RegNet paper: blocks, widths, group width."""
    assert residual.NETWORKS["regnetx_032"].stages == (  # type: ignore[attr-defined]
        (2, 96, 48), (6, 192, 48), (15, 432, 48), (2, 1008, 48),
    )  # fmt: skip
    assert [stage[:2] for stage in residual.NETWORKS["regnety_080"].stages] == [  # type: ignore[attr-defined]
        (2, 168), (4, 448), (10, 896), (1, 2016),
    ]  # fmt: skip


#: class of a module -> what it is called in a trace
OPERATIONS: dict[type[nn.Module], str] = {
    nn.Conv2d: "conv", nn.Linear: "linear", nn.BatchNorm2d: "batch_norm", nn.BatchNorm1d: "batch_norm",
    nn.LayerNorm: "layer_norm", nn.ReLU: "act", nn.GELU: "act", nn.Sigmoid: "act", nn.MaxPool2d: "max_pool",
    nn.AdaptiveAvgPool2d: "pool", GlobalResponseNorm: "grn", LayerScale: "scale", SimpleNorm: "simple_norm",
}  # fmt: skip


def operations(spec: NetworkSpec) -> list[tuple[str, int]]:
    """Operation and elements of the output of every module, in the order in which the built network runs them."""
    seen: list[tuple[str, int]] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.extend((name, output.numel()) for kind, name in OPERATIONS.items() if isinstance(module, kind))

    with torch.device("meta"):
        network = spec.build().eval()
        for module in network.modules():
            module.register_forward_hook(note)
        logits = network(torch.empty(1, spec.in_channels, spec.resolution, spec.resolution))
    assert logits.shape == (1, spec.num_classes)
    return seen


KNOBS: list[dict[str, Any]] = [
    {"block": block, "stem": stem, "norm": norm, "downsampling": downsampling}
    for block, stem, norm, downsampling in itertools.product(
        ("basic", "bottleneck", "dw_bottleneck", "inverted", "convnext"), ("resnet", "patchify"),
        ("batch", "layer", "simple"), ("block", "separate"),
    )
] + [
    {"block": "convnext", "norms": norms, "activations": activations, "scaling": scaling, "norm": norm}
    for norms, activations, scaling, norm in itertools.product(
        (1, 3), (1, 3), ("none", "layer_scale", "grn"), ("batch", "layer", "simple")
    )
]  # fmt: skip


@pytest.mark.parametrize("knobs", KNOBS, ids=lambda knobs: "-".join(map(str, knobs.values())))
@pytest.mark.parametrize("resolution", [64, 75])
def test_a_network_runs_the_operations_it_lists_in_that_order(knobs: dict[str, Any], resolution: int) -> None:
    spec = ResidualNetwork((2, 1, 2), 8, **knobs, resolution=resolution, num_classes=3)
    listed = [(layer.op, layer.out_elements) for layer in spec.layers() if layer.op != "add"]
    assert listed == operations(spec)
    with torch.device("meta"):
        assert spec.cost()["params"] == sum(parameter.numel() for parameter in spec.build().parameters())


def test_a_regnet_runs_the_operations_it_lists_in_that_order() -> None:
    spec = NETWORKS["regnety_002"]
    listed = [(layer.op, layer.out_elements) for layer in spec.layers() if layer.op not in ("add", "mul")]
    assert listed == operations(spec)


def randomised(block: Block) -> nn.Module:
    module = block.build().double().eval()
    for value in module.state_dict().values():
        if value.is_floating_point():
            value.uniform_(0.2, 1.2)
    return module


def conv(x: Tensor, weights: list[nn.Module], **options: int) -> Tensor:
    """The next convolution, and the normalisation behind it if there is one, by their equations."""
    state = weights.pop(0).state_dict()
    x = F.conv2d(x, state["weight"], state.get("bias"), padding=state["weight"].shape[-1] // 2, **options)
    if weights and not isinstance(weights[0], nn.Conv2d):
        norm = weights.pop(0)
        if isinstance(norm, SimpleNorm):
            return x / torch.sqrt(x.var(1, keepdim=True) + 1e-6) * norm.weight[:, None, None]
        if isinstance(norm, nn.BatchNorm2d):
            mean, variance = (norm.state_dict()[key][:, None, None] for key in ("running_mean", "running_var"))
        else:
            mean, variance = x.mean(1, keepdim=True), x.var(1, unbiased=False, keepdim=True)
        scale, shift = (norm.state_dict()[key][:, None, None] for key in ("weight", "bias"))
        eps = 1e-5 if isinstance(norm, nn.BatchNorm2d) else 1e-6
        x = (x - mean) / torch.sqrt(variance + eps) * scale + shift
    return x


def weighted(module: nn.Module) -> list[nn.Module]:
    kinds = nn.Conv2d | nn.BatchNorm2d | nn.LayerNorm | SimpleNorm
    return [item for item in module.modules() if isinstance(item, kinds)]


@pytest.mark.parametrize(("stride", "out", "squeeze"), [(1, 6, 0), (1, 6, 2), (2, 12, 2), (1, 8, 0)])
def test_bottleneck(stride: int, out: int, squeeze: int) -> None:
    torch.manual_seed(0)
    block = BottleneckBlock(6, out, 9, stride, mid_channels=4, groups=2, squeeze_channels=squeeze)
    module, x = randomised(block), torch.randn(2, 6, 9, 9, dtype=torch.float64)
    weights = weighted(module)
    y = conv(x, weights).relu()
    y = conv(y, weights, stride=stride, groups=2).relu()
    if squeeze:
        gate = conv(conv(y.mean((2, 3), keepdim=True), weights).relu(), weights)
        y = y / (1 + torch.exp(-gate))
    y = conv(y, weights)
    expected = (y + (x if stride == 1 and out == 6 else conv(x, weights, stride=stride))).relu()
    with torch.no_grad():
        torch.testing.assert_close(module(x), expected)
    assert not weights
    assert expected.shape[1:] == (block.out_channels, block.out_size, block.out_size)


def test_basic_block() -> None:
    torch.manual_seed(0)
    module, x = randomised(BasicBlock(3, 5, 8, 2)), torch.randn(2, 3, 8, 8, dtype=torch.float64)
    weights = weighted(module)
    y = conv(conv(x, weights, stride=2).relu(), weights)
    with torch.no_grad():
        torch.testing.assert_close(module(x), (y + conv(x, weights, stride=2)).relu())


@pytest.mark.parametrize("scaling", ["none", "layer_scale", "grn"])
@pytest.mark.parametrize(("norm", "count"), [*itertools.product(("layer", "batch", "simple"), (1, 3))])
def test_convnext_block(scaling: str, norm: str, count: int) -> None:
    torch.manual_seed(0)
    block = ConvNeXtBlock(
        4, 4, 9, 1, norm, "gelu", mid_channels=12, kernel=5, norms=count, activations=count, scaling=scaling
    )  # fmt: skip
    module, x = randomised(block), torch.randn(2, 4, 9, 9, dtype=torch.float64)
    weights = weighted(module)
    y = conv(x, weights, groups=4)
    y = F.gelu(conv(F.gelu(y) if count == 3 else y, weights))
    named = dict(module.named_parameters())
    if scaling == "grn":
        (gain, shift) = (named[f"body.2.{key}"] for key in ("weight", "bias"))
        norms = y.square().sum((2, 3), keepdim=True).sqrt()
        y = y + gain * y * norms / (norms.mean(1, keepdim=True) + 1e-6) + shift
    y = conv(y, weights)
    if scaling == "layer_scale":
        y = named["body.3.weight"] * y
    with torch.no_grad():
        torch.testing.assert_close(module(x), F.gelu(x + y) if count == 3 else x + y)
    assert not weights


def test_patch_merging_drops_an_odd_row() -> None:
    torch.manual_seed(0)
    block = PatchMergingBlock(3, 4, 7, "batch")
    module, x = randomised(block), torch.randn(1, 3, 7, 7, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(module(x), module(x[..., :6, :6]))
    assert module(x).shape[2:] == (block.out_size, block.out_size) == (3, 3)


def test_peak_memory_by_hand() -> None:
    # ConvNeXt-T, stage 1: the input waits, the first 1×1 convolution reads 96 channels and writes 384.
    wide = ConvNeXtBlock(96, 96, 56, 1, "layer", "gelu", mid_channels=384)
    assert wide.peak_activation_bytes == 4 * (96 + 96 + 384) * 56**2
    # ResNet-50, first block of stage 2: at the end the input, the output and the shortcut are alive. Were the shortcut
    # computed first, it would wait during the 3×3 convolution besides the input, with 128 channels in and 128 out.
    first = BottleneckBlock(256, 512, 56, 2, mid_channels=128)
    assert first.peak_activation_bytes == 4 * (256 * 56**2 + 2 * 512 * 28**2)
    assert first.peak_activation_bytes < 4 * (256 * 56**2 + 512 * 28**2 + 128 * 56**2 + 128 * 28**2)
    # ResNet-50, stem: the convolution's output and the pool's.
    stem = NETWORKS["resnet50"].blocks[0]
    assert stem.peak_activation_bytes == 4 * 64 * (112**2 + 56**2)


SMALL: dict[str, Any] = {"depths": (2, 1), "width": 8}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"block": "botleneck"}, "did you mean 'bottleneck'"),
        ({"kernel": 5}, "no use for kernel"),
        ({"scaling": "grn"}, "no use for scaling"),
        ({"block": "convnext", "groups": 2}, "no use for groups"),
        ({"block": "convnext", "kernel": 4}, "must be odd"),
        ({"depths": ()}, "at least one stage"),
        ({"depths": (2, 0)}, "at least one block"),
        ({"width": 0}, "width is 0"),
        ({"width": 8.5}, "width is 8.5, must be a whole number"),
        ({"groups": 3}, "do not divide into 3 groups"),
        ({"resolution": 4, "depths": (1, 1, 1)}, "raise the resolution"),
        ({"resolution": 3, "stem": "patchify", "depths": (1,)}, "raise the resolution"),
        ({"num_classes": 0}, "num_classes is 0"),
        ({"norm": "group"}, "one of batch, layer"),
    ],
)
def test_networks_that_cannot_exist(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(NasError, match=message):
        ResidualNetwork(**(SMALL | changes)).nodes  # noqa: B018


@pytest.mark.parametrize("downsampling", ["block", "separate"])
@pytest.mark.parametrize("stem", ["resnet", "patchify"])
def test_the_smallest_resolution_that_is_accepted_runs(stem: Any, downsampling: Any) -> None:
    def fits(resolution: int) -> bool:
        try:
            spec = ResidualNetwork(
                (1, 1, 1), 8, stem=stem, downsampling=downsampling, resolution=resolution, num_classes=2
            )
            with torch.device("meta"):
                logits = spec.build().eval()(torch.empty(1, 3, resolution, resolution))
        except NasError:
            return False
        assert logits.shape == (1, 2)
        return True

    accepted = [resolution for resolution in range(1, 40) if fits(resolution)]
    assert accepted == list(range(accepted[0], 40))
    # Two strides follow the stem, so it has to leave 3 pixels, or 4 where downsampling drops an odd one.
    assert accepted[0] == {
        ("resnet", "block"): 9, ("resnet", "separate"): 13, ("patchify", "block"): 12, ("patchify", "separate"): 16,
    }[stem, downsampling]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"w_0": 20}, "multiple of 8"), ({"w_m": 1.0}, "w_m above 1"), ({"w_a": -1.0}, "must not be negative"),
        ({"depth": 0}, "depth is 0"), ({"group_width": 0}, "group_width is 0"),
        ({"se_ratio": 2.0}, "between 0 and 1"), ({"rounding": "up"}, "one of nearest"),
        ({"resolution": 16}, "resolution above 16"),
    ],
)  # fmt: skip
def test_regnets_that_cannot_exist(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(NasError, match=message):
        replace(NETWORKS["regnetx_002"], **changes).nodes  # noqa: B018


def test_scaling() -> None:
    tiny = ResidualNetwork((3, 3, 9, 3), 96, **CONVNEXT)
    base = tiny.scale(width=4 / 3)
    assert base == ResidualNetwork((3, 3, 9, 3), 128, **CONVNEXT)
    assert tiny.scale(depth=1.1, resolution=288) == ResidualNetwork((4, 4, 10, 4), 96, **CONVNEXT, resolution=288)
    grouped = NETWORKS["resnext50_32x4d"].scale(width=1.2)
    assert isinstance(grouped, ResidualNetwork)
    # 76.8 channels; 80, not 72, as twice as many must divide into 32 groups
    assert grouped.width == 80
    assert grouped.cost()["params"] > NETWORKS["resnext50_32x4d"].cost()["params"]
    regnet = NETWORKS["regnetx_032"]
    assert isinstance(regnet, RegNet)
    assert regnet.scale() == regnet
    deeper = regnet.scale(depth=2.0)
    assert (deeper.depth, deeper.stages[0][1], deeper.stages[-1][1]) == (50, 96, 1008)
    assert 1.9 < regnet.scale(width=2.0).stages[-1][1] / 1008 < 2.1
    for spec in (tiny, regnet):
        with pytest.raises(NasError, match="positive"):
            spec.scale(depth=0)
