"""What ExecuTorch's own lowering makes of a small network, recorded: lowering takes half a minute.

`python tests/hardware/xnnpack_graphs.py` records it again, to be done for a new version of ExecuTorch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nas.hardware.measuring.backends import Workload
from nas.space import SqueezeExciteRule, StagedNetwork

RECORD = Path(__file__).with_name("xnnpack_graph.json")

STAGES = ("ir_k3_s1_e4_c16_se", "ir_k5_s2_e3_c24_nhs", "ir_k3_s1_e6_c24_nre", "cn_k3_c24_nr6")


def small_network(**options: Any) -> StagedNetwork:
    """A network with every operation that is written without an exporter."""
    return StagedNetwork.from_strings(
        "cn_k3_s2_c16", STAGES, ("cn_c64", "pool", "fc"), activation="silu", resolution=32, num_classes=10,
        se=SqueezeExciteRule(activation="silu"), **options,
    )  # fmt: skip


def described(graph: Any) -> list[Any]:
    """The nodes of an XNNPACK graph without the numbers of tensors: kind, parameters, clamp, shapes of all tensors."""
    shapes = {value.xvalue_union.id_out: list(value.xvalue_union.dims) for value in graph.xvalues}
    found = []
    for node in graph.xnodes:
        fields = dict(vars(node.xnode_union))
        tensors = {key: shapes[fields.pop(key)] for key in sorted(fields) if key.endswith("_id")}
        clamp = node.output_min_max and [str(node.output_min_max.output_min), str(node.output_min_max.output_max)]
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in sorted(fields.items())}
        found.append([type(node.xnode_union).__name__, plain, clamp, tensors])
    return found


def record() -> None:
    """Lower the small network with ExecuTorch and keep the graph that XNNPACK is handed."""
    from executorch.backends.xnnpack import xnnpack_preprocess

    from nas.hardware.measuring.backends.executorch import export_executorch

    graphs: list[Any] = []
    serialise = xnnpack_preprocess.serialize_xnnpack_binary

    def recorded(graph: Any, data: Any) -> Any:
        graphs.append(graph)
        return serialise(graph, data)

    xnnpack_preprocess.serialize_xnnpack_binary = recorded
    export_executorch(Workload("network", "small", small_network()))
    (graph,) = graphs
    RECORD.write_text("[\n" + ",\n".join(json.dumps(node) for node in described(graph)) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    record()
