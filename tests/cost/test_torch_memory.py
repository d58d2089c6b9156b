"""Peak activation memory against what torch really allocates, read from its profiler.

A network is run operation by operation, and a tensor is let go after its last use. Right after each operation what it
read, what it wrote and what waits for later are all allocated; scratch space inside an operation (im2col, reordered
weights) is not, it is no activation.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.profiler import ProfilerActivity, profile, record_function

import nas
from nas.space import NetworkSpec

NETWORKS = (
    "efficientnet_b0", "efficientnetv2_b0", "fbnet_a", "mnasnet_a1", "mnasnet_b1_0.5", "mobilenetv1_0.5", "mobilenetv2",
    "mobilenetv3_large", "mobilenetv3_small", "mobilenetv4_conv_small", "resnet18", "resnet50", "regnet_y_800mf",
    "convnext_atto", "darts_v2", "pc_darts_cifar", "p_darts", "nasnet_a_mobile", "pnasnet5_mobile",
    "amoebanet_a_mobile",
)  # fmt: skip
#: spaces whose graphs are not chains, and random networks drawn from each
GRAPHS, DRAWN = ("darts", "nasbench101", "nasbench201", "nasnet"), 4
#: every normalisation follows a convolution, so it can be folded into it and the network run in place
FOLDABLE = ("efficientnet_b0", "mnasnet_a1", "mobilenetv2", "mobilenetv3_large", "mobilenetv3_small", "resnet18")


class OperationTracer(fx.Tracer):
    """Traces down to the modules of torch itself."""

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        return module.__module__.startswith("torch.nn") and not isinstance(module, nn.Sequential)


def run(traced: fx.GraphModule, image: Tensor, in_place: bool) -> Tensor:
    """Run node by node, each in a range "operation"; whatever is not needed any more is freed behind it."""
    modules = dict(traced.named_modules())
    last_use = {source: node for node in traced.graph.nodes for source in node.all_input_nodes}
    made: dict[fx.Node, Any] = {}
    for node in traced.graph.nodes:
        if node.op == "placeholder":
            made[node] = image.clone()
            continue
        if node.op == "get_attr":
            made[node] = operator.attrgetter(str(node.target))(traced)
            continue
        if node.op == "output":
            return made[node.args[0]]
        dying = {source for source in node.all_input_nodes if last_use[source] is node}
        with record_function("operation"):
            made[node] = operate(node, modules, made, dying if in_place else set())
        for source in dying:
            del made[source]
    raise AssertionError("a traced network has an output")


def operate(node: fx.Node, modules: dict[str, nn.Module], made: dict[fx.Node, Any], writable: set[fx.Node]) -> Any:
    arguments = fx.node.map_arg(node.args, made.__getitem__)
    if node.op == "call_module":
        module = modules[str(node.target)]
        if hasattr(module, "inplace"):
            module.inplace = node.args[0] in writable
        return module(*arguments)
    if node.op == "call_method":
        return getattr(arguments[0], str(node.target))(*arguments[1:], **node.kwargs)
    if node.target in (operator.add, operator.mul):
        for own, other in ((0, 1), (1, 0)):
            # Broadcasting has the larger tensor written over, never the gate of squeeze-and-excite.
            if node.args[own] in writable and arguments[own].numel() >= arguments[other].numel():
                return (Tensor.add_ if node.target is operator.add else Tensor.mul_)(arguments[own], arguments[other])
    assert callable(node.target)
    return node.target(*arguments, **fx.node.map_arg(node.kwargs, made.__getitem__))


def allocated_peak(spec: NetworkSpec, in_place: bool) -> int:
    """Bytes allocated at the end of the operation where they are the most."""
    network = spec.build().eval()
    traced = fx.GraphModule(network, OperationTracer().trace(network))
    if in_place:
        fold_norms(traced)
    image = torch.randn(1, spec.in_channels, spec.resolution, spec.resolution)
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run(traced, image, in_place)
    return peak_of(profiler)


def peak_of(profiler: profile) -> int:
    assert profiler.profiler is not None
    assert profiler.profiler.kineto_results is not None
    changes: list[tuple[int, int]] = []
    ends: list[int] = []
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            changes.append((event.start_ns(), event.nbytes()))
        elif event.name() == "operation":
            ends.append(event.start_ns() + event.duration_ns())
    assert ends
    return max(sum(size for when, size in changes if when <= end) for end in ends)


def fold_norms(traced: fx.GraphModule) -> None:
    """Fold every batch normalisation into the convolution before it, as inference runtimes do."""
    modules = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        if node.op == "call_module" and isinstance(modules[node.target], nn.BatchNorm2d):
            before = node.args[0]
            convolution = modules[before.target]
            assert isinstance(convolution, nn.Conv2d)
            parent, _, name = before.target.rpartition(".")
            setattr(modules[parent], name, fuse_conv_bn_eval(convolution, modules[node.target]))
            node.replace_all_uses_with(before)
            traced.graph.erase_node(node)
    traced.recompile()


@pytest.mark.parametrize("name", NETWORKS)
def test_without_overwriting_it_is_what_torch_allocates(name: str) -> None:
    spec = nas.network(name)
    assert allocated_peak(spec, in_place=False) == spec.peak_activation_bytes(in_place=False)


@pytest.mark.parametrize("name", GRAPHS)
def test_random_cells_allocate_what_is_said(name: str) -> None:
    space = nas.space(name)
    codes = space.sample(DRAWN, np.random.default_rng(11))
    for code, predicted in zip(codes, space.peak_activation_bytes(codes), strict=True):
        spec = space.spec(code)
        assert allocated_peak(spec, in_place=False) == spec.peak_activation_bytes(in_place=False)
        assert predicted == spec.peak_activation_bytes() <= spec.peak_activation_bytes(in_place=False)


@pytest.mark.parametrize("name", FOLDABLE)
def test_in_place_it_is_what_torch_allocates(name: str) -> None:
    spec = nas.network(name)
    assert allocated_peak(spec, in_place=True) == spec.peak_activation_bytes()


def test_a_tensor_kept_too_long_would_show() -> None:
    spec = nas.network("mobilenetv3_small")
    assert spec.peak_activation_bytes() < spec.peak_activation_bytes(in_place=False)
