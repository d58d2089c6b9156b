"""The primitive operations networks are made of, each with its closed-form cost.

Two counting conventions of multiply-adds are in use and both are named wherever a count is shown:

`macs`
    Multiply-adds of convolutions and fully connected layers, those of squeeze-and-excite included. Bias,
    normalisation, activation, pooling and element-wise operations are not counted. This is the convention of the
    EfficientNet and MobileNet papers ("FLOPs" there), to within the squeeze-and-excite convolutions.
`macs_thop`
    What the widely used counter THOP 0.1 (pytorch-OpCounter) prints: the above, plus 4 for every element that
    passes an affine batch normalisation, plus (k + 1) for every output element of an adaptive average pool over
    k inputs. The multiply-adds of Accel-NASBench are counted so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Op = Literal["conv", "linear", "norm", "act", "pool", "mul", "add"]

#: bytes of an activation or weight element in float32
FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One primitive operation on square feature maps.

    Args:
        op: what it does; "pool" is the global average pool, "mul" the gating of squeeze-and-excite, "add" a residual.
        in_channels, out_channels: channels read and written.
        in_size, out_size: height and width read and written, in pixels.
        kernel, stride, groups: of a convolution, 1 elsewhere.
        bias: whether a convolution or linear layer adds a bias.
        function: name of the activation of an "act".
        held: elements of other tensors that must stay in memory meanwhile (the residual branch).
    """

    op: Op
    in_channels: int
    out_channels: int
    in_size: int
    out_size: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    bias: bool = False
    function: str = ""
    held: int = 0

    @property
    def in_elements(self) -> int:
        return self.in_channels * self.in_size**2

    @property
    def out_elements(self) -> int:
        return self.out_channels * self.out_size**2

    @property
    def params(self) -> int:
        """Trainable parameters."""
        if self.op in ("conv", "linear"):
            return self._weights + self.bias * self.out_channels
        return 2 * self.out_channels if self.op == "norm" else 0

    @property
    def macs(self) -> int:
        """Multiply-adds of convolutions and linear layers for one image."""
        return self._weights * self.out_size**2 if self.op in ("conv", "linear") else 0

    @property
    def macs_thop(self) -> int:
        """Multiply-adds for one image as THOP 0.1 counts them."""
        if self.op == "norm":
            return 4 * self.out_elements
        if self.op == "pool":
            return (self.in_size**2 + 1) * self.out_channels
        return self.macs

    @property
    def live_bytes(self) -> int:
        """Bytes of activations alive while the layer runs, float32, batch 1.

        Normalisation, activation, gating and the residual addition work in place, as inference runtimes do.
        """
        in_place = self.op in ("norm", "act", "mul", "add")
        own = self.out_elements if in_place else self.in_elements + self.out_elements
        return FLOAT_BYTES * (own + self.held)

    @property
    def is_depthwise(self) -> bool:
        return self.op == "conv" and self.groups > 1 and self.groups == self.in_channels

    @property
    def _weights(self) -> int:
        return self.in_channels // self.groups * self.out_channels * self.kernel**2
