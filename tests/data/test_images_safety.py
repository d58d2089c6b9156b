"""Files from strangers: nothing is run, written outside of the cache, or allowed to fill the memory."""

from __future__ import annotations

import io
import lzma
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from make_images import png, random_images, two_classes, write_files, write_tar
from PIL import Image

from nas.data import images_arrays, images_encoded, images_source
from nas.data.images import load_images
from nas.data.images_source import find_source
from nas.errors import NasError


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.mark.parametrize("name", ["/etc/ant/1.png", "../ant/1.png", "ant/../../1.png"])
def test_members_that_lead_outside_are_refused(tmp_path: Path, cache: Path, name: str) -> None:
    archive = write_tar(tmp_path / "set.tar", {"bee/1.png": png(random_images(1, 4, 4, 3)[0]), name: b"data"})
    with pytest.raises(NasError, match=r"holds '.*1.png', which leads outside of it"):
        load_images(archive, cache)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, cache: Path, kind: bytes) -> None:
    path = write_tar(tmp_path / "set.tar", two_classes(random_images(4, 4, 4, 3)))
    with tarfile.open(path, "a") as archive:
        member = tarfile.TarInfo("ant/link.png")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(NasError, match=r"holds 'ant/link\.png', a link or device"):
        load_images(path, cache)


def test_nothing_is_unpacked_beside_the_archive(tmp_path: Path, cache: Path) -> None:
    archive = write_tar(tmp_path / "set.tar.gz", two_classes(random_images(4, 4, 4, 3)))
    (folder,) = [found for found in cache_after(archive, cache) if not found.name.startswith(".")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "set.tar.gz"]
    held = sorted(path.name for path in folder.iterdir())
    assert held == ["about.json", "images.npy", "labels.npy", "subsets.npy"]


def cache_after(source: Path, cache: Path) -> list[Path]:
    load_images(source, cache)
    return list(cache.iterdir())


def test_an_archive_that_unpacks_to_very_much_is_refused(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images_source, "SMALLEST_LIMIT", 2**20)
    member = tarfile.TarInfo("ant/1.png")
    member.size = 2**28
    with lzma.open(tmp_path / "set.tar.xz", "wb", preset=0) as file:
        file.write(member.tobuf())
        for _ in range(16):  # 16 MiB of zeros, some kilobytes when compressed
            file.write(bytes(2**20))
    with pytest.raises(NasError, match="unpacks to more than 200 times its size"):
        load_images(tmp_path / "set.tar.xz", cache)


@pytest.mark.parametrize(
    ("suffix", "kept"), [("tar", 2048), ("tar", 2560), ("tar", 3000), ("tar.gz", 300), ("tar.xz", 200)]
)
def test_a_cut_archive_is_damaged(tmp_path: Path, cache: Path, suffix: str, kept: int) -> None:
    whole = write_tar(tmp_path / f"whole.{suffix}", two_classes(random_images(8, 4, 4, 3))).read_bytes()
    assert len(whole) > kept
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(whole[:kept])
    with pytest.raises(NasError, match=rf"cut.{suffix} is damaged"):
        load_images(cut, cache)


def test_no_archive_at_all(tmp_path: Path, cache: Path) -> None:
    for name, data in (("text.tar", b"this is no archive\n" * 100), ("text.tar.gz", b"neither"), ("empty.tar", b"")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(NasError, match=rf"{name} is damaged"):
            load_images(tmp_path / name, cache)


def bomb(side: int) -> bytes:
    """A small PNG whose header promises side × side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8200, 100_000])
def test_decompression_bombs_are_refused(tmp_path: Path, cache: Path, side: int) -> None:
    files = {**two_classes(random_images(4, 4, 4, 3)), "bee/bomb.png": bomb(side)}
    with pytest.raises(NasError, match=r"bee/bomb\.png has more than 67,108,864 pixels, a decompression bomb"):
        load_images(write_files(tmp_path / "set", files), cache)
    assert {path.suffix for path in cache.iterdir()} == {".lock"}


def test_a_file_of_many_bytes_is_not_read(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images_encoded, "MAX_BYTES", 1000)
    files = {**two_classes(random_images(4, 4, 4, 3)), "bee/large.png": bytes(1001)}
    with pytest.raises(NasError, match=r"bee/large\.png has 1,001 bytes"):
        load_images(write_files(tmp_path / "set", files), cache)


def test_few_large_images_are_decoded_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images_encoded, "BLOCK_BYTES", 4 * 4 * 4 * 3 + 1)
    source = find_source(write_files(tmp_path / "set", two_classes(random_images(10, 4, 4, 3))))
    sizes: list[int] = []
    images_encoded.decode_images(source.entries(), lambda images: sizes.append(len(images)))
    assert sizes == [1, 4, 4, 1]


def test_an_npz_that_unpacks_to_very_much_is_refused(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images_arrays, "MAX_BYTES", 50_000)
    zeros = np.zeros((100, 30, 30), dtype=np.uint8)
    np.savez_compressed(tmp_path / "a.npz", x_train=zeros, y_train=np.arange(100) % 2)
    with pytest.raises(NasError, match=r"a\.npz unpacks to 9.,... bytes; at most 50,000"):
        load_images(tmp_path / "a.npz", cache)


def test_formats_with_interpreters_are_not_opened(tmp_path: Path, cache: Path) -> None:
    """Pillow hands EPS to Ghostscript; a file of that kind is no image here, whatever its name."""
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "EPS")
    files = {f"{name}/{i}.png": file.getvalue() for name in "ab" for i in range(2)}
    with pytest.raises(NasError, match=r"4 of 4 images \(100.0%\) are corrupt"):
        load_images(write_files(tmp_path / "set", files), cache)
