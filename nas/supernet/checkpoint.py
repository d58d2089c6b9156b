"""The file from which the training of a supernet goes on."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import torch

from nas.errors import NasError

#: names in the folder of a supernet
CHECKPOINT = "checkpoint.pt"
RECORDS = "epochs.jsonl"
#: raised where what a checkpoint holds changes
VERSION = 1


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint, whole or not at all: what was there before stays until the new one is on the disk.

    Raises:
        NasError: it cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    content = io.BytesIO()
    torch.save({"version": VERSION, **state}, content)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            # Of a file that takes no more, torch.save itself would only say that it is not where it should be.
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise NasError(f"cannot write {path}: {error.strerror}; the checkpoint before it is kept") from None
    finally:
        part.unlink(missing_ok=True)


def read_checkpoint(path: Path, device: str | torch.device = "cpu") -> dict[str, Any] | None:
    """Return what was written, on a device; None where there is no checkpoint.

    Raises:
        NasError: it is damaged, or of another version.
    """
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch names no common class for what a damaged file makes of it
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise NasError(f"{path} is damaged: {reason}; restore it from a copy") from None
    if not isinstance(state, dict) or state.get("version") != VERSION:
        raise NasError(f"{path} is no checkpoint of this version of nas")
    return state


def write_records(path: Path, records: list[dict[str, Any]]) -> None:
    """Write what was recorded of each epoch, for whoever watches: a line of JSON an epoch.

    Raises:
        NasError: it cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise NasError(f"cannot write {path}: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)


def read_records(path: Path) -> list[dict[str, Any]]:
    """Return what was recorded of each epoch, nothing where nothing was.

    Raises:
        NasError: the file is damaged.
    """
    if not path.is_file():
        return []
    try:
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise NasError(f"{path} is damaged: {error}") from None
    if not all(isinstance(record, dict) for record in records):
        raise NasError(f"{path} is damaged: a line holds no record")
    return records
