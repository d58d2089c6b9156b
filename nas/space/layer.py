"""The primitive operations networks are made of, each with its closed-form cost.

Two counting conventions of multiply-adds are in use and both are named wherever a count is shown:

`macs`
    Multiply-adds of convolutions and fully connected layers, those of squeeze-and-excite included. Bias,
    normalisation, activation, pooling and element-wise operations are not counted. This is the convention of the
    EfficientNet and MobileNet papers ("FLOPs" there), to within the squeeze-and-excite convolutions.
`macs_thop`
    What the widely used counter THOP 0.1 (pytorch-OpCounter) prints: the above, plus 4 for every element that
    passes an affine batch normalisation, plus (k + 1) for every output element of an adaptive average pool over
    k inputs and 1 for every one of any other average pool. The multiply-adds of Accel-NASBench are counted so.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

#: "pool" is the global average pool, "mul" the gating of squeeze-and-excite, "add" a sum of tensors, "scale" a factor
#: for each channel (layer scale), "grn" global response normalisation, "zeros" a tensor of zeros
Op = Literal[
    "conv", "linear", "batch_norm", "layer_norm", "simple_norm", "act", "pool", "max_pool", "avg_pool", "mul", "add",
    "concat", "scale", "grn", "shuffle", "pad", "zeros",
]  # fmt: skip

#: operations that may write their result over an input nobody else reads, as inference runtimes do
IN_PLACE: frozenset[Op] = frozenset({"batch_norm", "layer_norm", "simple_norm", "act", "mul", "add", "scale", "grn"})

#: trainable parameters for each channel, besides those of convolutions and linear layers
_PARAMS_PER_CHANNEL: dict[Op, int] = {"batch_norm": 2, "layer_norm": 2, "simple_norm": 1, "grn": 2, "scale": 1}

#: bytes of an activation or weight element in float32
FLOAT_BYTES = 4


class Layer(NamedTuple):
    """One primitive operation on feature maps, square ones but inside a pair of 1×k and k×1 convolutions.

    Args:
        op: what it does.
        inputs: the tensors it reads: i is the output of layer i of the same list, -1, -2 ... what enters from outside.
        in_channels, out_channels: channels of the first input and of the output.
        in_size, out_size: height and width of the first input and of the output, in pixels.
        kernel, stride, groups: of a convolution or pool, 1 elsewhere.
        in_width, out_width, kernel_width: where the width is not the height; None where it is.
        bias: whether a convolution or linear layer adds a bias.
        function: name of the activation of an "act".
    """

    op: Op
    inputs: tuple[int, ...]
    in_channels: int
    out_channels: int
    in_size: int
    out_size: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    bias: bool = False
    function: str = ""
    in_width: int | None = None
    out_width: int | None = None
    kernel_width: int | None = None

    @property
    def in_elements(self) -> int:
        return self.in_channels * self.in_size * (self.in_width or self.in_size)

    @property
    def out_elements(self) -> int:
        return self.out_channels * self._out_pixels

    @property
    def params(self) -> int:
        """Trainable parameters."""
        if self.op in ("conv", "linear"):
            return self._weights + self.bias * self.out_channels
        return _PARAMS_PER_CHANNEL.get(self.op, 0) * self.out_channels

    @property
    def macs(self) -> int:
        """Multiply-adds of convolutions and linear layers for one image."""
        return self._weights * self._out_pixels if self.op in ("conv", "linear") else 0

    @property
    def macs_thop(self) -> int:
        """Multiply-adds for one image as THOP 0.1 counts them."""
        if self.op == "batch_norm":
            return 4 * self.out_elements
        if self.op == "pool":
            return (self.in_size**2 + 1) * self.out_channels
        if self.op == "avg_pool":
            return self.out_elements
        return self.macs

    @property
    def is_depthwise(self) -> bool:
        return self.op == "conv" and self.groups > 1 and self.groups == self.in_channels

    @property
    def _weights(self) -> int:
        return self.in_channels // self.groups * self.out_channels * self.kernel * (self.kernel_width or self.kernel)

    @property
    def _out_pixels(self) -> int:
        return self.out_size * (self.out_width or self.out_size)
