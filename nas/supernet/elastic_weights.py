"""The weights of a step at their largest, and what of them a smaller block takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nas.nn.blocks import ACTIVATIONS, SqueezeExcite
from nas.nn.residual import GlobalResponseNorm, LayerNorm2d, LayerScale, SimpleNorm
from nas.supernet.elastic_anatomy import Kind, Piece, Step


def leading(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """Return the leading channels of a tensor, and the centre of its kernel (axes 2 and 3)."""
    for axis, size in enumerate(shape):
        whole = tensor.shape[axis]
        if size != whole:
            tensor = tensor.narrow(axis, 0 if axis < 2 else (whole - size) // 2, size)
    return tensor


class SharedConvolution(nn.Module):
    """A convolution, or a linear layer, at its largest, and how smaller kernels come from it.

    A kernel is the centre of the next larger one, as once-for-all networks have it (Cai et al., ICLR 2020, sec. 3.3),
    with `transforms` times a trained matrix that starts as the identity.
    """

    def __init__(self, pieces: Sequence[Piece], transforms: bool):
        super().__init__()
        first = pieces[0]
        inputs, outputs = _most(pieces, "in_channels"), _most(pieces, "out_channels")
        self.sizes = sorted({piece.kernel for piece in pieces}, reverse=True)
        bias = any(piece.bias for piece in pieces)
        self.largest: nn.Conv2d | nn.Linear
        if first.op == "linear":
            self.largest = nn.Linear(inputs, outputs, bias)
        else:
            groups = outputs if first.is_depthwise else first.groups
            self.largest = nn.Conv2d(inputs, outputs, self.sizes[0], groups=groups, bias=bias)
        self.transforms = nn.ParameterDict()
        if transforms:
            for large, small in zip(self.sizes, self.sizes[1:], strict=False):
                self.transforms[f"from{large}to{small}"] = nn.Parameter(torch.eye(small * small))

    def weight(self, outputs: int, inputs: int, kernel: int) -> Tensor:
        """Return the weight of so many channels, the inputs those of one group, with a kernel of one size."""
        weight = leading(self.largest.weight, (outputs, inputs))
        for large, small in zip(self.sizes, self.sizes[1:], strict=False):
            if large <= kernel:
                break
            weight = leading(weight, (outputs, inputs, small, small))
            if self.transforms:
                weight = (weight.flatten(2) @ self.transforms[f"from{large}to{small}"]).view_as(weight)
        return weight

    def bias(self, outputs: int) -> Tensor:
        assert self.largest.bias is not None
        return self.largest.bias[:outputs]

    def state(self, piece: Piece) -> Iterator[tuple[str, Tensor]]:
        """Yield the state of a piece by the names that its own module has for it."""
        yield "weight", self.weight(piece.out_channels, piece.in_channels // piece.groups, piece.kernel)
        if piece.bias:
            yield "bias", self.bias(piece.out_channels)


class SharedNorms(nn.ModuleDict):
    """A normalisation at its widest; every kind of it has own weights."""

    def __init__(self, pieces: Sequence[Piece], eps: float):
        super().__init__()
        for op in dict.fromkeys(piece.op for piece in pieces):
            widest = _most([piece for piece in pieces if piece.op == op], "out_channels")
            if op == "batch_norm":
                self[op] = nn.BatchNorm2d(widest, eps)
            else:
                self[op] = LayerNorm2d(widest) if op == "layer_norm" else SimpleNorm(widest)

    def apply_to(self, x: Tensor, op: str) -> Tensor:
        """Normalise x, with the leading channels of the weights; a batch normalisation keeps statistics of those."""
        norm, channels = self[op], x.shape[1]
        if isinstance(norm, nn.LayerNorm):
            weight, bias = _of(norm.weight, channels), _of(norm.bias, channels)
            return functional.layer_norm(x.movedim(1, -1), (channels,), weight, bias, norm.eps).movedim(-1, 1)
        if isinstance(norm, SimpleNorm):
            scale = torch.rsqrt(x.var(1, keepdim=True) + 1e-6)
            return x * scale * norm.weight[:channels].view(-1, *[1] * (x.dim() - 2))
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.num_batches_tracked is not None
        momentum = norm.momentum
        if self.training:
            norm.num_batches_tracked.add_(1)
            momentum = 1 / int(norm.num_batches_tracked) if momentum is None else momentum
        return functional.batch_norm(
            x, _of(norm.running_mean, channels), _of(norm.running_var, channels), _of(norm.weight, channels),
            _of(norm.bias, channels), self.training, momentum or 0.0, norm.eps,
        )  # fmt: skip

    def state(self, piece: Piece) -> Iterator[tuple[str, Tensor]]:
        for name, tensor in self[piece.op].state_dict(keep_vars=True).items():
            yield name, leading(tensor, (piece.out_channels,) if tensor.dim() else ())


class SharedSqueezeExcite(nn.Module):
    """Squeeze-and-excite at its widest."""

    def __init__(self, pieces: Sequence[Piece]):
        super().__init__()
        self.largest = SqueezeExcite(
            _most(pieces, "out_channels"), _most(pieces, "squeeze"), pieces[0].function, pieces[0].gate
        )

    def gate(self, x: Tensor, squeeze: int, mask: Tensor | None) -> Tensor:
        """Return the gates of x, through a bottleneck of so many channels, of which a mask may weigh each."""
        se, channels = self.largest, x.shape[1]
        pooled = functional.adaptive_avg_pool2d(x, 1)
        narrow = leading(se.reduce.weight, (squeeze, channels))
        reduced = se.activation(functional.conv2d(pooled, narrow, _of(se.reduce.bias, squeeze)))
        if mask is not None:
            reduced = reduced * mask
        expand = leading(se.expand.weight, (channels, squeeze))
        gates: Tensor = se.gate(functional.conv2d(reduced, expand, _of(se.expand.bias, channels)))
        return gates

    def state(self, piece: Piece) -> Iterator[tuple[str, Tensor]]:
        """Yield the state of a piece, of both convolutions one after the other."""
        se, channels = self.largest, piece.out_channels
        yield "weight", leading(se.reduce.weight, (piece.squeeze, channels))
        yield "bias", _of(se.reduce.bias, piece.squeeze)
        yield "weight", leading(se.expand.weight, (channels, piece.squeeze))
        yield "bias", _of(se.expand.bias, channels)


class SharedScale(nn.Module):
    """Layer scale, or global response normalisation, at its widest."""

    def __init__(self, pieces: Sequence[Piece]):
        super().__init__()
        channels = _most(pieces, "out_channels")
        self.largest = LayerScale(channels) if pieces[0].op == "scale" else GlobalResponseNorm(channels)

    def apply_to(self, x: Tensor) -> Tensor:
        """Scale x with the leading channels of the weights."""
        shape = (1, x.shape[1])
        weight = leading(self.largest.weight, shape)
        if isinstance(self.largest, LayerScale):
            return x * weight
        norm = torch.linalg.vector_norm(x, dim=(2, 3), keepdim=True)
        share = norm / (norm.mean(dim=1, keepdim=True) + 1e-6)
        return torch.addcmul(leading(self.largest.bias, shape), x, 1 + weight * share)

    def state(self, piece: Piece) -> Iterator[tuple[str, Tensor]]:
        for name, tensor in self.largest.state_dict(keep_vars=True).items():
            yield name, leading(tensor, (1, piece.out_channels))


#: one module of each activation function; they have no state
_FUNCTIONS = {name: function() for name, function in ACTIVATIONS.items()}

Shared = SharedConvolution | SharedNorms | SharedSqueezeExcite | SharedScale


def shared_weights(step: Step, pieces: Sequence[Piece], norm_eps: float, transforms: bool) -> Shared | None:
    """Return the weights of a step that blocks of one signature share; None where it has none."""
    match step.kind:
        case Kind.CONV:
            return SharedConvolution(pieces, transforms)
        case Kind.NORM:
            return SharedNorms(pieces, norm_eps)
        case Kind.SE:
            return SharedSqueezeExcite(pieces)
        case Kind.GRN | Kind.SCALE:
            return SharedScale(pieces)
    return None


def activate(x: Tensor, function: str) -> Tensor:
    activated: Tensor = _FUNCTIONS[function](x)
    return activated


def _most(pieces: Sequence[Piece], field: str) -> int:
    return max(int(getattr(piece, field)) for piece in pieces)


def _of(tensor: Tensor | None, channels: int) -> Tensor:
    assert tensor is not None
    return tensor if len(tensor) == channels else tensor[:channels]
