"""Weights from elsewhere: mapped where they fit, refused with the first tensor that does not."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from nas.errors import NasError
from nas.export.weights import import_state, read_state, write_state
from nas.space import StagedNetwork

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def spec() -> StagedNetwork:
    return StagedNetwork.from_strings(
        "cn_k3_s2_c8", ("ir_r2_k3_s2_e4_c16_se",), ("cn_c32", "pool", "fc"), activation="silu", resolution=32,
        num_classes=10, name="small",
    )  # fmt: skip


@pytest.fixture
def theirs(spec: StagedNetwork) -> State:
    """Random weights of the network under other keys, with the counters that some checkpoints have."""
    torch.manual_seed(1)
    state = spec.build().state_dict()
    return {f"net.layer{i}.{key.rpartition('.')[2]}": torch.rand_like(value) if value.is_floating_point() else value
            for i, (key, value) in enumerate(state.items())}  # fmt: skip


def test_weights_are_mapped_in_order(spec: StagedNetwork, theirs: State) -> None:
    ours = import_state(spec, theirs).state_dict()
    floats = [value for key, value in ours.items() if not key.endswith("num_batches_tracked")]
    expected = [value for key, value in theirs.items() if not key.endswith("num_batches_tracked")]
    assert len(floats) == len(expected)
    assert all(torch.equal(a, b) for a, b in zip(floats, expected, strict=True))


def test_our_own_keys_are_found_in_any_order(spec: StagedNetwork) -> None:
    state = spec.build().state_dict()
    shuffled = {key: state[key] for key in sorted(state, reverse=True)}
    assert all(torch.equal(value, state[key]) for key, value in import_state(spec, shuffled).state_dict().items())


def test_a_network_that_was_imported_is_in_evaluation_mode(spec: StagedNetwork, theirs: State) -> None:
    assert not import_state(spec, theirs).training


def edited(state: State, change: str) -> State:
    keys = [key for key in state if not key.endswith("num_batches_tracked")]
    if change == "shape":
        return state | {keys[5]: torch.zeros(9, 8, 1, 1)}
    if change == "missing":
        return {key: value for key, value in state.items() if key != keys[-1]}
    if change == "extra":
        return state | {"head.scale": torch.zeros(3)}
    if change == "role":
        order = [*keys[:3], keys[4], keys[3], *keys[5:]]
        return {key: state[key] for key in order}
    if change == "integers":
        return state | {keys[0]: torch.zeros_like(state[keys[0]], dtype=torch.int64)}
    return state | {keys[1]: torch.full_like(state[keys[1]], float("nan"))}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("shape", r"tensor 6 is 'net\.layer\d+\.weight' \[9, 8, 1, 1\], ours is '1\S*weight' \[32, 8, 1, 1\]"),
        ("missing", r"first without counterpart is ours '5\.\S*bias' \[10\]"),
        ("extra", r"first without counterpart is theirs 'head\.scale' \[3\]"),
        ("role", r"tensor 4 is 'net\.layer\d+\.running_var' \[8\], ours is '0\.1\.running_mean' \[8\]"),
        ("integers", r"theirs holds torch\.int64"),
        ("nan", "not finite"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(spec: StagedNetwork, theirs: State, change: str, message: str) -> None:
    with pytest.raises(NasError) as refused:
        import_state(spec, edited(theirs, change))
    assert re.search(message, str(refused.value)), str(refused.value)


@pytest.mark.parametrize("name", ["weights.pt", "weights.pth", "weights.safetensors"])
def test_files_round_trip(spec: StagedNetwork, theirs: State, tmp_path: Path, name: str) -> None:
    if name.endswith("safetensors"):
        pytest.importorskip("safetensors")
    module = import_state(spec, theirs)
    write_state(module, tmp_path / name)
    again = import_state(spec, read_state(tmp_path / name)).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in module.state_dict().items())
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_checkpoints_hold_state_dicts(theirs: State, tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pth"
    torch.save({"epoch": 3, "state_dict": theirs}, file)
    assert read_state(file).keys() == theirs.keys()
    torch.save({"model": theirs, "model_ema": {"a": torch.zeros(1)}}, file)
    with pytest.raises(NasError, match=r"several state dicts, choose one with --key: model, model_ema"):
        read_state(file)
    assert read_state(file, "model_ema").keys() == {"a"}
    with pytest.raises(NasError, match=r"no state dict 'model_em'; did you mean 'model_ema'"):
        read_state(file, "model_em")
    torch.save({"epoch": 3}, file)
    with pytest.raises(NasError, match="holds no state dict"):
        read_state(file)


class Attack:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("attacked"),)  # type: ignore[return-value]


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_nothing_in_a_file_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "evil.pt"
    if writer == "torch":
        torch.save({"a": Attack()}, file)
    else:
        file.write_bytes(pickle.dumps({"a": Attack()}))
    with pytest.raises(NasError, match=r"evil\.pt"):
        read_state(file)
    assert not Path("attacked").exists()


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04broken", b"\x80\x04."])
@pytest.mark.parametrize("name", ["file.pt", "file.safetensors"])
def test_damaged_files_are_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(NasError, match=name):
        read_state(tmp_path / name)


def test_a_file_that_cannot_be_written_is_named(spec: StagedNetwork, theirs: State, tmp_path: Path) -> None:
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(NasError, match="directory"):
        write_state(import_state(spec, theirs), tmp_path / "folder.pt")
    with pytest.raises(NasError, match="ends in"):
        write_state(import_state(spec, theirs), tmp_path / "weights.bin")
