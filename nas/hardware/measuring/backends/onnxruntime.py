"""ONNX Runtime: models as ONNX, operator set 17."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.errors import NasError
from nas.hardware.measuring.backends.base import Backend, Workload
from nas.hardware.measuring.backends.graph import Draw, Operation, operations, padding, strides

if TYPE_CHECKING:
    import onnx

OPSET = 17
#: version of the file format: the one of the operator set, so that older runtimes on devices read it
IR_VERSION = 8
ACTIVATIONS = {"relu": "Relu", "sigmoid": "Sigmoid", "hardswish": "HardSwish", "hardsigmoid": "HardSigmoid"}


class OnnxRuntime(Backend):
    name = "onnxruntime"
    title = "ONNX Runtime"
    needs = ("onnx",)
    extra = "onnx"

    def write(self, workload: Workload) -> bytes:
        if all(_writable(operation) for operation in operations(workload.layers)):
            return bytes(write_onnx(workload).SerializeToString())
        return export_onnx(workload)


def export_onnx(workload: Workload) -> bytes:
    """Return what torch's exporter makes of the module: slower, but it knows every operation.

    Raises:
        NasError: it does not know one.
    """
    import torch

    module, inputs = workload.module()
    file = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            # A buffer is taken, whatever the annotation says.
            torch.onnx.export(module, inputs, file, dynamo=False, opset_version=OPSET)  # type: ignore[arg-type]
        except (RuntimeError, torch.onnx.OnnxExporterError) as error:
            raise NasError(f"ONNX cannot express {workload.item}: {str(error).splitlines()[0]}") from None
    return file.getvalue()


def write_onnx(workload: Workload, draw: Draw | None = None) -> onnx.ModelProto:
    """Return the model of a workload, written without torch; see `_writable` for what it may consist of."""
    graph = _Graph(workload)
    for operation in operations(workload.layers, draw):
        graph.add(operation)
    return graph.model()


def _writable(operation: Operation) -> bool:
    layer = operation.layer
    if layer.op == "act":
        return layer.function in {*ACTIVATIONS, "relu6", "silu"}
    return hasattr(_Graph, f"_{layer.op}")


class _Graph:
    """An ONNX graph in the making; a method for each operation."""

    def __init__(self, workload: Workload):
        self.inputs = {-1 - i: (f"input{i}", shape) for i, shape in enumerate(workload.input_shapes)}
        self.names = {index: name for index, (name, _) in self.inputs.items()}
        #: tensors that are vectors, not feature maps of one pixel
        self.vectors = {name for name, shape in self.inputs.values() if len(shape) == 2}
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        #: name and shape of what the last operation makes
        self.output: tuple[str, tuple[int, ...]] = "", ()

    def add(self, operation: Operation) -> None:
        inputs = [self.names[index] for index in operation.inputs]
        output = f"t{operation.output}"
        getattr(self, f"_{operation.layer.op}")(operation, inputs, output)
        if operation.layer.op == "linear" or inputs[0] in self.vectors:
            self.vectors.add(output)
        self.names[operation.output] = output
        layer = operation.layer
        height, width = layer.out_size, layer.out_width or layer.out_size
        self.output = output, (1, layer.out_channels) + (() if output in self.vectors else (height, width))

    def model(self) -> onnx.ModelProto:
        from onnx import TensorProto, helper

        inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in self.inputs.values()]
        outputs = [helper.make_tensor_value_info(self.output[0], TensorProto.FLOAT, self.output[1])]
        graph = helper.make_graph(self.nodes, "network", inputs, outputs, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def _constant(self, name: str, value: Any) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=np.float32), name))
        return name

    def _weights(self, operation: Operation, output: str) -> list[str]:
        return [
            self._constant(f"{output}.weight", operation.weights), self._constant(f"{output}.bias", operation.bias)
        ]  # fmt: skip

    def _conv(self, operation: Operation, inputs: list[str], output: str) -> None:
        inputs = inputs + self._weights(operation, output)
        self._node("Conv", inputs, output, group=operation.layer.groups, **_window(operation))

    def _max_pool(self, operation: Operation, inputs: list[str], output: str) -> None:
        self._node("MaxPool", inputs, output, **_window(operation))

    def _linear(self, operation: Operation, inputs: list[str], output: str) -> None:
        if inputs[0] not in self.vectors:
            inputs = [self._node("Flatten", inputs, f"{output}.flat", axis=1)]
        self._node("Gemm", inputs + self._weights(operation, output), output, transB=1)

    def _pool(self, operation: Operation, inputs: list[str], output: str) -> None:
        self._node("GlobalAveragePool", inputs, output)

    def _concat(self, operation: Operation, inputs: list[str], output: str) -> None:
        self._node("Concat", inputs, output, axis=1)

    def _add(self, operation: Operation, inputs: list[str], output: str) -> None:
        total = inputs[0]
        for i, other in enumerate(inputs[1:], start=2):
            total = self._node("Add", [total, other], output if i == len(inputs) else f"{output}.{i}")

    def _mul(self, operation: Operation, inputs: list[str], output: str) -> None:
        self._node("Mul", inputs, output)

    def _act(self, operation: Operation, inputs: list[str], output: str) -> None:
        function = operation.layer.function
        if function == "silu":
            self._node("Mul", [*inputs, self._node("Sigmoid", inputs, f"{output}.gate")], output)
        elif function == "relu6":
            ends = [self._constant(f"{output}.low", 0), self._constant(f"{output}.high", 6)]
            self._node("Clip", inputs + ends, output)
        else:
            alpha = {"alpha": 1 / 6} if function == "hardsigmoid" else {}
            self._node(ACTIVATIONS[function], inputs, output, **alpha)


def _window(operation: Operation) -> dict[str, Any]:
    layer = operation.layer
    (top, bottom), (left, right) = padding(layer)
    kernel = [layer.kernel, layer.kernel_width or layer.kernel]
    return {"kernel_shape": kernel, "strides": strides(layer), "pads": [top, left, bottom, right]}
