"""Running a block on shapes instead of numbers: which operations happen, in which order, on which tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nas.space.layer import FLOAT_BYTES, IN_PLACE, Layer, Op

#: what of a layer bears on memory: whether it may write over an input, the tensors it reads, elements it writes
Step = tuple[bool, tuple[int, ...], int]

#: kinds of normalisation
NORMS: dict[str, Op] = {"batch": "batch_norm", "layer": "layer_norm", "simple": "simple_norm"}


def downsampled(size: int, stride: int) -> int:
    """Output height or width of a "same"-padded convolution with an odd kernel."""
    return -(-size // stride)


@dataclass(frozen=True, slots=True)
class Tensor:
    """A feature map: which operation made it (negative: it came from outside) and its shape; `width` if not square."""

    index: int
    channels: int
    size: int
    width: int | None = None

    @property
    def elements(self) -> int:
        return self.channels * self.size * (self.width or self.size)


class Trace:
    """The layers run so far. Every method appends one operation on tensors and returns its output."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self.inputs: list[Tensor] = []

    def input(self, channels: int, size: int) -> Tensor:
        """Return a new tensor that comes from outside."""
        tensor = Tensor(-1 - len(self.inputs), channels, size)
        self.inputs.append(tensor)
        return tensor

    def conv(
        self, x: Tensor, channels: int, kernel: int = 1, stride: int = 1, *, groups: int = 1, bias: bool = False,
        out_size: int | None = None,
    ) -> Tensor:  # fmt: skip
        """Convolve; "same"-padded unless `out_size` says what else comes out."""
        size = downsampled(x.size, stride) if out_size is None else out_size
        return self._append(
            "conv", (x,), channels, size, kernel=kernel, stride=stride, groups=groups, bias=bias
        )  # fmt: skip

    def factorized_conv(
        self, x: Tensor, channels: int, kernel: int, stride: int = 1, *, between: str = "none"
    ) -> Tensor:
        """Convolve 1×k, which strides over the width, then k×1, which strides over the height; no bias.

        With the activation `between` the result of the first is batch-normalised and activated.
        """
        size = downsampled(x.size, stride)
        width = None if size == x.size else size
        y = self._append("conv", (x,), channels, x.size, stride=stride, kernel_width=kernel, width=width)
        if between != "none":
            y = self.act(self.norm(y), between)
        return self._append("conv", (y,), channels, size, kernel=kernel, stride=stride, kernel_width=1)

    def norm(self, x: Tensor, kind: str = "batch") -> Tensor:
        """Normalise by "batch" or "layer" statistics, or "simple": by the deviation alone and without a shift."""
        return self._append(NORMS[kind], (x,), x.channels, x.size)

    def act(self, x: Tensor, function: str) -> Tensor:
        """Apply an activation; "none" is no operation."""
        return x if function == "none" else self._append("act", (x,), x.channels, x.size, function=function)

    def conv_norm_act(
        self, x: Tensor, channels: int, kernel: int = 1, stride: int = 1, *, groups: int = 1, activation: str = "none"
    ) -> Tensor:
        """Convolve without bias, batch-normalise, activate."""
        return self.act(self.norm(self.conv(x, channels, kernel, stride, groups=groups)), activation)

    def pool(self, x: Tensor) -> Tensor:
        """Average over all pixels."""
        return self._append("pool", (x,), x.channels, 1)

    def window_pool(self, x: Tensor, op: Op, kernel: int, stride: int, out_size: int | None = None) -> Tensor:
        """Take "max_pool" or "avg_pool" over windows; "same"-padded unless `out_size` says what else comes out."""
        size = downsampled(x.size, stride) if out_size is None else out_size
        return self._append(op, (x,), x.channels, size, kernel=kernel, stride=stride)

    def linear(self, x: Tensor, channels: int, bias: bool = True) -> Tensor:
        """Apply a fully connected layer to a vector."""
        return self._append("linear", (x,), channels, 1, bias=bias)

    def squeeze_excite(self, x: Tensor, squeeze_channels: int, activation: str, gate: str) -> Tensor:
        """Gate the channels by global context (Hu et al., 2018)."""
        reduced = self.act(self.conv(self.pool(x), squeeze_channels, bias=True), activation)
        return self.mul(x, self.act(self.conv(reduced, x.channels, bias=True), gate))

    def mul(self, x: Tensor, gate: Tensor) -> Tensor:
        return self._append("mul", (x, gate), x.channels, x.size)

    def add(self, *tensors: Tensor) -> Tensor:
        """Sum tensors of one shape; a single one passes through."""
        return tensors[0] if len(tensors) == 1 else self._append("add", tensors, tensors[0].channels, tensors[0].size)

    def concat(self, *tensors: Tensor) -> Tensor:
        """Put the channels of tensors one after the other; a single one passes through."""
        channels = sum(tensor.channels for tensor in tensors)
        return tensors[0] if len(tensors) == 1 else self._append("concat", tensors, channels, tensors[0].size)

    def scale(self, x: Tensor) -> Tensor:
        """Multiply every channel by a trained factor."""
        return self._append("scale", (x,), x.channels, x.size)

    def grn(self, x: Tensor) -> Tensor:
        """Apply global response normalisation (Woo et al., 2023)."""
        return self._append("grn", (x,), x.channels, x.size)

    def shuffle(self, x: Tensor) -> Tensor:
        """Permute channels across groups (Zhang et al., 2018)."""
        return self._append("shuffle", (x,), x.channels, x.size)

    def pad(self, x: Tensor, size: int) -> Tensor:
        """Shift a feature map or put zeros around it, so that it is `size` high and wide."""
        return self._append("pad", (x,), x.channels, size)

    def zeros(self, channels: int, size: int) -> Tensor:
        self.layers.append(
            Layer(op="zeros", inputs=(), in_channels=0, out_channels=channels, in_size=size, out_size=size)
        )
        return Tensor(len(self.layers) - 1, channels, size)

    def peak_bytes(self, output: Tensor, in_place: bool = True) -> int:
        """Return the largest sum of activations alive at one time, see `peak_bytes`."""
        return peak_bytes(self.layers, [tensor.elements for tensor in self.inputs], [output.index], in_place)

    def _append(
        self, op: Op, inputs: Sequence[Tensor], channels: int, size: int, *, kernel: int = 1, stride: int = 1,
        groups: int = 1, bias: bool = False, function: str = "", width: int | None = None,
        kernel_width: int | None = None,
    ) -> Tensor:  # fmt: skip
        first = inputs[0]
        # What is not square stays so until a convolution makes it square again.
        width = first.width if width is None and size == first.size else width
        # By position: this runs a million times while the tables of a large space are built.
        layer = Layer(
            op, tuple([tensor.index for tensor in inputs]), first.channels, channels, first.size, size, kernel, stride,
            groups, bias, function, first.width, width, kernel_width,
        )  # fmt: skip
        self.layers.append(layer)
        return Tensor(len(self.layers) - 1, channels, size, width)


def peak_bytes(
    layers: Sequence[Layer], input_elements: Sequence[int], outputs: Iterable[int], in_place: bool = True
) -> int:
    """Return the largest sum of activations alive at one time, bytes of float32 at batch 1.

    A tensor lives from the operation that makes it (one from outside: from the start) to the last that reads it,
    the `outputs` to the end. While an operation runs, what it reads and what it writes are both alive.

    Args:
        layers: operations in order of execution.
        input_elements: elements of the tensors -1, -2, ... that come from outside.
        outputs: tensors that must survive.
        in_place: normalisation, activation, gating and addition write over an input that nobody reads afterwards, as
            inference runtimes do; False is how eager execution allocates.
    """
    return FLOAT_BYTES * peak_elements([memory_step(layer, in_place) for layer in layers], input_elements, outputs)


def memory_step(layer: Layer, in_place: bool = True) -> Step:
    """Return what of a layer bears on memory; see `peak_bytes` for `in_place`."""
    return in_place and layer.op in IN_PLACE, layer.inputs, layer.out_elements


def peak_elements(steps: Sequence[Step], input_elements: Sequence[int], outputs: Iterable[int]) -> int:
    """Return the largest number of elements alive at one time, by the rules of `peak_bytes`."""
    elements = {-1 - i: count for i, count in enumerate(input_elements)}
    elements |= {i: written for i, (_, _, written) in enumerate(steps)}
    last_read = {index: i for i, (_, inputs, _) in enumerate(steps) for index in inputs}
    last_read |= dict.fromkeys(outputs, len(steps))
    live = peak = sum(elements[index] for index in elements if index < 0 and index in last_read)
    for i, (in_place, inputs, written) in enumerate(steps):
        dying = {index for index in inputs if last_read[index] == i}
        reuses = in_place and any(elements[index] == written for index in dying)
        live += 0 if reuses else written
        peak = max(peak, live)
        live -= sum(elements[index] for index in dying) - (written if reuses else 0)
        live -= 0 if i in last_read else written
    return peak
