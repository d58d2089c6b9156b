"""Models written from layers, against torch's and the runtimes' own exporters."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from xnnpack_graphs import RECORD, described, small_network

import nas
from nas.errors import NasError
from nas.hardware.measuring.backends import Workload, load_backend
from nas.hardware.measuring.backends.graph import Draw, operations, padding, strides, weight_shape
from nas.hardware.measuring.backends.onnxruntime import export_onnx, write_onnx
from nas.space import NetworkSpec

ort = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")


def workload(spec: NetworkSpec) -> Workload:
    return Workload("network", "a network", spec)


def weights_of(spec: NetworkSpec, module: torch.nn.Module) -> Draw:
    """The weights of a torch module, batch normalisation folded in by hand, in the order of the spec's layers."""
    parts = iter([part for part in module.modules() if isinstance(part, torch.nn.Conv2d | torch.nn.Linear)])
    norms = iter([part for part in module.modules() if isinstance(part, torch.nn.BatchNorm2d)])
    found: dict[tuple[int, int], npt.NDArray[np.float32]] = {}
    layers = spec.layers()
    for i, layer in enumerate(layers):
        if layer.op in ("conv", "linear"):
            part = next(parts)
            weight, bias = part.weight.detach(), torch.zeros(len(part.weight)) if part.bias is None else part.bias
            if any(other.op == "batch_norm" and other.inputs == (i,) for other in layers):
                norm = next(norms)
                assert norm.running_var is not None
                assert norm.running_mean is not None
                factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
                bias = norm.bias + (bias - norm.running_mean) * factor
                weight = weight * factor.reshape(-1, *[1] * (weight.dim() - 1))
            found[i, weight.dim()], found[i, 1] = weight.detach().numpy(), bias.detach().numpy()
    assert next(parts, None) is None
    return lambda position, shape: found[position, len(shape)].reshape(shape)


def settled(spec: NetworkSpec) -> torch.nn.Module:
    """A module whose outputs depend on all its weights: random statistics in the normalisations."""
    torch.manual_seed(1)
    module = spec.build()
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(part.weight, 0.5, 1.5)
            torch.nn.init.normal_(part.bias)
    module.train()(torch.randn(8, spec.in_channels, spec.resolution, spec.resolution))
    return module.eval()


def run_onnx(model: bytes, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {session.get_inputs()[0].name: image})
    return np.asarray(output)


@pytest.mark.parametrize(
    "spec", [small_network(), nas.space("mbconv").spec([1] * 28, resolution=64)], ids=["small", "mbconv"]
)
def test_onnx_computes_what_torch_does(spec: NetworkSpec) -> None:
    module = settled(spec)
    image = torch.randn(1, 3, spec.resolution, spec.resolution)
    model = write_onnx(workload(spec), weights_of(spec, module))
    onnx.checker.check_model(model)
    with torch.no_grad():
        expected = module(image).numpy()
    output = run_onnx(model.SerializeToString(), image.numpy())
    assert output.shape == expected.shape
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(output, expected, atol=1e-3 * np.abs(expected).max())


def optimised(model: bytes, path: Path) -> Counter[str]:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(path)
    ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(path).graph.node)


@pytest.mark.parametrize(
    "spec", [small_network(), nas.space("mbconv").spec([2, 1, 2, 1] * 7, resolution=64)], ids=["small", "mbconv"]
)
def test_onnx_runtime_runs_the_operators_it_runs_for_an_exported_module(spec: NetworkSpec, tmp_path: Path) -> None:
    ours = optimised(write_onnx(workload(spec)).SerializeToString(), tmp_path / "ours.onnx")
    theirs = optimised(export_onnx(workload(spec)), tmp_path / "theirs.onnx")
    assert ours == theirs
    assert sum(ours.values()) > 20


def test_what_cannot_be_written_directly_is_exported() -> None:
    spec = nas.space("nasbench201").spec([1, 2, 3, 4, 0, 3])
    image = np.random.default_rng(0).standard_normal((1, 3, spec.resolution, spec.resolution), dtype=np.float32)
    assert run_onnx(load_backend("onnxruntime").write(workload(spec)), image).shape == (1, spec.num_classes)


def test_the_xnnpack_graph_is_the_one_executorch_lowers_to(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("executorch")
    from executorch.backends.xnnpack.serialization import xnnpack_graph_serialize

    from nas.hardware.measuring.backends.executorch import write_executorch

    graphs: list[Any] = []
    serialise = xnnpack_graph_serialize.serialize_xnnpack_binary

    def recorded(graph: Any, data: Any) -> bytes:
        graphs.append(graph)
        return bytes(serialise(graph, data))

    monkeypatch.setattr(xnnpack_graph_serialize, "serialize_xnnpack_binary", recorded)
    write_executorch(workload(small_network()))
    assert described(graphs[0]) == json.loads(RECORD.read_text(encoding="utf-8"))


def test_executorch_computes_what_torch_does() -> None:
    runtime = pytest.importorskip("executorch.runtime").Runtime.get()
    from nas.hardware.measuring.backends.executorch import write_executorch

    spec = small_network()
    module, image = settled(spec), torch.randn(1, 3, 32, 32)
    program = write_executorch(workload(spec), weights_of(spec, module))
    (output,) = runtime.load_program(program).load_method("forward").execute([image])
    with torch.no_grad():
        torch.testing.assert_close(output, module(image), rtol=1e-3, atol=1e-3)


def test_padding_of_tensorflow_costs_the_same_though_it_is_written_symmetric() -> None:
    spec = small_network(padding="same")
    session = ort.InferenceSession(
        load_backend("onnxruntime").write(workload(spec)), providers=["CPUExecutionProvider"]
    )
    assert session.get_outputs()[0].shape == [1, 10]
    assert spec.layers() == small_network().layers()


def test_blocks_and_vectors_are_written_too() -> None:
    spec = small_network()
    for block in {type(block): block for block in spec.blocks}.values():
        item = Workload("block", block.describe(), block)
        (shape,) = item.input_shapes
        output = run_onnx(load_backend("onnxruntime").write(item), np.ones(shape, dtype=np.float32))
        with torch.no_grad():
            assert output.size == block.build().eval()(torch.ones(shape)).numel()


def test_every_convolution_of_the_published_networks_is_padded_to_its_size() -> None:
    for name in ("mobilenetv3_large", "efficientnet_b0", "resnet50"):
        for layer in nas.network(name).layers():
            if layer.op in ("conv", "max_pool"):
                (before, after), stride = padding(layer)[0], strides(layer)[0]
                assert (layer.in_size + before + after - layer.kernel) // stride + 1 == layer.out_size


def test_random_weights_keep_the_signal() -> None:
    """Outputs must be ordinary numbers: vanishing ones would be denormal and slow."""
    model = load_backend("onnxruntime").write(workload(nas.network("efficientnet_b0")))
    output = run_onnx(model, np.random.default_rng(0).standard_normal((1, 3, 224, 224), dtype=np.float32))
    assert 1e-6 < np.abs(output).mean() < 1e6


def test_weights_have_the_shapes_of_torch() -> None:
    spec = small_network()
    shapes = [
        tuple(part.weight.shape)
        for part in spec.build().modules()
        if hasattr(part, "groups") or hasattr(part, "in_features")
    ]
    ours = [weight_shape(operation.layer) for operation in operations(spec.layers()) if operation.weights is not None]
    assert ours == shapes


def test_an_unknown_backend_names_the_nearest() -> None:
    with pytest.raises(NasError, match="onnxruntime"):
        load_backend("onxruntime")
