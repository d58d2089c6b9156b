"""Bad input ends with one clear message and exit code 2, without a traceback, with nothing half-written."""

from __future__ import annotations

import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nas import cli
from nas.search.config import SearchConfig
from nas.search.loop import run_search, start_search

BASE = ["search", "--space", "mbconv", "--target", "pixel4"]

#: arguments, and what the message must contain: what was wrong, and what would be right
CASES: list[tuple[list[str], list[str]]] = [
    (["search"], ["no search space", "nas list spaces"]),
    (["search", "--space", "mbcov"], ["mbcov", "did you mean 'mbconv'"]),
    (["search", "--space", ""], ["unknown space"]),
    ([*BASE, "--target", "pixel44"], ["pixel44", "did you mean 'pixel4'"]),
    ([*BASE, "--strategy", "nsga"], ["nsga", "did you mean 'nsga2'"]),
    ([*BASE, "--estimator", "surogate"], ["did you mean 'surrogate'"]),
    ([*BASE, "--max-latency", "20"], ["no unit", "20ms"]),
    ([*BASE, "--max-latency", "-20ms"], ["positive"]),
    ([*BASE, "--max-latency", "0ms"], ["positive"]),
    ([*BASE, "--max-latency", "20 apples"], ["apples", "ms"]),
    ([*BASE, "--max-latency", "fast"], ["fast", "20ms"]),
    ([*BASE, "--max-latency", "1ms"], ["below the smallest network", "at least"]),
    ([*BASE, "--max-params", "-5M"], ["positive"]),
    ([*BASE, "--max-params", "5X"], ["unknown unit", "'X'"]),
    ([*BASE, "--max-params", "1k"], ["below the smallest network", "at least"]),
    ([*BASE, "--max-macs", "300"], ["below the smallest network"]),
    ([*BASE, "--max-macs", "lots"], ["lots"]),
    ([*BASE, "--budget", "0"], ["budget", "greater than or equal to 1"]),
    ([*BASE, "--budget", "-3"], ["budget"]),
    ([*BASE, "--budget", "many"], ["--budget", "integer"]),
    ([*BASE, "--seed", "-1"], ["seed"]),
    ([*BASE, "--seed", "1.5"], ["--seed", "integer"]),
    ([*BASE, "--max-latncy", "20ms"], ["--max-latncy", "--max-latency"]),
    (["search", "--space", "mbconv", "--max-latency", "20ms"], ["target", "--target"]),
    ([*BASE, "--config", "absent.yaml"], ["absent.yaml", "No such file"]),
    ([*BASE, "--out", "/proc/nas/run"], ["/proc/nas/run"]),
    ([*BASE, "--out", "file/run"], ["file/run"]),
    ([*BASE, "--out", "taken"], ["taken", "never overwritten"]),
    ([*BASE, "--rows", "0"], ["rows"]),
    (["serch"], ["serch", "search"]),
    (["resume", "nowhere"], ["nowhere", "not a run"]),
    (["show", "effnet_b0"], ["did you mean 'efficientnet_b0'"]),
    (["show", "mbconv:1311-6321"], ["not a code of mbconv", "-"]),
    (["show", "1311-6321-6521-6331-6531-6541-9311"], ["no published network"]),
    (["show", "mbconv:1311-6321-6521-6331-6531-6541-9311"], ["stage7.expand", "1, 4, 6"]),
    (["show", "run#0"], ["#0", "#1 to #"]),
    (["show", "run#x"], ["#x", "#1 to #"]),
    (["show", "run#9999"], ["#9999", "#1 to #"]),
    (["show", "efficientnet_b0", "--target", "pixle4"], ["did you mean 'pixel4'"]),
    (["list", "devices"], ["devices"]),
    (["list", "spaces", "mb"], ["'mb'", "nas list networks"]),
    (["list", "targets", "--check"], ["--check", "nas list networks"]),
    (["list", "networks", "no_such*"], ["no published network matches 'no_such*'"]),
    (["list", "networks", "eficientnet_b0"], ["did you mean 'efficientnet_b0'"]),
    (["show", "mbcov"], ["did you mean 'mbconv'"]),
    (["show", "absent.yaml"], ["absent.yaml", "No such file"]),
    (["show", "absent.yaml:111"], ["absent.yaml", "No such file"]),
    (["show", "nospace:111"], ["unknown space 'nospace'"]),
    (["show", "broken.yaml"], ["broken.yaml", "resoluton", "did you mean 'resolution'"]),
    (["show", "mbconv", "--rows", "1"], ["rows"]),
    (["show", "huge.yaml"], ["huge", "too many to count exactly"]),
    (["show", "efficientnet_b0", "--target", "raspi4"], ["no data on the network efficientnet_b0", "nasbench201"]),
    (["compare"], ["architectures"]),
    (["compare", "mbconv"], ["'mbconv' is a space", "mbconv:CODE"]),
    (["compare", "efficientnet_b0", "effnet_b1"], ["effnet_b1", "did you mean 'efficientnet_b1'"]),
    (["compare", "efficientnet_b0", "--target", "pixle4"], ["did you mean 'pixel4'"]),
    (["compare", "efficientnet_b0", "--out", "/proc/nas/c.html"], ["/proc/nas/c.html"]),
    (["compare", "efficientnet_b0", "--out", "taken"], ["taken", "directory"]),
    ([*BASE, "--start-from", "mobilenetv2"], ["mobilenetv2", "activation", "efficientnet_b0"]),
    ([*BASE, "--start-from", "run#9999"], ["#9999", "#1 to #"]),
    ([*BASE, "--start-from", "nothing"], ["nothing", "not a code of mbconv"]),
    ([*BASE, "--start-from", ""], ["cannot start from ''"]),
    (["search", "--space", "absent.yaml"], ["absent.yaml", "No such file"]),
    (["search", "--space", "broken.yaml"], ["broken.yaml", "resoluton", "did you mean 'resolution'"]),
    (["search", "--space", "own.yaml"], ["own", "no accuracy surrogate", "mbconv"]),
    (["search", "--space", "file"], ["unknown space 'file'"]),
    (["import-weights", "efficientnet_b9", "file"], ["did you mean 'efficientnet_b"]),
    (["import-weights", "efficientnet_b0", "absent.pt"], ["absent.pt", "No such file"]),
    (["import-weights", "efficientnet_b0", "file"], ["file is no file of"]),
    (["import-weights", "efficientnet_b0", "file", "--out", "weights.bin"], ["weights.bin", ".safetensors"]),
    (["import-weights", "efficientnet_b0", "file.pt", "--out", "file.pt"], ["file.pt", "not overwritten"]),
    (["import-weights", "efficientnet_b0", "run"], ["run", "directory"]),
    (["export", "efficientnet_b0", "--format", "torch", "--weights", "file"], ["file is no file of"]),
    (["report", "absent"], ["absent", "not a run"]),
    (["export", "efficientnet_b0", "--format", "tflite"], ["tflite", "onnx"]),
    (["export", "efficientnet_b0", "--format", "torch", "--out", "/proc/nas"], ["/proc/nas"]),
    (["export", "mobilenetv9", "--format", "onnx"], ["mobilenet"]),
]

#: content of config.yaml, and what the message must contain
CONFIGS: list[tuple[str, list[str]]] = [
    ("space: [mbconv", ["not valid YAML"]),
    ("- mbconv\n- pixel4\n", ["list", "keys and values"]),
    ("", ["keys and values"]),
    ("space: mbconv\ntargt: pixel4\n", ["targt", "did you mean 'target'"]),
    ("space: mbconv\nbudget: lots\n", ["budget", "lots"]),
    ("space: mbconv\nseed: 1.5\n", ["seed", "1.5"]),
    ("space: mbconv\ntarget: pixel4\nmax_latency: 20\n", ["max_latency", "unit"]),
    ("space: mbconv\ntarget: 4\n", ["target", "4"]),
    ("space: mbconv\nout: 7\n", ["out", "7"]),
    ("!!python/object/apply:os.system ['touch hacked']\n", ["not valid YAML"]),
    ("\x00\x01\x02", ["not valid YAML"]),
    ("space: 2020-02-31\n", ["not valid YAML"]),
    ("[" * 5000, ["not valid YAML"]),
    ("space: mbconv\nseed: 1\nseed: 2\n", ["seed", "twice"]),
    ("a: &a [x, x]\nspace: [*a, *a]\n", ["aliases"]),
    ("space: mbconv\ntarget: pixel4\nmax_params: [5, 3]\n", ["max_params", "list"]),
    ('space: mbconv\ntarget: pixel4\nout: "a\\0b"\n', ["null"]),
    ("space: mbconv\nstart_from: 7\n", ["start_from", "7"]),
    ("space: mbconv\nstart_from: [7]\n", ["start_from", "7"]),
    ("space: mbconv\nstart_from: mobilenetv2\n", ["mobilenetv2", "activation"]),
    ("space: mbconv\nspace_declaration: {name: x}\n", ["unknown key 'space_declaration'"]),
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = SearchConfig(space="mbconv", target="pixel4", budget=200)
    return run_search(start_search(config, tmp_path_factory.mktemp("runs") / "run")).path


@pytest.fixture
def workplace(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "file").write_text("a file, not a folder")
    (tmp_path / "taken").mkdir()
    (tmp_path / "own.yaml").write_text("name: own\nstages: ['ir_r{1-2}_c16']\n")
    (tmp_path / "huge.yaml").write_text(
        "name: huge\nresolution: 4096\nin_channels: 100000\nstages: ['ir_r{1-100}_k31_e32_c100000']\n"
    )
    (tmp_path / "broken.yaml").write_text("name: own\nstages: [ir_r1_c16]\nresoluton: 64\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def refuse(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[list[str]], str]:
    """Run the command line in the workplace; check the exit and that nothing was left; return the message."""

    def run(arguments: list[str]) -> str:
        before = sorted(workplace.rglob("*"))
        monkeypatch.setattr(sys, "argv", ["nas", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        printed, message = capsys.readouterr()
        assert stop.value.code == 2, message
        assert "Traceback" not in message
        assert printed == ""
        assert sorted(workplace.rglob("*")) == before
        return message

    return run


@pytest.mark.parametrize(("arguments", "words"), CASES, ids=lambda value: " ".join(value)[:70])
def test_bad_arguments(refuse: Callable[[list[str]], str], arguments: list[str], words: list[str]) -> None:
    message = refuse(arguments)
    assert all(word in message for word in words), message
    assert len(message.strip().splitlines()) == 1


@pytest.mark.parametrize(("content", "words"), CONFIGS, ids=[repr(content)[:40] for content, _ in CONFIGS])
def test_bad_config_files(workplace: Path, refuse: Callable[[list[str]], str], content: str, words: list[str]) -> None:
    (workplace / "config.yaml").write_text(content)
    message = refuse(["search", "--config", "config.yaml"])
    assert all(word in message for word in words), message


@pytest.mark.parametrize("command", ["resume", "show", "report"])
@pytest.mark.parametrize("damage", ["text", "cut", "empty", "missing", "foreign"])
def test_a_damaged_store(workplace: Path, refuse: Callable[[list[str]], str], command: str, damage: str) -> None:
    store = workplace / "run" / "trials.sqlite"
    content = store.read_bytes()
    store.unlink()
    if damage == "foreign":
        subprocess.run(
            [
                sys.executable,
                "-c",
                "import sqlite3; sqlite3.connect('run/trials.sqlite').execute('CREATE TABLE x (y)')",
            ],
            check=True,
        )
    elif damage != "missing":
        store.write_bytes({"text": b"no database " * 500, "cut": content[: len(content) // 2], "empty": b""}[damage])
    assert "trials.sqlite" in refuse([command, "run"])


@pytest.mark.parametrize("content", ["", "config: 3", "{", "config:\n  space: mbconv\n"])
def test_a_damaged_run_configuration(workplace: Path, refuse: Callable[[list[str]], str], content: str) -> None:
    (workplace / "run" / "config.yaml").write_text(content)
    assert "config.yaml" in refuse(["resume", "run"])


def test_a_full_disk_keeps_what_was_recorded(tmp_path: Path) -> None:
    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    command = [str(Path(sys.executable).with_name("nas")), *BASE, "--out", str(tmp_path / "run")]
    process = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit, check=False)
    assert process.returncode == 2, process.stderr
    assert "Traceback" not in process.stderr
    assert "trials.sqlite" in process.stderr
    resumed = subprocess.run(
        [command[0], "resume", str(tmp_path / "run"), "--json"], capture_output=True, text=True, check=False
    )
    assert resumed.returncode == 0, resumed.stderr
