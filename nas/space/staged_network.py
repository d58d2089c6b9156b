"""StagedNetwork: a stem, stages of layers and a head, one block after the other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal

from nas.errors import NasError, suggestion
from nas.space.block import NORM_EPS, Block, DenseBlock, PoolBlock
from nas.space.mbconv_blocks import ConvBlock, FusedMBConvBlock, InvertedResidualBlock, same_padding
from nas.space.mobile_blocks import (
    DepthwiseSeparableBlock,
    IdentityBlock,
    NormDenseBlock,
    UniversalInvertedBottleneckBlock,
)
from nas.space.network import NetworkSpec, Node, chain, check_multipliers, round_channels, scaled_depth
from nas.space.notation import ACTIVATION_TOKENS, BLOCK_TYPES, parse_block


@dataclass(frozen=True)
class SqueezeExciteRule:
    """How wide the squeeze-and-excite bottleneck is, and its two functions.

    EfficientNet and MnasNet take `ratio` of the channels that enter the block, MobileNetV3 of the expanded ones,
    rounded to a multiple of 8.
    """

    ratio: float = 0.25
    of: Literal["input", "expanded"] = "input"
    divisor: int = 1
    activation: str = "silu"
    gate: str = "sigmoid"

    def squeeze_channels(self, in_channels: int, mid_channels: int) -> int:
        wide = in_channels if self.of == "input" else mid_channels
        if self.divisor == 1:
            return max(1, int(wide * self.ratio))
        return round_channels(wide * self.ratio, self.divisor)


@dataclass(frozen=True)
class LayerSpec:
    """One block before its shapes are known; what one block string says, except how often it is repeated.

    Properties that blocks of this kind do not have (see `BLOCK_TYPES`) are ignored: equal layers are equal whatever
    was said about them.
    """

    kind: str
    channels: int = 0
    kernel: int = 1
    stride: int = 1
    expand: float = 1
    se: int = 0
    activation: str = ""
    groups: int = 1
    start_kernel: int = 0

    def __post_init__(self) -> None:
        if self.kind in BLOCK_TYPES:
            known = {"kind"} | {token.name for token in BLOCK_TYPES[self.kind].values()}
            for item in fields(self):
                if item.name not in known:
                    object.__setattr__(self, item.name, item.default)

    def widened(self, width: float) -> LayerSpec:
        """Return the layer with its channels × `width`, rounded to 8; one without channels of its own as it is."""
        return replace(self, channels=round_channels(self.channels * width)) if self.channels else self

    def __str__(self) -> str:
        parts = [self.kind]
        for letter, token in BLOCK_TYPES.get(self.kind, {}).items():
            value = getattr(self, token.name, None)
            if letter == "n":
                parts += [f"n{short}" for short, name in ACTIVATION_TOKENS.items() if name == value]
            elif letter == "se":
                parts += ["se"] * bool(value)
            elif value is not None and (letter, value) not in (("c", 0), ("g", 1)):
                parts.append(f"{letter}{value:g}")
        return "_".join(parts)


def layer_specs(text: str) -> tuple[LayerSpec, ...]:
    """Return the layers of one block string without choices; the stride belongs to the first of them.

    Raises:
        NasError: the string is malformed or leaves a choice open.
    """
    pattern = parse_block(text)
    if pattern.open():
        raise NasError(f"block {text!r} leaves {', '.join(pattern.open())} open; a network needs single values")
    fixed: dict[str, Any] = pattern.fixed()
    repeats = fixed.pop("layers", 1)
    first = LayerSpec(pattern.kind, **fixed)
    return (first, *[replace(first, stride=1)] * (repeats - 1))


def _check_activation(name: str) -> None:
    if name not in ACTIVATION_TOKENS.values():
        raise NasError(f"unknown activation {name!r}{suggestion(name, ACTIVATION_TOKENS.values())}")


def _check_layer(layer: LayerSpec, in_channels: int, in_size: int) -> None:
    """Refuse a layer that cannot follow a feature map of `in_channels` × `in_size` × `in_size`."""
    if layer.kind not in BLOCK_TYPES:
        raise NasError(f"{layer} is of no known block type; known: {', '.join(BLOCK_TYPES)}")
    if layer.activation:
        _check_activation(layer.activation)
    if layer.kind == "id" and (layer.stride != 1 or layer.channels not in (0, in_channels)):
        raise NasError(f"{layer} cannot follow {in_channels} channels: an identity has stride 1 and keeps the width")
    if layer.kind not in ("pool", "fc", "id"):
        _check_convolution(layer, in_size)


def _check_convolution(layer: LayerSpec, in_size: int) -> None:
    if layer.channels < 1:
        raise NasError(f"{layer} has {layer.channels} channels, needs at least 1")
    kernels = (layer.kernel, layer.start_kernel) if layer.kind == "ui" else (layer.kernel,)
    for kernel in kernels:
        if (kernel < 1 or kernel % 2 == 0) and not (kernel == 0 and layer.kind == "ui"):
            raise NasError(f"{layer} has kernel {kernel}, needs an odd one")
    if not 1 <= layer.stride <= in_size:
        raise NasError(f"{layer} strides over a {in_size}×{in_size} feature map; raise the resolution")
    if layer.stride > 1 and not any(kernels):
        raise NasError(f"{layer} has stride {layer.stride} but no depthwise convolution; give 'a' or 'k' a kernel")
    if layer.expand <= 0:
        raise NasError(f"{layer} has expansion {layer.expand:g}, needs a positive one")


def _expanded(layer: LayerSpec, in_channels: int) -> int:
    """Channels after the expansion of a layer."""
    return in_channels if layer.expand == 1 else round_channels(in_channels * layer.expand)


@dataclass(frozen=True)
class StagedNetwork(NetworkSpec):
    """A network as a sequence of blocks.

    Args:
        stem, head: blocks before and after the stages; the last "fc" without a width has `num_classes` outputs.
        stages: for every stage its layers in order.
        activation: used where a layer names none.
        se: rule for the layers that have squeeze-and-excite.
        padding: "symmetric", half the kernel on each side; or "same", TensorFlow's, which weights trained there need.
        expand_at_one: MBConv keeps its pointwise expansion where the ratio is 1, as in timm's FBNet-C; the code that
            FBNet's authors released leaves it out.
        bias_after_pool: fully connected layers before the last have a bias; those of once-for-all networks have none.
        norm_after_pool: fully connected layers before the last have batch normalisation in place of a bias, as in
            MobileNetV4.
    """

    stem: tuple[LayerSpec, ...]
    stages: tuple[tuple[LayerSpec, ...], ...]
    head: tuple[LayerSpec, ...]
    activation: str = "relu"
    se: SqueezeExciteRule = SqueezeExciteRule()
    norm_eps: float = NORM_EPS
    padding: Literal["symmetric", "same"] = "symmetric"
    expand_at_one: bool = False
    bias_after_pool: bool = True
    norm_after_pool: bool = False

    @classmethod
    def from_strings(cls, stem: str, stages: Iterable[str], head: Iterable[str], **options: Any) -> StagedNetwork:
        """Build a spec from block strings: one for the stem, one a stage, one for every block of the head.

        Blanks separate the strings of a stage that has several, as in "ir_k5_s2_e6_c32 ir_k5_e3_c32".
        """
        return cls(
            stem=layer_specs(stem),
            stages=tuple(tuple(layer for text in stage.split() for layer in layer_specs(text)) for stage in stages),
            head=tuple(layer for text in head for layer in layer_specs(text)),
            **options,
        )

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        self._check_counts()
        _check_activation(self.activation)
        parts = [("stem", self.stem)]
        parts += [(f"stage{i}", stage) for i, stage in enumerate(self.stages, start=1)]
        parts.append(("head", self.head))
        blocks: list[tuple[str, Block]] = []
        channels, size = self.in_channels, self.resolution
        for label, layers in parts:
            for layer in layers:
                flat = bool(blocks) and isinstance(blocks[-1][1], PoolBlock | DenseBlock | NormDenseBlock)
                if flat != (layer.kind == "fc"):
                    raise NasError(f"{layer} cannot stand here: 'fc' blocks, and no others, come after the pool")
                block = self.resolve(layer, channels, size)
                blocks.append((label, block))
                channels, size = block.out_channels, block.out_size
        return chain(blocks)

    def resolve_all(self, layers: Iterable[LayerSpec], in_channels: int, in_size: int) -> list[Block]:
        """Return the blocks of consecutive layers, the first of them on an input of the given shape."""
        blocks: list[Block] = []
        for layer in layers:
            blocks.append(self.resolve(layer, in_channels, in_size))
            in_channels, in_size = blocks[-1].out_channels, blocks[-1].out_size
        return blocks

    def resolve(self, layer: LayerSpec, in_channels: int, in_size: int) -> Block:
        """Return the block that `layer` is on an input of `in_channels` × `in_size` × `in_size`."""
        _check_layer(layer, in_channels, in_size)
        shape = in_channels, layer.channels or in_channels, in_size
        activation = layer.activation or self.activation
        match layer.kind:
            case "pool":
                return PoolBlock(*shape)
            case "fc":
                return self._dense(layer, in_channels, activation)
            case "id":
                return IdentityBlock(*shape)
        spatial: dict[str, Any] = {
            "kernel": layer.kernel,
            "stride": layer.stride,
            "activation": activation,
            "norm_eps": self.norm_eps,
            "padding": self._block_padding(layer.kernel, layer.stride, in_size),
        }
        match layer.kind:
            case "cn":
                return ConvBlock(*shape, **spatial)
            case "ds":
                return DepthwiseSeparableBlock(*shape, **spatial)
            case "er":
                mid = _expanded(layer, in_channels)
                return FusedMBConvBlock(*shape, mid, **spatial | self._squeeze_excite(layer, in_channels, mid))
            case "ui":
                return self._universal(layer, shape, spatial)
        return self._inverted_residual(layer, shape, spatial)

    def _dense(self, layer: LayerSpec, in_channels: int, activation: str) -> Block:
        if not layer.channels:
            return DenseBlock(in_channels, self.num_classes, 1, dropout=self.dropout)
        if self.norm_after_pool:
            return NormDenseBlock(in_channels, layer.channels, 1, activation=activation, norm_eps=self.norm_eps)
        return DenseBlock(in_channels, layer.channels, 1, activation=activation, bias=self.bias_after_pool)

    def _inverted_residual(self, layer: LayerSpec, shape: tuple[int, int, int], spatial: dict[str, Any]) -> Block:
        in_channels, out_channels, _ = shape
        mid = _expanded(layer, in_channels)
        if any(channels % layer.groups for channels in (in_channels, mid, out_channels)):
            raise NasError(f"{layer} on {in_channels} channels: {layer.groups} groups must divide all its widths")
        return InvertedResidualBlock(
            *shape,
            mid_channels=mid,
            groups=layer.groups,
            always_expand=self.expand_at_one and mid == in_channels,
            **spatial | self._squeeze_excite(layer, in_channels, mid),
        )

    def _universal(self, layer: LayerSpec, shape: tuple[int, int, int], spatial: dict[str, Any]) -> Block:
        start_stride = 1 if layer.kernel else layer.stride
        start = self._block_padding(layer.start_kernel, start_stride, shape[-1])
        return UniversalInvertedBottleneckBlock(
            *shape,
            mid_channels=_expanded(layer, shape[0]),
            start_kernel=layer.start_kernel,
            start_padding=start if layer.start_kernel else None,
            **spatial | {"padding": spatial["padding"] if layer.kernel else None},
        )

    def _squeeze_excite(self, layer: LayerSpec, in_channels: int, mid_channels: int) -> dict[str, Any]:
        """The squeeze-and-excite of a block; without it its functions are no part of the block."""
        if not layer.se:
            return {}
        return {
            "squeeze_channels": self.se.squeeze_channels(in_channels, mid_channels),
            "se_activation": self.se.activation,
            "se_gate": self.se.gate,
        }

    def _block_padding(self, kernel: int, stride: int, in_size: int) -> tuple[int, int] | None:
        """The padding of a spatial convolution; None where it is half the kernel on each side."""
        half = (kernel // 2, kernel // 2)
        padding = half if self.padding == "symmetric" else same_padding(in_size, kernel, stride)
        return None if padding == half else padding

    def scale(
        self, depth: float = 1.0, width: float = 1.0, resolution: int | None = None, scale_head: bool = True
    ) -> StagedNetwork:
        """Return a bigger or smaller network: repeats × depth rounded up, channels × width rounded to 8.

        A stage that grows repeats its last layer. The stem's width scales, the head's unless `scale_head` is False
        (MobileNets below width 1 keep theirs), classes do not. This is the rounding of EfficientNet (Tan & Le, 2019).
        """
        check_multipliers(depth, width)

        def widen(layers: tuple[LayerSpec, ...]) -> tuple[LayerSpec, ...]:
            return tuple(layer.widened(width) for layer in layers)

        def deepen(layers: tuple[LayerSpec, ...]) -> tuple[LayerSpec, ...]:
            count = scaled_depth(len(layers), depth)
            # A network cannot lose its stride, so the first layer always stays.
            return layers[:count] + (replace(layers[-1], stride=1),) * (count - len(layers))

        return replace(
            self,
            stem=widen(self.stem),
            stages=tuple(widen(deepen(stage)) for stage in self.stages),
            head=widen(self.head) if scale_head else self.head,
            resolution=self.resolution if resolution is None else resolution,
            name="",
            source="",
        )
