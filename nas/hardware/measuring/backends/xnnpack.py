"""Layers as one XNNPACK graph in an ExecuTorch program.

ExecuTorch's lowering of a torch module traces and rewrites it some sixty times. The graph it arrives at follows from
the layers: feature maps with channels last, activations that only clamp as part of the operation before them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.hardware.measuring.backends.graph import Draw, Floats, Operation, operations, padding, strides
from nas.space.layer import Layer

#: activations that are clamps: smallest and largest output, infinity as the format spells it
CLAMPS = {"relu": (0, "+inf"), "relu6": (0.0, 6.0)}
ACTIVATIONS = {"sigmoid": "XNNSigmoid", "hardswish": "XNNHardswish"}
#: marks of the format: a tensor that is inside the graph, data that is named, a node without a source line
INTERNAL, NAMED, UNTRACED = 2**32 - 1, 2**64 - 1, 65535
EXTERNAL_INPUT, EXTERNAL_OUTPUT, KEEP_DIMENSIONS = 1, 2, 64
CHANNELS_LAST, CHANNELS_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]
#: bytes to which tensors of the program are aligned in its memory
ALIGNMENT = 128


def is_writable(layers: Sequence[Layer]) -> bool:
    """Whether `write_pte` knows all operations of these layers."""
    functions = {*CLAMPS, *ACTIVATIONS, "silu"}
    return all(
        hasattr(_Graph, f"_{operation.layer.op}") and operation.layer.function in {"", *functions}
        for operation in operations(layers)
    )


def write_pte(layers: Sequence[Layer], input_shapes: Sequence[tuple[int, ...]], draw: Draw | None = None) -> bytes:
    """Return a program that runs writable layers."""
    from executorch.backends.xnnpack.serialization.xnnpack_graph_serialize import serialize_xnnpack_binary

    graph = _Graph(layers, input_shapes)
    for operation in operations(layers, draw):
        graph.add(operation)
    graph.finish()
    return _program(serialize_xnnpack_binary(graph.graph, bytearray()), graph)


class _Graph:
    """An XNNPACK graph in the making; a method for each operation."""

    def __init__(self, layers: Sequence[Layer], input_shapes: Sequence[tuple[int, ...]]):
        from executorch.backends.xnnpack.serialization import xnnpack_graph_schema as schema
        from executorch.exir._serialize._named_data_store import NamedDataStore

        self.schema = schema
        self.graph = schema.XNNGraph("0", [], [], len(input_shapes) + 1, [], [], [schema.ConstantDataOffset(0, 0)])
        self.data = NamedDataStore()
        self.readers = Counter(index for layer in layers for index in layer.inputs)
        #: shape of each tensor of the graph, feature maps with channels last
        self.shapes: list[tuple[int, ...]] = []
        #: tensor of the graph for each tensor of the layers
        self.tensors: dict[int, int] = {}
        self.input_shapes = tuple(input_shapes)
        self.output_shape: tuple[int, ...] = ()
        for i, shape in enumerate(input_shapes):
            outside = self._tensor(shape, external=i, flags=EXTERNAL_INPUT)
            self.graph.input_ids.append(outside)
            self.tensors[-1 - i] = self._transposed(outside, CHANNELS_LAST) if len(shape) == 4 else outside

    def add(self, operation: Operation) -> None:
        inputs = [self.tensors[index] for index in operation.inputs]
        self.tensors[operation.output] = getattr(self, f"_{operation.layer.op}")(operation, inputs)
        self._last = self.tensors[operation.output]

    def finish(self) -> None:
        """Make what the last operation gives the output."""
        last = self._last
        if len(self.shapes[last]) == 4:
            last = self._transposed(last, CHANNELS_FIRST)
        value = self.graph.xvalues[last].xvalue_union
        value.external_id, value.flags = len(self.input_shapes), EXTERNAL_OUTPUT
        self.graph.output_ids.append(last)
        self.output_shape = self.shapes[last]

    def _tensor(self, shape: tuple[int, ...], constant: int = 0, external: int = INTERNAL, flags: int = 0) -> int:
        index, schema = len(self.shapes), self.schema
        self.shapes.append(shape)
        value = schema.XNNTensorValue(
            schema.XNNDatatype.xnn_datatype_fp32, len(shape), list(shape), constant, external, flags, index
        )
        self.graph.xvalues.append(schema.XValue(value))
        return index

    def _constant(self, array: Floats) -> int:
        position = len(self.graph.constant_data)
        data = np.ascontiguousarray(array).tobytes()
        self.data.add_named_data(f"constant{position}", data, alignment=ALIGNMENT)
        self.graph.constant_data.append(self.schema.ConstantDataOffset(NAMED, len(data), f"constant{position}"))
        return self._tensor(array.shape, constant=position)

    def _node(self, kind: str, shape: tuple[int, ...], **fields: Any) -> int:
        """Append a node that makes a tensor of this shape; returns the tensor."""
        output = self._tensor(shape)
        node = getattr(self.schema, kind)(**{"flags": 0, "output_id": output} | fields)
        self.graph.xnodes.append(self.schema.XNode(node, UNTRACED))
        return output

    def _transposed(self, tensor: int, order: list[int]) -> int:
        shape = tuple(self.shapes[tensor][axis] for axis in order)
        return self._node("XNNStaticTranspose", shape, num_dims=4, perm=order, input_id=tensor)

    def _conv(self, operation: Operation, inputs: list[int]) -> int:
        layer = operation.layer
        assert operation.weights is not None
        assert operation.bias is not None
        depthwise = layer.is_depthwise
        weights = self._constant(operation.weights.transpose((1, 2, 3, 0) if depthwise else (0, 2, 3, 1)))
        (top, bottom), (left, right) = padding(layer)
        vertical, horizontal = strides(layer)
        return self._node(
            "XNNDepthwiseConv2d" if depthwise else "XNNConv2d",
            (1, layer.out_size, layer.out_width or layer.out_size, layer.out_channels),
            padding_top=top, padding_right=right, padding_bottom=bottom, padding_left=left,
            kernel_height=layer.kernel, kernel_width=layer.kernel_width or layer.kernel,
            subsampling_height=vertical, subsampling_width=horizontal, dilation_height=1, dilation_width=1,
            group_input_channels=layer.in_channels // layer.groups,
            group_output_channels=layer.out_channels // layer.groups, groups=layer.groups,
            adjustment_height=0, adjustment_width=0,
            input1_id=inputs[0], filter_id=weights, bias_id=self._constant(operation.bias),
        )  # fmt: skip

    def _linear(self, operation: Operation, inputs: list[int]) -> int:
        assert operation.weights is not None
        assert operation.bias is not None
        features = inputs[0]
        if len(self.shapes[features]) == 4:
            shape = (1, operation.layer.in_channels)
            first = self._transposed(features, CHANNELS_FIRST)
            features = self._node("XNNStaticReshape", shape, num_dims=2, new_shape=list(shape), input_id=first)
        weights, bias = self._constant(operation.weights), self._constant(operation.bias)
        shape = (1, operation.layer.out_channels)
        return self._node("XNNFullyConnected", shape, input1_id=features, filter_id=weights, bias_id=bias)

    def _pool(self, operation: Operation, inputs: list[int]) -> int:
        shape = (1, 1, 1, operation.layer.out_channels)
        return self._node("XNNGlobalAvgPooling2d", shape, input_id=inputs[0], flags=KEEP_DIMENSIONS)

    def _mul(self, operation: Operation, inputs: list[int]) -> int:
        return self._node("XNNMultiply", self.shapes[inputs[0]], input1_id=inputs[0], input2_id=inputs[1])

    def _add(self, operation: Operation, inputs: list[int]) -> int:
        total = inputs[0]
        for other in inputs[1:]:
            total = self._node("XNNAdd", self.shapes[total], input1_id=total, input2_id=other)
        return total

    def _act(self, operation: Operation, inputs: list[int]) -> int:
        (source,), function = inputs, operation.layer.function
        shape = self.shapes[source]
        if function == "silu":
            gate = self._node("XNNSigmoid", shape, input_id=source)
            return self._node("XNNMultiply", shape, input1_id=source, input2_id=gate)
        if function in ACTIVATIONS:
            return self._node(ACTIVATIONS[function], shape, input_id=source)
        if self.graph.xnodes[-1].xnode_union.output_id != source or self.readers[operation.layer.inputs[0]] > 1:
            source = self._node("XNNClamp", shape, input_id=source)
        self.graph.xnodes[-1].output_min_max = self.schema.OutputMinMax(*CLAMPS[function])
        return source


def _program(delegate: bytes, graph: _Graph) -> bytes:
    """Return a program whose one method hands its inputs to the delegate."""
    from executorch.exir import schema
    from executorch.exir._serialize._program import PTEFile, serialize_pte_binary
    from executorch.exir.scalar_type import ScalarType

    shapes = [*graph.input_shapes, graph.output_shape]
    values, offset = [], 0
    for shape in shapes:
        place = schema.AllocationDetails(memory_id=1, memory_offset_low=offset, memory_offset_high=0)
        tensor = schema.Tensor(
            ScalarType.FLOAT, 0, list(shape), list(range(len(shape))), requires_grad=False, layout=0,
            data_buffer_idx=0, allocation_info=place, shape_dynamism=schema.TensorShapeDynamism.STATIC,
        )  # fmt: skip
        values.append(schema.EValue(tensor))
        offset += -(-4 * int(np.prod(shape)) // ALIGNMENT) * ALIGNMENT
    positions = list(range(len(values)))
    call = schema.Instruction(schema.DelegateCall(delegate_index=0, args=positions))
    reference = schema.BackendDelegateDataReference(schema.DataLocation.INLINE, 0)
    plan = schema.ExecutionPlan(
        name="forward", container_meta_type=schema.ContainerMetadata("", ""), values=values, inputs=positions[:-1],
        outputs=positions[-1:], chains=[schema.Chain([], [], [call], None)], operators=[],
        delegates=[schema.BackendDelegate("XnnpackBackend", reference, [])], non_const_buffer_sizes=[0, offset],
    )  # fmt: skip
    program = schema.Program(
        version=0, execution_plan=[plan], constant_buffer=[schema.Buffer(b"")],
        backend_delegate_data=[schema.BackendDelegateInlineData(delegate)], segments=[],
        constant_segment=schema.SubsegmentOffsets(0, []),
    )  # fmt: skip
    file = PTEFile(program, mutable_data=None, named_data=graph.data.get_named_data_store_output())
    return bytes(serialize_pte_binary(file, extract_delegate_segments=True))
