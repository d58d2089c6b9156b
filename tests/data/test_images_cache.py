"""The cache of decoded images: decoded once, whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from make_images import random_images, two_classes, write_files

from nas.data import images as module
from nas.data.images import load_images
from nas.data.images_cache import cached
from nas.errors import NasError

PIXELS = random_images(6, 4, 4, 3)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_files(tmp_path / "set", two_classes(PIXELS))


def made(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.suffix != ".lock")


def refuse(*_: object) -> None:
    raise AssertionError("decoded again")


def test_images_are_decoded_once(source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_images(source, cache)
    monkeypatch.setattr(module, "decode_images", refuse)
    again = load_images(source, cache)
    assert np.array_equal(again.images, first.images)
    assert (again.labels.tolist(), again.classes, again.digest) == (first.labels.tolist(), first.classes, first.digest)
    with pytest.raises(AssertionError, match="decoded again"):
        load_images(source, cache, image_size=2)


@pytest.mark.parametrize("change", [lambda path: path.write_bytes(path.read_bytes() + b"\0"), Path.unlink, Path.touch])
def test_a_changed_source_is_decoded_again(source: Path, cache: Path, change: Callable[[Path], object]) -> None:
    before = load_images(source, cache)
    change(source / "ant" / "000.png")
    after = load_images(source, cache)
    assert len(made(cache)) == 2
    assert len(after) == len(list(source.glob("*/*.png")))
    assert len(before) == 6


def test_the_cache_lies_where_the_environment_says(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    load_images(source)
    assert len(made(tmp_path / "xdg" / "nas" / "images")) == 1
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    load_images(source)
    assert len(made(tmp_path / "home" / ".cache" / "nas" / "images")) == 1


def test_an_interruption_leaves_nothing(source: Path, cache: Path) -> None:
    def stop(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_images(source, cache, on_progress=stop)
    assert made(cache) == []
    assert np.array_equal(load_images(source, cache).images, PIXELS[[0, 2, 4, 1, 3, 5]])


@pytest.mark.parametrize("cut", ["images.npy", "labels.npy", "about.json"])
def test_a_cut_cache_is_made_again(source: Path, cache: Path, cut: str) -> None:
    load_images(source, cache)
    (name,) = made(cache)
    file = cache / name / cut
    file.write_bytes(file.read_bytes()[:-5])
    assert np.array_equal(load_images(source, cache).images, PIXELS[[0, 2, 4, 1, 3, 5]])


def test_a_cache_that_cannot_be_written_is_told(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(NasError, match=r"cannot write the cache .*file.*; give another one"):
        load_images(source, tmp_path / "file" / "cache")


def test_a_full_disk_is_told(source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.data.images_cache.RESERVE", 2**60)
    with pytest.raises(NasError, match=r"is full after 0 decoded images of 4×4×3; free some space"):
        load_images(source, cache)
    assert made(cache) == []


#: makes an entry of the cache slowly, says so, and prints what it got
PROCESS = """
import sys, time
from pathlib import Path
from nas.data.images_cache import cached

def make(folder):
    print("making", flush=True)
    (folder / "images.npy").write_bytes(b"12345")
    time.sleep(float(sys.argv[2]))
    return {"answer": 5}

print(cached(Path(sys.argv[1]), "entry", make)[1]["answer"])
"""


def start(cache: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROCESS, str(cache), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_second_process_waits_for_the_first(cache: Path) -> None:
    first = start(cache, 1.5)
    assert first.stdout is not None
    assert first.stdout.readline() == "making\n"
    second = start(cache, 0)
    assert second.communicate(timeout=60)[0] == "5\n"  # it did not make it
    assert first.communicate(timeout=60)[0] == "5\n"
    assert made(cache) == ["entry"]


def test_a_killed_process_stops_nobody(cache: Path) -> None:
    first = start(cache, 600)
    assert first.stdout is not None
    assert first.stdout.readline() == "making\n"
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert made(cache) == [".entry.part"]
    began = time.monotonic()

    def make(folder: Path) -> dict[str, int]:
        assert list(folder.iterdir()) == []
        (folder / "images.npy").write_bytes(b"123")
        return {"answer": 3}

    assert cached(cache, "entry", make)[1]["answer"] == 3
    assert time.monotonic() - began < 5
    assert made(cache) == ["entry"]
