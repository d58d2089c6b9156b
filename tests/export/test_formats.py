"""Exported files compute what the network computes, stand on their own, and appear whole or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import nas
from nas.errors import NasError
from nas.export import export as export_module
from nas.export.export import FORMATS, TOLERANCE, Exported, export
from nas.export.source import to_source
from nas.space import NetworkSpec, SearchSpace, StagedNetwork

SEED = 3
#: imports an exported file in a fresh interpreter and prints what it is; nothing but torch may be needed
RUN_ALONE = """
import json, runpy, sys, torch
source, weights = sys.argv[1:]
network = runpy.run_path(source)["build"]().eval()
network.load_state_dict(torch.load(weights, weights_only=True))
torch.manual_seed(11)
with torch.no_grad():
    logits = network(torch.randn(2, 3, {size}, {size}))
print(json.dumps({{
    "params": sum(parameter.numel() for parameter in network.parameters()),
    "logits": logits.tolist(),
    "foreign": sorted({{name.split(".")[0] for name in sys.modules}} & {{"nas", "search_spaces", "hardware_profiles"}}),
}}))
"""


@pytest.fixture(scope="module", params=["mbconv", "mobilenetv3_small"])
def spec(request: pytest.FixtureRequest, mbconv: SearchSpace) -> NetworkSpec:
    """A small network of mbconv with and without gates, and MobileNetV3 with its hard functions, on small images."""
    if request.param == "mobilenetv3_small":
        return replace(nas.network("mobilenetv3_small"), resolution=64)
    return mbconv.spec("1311-4310-1511-1310-4310-1510-1310", resolution=64)


@pytest.fixture(scope="module")
def exported(spec: NetworkSpec, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Exported]:
    folder = tmp_path_factory.mktemp("exported")
    return {format: export(spec, format, folder / "net", seed=SEED) for format in FORMATS}


@pytest.fixture(scope="module")
def network(spec: NetworkSpec, exported: dict[str, Exported]) -> nn.Module:
    """The exported network, built from its description rather than from its source."""
    network = spec.build().eval()
    network.load_state_dict(torch.load(exported["torch"].files[1], weights_only=True))
    return network


def images(spec: NetworkSpec, batch: int) -> torch.Tensor:
    torch.manual_seed(11)
    return torch.randn(batch, spec.in_channels, spec.resolution, spec.resolution)


def assert_close(outputs: np.ndarray, expected: torch.Tensor) -> None:
    reference = expected.detach().numpy()
    assert outputs.shape == reference.shape
    assert np.abs(reference).max() > 0
    assert np.abs(outputs - reference).max() <= TOLERANCE * np.abs(reference).max()


def test_a_fault_in_the_first_layer_would_show(spec: NetworkSpec, network: nn.Module) -> None:
    # Untrained networks whose signal dies out compare equal whatever their layers do.
    faulty = deepcopy(network)
    with torch.no_grad():
        next(faulty.parameters()).mul_(-1)
        sound, wrong = network(images(spec, 1)), faulty(images(spec, 1))
    assert (sound - wrong).abs().max() > 100 * TOLERANCE * sound.abs().max()


def test_tolerance_is_small() -> None:
    assert TOLERANCE == 1e-4


def test_the_files_are_there_and_nothing_else(exported: dict[str, Exported]) -> None:
    written = [file for result in exported.values() for file in result.files]
    assert [file.name for file in exported["onnx"].files] == ["net.onnx"]
    assert [file.name for file in exported["torch"].files] == ["net.py", "net.pt"]
    assert {file.name for file in written[0].parent.iterdir()} == {file.name for file in written}
    assert all(file.stat().st_size > 1000 for file in written)


def test_what_was_checked_is_said(exported: dict[str, Exported]) -> None:
    assert exported["onnx"].checked_with.startswith("ONNX Runtime 1.")
    assert exported["torch"].checked_with == "the written source, run by torch"
    assert exported["torch"].max_difference == 0
    assert 0 <= exported["onnx"].max_difference < 1e-3


@pytest.mark.parametrize("batch", [1, 3])
def test_onnx_runtime_gives_what_torch_gives(
    exported: dict[str, Exported], spec: NetworkSpec, network: nn.Module, batch: int
) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(exported["onnx"].files[0]), providers=["CPUExecutionProvider"])
    assert [item.name for item in session.get_inputs()] == ["image"]
    assert [item.name for item in session.get_outputs()] == ["logits"]
    x = images(spec, batch)
    (logits,) = session.run(None, {"image": x.numpy()})
    assert logits.shape == (batch, spec.num_classes)
    assert_close(logits, network(x))


def test_the_onnx_file_is_valid_and_has_all_weights(exported: dict[str, Exported], network: nn.Module) -> None:
    import onnx

    model = onnx.load(exported["onnx"].files[0], load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert sum(node.op_type == "Conv" for node in model.graph.node) == len(convolutions)


def test_the_source_runs_alone_and_gives_what_torch_gives(
    exported: dict[str, Exported], spec: NetworkSpec, network: nn.Module, tmp_path: Path
) -> None:
    script = tmp_path / "run_alone.py"
    script.write_text(RUN_ALONE.format(size=spec.resolution))
    command = [sys.executable, "-I", str(script), *map(str, exported["torch"].files)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert found["foreign"] == []
    assert found["params"] == spec.cost()["params"] == sum(parameter.numel() for parameter in network.parameters())
    assert_close(np.array(found["logits"], dtype=np.float32), network(images(spec, 2)))


def test_the_source_imports_torch_alone(spec: NetworkSpec) -> None:
    imports = [line for line in to_source(spec).splitlines() if line.startswith(("import ", "from "))]
    assert imports == ["import torch", "from torch import Tensor, nn"]


def test_the_seed_decides_the_weights(spec: NetworkSpec, tmp_path: Path, exported: dict[str, Exported]) -> None:
    again = export(spec, "torch", tmp_path / "again", seed=SEED)
    other = export(spec, "torch", tmp_path / "other", seed=SEED + 1)
    first, same, different = (
        torch.load(result.files[1], weights_only=True) for result in (exported["torch"], again, other)
    )
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not all(torch.equal(first[key], different[key]) for key in first)


# --- refusals ---------------------------------------------------------------------------------------------------------

SMALL = StagedNetwork.from_strings("cn_k3_s2_c8", ("ir_k3_e2_c8_se",), ("pool", "fc"), resolution=16, num_classes=3)


@pytest.mark.parametrize(("given", "message"), [("onxx", "did you mean 'onnx'"), ("caffe", "valid: onnx, torch")])
def test_an_unknown_format_names_the_nearest(tmp_path: Path, given: str, message: str) -> None:
    with pytest.raises(NasError, match=f"unknown format '{given}'; {message}"):
        export(SMALL, given, tmp_path / "net")
    assert list(tmp_path.iterdir()) == []


def test_missing_folders_are_made(tmp_path: Path) -> None:
    result = export(SMALL, "torch", tmp_path / "a" / "b" / "net")
    assert all(file.parent == tmp_path / "a" / "b" and file.is_file() for file in result.files)


def test_existing_files_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("old")
    export(SMALL, "torch", tmp_path / "net")
    assert "def build()" in (tmp_path / "net.py").read_text()


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_in_the_place_of_the_folder_is_reported(tmp_path: Path, format: str) -> None:
    (tmp_path / "file").write_text("here")
    with pytest.raises(NasError, match=r"cannot write .*file/net: "):
        export(SMALL, format, tmp_path / "file" / "net")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "here"


@pytest.mark.parametrize(("format", "taken"), [("onnx", "net.onnx"), ("torch", "net.py")])
def test_a_folder_in_the_place_of_a_file_leaves_nothing_behind(tmp_path: Path, format: str, taken: str) -> None:
    (tmp_path / taken).mkdir()
    with pytest.raises(NasError, match="cannot write"):
        export(SMALL, format, tmp_path / "net")
    assert [path.name for path in tmp_path.iterdir()] == [taken]


def test_two_files_are_written_both_or_neither(tmp_path: Path) -> None:
    (tmp_path / "net.pt").mkdir()
    with pytest.raises(NasError, match="cannot write"):
        export(SMALL, "torch", tmp_path / "net")
    assert [path.name for path in tmp_path.iterdir()] == ["net.pt"]


@pytest.mark.parametrize("format", FORMATS)
def test_outputs_that_differ_are_refused_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    monkeypatch.setattr(export_module, "TOLERANCE", -1.0)
    with pytest.raises(NasError, match=r"gives outputs that differ from torch's by .*; nothing was written"):
        export(SMALL, format, tmp_path / "net")
    assert list(tmp_path.iterdir()) == []


def test_any_name_can_be_exported(tmp_path: Path) -> None:
    named = replace(SMALL, name='the "best" network"""\\N')
    compile(to_source(named), "net.py", "exec")


def test_exporting_leaves_random_numbers_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    export(SMALL, "torch", tmp_path / "net")
    assert torch.equal(torch.rand(3), expected)


def test_a_failure_leaves_what_was_there_before(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("mine")
    (tmp_path / "net.pt").mkdir()
    with pytest.raises(NasError, match="cannot write"):
        export(SMALL, "torch", tmp_path / "net")
    assert (tmp_path / "net.py").read_text() == "mine"
