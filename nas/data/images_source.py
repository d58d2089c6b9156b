"""Where images come from: files below a folder, or members of archives, which are read but never unpacked to disk."""

from __future__ import annotations

import bz2
import glob
import gzip
import hashlib
import lzma
import os
import re
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, cast

from nas.errors import NasError, suggestion

#: what a file is, by its name; the first that fits. Each name of a kind is what messages call it.
KINDS = {
    "Python pickle": re.compile(
        r"\.(pkl|pickle|pt|pth)$|(^|/)(data_batch_\d+|test_batch|batches\.meta)$|cifar-100-python/(train|test|meta)$"
    ),
    "CIFAR binary file": re.compile(r"(^|/)(data_batch_\d+|test_batch|train|test)\.bin$"),
    "idx file": re.compile(r"(images|labels)[-.]idx[13]-ubyte(\.gz)?$"),
    "npz file": re.compile(r"\.npz$"),
    "archive": re.compile(r"\.(tar|tar\.gz|tgz|tar\.xz|txz|tar\.bz2|tbz2)$"),
    "image": re.compile(r"\.(jpe?g|png|bmp|gif|webp|ppm|pgm|pnm|tiff?)$", re.IGNORECASE),
}
KNOWN = (
    "an image folder (class/*.jpg, or train/class/*.jpg and test/class/*.jpg), a .tar, .tar.gz or .tar.xz of one, "
    "an .npz of MNIST, idx files, CIFAR binary files, or digits"
)
#: an archive that unpacks to more than this many times its size is no archive of images
EXPANSION = 200
SMALLEST_LIMIT = 2**26
#: bytes of a file that is read whole
LARGEST_FILE = 2**32

_HINTS = {
    ".zip": "unpack it and give the folder",
    ".7z": "unpack it and give the folder",
    ".rar": "unpack it and give the folder",
    ".parquet": "export the images to folders, one a class",
    ".mat": "export the images to folders, one a class",
    ".h5": "export the images to folders, one a class",
    ".hdf5": "export the images to folders, one a class",
}


def kind_of(name: str) -> str | None:
    """Return which of KINDS a file is, by its name; None where it is none, or hidden."""
    parts = PurePosixPath(name).parts
    if not parts or parts[-1].startswith(".") or "__MACOSX" in parts:
        return None
    return next((kind for kind, pattern in KINDS.items() if pattern.search(name)), None)


@dataclass(frozen=True)
class Entry:
    """One file of a source.

    Args:
        name: its path below the source, with "/" between folders.
        size: bytes.
        read: returns its bytes; of an archive's member, before the next entry is asked for.
    """

    name: str
    size: int
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Source:
    """The files that a user named.

    Args:
        text: what the user wrote.
        files: name below the source and path of each, in the order of the names.
    """

    text: str
    files: tuple[tuple[str, Path], ...]

    @property
    def is_archived(self) -> bool:
        return any(kind_of(name) == "archive" for name, _ in self.files)

    def kind(self) -> str:
        """Return which of KINDS holds the images, inside archives where there are some.

        Raises:
            NasError: there are none, of several kinds, or pickles.
        """
        found: dict[str, str] = {}
        for name, _ in self.files:
            found.setdefault(kind_of(name) or "", name)
        found.pop("", None)
        if len(found) > 1 and "Python pickle" not in found:
            held = ", ".join(f"{kind} {name}" for kind, name in found.items())
            raise NasError(f"{self.text} holds data of several kinds ({held}); name the files of one of them")
        kind = next(iter(found), None)
        if kind == "archive":
            kind = next((inside for entry in self.entries() if (inside := kind_of(entry.name))), None)
            if kind == "archive":
                raise NasError(f"{self.text} holds archives inside an archive; unpack it once and give the folder")
        if "Python pickle" in (kind, *found):
            raise NasError(
                f"{self.text} holds Python pickles, which are never read because they can run code; download the "
                "binary version (cifar-10-binary.tar.gz, cifar-100-binary.tar.gz) from the same page"
            )
        if kind is None:
            raise NasError(f"{self.text} holds no images; known is {KNOWN}{self._hint()}")
        return kind

    def entries(self) -> Iterator[Entry]:
        """Yield the files in the order of their names, and in place of an archive its members in their order.

        Raises:
            NasError: a file cannot be read, or an archive is damaged, unpacks to too much, or holds links, devices or
                paths that lead outside of it.
        """
        for name, path in self.files:
            if kind_of(name) == "archive":
                yield from _members(path)
            else:
                with _clear_errors(path):
                    size = path.stat().st_size
                yield Entry(name, size, partial(_bytes, path))

    def digest(self) -> str:
        """Return a SHA-256 of the names, sizes and times of the files."""
        found = hashlib.sha256()
        for name, path in self.files:
            with _clear_errors(path):
                state = path.stat()
            found.update(f"{name}\0{state.st_size}\0{state.st_mtime_ns}\0".encode(errors="surrogateescape"))
        return found.hexdigest()

    def _hint(self) -> str:
        suffixes = {path.suffix.lower() for _, path in self.files}
        hints = [f"; {suffix} files: {hint}" for suffix, hint in _HINTS.items() if suffix in suffixes]
        return hints[0] if hints else ""


def find_source(text: str | Path) -> Source:
    """Return the files that a path, a pattern such as `cifar10_*.tar.xz`, or several paths joined by commas name.

    Raises:
        NasError: there is no such file, or a folder cannot be read.
    """
    written = os.path.expanduser(str(text))
    if os.path.exists(written):
        paths = [Path(written)]
    elif glob.has_magic(written):
        paths = [Path(found) for found in sorted(glob.glob(written))]
    else:
        paths = [Path(os.path.expanduser(part)) for part in written.split(",") if part]
    missing = [path for path in paths if not path.exists()]
    if missing or not paths:
        raise NasError(f"no images at {missing[0] if missing else text}{_nearest(missing)}")
    if len(paths) == 1 and paths[0].is_dir():
        return Source(str(text), tuple(_walk(paths[0], "")))
    files = [file for path in paths for file in (_walk(path, path.name) if path.is_dir() else [(path.name, path)])]
    return Source(str(text), tuple(sorted(files)))


def _nearest(missing: list[Path]) -> str:
    """Words on what is there instead of the first path, or else on what could be."""
    there = ["digits"]
    if missing and missing[0].parent.is_dir():
        there += [name for name in os.listdir(missing[0].parent) if not name.startswith(".")]
    near = suggestion(missing[0].name, there) if missing else ""
    return near if "did you mean" in near else f"; known is {KNOWN}"


def _walk(folder: Path, prefix: str) -> list[tuple[str, Path]]:
    """Return name and path of all files below a folder, by name; links are followed, but never round in circles."""
    found: list[tuple[str, Path]] = []
    seen: set[str] = set()
    waiting = [(prefix, folder)]
    while waiting:
        above, here = waiting.pop()
        real = os.path.realpath(here)
        if real in seen:
            continue
        seen.add(real)
        with _clear_errors(here):
            entries = list(os.scandir(here))
        for entry in entries:
            name = f"{above}/{entry.name}" if above else entry.name
            if entry.is_dir():
                if not entry.name.startswith("."):
                    waiting.append((name, here / entry.name))
            elif entry.is_file():
                found.append((name, here / entry.name))
    return sorted(found)


def _members(path: Path) -> Iterator[Entry]:
    """Yield the files of an archive as they come: a stream, so that nothing is unpacked twice or to disk."""
    with _clear_errors(path), _opened(path) as stream, _tar(stream) as archive:
        for member in archive:
            if member.isdir():
                continue
            where = PurePosixPath(member.name)
            if where.is_absolute() or ".." in where.parts:
                raise NasError(f"{path} holds {member.name!r}, which leads outside of it; refused")
            if not member.isreg():
                raise NasError(f"{path} holds {member.name!r}, a link or device; an archive of images holds files only")
            yield Entry(str(where), member.size, partial(_member_bytes, path, archive, member))
        if any(stream.tail):
            raise NasError(f"{path} is damaged: it ends in the middle")


def _tar(stream: _Limited) -> tarfile.TarFile:
    return tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|")


def _member_bytes(path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    with _clear_errors(path):
        file = archive.extractfile(member)
        return file.read() if file is not None else b""


def _bytes(path: Path) -> bytes:
    with _clear_errors(path):
        if path.stat().st_size > LARGEST_FILE:
            raise NasError(f"{path} has {path.stat().st_size:,} bytes; at most {LARGEST_FILE:,} are read of one file")
        return path.read_bytes()


class _Limited:
    """A stream of bytes that ends in an error when it gives more than it may: no archive fills the memory.

    Attributes:
        tail: the last bytes read; those of a whole tar archive are zeros, by which a cut one is told.
    """

    def __init__(self, stream: IO[bytes], limit: int, path: Path):
        self._stream, self._left, self._path = stream, limit, path
        self.tail = b""

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        self.tail = data[-tarfile.BLOCKSIZE :] or self.tail
        if self._left < 0:
            raise NasError(f"{self._path} unpacks to more than {EXPANSION} times its size; refused")
        return data


@contextmanager
def _opened(path: Path) -> Iterator[_Limited]:
    """The uncompressed bytes of an archive, at most EXPANSION times as many as it has."""
    opens: dict[bytes, Callable[[Path], object]] = {
        b"\x1f\x8b": gzip.open, b"\xfd7zXZ\0": lzma.open, b"BZh": bz2.open,
    }  # fmt: skip
    with open(path, "rb") as file:
        start = file.read(6)
    opener = next((opener for magic, opener in opens.items() if start.startswith(magic)), None)
    with cast(IO[bytes], opener(path) if opener else open(path, "rb")) as stream:
        limit = max(SMALLEST_LIMIT, EXPANSION * path.stat().st_size)
        yield _Limited(stream, limit, path)


@contextmanager
def _clear_errors(path: Path) -> Iterator[None]:
    """Turn what a damaged or forbidden file raises into words."""
    try:
        yield
    except OSError as error:
        raise NasError(f"cannot read {path}: {error.strerror or error}") from None
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, ValueError) as error:
        raise NasError(f"{path} is damaged: {' '.join(str(error).split())}") from None


def first_few(names: Iterable[str], few: int = 3) -> str:
    """Return the first names joined by commas, and how many more there are."""
    listed = list(names)
    rest = f" and {len(listed) - few} more" if len(listed) > few else ""
    return ", ".join(listed[:few]) + rest
