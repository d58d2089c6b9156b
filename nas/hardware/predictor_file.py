"""Predictors on disk: JSON for a few coefficients, NPZ without pickles for arrays; both name the predictor's kind."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ValidationError

from nas.errors import NasError

Model = TypeVar("Model", bound=BaseModel)


def kind_of(path: Path) -> str:
    """Return the kind of predictor a file holds.

    Raises:
        NasError: it cannot be read, or names no kind.
    """
    content: Mapping[str, Any] = read_arrays(path) if path.suffix == ".npz" else _read_object(path)
    if "kind" not in content:
        raise NasError(f"{path}: kind: missing, so this is no predictor")
    return str(content["kind"])


def read_model(model: type[Model], path: Path) -> Model:
    """Read a JSON file as `model`.

    Raises:
        NasError: it cannot be read or is malformed; names the place.
    """
    try:
        return model.model_validate(_read_object(path))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise NasError(f"{path}: {place or 'content'}: {first['msg']}") from None


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read all arrays of an NPZ file; pickled ones are refused.

    Raises:
        NasError: it cannot be read or is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise NasError(f"cannot read {path}: {error}") from None


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, and its folder where there is none.

    Raises:
        NasError: the folder cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise NasError(f"cannot write {path}: {error.strerror or error}") from None


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise NasError(f"cannot read {path}: {error}") from None
    if not isinstance(content, dict):
        raise NasError(f"{path}: content: a {type(content).__name__}, expected a valid dictionary")
    return content
