"""The cache of decoded images: a folder a source, made whole or not at all, by one process at a time."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from nas.errors import NasError

#: free bytes that decoding leaves on the disk
RESERVE = 2**28

Images = npt.NDArray[np.uint8]


def default_cache() -> Path:
    """Return the folder of decoded images: nas/images below XDG_CACHE_HOME, which is ~/.cache where it is not set."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "nas" / "images"


class ImageWriter:
    """Appends images to an .npy file whose number is not known before.

    Args:
        path: the file.
    """

    def __init__(self, path: Path):
        self._path = path
        self._file: IO[bytes] = open(path, "wb")  # noqa: SIM115
        self._shape: tuple[int, ...] = ()
        self._hash = hashlib.sha256()
        self.count = 0

    def append(self, images: Images) -> None:
        """Append images uint8[k, height, width, channels]; all must be of one shape.

        Raises:
            NasError: the disk is full.
        """
        if not self._shape:
            self._shape = images.shape[1:]
            self._write_header()
        if shutil.disk_usage(self._path.parent).free < images.nbytes + RESERVE:
            raise NasError(
                f"the disk of {self._path.parent.parent} is full after {self.count:,} decoded images of "
                f"{'×'.join(map(str, self._shape))}; free some space, or give a smaller image size or another cache"
            )
        data = np.ascontiguousarray(images).data
        self._file.write(data)
        self._hash.update(data)
        self.count += len(images)

    def close(self) -> str:
        """Complete the file and return the SHA-256 of the pixels."""
        self._file.seek(0)
        self._write_header()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._hash.hexdigest()

    def abandon(self) -> None:
        self._file.close()

    def _write_header(self) -> None:
        # NumPy pads headers so that one of more images is as long.
        shape = (self.count, *self._shape)
        np.lib.format.write_array_header_1_0(self._file, {"descr": "|u1", "fortran_order": False, "shape": shape})


@contextmanager
def writing(path: Path) -> Iterator[ImageWriter]:
    """A writer of an .npy file, closed whatever happens."""
    writer = ImageWriter(path)
    try:
        yield writer
    finally:
        writer.abandon()


def cached(cache: Path, digest: str, make: Callable[[Path], dict[str, Any]]) -> tuple[Path, dict[str, Any]]:
    """Return the folder of a digest and what is known of it, made now where it is not there.

    Of several processes that want the same one makes it and the others wait for it. An interruption leaves nothing
    that looks whole.

    Args:
        make: fills an empty folder and returns what is known of it, as JSON can hold it.

    Raises:
        NasError: the cache cannot be written, or what `make` raises.
    """
    final, draft = cache / digest, cache / f".{digest}.part"
    about = _read_about(final)
    if about is not None:
        return final, about
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / f".{digest}.lock"):
            about = _read_about(final)
            if about is not None:
                return final, about
            for leftover in (final, draft):
                shutil.rmtree(leftover, ignore_errors=True)
            draft.mkdir()
            try:
                about = make(draft)
                about["bytes"] = {file.name: file.stat().st_size for file in draft.iterdir()}
                (draft / "about.json").write_text(json.dumps(about), encoding="utf-8")
                draft.rename(final)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise NasError(f"cannot write the cache {cache}: {error.strerror or error}; give another one") from None
    return final, about


def _read_about(folder: Path) -> dict[str, Any] | None:
    """Return what is known of a folder of the cache; None where it is not whole."""
    try:
        about: dict[str, Any] = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        whole = all((folder / name).stat().st_size == size for name, size in about["bytes"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return about if whole else None
